"""Attribution through the table path: the textbook's numbers, other labels, factors, costs, absolute."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import attribution, factor_effects
from wealthos_pipeline.portfolio.backtest import Backtest
from wealthos_pipeline.portfolio.risk import RiskModel

DAYS = (date(2024, 1, 31), date(2024, 2, 1))
NAMES = ("A1", "A2", "B1", "B2", "C1", "C2")
SECTORS = ("stocks", "stocks", "bonds", "bonds", "property", "property")
# a portfolio of the first name of each sector, a benchmark of the second
WEIGHTS = {"core": (0.4, 0.0, 0.3, 0.0, 0.3, 0.0), "equal_weight": (0.0, 0.4, 0.0, 0.2, 0.0, 0.4)}
RETURNS = (0.20, 0.10, -0.05, -0.04, 0.06, 0.08)
NAV = 1_000_000.0

Tiny = dict[str, pl.DataFrame]


def tiny(
    calendar: TradingCalendar, weights: dict[str, tuple[float, ...]], cost: float = 0.0
) -> Tiny:
    """One day: what is held at the close before, prices of both, net asset values."""
    slots = [calendar.slot(d) for d in DAYS]
    close = np.array([[100.0] * 6, [100.0 * (1 + r) for r in RETURNS]])
    prices = pl.DataFrame(
        {
            "instrument_id": list(NAMES) * 2,
            "slot": np.repeat(np.array(slots, dtype=np.int32), 6),
            "date": [d for d in DAYS for _ in NAMES],
            "close": close.ravel(),
            "tr_index": close.ravel() / 100,
        }
    )
    positions, navs = [], []
    for mandate, w in weights.items():
        cash = NAV * (1 - sum(w))
        held = [(n, NAV * x / 100.0) for n, x in zip(NAMES, w, strict=True) if x]
        positions += [(mandate, "backtest", DAYS[0], n, u) for n, u in [*held, ("cash", cash)]]
        gross = float(np.dot(w, RETURNS))
        paid = cost if mandate == "core" else 0.0
        end = NAV * (1 + gross) - paid
        navs += [
            (mandate, "backtest", DAYS[0], NAV, None, None, 0.0, 0.0, cash, len(held)),
            (mandate, "backtest", DAYS[1], end, end / NAV - 1, gross, paid, 0.0, cash - paid, len(held)),
        ]  # fmt: skip
    table = contract("portfolio.nav")
    columns = [c for c in table.column_names if c != "flow"]
    return {
        "positions": pl.DataFrame(
            positions, schema=contract("portfolio.positions").schema(), orient="row"
        ),
        "nav": pl.DataFrame(navs, schema={c: table.schema()[c] for c in columns}, orient="row"),
        "prices": prices,
        "instruments": pl.DataFrame(
            {
                "instrument_id": NAMES,
                "valid_from": [DAYS[0]] * 6,
                "sector": SECTORS,
                "currency": ["USD", "EUR"] * 3,
            }
        ),
    }


def run(t: Tiny, calendar: TradingCalendar, **more: object) -> pl.DataFrame:
    return attribution.daily(
        t["positions"], t["nav"], t["prices"], t["instruments"], calendar, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def lines(rows: pl.DataFrame, benchmark: str = "equal_weight") -> dict[tuple[str, str], float]:
    own = rows.filter(pl.col("benchmark") == benchmark)
    return {(e, g): v for e, g, v in own.select("effect", "group", "value").iter_rows()}


def test_the_textbook_through_tables(calendar: TradingCalendar) -> None:
    """Weights .4/.3/.3 against .4/.2/.4, returns 20/−5/6 % against 10/−4/8 %: 8.3 % against 6.4 %."""
    got = lines(run(tiny(calendar, WEIGHTS), calendar))
    percent = {k: 100 * v for k, v in got.items()}
    for sector, allocation in (("stocks", 0.0), ("bonds", -1.04), ("property", -0.16)):
        assert percent["allocation", sector] == pytest.approx(allocation, abs=1e-12)
    sums = {
        effect: sum(v for (e, _), v in percent.items() if e == effect)
        for effect in ("allocation", "selection", "interaction")
    }
    assert sums == {
        "allocation": pytest.approx(-1.2, abs=1e-12),
        "selection": pytest.approx(3.0, abs=1e-12),
        "interaction": pytest.approx(0.1, abs=1e-12),
    }
    for line in ("cash", "trading", "cost", "residual"):
        assert got[line, ""] == pytest.approx(0.0, abs=1e-14)
    assert sum(percent.values()) == pytest.approx(8.3 - 6.4, abs=1e-12)


def test_the_absolute_lines_are_contributions(calendar: TradingCalendar) -> None:
    got = lines(run(tiny(calendar, WEIGHTS), calendar), "")
    assert got["contribution", "stocks"] == pytest.approx(0.4 * 0.2)
    assert got["contribution", "bonds"] == pytest.approx(-0.3 * 0.05)
    assert sum(got.values()) == pytest.approx(0.083, abs=1e-15)


def test_any_label_and_any_mapping_of_ones_own(calendar: TradingCalendar) -> None:
    t = tiny(calendar, WEIGHTS)
    style = pl.DataFrame(
        {"instrument_id": NAMES[:5], "group": ["value", "growth", "value", "growth", None]}
    )
    rows = run(t, calendar, schemes=("sector", "currency", "style"), mappings={"style": style})
    groups = {
        str(scheme): set(part.filter(pl.col("effect") == "allocation")["group"])
        for (scheme,), part in rows.partition_by("scheme", as_dict=True).items()
    }
    assert groups["currency"] == {"USD", "EUR"}
    assert groups["style"] == {"value", "growth", "unknown style"}
    for _, part in (
        rows.filter(pl.col("benchmark") != "").partition_by("scheme", as_dict=True).items()
    ):
        assert part["value"].sum() == pytest.approx(0.019, abs=1e-14)
    with pytest.raises(PortfolioError, match=r"'planet'.*currency.*sector"):
        run(t, calendar, schemes=("planet",))


def test_a_group_whose_longs_and_shorts_cancel_is_explained(calendar: TradingCalendar) -> None:
    """Weight 0 and a result: no return exists, and nothing of it is left to the residual."""
    weights = {
        "core": (0.3, -0.3, 0.5, 0.0, 0.2, 0.0),
        "equal_weight": (0.1, -0.1, 0.2, 0.3, 0.2, 0.2),
    }
    got = lines(run(tiny(calendar, weights), calendar))
    assert got["residual", ""] == pytest.approx(0.0, abs=1e-15)
    assert got["trading", ""] == pytest.approx(0.0, abs=1e-15)
    assert got["allocation", "stocks"] == 0.0
    active = np.dot(np.subtract(weights["core"], weights["equal_weight"]), RETURNS)
    assert sum(got.values()) == pytest.approx(active, abs=1e-15)


def test_money_is_a_line_of_its_own(calendar: TradingCalendar) -> None:
    weights = {"core": (0.4, 0.0, 0.2, 0.0, 0.2, 0.0), "equal_weight": WEIGHTS["equal_weight"]}
    got = lines(run(tiny(calendar, weights), calendar))
    assert got["cash", ""] == pytest.approx(0.2 * (0.0 - 0.064))
    assert got["residual", ""] == pytest.approx(0.0, abs=1e-15)


def test_costs_by_kind_borrow_and_interest(calendar: TradingCalendar) -> None:
    """1,000 were paid; the log tells 900 of them, 50 of which for borrowing."""
    t = tiny(calendar, WEIGHTS, cost=1000.0)
    events = pl.DataFrame(
        [
            ("core", "backtest", DAYS[1], kind, amount * 10_000)
            for kind, amount in (("commission", -300), ("spread", -500), ("spread", -50), ("borrow", -50), ("buy", -9))
        ],
        schema=["mandate", "run_kind", "date", "kind", "amount"],
        orient="row",
    )  # fmt: skip
    got = lines(run(t, calendar, charges=attribution.charges_of(events)))
    assert got["cost", "commission"] == pytest.approx(-300 / NAV)
    assert got["cost", "spread"] == pytest.approx(-550 / NAV)
    assert got["cost", ""] == pytest.approx(-100 / NAV)
    assert got["borrow", ""] == pytest.approx(-50 / NAV)
    assert sum(got.values()) == pytest.approx(0.019 - 1000 / NAV, abs=1e-15)
    earned = pl.DataFrame(
        [("core", "backtest", DAYS[1], "interest", 40.0)],
        schema=["mandate", "run_kind", "date", "kind", "amount"],
        orient="row",
    )
    plain, with_it = lines(run(t, calendar)), lines(run(t, calendar, charges=earned))
    assert with_it["cash", ""] - plain["cash", ""] == pytest.approx(40 / NAV)
    assert with_it["trading", ""] - plain["trading", ""] == pytest.approx(-40 / NAV)
    with pytest.raises(PortfolioError, match="kinds rent"):
        run(t, calendar, charges=earned.with_columns(kind=pl.lit("rent")))


def test_factor_effects_are_exposure_times_return(calendar: TradingCalendar) -> None:
    rng = np.random.default_rng(2)
    B, d = rng.normal(size=(6, 2)), rng.uniform(0.01, 0.03, 6)
    model = RiskModel(DAYS[0], NAMES, ("pc01", "pc02"), B, np.eye(2), d)
    t = tiny(calendar, WEIGHTS)
    rows = run(t, calendar, schemes=("factor",), models={DAYS[0]: model})
    got = lines(rows)
    W = np.diag(1 / d**2)
    f = np.linalg.solve(B.T @ W @ B, B.T @ W @ np.array(RETURNS))
    active = np.subtract(WEIGHTS["core"], WEIGHTS["equal_weight"])
    for k, name in enumerate(model.factors):
        assert got["factor", name] == pytest.approx((active @ B)[k] * f[k], abs=1e-14)
    assert got["specific", ""] == pytest.approx(active @ (np.array(RETURNS) - B @ f), abs=1e-14)
    assert sum(got.values()) == pytest.approx(0.019, abs=1e-14)
    stored = pl.DataFrame({"date": [DAYS[1]] * 2, "factor": model.factors, "value": [0.01, -0.02]})
    told = lines(
        run(t, calendar, schemes=("factor",), models={DAYS[0]: model}, factor_returns=stored)
    )
    assert told["factor", "pc02"] == pytest.approx((active @ B)[1] * -0.02, abs=1e-15)
    assert sum(told.values()) == pytest.approx(0.019, abs=1e-14)


def test_without_a_model_there_are_no_factor_lines(calendar: TradingCalendar) -> None:
    t = tiny(calendar, WEIGHTS)
    assert run(t, calendar, schemes=("factor",), models={}).is_empty()
    with pytest.raises(PortfolioError, match="needs risk models"):
        run(t, calendar, schemes=("factor",))


def test_factor_returns_are_weighted_least_squares() -> None:
    rng = np.random.default_rng(6)
    B, weights = rng.normal(size=(40, 3)), rng.uniform(1, 9, 40)
    returns = rng.normal(size=(5, 40))
    returns[1, :7] = np.nan
    returns[4, 2:] = np.nan
    got = factor_effects.factor_returns(B, returns, weights)
    for t in range(4):
        seen = np.isfinite(returns[t])
        root = np.sqrt(weights[seen])
        want, *_ = np.linalg.lstsq(B[seen] * root[:, None], returns[t, seen] * root)
        np.testing.assert_allclose(got[t], want, rtol=1e-10)
    assert np.isnan(got[4]).all()
    # market and all its sectors: the fitted returns are those of the sectors alone
    sectors = np.kron(np.eye(4), np.ones((10, 1)))
    both = np.hstack([np.ones((40, 1)), sectors])
    fitted = factor_effects.factor_returns(both, returns[:1], weights) @ both.T
    alone = factor_effects.factor_returns(sectors, returns[:1], weights) @ sectors.T
    np.testing.assert_allclose(fitted, alone, atol=1e-12)


@pytest.fixture(scope="module")
def by_factor(market: Market, core_run: Backtest, benchmark_run: Backtest) -> pl.DataFrame:
    return attribution.daily(
        pl.concat([core_run.positions, benchmark_run.positions]),
        pl.concat([core_run.nav, benchmark_run.nav]),
        market.prices,
        market.instruments,
        market.calendar,
        schemes=("sector", "factor"),
        models=market.risk_models,
    )


def test_every_scheme_adds_up_to_the_return_of_each_day(
    by_factor: pl.DataFrame, core_run: Backtest, benchmark_run: Backtest
) -> None:
    mine = core_run.nav.select("date", pl.col("return_net").alias("p"))
    both = mine.join(benchmark_run.nav.select("date", pl.col("return_net").alias("b")), on="date")
    for (scheme, against), part in by_factor.partition_by(
        "scheme", "benchmark", as_dict=True
    ).items():
        sums = part.group_by("date").agg(pl.col("value").sum()).join(both, on="date")
        want = sums["p"] - sums["b"] if against else sums["p"]
        assert sums.height > 300, scheme
        np.testing.assert_allclose(sums["value"], want, atol=1e-12)
        residual = part.filter(pl.col("effect") == "residual")
        assert residual.height == sums.height
        assert residual["value"].abs().max() < 1e-12  # type: ignore[operator]


def test_exposures_are_those_of_the_last_month_end(
    market: Market, by_factor: pl.DataFrame, core_run: Backtest
) -> None:
    """One day by hand, with the model of the month end before; the names that moved give the rest."""
    day = date(2018, 6, 13)
    model = market.risk_models[date(2018, 5, 31)]
    before = core_run.positions.filter(pl.col("date") < day)
    held = before.filter(
        (pl.col("date") == pl.col("date").max()) & (pl.col("instrument_id") != "cash")
    )
    marks = (
        market.prices.filter(pl.col("date") < day)
        .sort("date")
        .group_by("instrument_id")
        .agg(pl.col("close").last())
    )
    value = held.join(marks, on="instrument_id").sort("instrument_id")
    nav = core_run.nav.filter(pl.col("date") < day).sort("date")["nav"][-1]
    B, _, _ = model.align(value["instrument_id"].to_list())
    x = (value["units"] * value["close"] / nav).to_numpy() @ B
    wide = market.prices.filter(
        pl.col("date").is_in([date(2018, 6, 12), day]) & pl.col("instrument_id").is_in(model.ids)
    ).pivot(on="date", index="instrument_id", values="tr_index")
    wide = wide.drop_nulls().sort("instrument_id")
    rows = [model.index[i] for i in wide["instrument_id"]]
    r = (wide[str(day)] / wide["2018-06-12"] - 1).to_numpy()
    root = 1 / model.d[rows]
    f, *_ = np.linalg.lstsq(model.B[rows] * root[:, None], r * root)
    own = by_factor.filter(
        (pl.col("mandate") == "core") & (pl.col("benchmark") == "") & (pl.col("date") == day)
    )
    got = dict(own.filter(pl.col("effect") == "factor").select("group", "value").iter_rows())
    assert set(got) == set(model.factors)
    for k, name in enumerate(model.factors):
        assert got[name] == pytest.approx(x[k] * f[k], abs=1e-10)


def test_a_later_start_gives_the_same_bits_by_factor(
    market: Market, by_factor: pl.DataFrame, core_run: Backtest, benchmark_run: Backtest
) -> None:
    nav = pl.concat([core_run.nav, benchmark_run.nav])
    cut = date(2018, 8, 17)
    again = attribution.daily(
        pl.concat([core_run.positions, benchmark_run.positions]),
        nav.filter(pl.col("date") >= market.calendar.offset(cut, -1)),
        market.prices.filter(pl.col("date") >= market.calendar.offset(cut, -15)),
        market.instruments,
        market.calendar,
        schemes=("sector", "factor"),
        models={d: m for d, m in market.risk_models.items() if d >= date(2018, 7, 1)},
        start=cut,
    )
    assert again.equals(by_factor.filter(pl.col("date") >= cut))


def test_a_model_of_the_middle_of_a_month_is_not_used(
    market: Market, core: Mandate, core_run: Backtest, benchmark_run: Backtest
) -> None:
    """The latest date has a model for its proposals; the day after it is gone, and nothing may repaint."""
    models = dict(market.risk_models)
    models[date(2018, 6, 12)] = models[date(2018, 4, 30)]
    runs = (core_run, benchmark_run)
    made = [
        attribution.daily(
            pl.concat([r.positions for r in runs]),
            pl.concat([r.nav for r in runs]),
            market.prices,
            market.instruments,
            market.calendar,
            schemes=("factor",),
            models=chosen,
            end=date(2018, 6, 20),
        )
        for chosen in (models, market.risk_models)
    ]
    assert made[0].equals(made[1])
