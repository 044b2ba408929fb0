"""The fundamental model over a simulated market whose factor returns and volatilities are known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import panel, risk
from wealthos_pipeline.portfolio.risk import factor_returns, fundamental
from wealthos_pipeline.utils.config import PortfolioSettings

SECTORS = ("Energy", "Financials", "Technology")
SETTINGS = PortfolioSettings(
    risk_model="fundamental", risk_sessions=120, risk_styles=("value", "size", "absent"),
    risk_volatility_half_life=60, risk_correlation_half_life=120,
)  # fmt: skip
LAST = date(2020, 6, 30)
N, T = 60, 480


@dataclass(frozen=True)
class Simulated:
    prices: pl.DataFrame
    scores: pl.DataFrame
    instruments: pl.DataFrame
    days: tuple[date, ...]
    f: np.ndarray  # T × (market, three sectors, value, size)
    X: np.ndarray  # N × the same
    specific: np.ndarray  # N

    def run(self, dates: list[date] | None = None, **more: object) -> fundamental.Fundamental:
        given = {"prices": self.prices, "scores": self.scores, "instruments": self.instruments}
        given |= {k: v for k, v in more.items() if k in given}
        rest = {k: v for k, v in more.items() if k not in given}
        return fundamental.estimate(
            dates=[LAST] if dates is None else dates,
            calendar=TradingCalendar(),
            **{"settings": SETTINGS, **given, **rest},  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def market_of_factors(calendar: TradingCalendar) -> Simulated:
    rng = np.random.default_rng(8)
    days = calendar.sessions(calendar.offset(LAST, -T + 1), LAST)
    sector = np.arange(N) % 3
    style = rng.normal(size=(N, 2))
    for s in range(3):  # neutral to sectors, as scores are
        style[sector == s] -= style[sector == s].mean(axis=0)
    style /= style.std(axis=0)
    X = np.column_stack([np.ones(N), np.eye(3)[sector], style])
    f = rng.normal(size=(T, 6)) * np.array([0.010, 0.004, 0.005, 0.006, 0.003, 0.002])
    f[:, 1:4] -= f[:, 1:4].mean(axis=1, keepdims=True)
    specific = rng.uniform(0.008, 0.02, size=N)
    r = f @ X.T + rng.normal(size=(T, N)) * specific
    r[0] = 0.0
    ids = [f"n{i:02d}" for i in range(N)]
    slots = np.arange(calendar.slot(days[0]), calendar.slot(days[0]) + T)
    prices = pl.DataFrame(
        {
            "date": [day for day in days for _ in range(N)],
            "slot": np.repeat(slots, N).astype(np.int32),
            "instrument_id": ids * T,
            "tr_index": np.cumprod(1 + r, axis=0).ravel(),
            "dollar_volume": np.tile(rng.uniform(1e6, 9e6, size=N), T),
        }
    ).with_columns(close=pl.col("tr_index"))
    scores = prices.select("date", "instrument_id").with_columns(
        value=pl.Series(np.tile(style[:, 0], T), dtype=pl.Float32),
        size=pl.Series(np.tile(style[:, 1], T), dtype=pl.Float32),
    )
    instruments = pl.DataFrame(
        {
            "instrument_id": ids,
            "sector": [SECTORS[s] for s in sector],
            "valid_from": [days[0]] * N,
        }
    )
    return Simulated(prices, scores, instruments, tuple(days), f, X, specific)


def test_factor_returns_risk_and_specific_risk_are_found_again(
    market_of_factors: Simulated,
) -> None:
    m = market_of_factors
    made = m.run()
    found = made.factor_returns.pivot("factor", index="date", values="value").sort("date")
    truth = dict(zip(["market", *(f"sector {s}" for s in SECTORS)], m.f.T[:4], strict=True))
    truth |= {"value": m.f[:, 4], "size": m.f[:, 5]}
    assert set(found.columns) == {"date", *truth}
    assert found["date"].to_list() == list(m.days[1:])
    for name, want in truth.items():
        limit = 0.97 if name == "market" else 0.75
        assert np.corrcoef(found[name].to_numpy(), want[1:])[0, 1] > limit, name
    model = made.models[LAST]
    assert model.factors == tuple(sorted(truth))
    assert model.ids == tuple(f"n{i:02d}" for i in range(N))
    np.testing.assert_array_equal(model.B[:, model.factors.index("market")], 1.0)
    want = np.sqrt(((m.X @ np.cov(m.f.T)) * m.X).sum(axis=1) + m.specific**2)
    np.testing.assert_allclose(np.median(model.volatility() / want), 1.0, atol=0.1)
    np.testing.assert_allclose(np.median(model.d / m.specific), 1.0, atol=0.1)
    assert np.corrcoef(model.d, m.specific)[0, 1] > 0.7
    assert np.linalg.eigvalsh(model.F).min() > -1e-12 * np.abs(model.F).max()
    assert made.left_out["absent"] == "no table of scores has it"


def test_where_the_computation_starts_and_the_order_of_rows_change_no_bit(
    market_of_factors: Simulated, calendar: TradingCalendar
) -> None:
    m = market_of_factors
    short = SETTINGS.model_copy(update={"risk_sessions": 60})
    since = calendar.offset(LAST, -fundamental.lookback(short))
    assert since > m.days[0]
    whole = m.run(settings=short)
    near = pl.col("date") >= since
    cut = m.run(
        settings=short,
        prices=m.prices.filter(near).sample(fraction=1.0, shuffle=True, seed=1),
        scores=m.scores.filter(near).sample(fraction=1.0, shuffle=True, seed=2),
        start=LAST,
    )
    a, b = whole.models[LAST], cut.models[LAST]
    assert (a.ids, a.factors) == (b.ids, b.factors)
    for x, y in ((a.B, b.B), (a.F, b.F), (a.d, b.d)):
        assert x.tobytes() == y.tobytes()
    assert cut.factor_returns["date"].unique().to_list() == [LAST]
    assert cut.factor_returns.equals(whole.factor_returns.filter(pl.col("date") == LAST))


def test_other_names_for_the_same_stocks_permute_the_model(market_of_factors: Simulated) -> None:
    m = market_of_factors
    new = {f"n{i:02d}": f"x{(7 * i) % N:02d}" for i in range(N)}
    renamed = pl.col("instrument_id").replace_strict(new)
    other = m.run(
        prices=m.prices.with_columns(renamed), scores=m.scores.with_columns(renamed),
        instruments=m.instruments.with_columns(renamed),
    ).models[LAST]  # fmt: skip
    plain = m.run().models[LAST]
    order = [other.index[new[i]] for i in plain.ids]
    np.testing.assert_allclose(other.F, plain.F, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(other.d[order], plain.d, rtol=1e-9)
    np.testing.assert_allclose(other.B[order], plain.B, atol=1e-12)


def test_without_volumes_names_with_large_residuals_weigh_less(
    market_of_factors: Simulated,
) -> None:
    m = market_of_factors
    without = m.run(prices=m.prices.drop("dollar_volume")).factor_returns
    found = without.pivot("factor", index="date", values="value").sort("date")
    error = np.std(found["value"].to_numpy()[150:] - m.f[151:, 4])
    equal = np.linalg.lstsq(np.delete(m.X, 1, axis=1), _daily(m).T, rcond=None)[0][3]
    assert error < np.std(equal[150:] - m.f[151:, 4]), "no better than equal weights"


def _daily(m: Simulated) -> np.ndarray:
    tr = m.prices.sort("date", "instrument_id")["tr_index"].to_numpy().reshape(T, N)
    return tr[1:] / tr[:-1] - 1


def test_listings_gaps_and_names_that_left(
    market_of_factors: Simulated, calendar: TradingCalendar
) -> None:
    m = market_of_factors
    young, left, gone = (calendar.offset(LAST, -k) for k in (20, 30, 100))
    name = pl.col("instrument_id")
    prices = m.prices.filter(~((name == "n00") & (pl.col("date") < young)))
    gap = (name == "n05") & (pl.col("slot") % 3 == 0)
    prices = prices.filter(~gap)
    scores = m.scores.join(
        prices.select("date", "instrument_id"), on=["date", "instrument_id"], how="semi"
    )
    scores = scores.filter(~((name == "n01") & (pl.col("date") > left)))
    scores = scores.filter(~((name == "n02") & (pl.col("date") > gone)))
    made = m.run(prices=prices, scores=scores).models[LAST]
    plain = m.run().models[LAST]
    assert "n01" in made.ids, "it may still be held"
    assert "n02" not in made.ids
    shared = [plain.index[i] for i in made.ids]
    size = made.factors.index("size")
    np.testing.assert_allclose(made.B[:, size], plain.B[shared, size], atol=0.1)
    np.testing.assert_allclose(made.d[5], plain.d[6], rtol=2.0)
    assert 0.005 < made.d[made.index["n00"]] < 0.025, "structural: its own 20 sessions are too few"
    assert all(np.isfinite(x).all() for x in (made.B, made.F, made.d))


def test_no_instruments_no_sectors_and_a_style_that_repeats_another(
    market_of_factors: Simulated,
) -> None:
    m = market_of_factors
    twice = m.scores.with_columns(twin=-pl.col("value"))
    settings = SETTINGS.model_copy(update={"risk_styles": ("value", "twin", "size")})
    made = m.run(scores=twice, instruments=None, settings=settings)
    assert made.models[LAST].factors == ("market", "size", "value")
    assert "a combination of factors before it" in made.left_out["twin"]


def test_too_few_names_or_too_short_a_history_give_no_model(market_of_factors: Simulated) -> None:
    m = market_of_factors
    nine = pl.col("instrument_id") < "n09"
    few = m.run(prices=m.prices.filter(nine), scores=m.scores.filter(nine))
    assert (few.models, few.factor_returns.height) == ({}, 0)
    early = m.run([m.days[50]])
    assert early.models == {}
    assert early.factor_returns.height > 1000
    nothing = m.run(scores=m.scores.head(0))
    assert (nothing.models, nothing.factor_returns.height) == ({}, 0)


def test_flat_prices_give_a_floor_and_no_fault(market_of_factors: Simulated) -> None:
    m = market_of_factors
    made = m.run(prices=m.prices.with_columns(tr_index=pl.lit(1.0))).models[LAST]
    np.testing.assert_allclose(made.volatility(), 1e-4)


def test_a_style_that_is_called_like_the_models_own_factors_is_refused(
    market_of_factors: Simulated,
) -> None:
    settings = SETTINGS.model_copy(update={"risk_styles": ("market", "sector Energy", "value")})
    with pytest.raises(PortfolioError, match=r"names \['market', 'sector Energy'\]"):
        market_of_factors.run(settings=settings)


def test_scores_are_asked_for_by_name(
    market_of_factors: Simulated, calendar: TradingCalendar
) -> None:
    m = market_of_factors
    with pytest.raises(PortfolioError, match="found no scores"):
        risk.estimate(m.prices, m.scores, [LAST], calendar, SETTINGS)
    bars = panel.build(m.prices, calendar)
    with pytest.raises(PortfolioError, match="prices as a panel"):
        risk.estimate(bars, m.scores, [LAST], calendar, SETTINGS, scores=m.scores)
    got = risk.estimate(m.prices, m.scores, [LAST], calendar, SETTINGS, scores=m.scores)
    assert list(got) == [LAST]


# --- what attribution needs ----------------------------------------------------------------------


def test_exposures_are_those_of_the_last_month_end_before_the_session(
    market_of_factors: Simulated, calendar: TradingCalendar
) -> None:
    m = market_of_factors
    ends = [date(2020, 4, 30), date(2020, 5, 29)]
    within = date(2020, 6, 10)
    models = m.run([*ends, within]).models
    got = risk.exposures_on(models, date(2020, 6, 11), ["n03", "zzz"], calendar)
    assert got is not None
    assert got.date == ends[1]
    assert got.known.tolist() == [True, False]
    np.testing.assert_array_equal(got.B[0], models[ends[1]].B[3])
    on_it = risk.exposures_on(models, ends[1], ["n03"], calendar)
    assert on_it is not None
    assert on_it.date == ends[0], (
        "exposures of a close do not explain the session that ends with it"
    )
    assert risk.exposures_on(models, ends[0], ["n03"], calendar) is None


def test_factor_returns_of_a_statistical_model_are_what_it_expects_given_the_names(
    market_of_factors: Simulated, calendar: TradingCalendar
) -> None:
    m = market_of_factors
    settings = PortfolioSettings(risk_sessions=120, risk_factors=3, risk_half_life=60)
    made = risk.produce(m.prices, m.scores, calendar, settings, start=None, end=LAST)
    models = risk.from_frames(made.exposures, made.factors)
    day = date(2020, 6, 12)
    model = models[date(2020, 5, 29)]
    r = _daily(m)[m.days.index(day) - 1]
    sigma = model.B @ model.F @ model.B.T + np.diag(model.d**2)
    want = model.F @ model.B.T @ np.linalg.solve(sigma, r)
    got = made.factor_returns.filter(pl.col("date") == day)
    assert got["factor"].to_list() == list(model.factors)
    np.testing.assert_allclose(got["value"].to_numpy(), want, rtol=1e-8, atol=1e-14)
    assert got["t"].null_count() == got.height
    market = np.corrcoef(
        made.factor_returns.filter(factor="pc01")["value"].to_numpy(),
        m.f[-made.factor_returns.filter(factor="pc01").height :, 0],
    )[0, 1]
    assert market > 0.95
    half = factor_returns._half(model.F)
    holed = np.where(np.arange(N) < 30, r, np.nan)
    part = np.arange(30)
    want = model.F @ model.B[part].T @ np.linalg.solve(sigma[np.ix_(part, part)], r[part])
    np.testing.assert_allclose(factor_returns.expected(model, half, holed), want, rtol=1e-8)
