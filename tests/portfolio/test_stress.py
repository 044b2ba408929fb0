"""Stress tests against dense conditional expectations, plain sums and bad scenario files."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.portfolio import scenario_files, stress
from wealthos_pipeline.portfolio.books import Book
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.scenario_files import Scenario
from wealthos_pipeline.portfolio.stress import Market

DAY = date(2022, 6, 30)
IDS = tuple(f"N{i}" for i in range(8))


@pytest.fixture(scope="module")
def model() -> RiskModel:
    rng = np.random.default_rng(0)
    B = 0.01 + 0.01 * rng.normal(size=(8, 3))
    A = rng.normal(size=(3, 3))
    return RiskModel(DAY, IDS, ("f1", "f2", "f3"), B, A @ A.T / 3, 0.005 + 0.01 * rng.random(8))


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("core", "live", DAY, IDS[:5], np.array([0.3, 0.2, 0.25, 0.1, 0.1]), 1e6)


@pytest.fixture(scope="module")
def market(model: RiskModel) -> Market:
    symbols = {i: i.lower() for i in IDS}
    sectors = {i: "Tech" if k % 2 else "Energy" for k, i in enumerate(IDS)}
    return Market(model, symbols, sectors)


def sigma(model: RiskModel) -> np.ndarray:
    out: np.ndarray = model.B @ model.F @ model.B.T + np.diag(model.d**2)
    return out


def test_missing_names_move_as_a_normal_distribution_expects(model: RiskModel, book: Book) -> None:
    known = {"N0": -0.3, "N1": -0.1, "N5": -0.2, "N6": -0.25, "N7": 0.05, "OTHER": -0.9}
    got = stress.historical(book, model, stress.WINDOWS[0], known)
    S, seen = sigma(model), [0, 1, 5, 6, 7]
    r = np.array([known[IDS[i]] for i in seen])
    expected = S[:, seen] @ np.linalg.solve(S[np.ix_(seen, seen)], r)
    moves = [known.get(IDS[i], expected[i]) for i in range(5)]
    assert got.parts is not None
    np.testing.assert_allclose(got.parts, book.weights * moves, rtol=1e-9)
    assert got.pnl == pytest.approx(float(book.weights @ moves))
    assert got.covered == pytest.approx(0.5 / 0.95)
    assert got.proxied == pytest.approx(0.45 / 0.95)
    assert "47 % of the weight moves as the risk model" in got.detail


def test_market_shock_is_beta_times_the_market(model: RiskModel, book: Book) -> None:
    got = {o.scenario: o for o in stress.shocks(book, model)}
    m = np.full(8, 1 / 8)
    beta = sigma(model)[:5] @ m / (m @ sigma(model) @ m)
    for x in (10, 20):
        assert got[f"market_minus_{x}"].pnl == pytest.approx(-x / 100 * float(book.weights @ beta))


def test_factor_shock_carries_the_other_factors_along(model: RiskModel, book: Book) -> None:
    got = {o.scenario: o for o in stress.shocks(book, model)}
    move = 2 * np.sqrt(21 * model.F[1, 1])
    f = model.F[:, 1] / model.F[1, 1] * move
    assert got["f2_plus_2s"].pnl == pytest.approx(float(book.weights @ model.B[:5] @ f))
    assert got["f2_minus_2s"].pnl == pytest.approx(-got["f2_plus_2s"].pnl)  # type: ignore[operator]
    assert len(got) == 2 + 2 * 3


def test_own_scenario_sets_names_and_leaves_the_rest_or_carries_it_along(
    market: Market, model: RiskModel, book: Book
) -> None:
    plain = Scenario(name="a", title="A", sectors={"Tech": -0.2}, symbols={"n1": -0.5})
    got = stress.user(book, market, plain)
    np.testing.assert_allclose(got.parts, book.weights * [0, -0.5, 0, -0.2, 0])  # type: ignore[arg-type]
    along = stress.user(book, market, plain.model_copy(update={"propagate": True}))
    seen = [1, 3, 5, 7]
    S = sigma(model)
    moves = S[:, seen] @ np.linalg.solve(S[np.ix_(seen, seen)], [-0.5, -0.2, -0.2, -0.2])
    np.testing.assert_allclose(along.parts, book.weights * moves[:5], rtol=1e-7)  # type: ignore[arg-type]
    both = stress.user(book, market, Scenario(name="b", title="B", market=-0.1, factors={"f1": -3}))
    m = np.full(8, 1 / 8)
    C = np.vstack([m @ model.B, [1, 0, 0]])
    own = np.vstack([m, np.zeros(8)])
    cov = C @ model.F @ C.T + (own * model.d**2) @ own.T
    y = np.linalg.solve(cov, [-0.1, -3 * np.sqrt(21 * model.F[0, 0])])
    moves = model.B @ model.F @ C.T @ y + model.d**2 * (own.T @ y)
    np.testing.assert_allclose(both.parts, book.weights * moves[:5], rtol=1e-7)  # type: ignore[arg-type]


def test_what_is_not_there_has_a_reason_and_no_number(market: Market, book: Book) -> None:
    odd = Scenario(name="c", title="C", symbols={"zz": -0.1}, factors={"pc99": 1})
    table = stress.run([book], market, [odd])
    row = table.filter(pl.col("scenario") == "c").row(0, named=True)
    assert row["pnl"] is row["covered"] is row["worst_name"] is None
    assert "no symbol 'zz'" in row["detail"]
    assert "no risk factor 'pc99'; there are f1, f2, f3" in row["detail"]


def test_windows_count_where_enough_names_have_prices(model: RiskModel, book: Book) -> None:
    window = stress.WINDOWS[-1]
    rows = [
        (f"N{i}", day, value)
        for i in range(6)
        for day, value in (
            (window.start - timedelta(3), 10.0), (window.start, 20.0), (window.end - timedelta(2), 15.0 - i),
            (window.end + timedelta(1), 99.0),
        )
    ] + [("GONE", window.start, 1.0)]  # fmt: skip
    prices = pl.DataFrame(rows, schema=["instrument_id", "date", "tr_index"], orient="row")
    found = stress.window_returns(prices, window)
    assert found == {f"N{i}": (15.0 - i) / 20.0 - 1.0 for i in range(6)}
    near = [pl.col("date").is_between(*end) for end in stress.ends(window)]
    assert stress.window_returns(prices.filter(pl.any_horizontal(near)), window) == found
    few = Market(model, {}, {}, {window.name: {"N0": -0.1}})
    assert [o.kind for o in stress.outcomes(book, few)] == ["factor"] * 8
    many = Market(model, {}, {}, {window.name: found})
    table = stress.run([book, Book("idle", "live", DAY, (), np.empty(0), 1.0)], many)
    row = table.filter(pl.col("kind") == "historical").row(0, named=True)
    assert row["worst_name"] == "N2"  # 0.25 of −35 %, N0 has 0.3 of −25 %
    assert set(table["mandate"]) == {"core"}


def test_a_name_unknown_to_the_model_is_counted_as_such(market: Market, model: RiskModel) -> None:
    book = Book("core", "live", DAY, ("N0", "NEW"), np.array([0.5, -0.5]), None)
    one = stress.shocks(book, model)[0]
    assert (one.covered, one.proxied) == (0.5, 0.5)
    assert "50 % of the weight is unknown" in one.detail


def test_every_fault_of_every_file_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\ntitle: A\nsymbols: {AMD: -1.4}\nshock: 3\n")
    (tmp_path / "b.yaml").write_text("name: b\ntitle: B\n")
    (tmp_path / "c.yaml").write_text("title: C\nmarket: x\n")
    (tmp_path / "d.yaml").write_text("- 1\n")
    (tmp_path / "e.yaml").write_text("name: [")
    (tmp_path / "_f.yaml").write_text("nonsense")
    with pytest.raises(ConfigError) as caught:
        scenario_files.load(tmp_path)
    words = str(caught.value)
    for part in (
        "a.yaml: unknown key 'shock'", "b.yaml: Value error, nothing happens", "c.yaml: key 'name' is missing",
        "c.yaml: market", "d.yaml: holds a list; expected keys", "e.yaml: is not readable as YAML",
    ):  # fmt: skip
        assert part in words
    assert "_f.yaml" not in words


def test_names_are_used_once_and_the_example_can_be_read(tmp_path: Path) -> None:
    for file in ("x.yaml", "y.yml"):
        (tmp_path / file).write_text("name: same\ntitle: T\nmarket: -0.1\n")
    with pytest.raises(ConfigError, match=r"already used by x\.yaml"):
        scenario_files.load(tmp_path)
    assert scenario_files.load(tmp_path / "nowhere") == []
    folder = Path(scenario_files.__file__).parents[2] / "data" / "inputs" / "scenarios"
    assert scenario_files.read([folder / "_example.yaml"])[0].market == -0.1
