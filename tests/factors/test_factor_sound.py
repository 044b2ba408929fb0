"""Sound numbers: large levels with tiny moves, volumes of ten billion, bad prints, constants."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from factor_reference import market_of, value

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.expression import parse
from wealthos_pipeline.factors.library import Family
from wealthos_pipeline.factors.operators import OPERATORS, decay_length

FIRST = date(2018, 3, 12)
X, Y = "$raw_close", "$raw_open"
N = 12
WINDOWS = [o for o in OPERATORS.values() if o.kind in ("window", "decay") and o.name != "EMA"]


def text(op: str, n: int) -> str:
    args = [X, Y][: OPERATORS[op].inputs]
    return f"{op}({', '.join(args)}, {n}{', 0.3' if op == 'Quantile' else ''})"


def bars_of(
    calendar: TradingCalendar, x: list[float], y: list[float] | None = None
) -> pl.DataFrame:
    days = calendar.sessions(FIRST, calendar.offset(FIRST, len(x) - 1))
    return pl.DataFrame({"instrument_id": "A", "date": days, "close": x, "open": y or x[::-1],
                         "tr_index": 1.0, "dollar_volume": 1.0})  # fmt: skip


def run(texts: dict[str, str], bars: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    factors = tuple(
        Factor(n, AssetClass.EQUITY, "t", 1, n, "", expression=t) for n, t in texts.items()
    )
    family = Family(AssetClass.EQUITY, "t", factors)
    return compute(family, bars, None, calendar=calendar).sort("date", "instrument_id")


def spread(x: list[float]) -> float:
    return float(np.nanstd(x))


@pytest.mark.parametrize("n", [20, 0])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param((1e6, 0.01), (1e6, 0.01), id="prices of a million, moves of a cent"),
        pytest.param((1e10, 3e3), (1e6, 0.01), id="volumes of ten billion, prices of a million"),
        pytest.param((1e10, 2e9), (50.0, 1.0), id="volumes of ten billion"),
    ],
)
def test_windows_agree_with_exact_arithmetic(x, y, n, calendar) -> None:
    """To 1e-6 of the value, or of the spread where the statistic is a difference of values."""
    rng = np.random.default_rng(3)
    a = [float(v) for v in x[0] + np.round(rng.normal(0, 1, 60), 4) * x[1]]
    b = [float(v) for v in y[0] + np.round(rng.normal(0, 1, 60), 4) * y[1]]
    bars = bars_of(calendar, a, b)
    texts = {o.name: text(o.name, n) for o in WINDOWS}
    found, market = run(texts, bars, calendar), market_of(bars, calendar)
    scale = {
        "Resi": spread(a), "BetaResi": spread(a), "Slope": spread(a) / 10,
        "Beta": spread(a) / spread(b), "Cov": spread(a) * spread(b), "Corr": 1.0, "Rsquare": 1.0,
        "Skew": 1.0, "Kurt": 1.0,
    }  # fmt: skip
    for op in texts:
        expected = value(parse(texts[op]), market)["A"]
        for t, v in enumerate(found[op]):
            if (
                t < 5
            ):  # two to five points: what is divided by is rounding noise of the input itself
                continue
            assert v is not None, (op, t)
            off = abs(v - expected[t])
            assert off <= 1e-6 * max(abs(expected[t]), scale.get(op, 0.0)), (op, t, v, expected[t])


@pytest.mark.parametrize("print_", [1e12, -1e12, math.inf, 1e300])
def test_a_bad_print_leaves_no_residue(print_: float, calendar) -> None:
    """Once it has left the window every bit is what it would have been without it."""
    rng = np.random.default_rng(5)
    x = [float(v) for v in 100 + rng.normal(0, 1, 120)]
    y = [float(v) for v in 100 + rng.normal(0, 1, 120)]
    texts = {o.name: text(o.name, N) for o in WINDOWS} | {"EMA": f"EMA({X}, 3)"}
    one = run(texts, bars_of(calendar, x, y), calendar)
    two = run(texts, bars_of(calendar, [*x[:40], print_, *x[41:]], y), calendar)
    for op in texts:
        past = 40 + (decay_length(3) if op == "EMA" else N)
        assert one[:40][op].equals(two[:40][op]), op
        assert one[past:][op].equals(two[past:][op]), op
    assert (one[40 : 40 + N]["Mean"] != two[40 : 40 + N]["Mean"]).all()


def test_a_constant_has_no_spread_and_no_shape(calendar) -> None:
    bars = bars_of(calendar, [0.1] * 40)
    for n in (N, 0):
        z = {"z": f"({X} - Mean({X}, {n})) / Std({X}, {n})"} if n else {}
        texts = {o.name: text(o.name, n) for o in WINDOWS} | z
        out = run(texts, bars, calendar)[N:]
        for op in ("Std", "Var", "Cov"):
            assert out[op].to_list() == [0.0] * (40 - N), op
        for op in ("Skew", "Kurt", "Corr", "Rsquare", "Beta", "BetaResi", "BetaStd", *z):
            assert out[op].null_count() == 40 - N, op
        assert out["Slope"].abs().max() < 1e-15
        assert out["Mad"].max() < 1e-16
        assert out["Rank"].to_list() == pytest.approx([(m + 1) / 2 / m for m in (
            [N] * (40 - N) if n else range(N + 1, 41))])  # fmt: skip


def test_a_column_that_is_all_missing_gives_nothing_and_counts_nothing(calendar) -> None:
    bars = bars_of(calendar, [1.0] * 30).with_columns(close=pl.lit(None, pl.Float64))
    out = run({o.name: text(o.name, N) for o in WINDOWS}, bars, calendar)
    assert set(out["Count"]) == {0.0}
    for o in WINDOWS:
        assert o.name == "Count" or out[o.name].null_count() == 30, o.name


def test_division_by_zero_and_overflow_are_missing(calendar) -> None:
    out = run(
        {"d": f"1 / ({X} - {X})", "p": f"Power({X}, 1000)", "f": f"{X} * 1e300",
         "w": f"Count(1 / ({X} - {X}), 5)"},
        bars_of(calendar, [3.0] * 8), calendar,
    )  # fmt: skip
    assert [out[c].null_count() for c in "dpf"] == [8] * 3
    assert set(out["w"]) == {0.0}


def test_a_window_longer_than_the_history_is_the_expanding_one(calendar) -> None:
    """Slots and blocks differ, so bits may; the numbers may not."""
    rng = np.random.default_rng(9)
    bars = bars_of(calendar, [float(v) for v in rng.normal(0, 1, 50)])
    long = run({o.name: text(o.name, 777) for o in WINDOWS}, bars, calendar)
    all_ = run({o.name: text(o.name, 0) for o in WINDOWS}, bars, calendar)
    for o in WINDOWS:
        one, two = (f[o.name].fill_null(float("nan")).to_numpy() for f in (long, all_))
        assert np.allclose(one, two, rtol=1e-6, atol=1e-7, equal_nan=True), o.name


def section(calendar: TradingCalendar, x: np.ndarray, *ys: np.ndarray) -> pl.DataFrame:
    columns = ("open", "dollar_volume", "volume")
    return pl.DataFrame({"instrument_id": [f"N{k:03}" for k in range(len(x))], "date": FIRST, "close": x,
                         "tr_index": 1.0, "split_index": 1.0} | dict(zip(columns, ys, strict=False)))  # fmt: skip


def test_what_neutralize_leaves_is_orthogonal_to_regressors_of_any_size(calendar) -> None:
    rng = np.random.default_rng(1)
    y, z = 1e10 + rng.normal(0, 1e6, 300), 1e-6 * rng.normal(0, 1, 300)
    x = 2e-9 * y + 5e4 * z + rng.normal(0, 1, 300)
    out = run({"r": f"Neutralize({X}, {Y}, $dollar_volume)"}, section(calendar, x, y, z), calendar)
    r = out["r"].to_numpy().astype(float)
    design = np.column_stack([np.ones(300), (y - 1e10) / 1e6, z * 1e6])
    expected = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    assert np.abs(r - expected).max() < 1e-6
    assert np.abs(design.T @ r).max() < 1e-4


def test_neutralize_drops_what_depends_on_what_was_there(calendar) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=40), rng.normal(size=40)
    bars = section(calendar, x, y, np.full(40, 3.7), 2 * y - 1)
    out = run(
        {"one": f"Neutralize({X}, {Y})", "two": f"Neutralize({X}, {Y}, $dollar_volume, $raw_volume)",
         "itself": f"Neutralize({X}, {X})"},
        bars, calendar,
    )  # fmt: skip
    assert np.allclose(out["one"], out["two"], atol=1e-7)
    assert set(out["itself"]) == {0.0}


def test_neutralize_needs_more_names_than_columns(calendar) -> None:
    rng = np.random.default_rng(2)
    x, y, z = rng.normal(size=(3, 4))
    many = f"Neutralize({X}, {Y}, $dollar_volume)"
    assert run({"r": many}, section(calendar, x, y, z), calendar)["r"].null_count() == 0
    few = run({"r": many}, section(calendar, x[:3], y[:3], z[:3]), calendar)
    assert few["r"].null_count() == 3
