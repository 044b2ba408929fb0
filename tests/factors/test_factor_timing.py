"""Time-series evaluation against SciPy and cash flows one by one; what was not known does not count."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from types import MappingProxyType

import numpy as np
import polars as pl
import pytest
from scipy import stats

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import timing
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.stats import newey_west

END = datetime(2030, 1, 1, tzinfo=UTC)
FUNDS = ("SYN38", "SYN39", "SYN30", "SYN32", "SYN33", "SYN34")


def factor(name: str, direction: int, target: str, asset_class=AssetClass.CROSS_ASSET) -> Factor:
    return Factor(name, asset_class, "t", direction, name, "", expression="$close", target=target)


LIBRARY = Library(MappingProxyType({f.name: f for f in (
    factor("for_stocks", 1, "market"), factor("for_bonds", -1, "bond"), factor("own", -1, ""))}))  # fmt: skip


@pytest.fixture(scope="module")
def series(synthetic_raw, calendar) -> pl.DataFrame:
    from wealthos_pipeline.data.processors.series import clean

    rows = clean(synthetic_raw.series, calendar, now=END)
    holiday = (pl.col("tenor") == "10Y") & (pl.col("date") == date(2018, 10, 8))
    return rows.filter(~holiday)


@pytest.fixture(scope="module")
def instruments(synthetic_prices) -> pl.DataFrame:
    ids = synthetic_prices["instrument_id"].unique().sort()
    kind = (
        pl.when(pl.col("instrument_id").is_in(FUNDS))
        .then(pl.lit("cross_asset"))
        .otherwise(pl.lit("equity"))
    )
    return pl.DataFrame({"instrument_id": ids}).with_columns(asset_class=kind)


@pytest.fixture(scope="module")
def values(synthetic_prices, calendar) -> dict[str, pl.DataFrame]:
    days = calendar.frame(date(2016, 1, 4), date(2019, 8, 1))["date"]
    rng = np.random.default_rng(11)
    slow = np.cumsum(rng.standard_normal(len(days)))
    slow[::29] = np.nan
    one = pl.DataFrame(
        {"date": days, "instrument_id": "series:x", "for_stocks": slow, "for_bonds": -slow}
    )
    keys = synthetic_prices.filter(pl.col("instrument_id").is_in(FUNDS)).select(
        "date", "instrument_id"
    )
    many = keys.with_columns(pl.Series("own", rng.standard_normal(keys.height)))
    frame = pl.concat([one, many], how="diagonal").with_columns(
        pl.col(pl.Float64).cast(pl.Float32).fill_nan(None)
    )
    return {LIBRARY.families()[0].table: frame}


@pytest.fixture(scope="module")
def summed(values, synthetic_prices, series, instruments, calendar) -> pl.DataFrame:
    return timing.summary(
        values, synthetic_prices, series, LIBRARY, (5, 20), calendar, END, instruments=instruments
    )


def row(frame: pl.DataFrame, name: str, universe: str, horizon: int) -> dict:
    return frame.filter((pl.col("factor") == name) & (pl.col("universe") == universe) & (pl.col("horizon") == horizon)).row(0, named=True)  # fmt: skip


# --- the bond ------------------------------------------------------------------------------------


def slowly(coupon: float, y: float, years: float) -> float:
    """Dirty price per 100, cash flow by cash flow."""
    return sum(
        (coupon / 2 + (100 if k == 20 else 0)) / (1 + y / 200) ** (k - 2 * years)
        for k in range(1, 21)
    )


@pytest.mark.parametrize(
    ("coupon", "y"), [(4.0, 4.0), (1.5, 2.25), (7.9, 7.1), (0.6, 0.0), (0.5, -0.25)]
)
@pytest.mark.parametrize("years", [0.0, 0.02, 0.31])
def test_the_price_of_a_par_bond_is_its_cash_flows(coupon, y, years) -> None:
    found = timing.par_bond_price(np.array([coupon]), np.array([y]), np.array([years]))[0]
    assert math.isclose(100 * found, slowly(coupon, y, years), rel_tol=1e-12)
    if coupon == y:
        assert math.isclose(found, (1 + y / 200) ** (2 * years), rel_tol=1e-12)  # it stays at par


@pytest.mark.parametrize("horizon", [1, 20])
def test_bond_returns_are_bought_at_the_next_close_and_sold_on_the_curve_of_the_last(
    horizon, series, calendar
) -> None:
    found = timing.bond_returns(series, horizon, calendar)
    curve = {(r[0], r[1]): (r[2], r[3]) for r in series.filter(pl.col("series") == "ust_par")
             .select("date", "tenor", "value", "known_at").iter_rows()}  # fmt: skip
    labels = {r[0]: r[1:] for r in found.iter_rows()}
    compared = 0
    for day in calendar.sessions(date(2018, 8, 1), date(2018, 12, 31)):
        buy, sell = calendar.offset(day, 1), calendar.offset(day, 1 + horizon)
        if (buy, "10Y") not in curve or (sell, "10Y") not in curve:
            assert day not in labels
            continue
        years = (sell - buy).days / 365.25
        y, z7, z10 = curve[buy, "10Y"][0], curve[sell, "7Y"][0], curve[sell, "10Y"][0]
        z = np.interp(10 - years, [7, 10], [z7, z10])
        assert math.isclose(
            labels[day][0], slowly(y, z, years) / 100 - 1, rel_tol=1e-9, abs_tol=1e-12
        )
        assert labels[day][1] >= max(curve[sell, "10Y"][1], calendar.known_at(sell))
        compared += 1
    assert compared > 90
    assert date(2018, 10, 5) not in labels  # Columbus Day: stocks trade, the curve has a hole


def test_a_label_of_the_bond_is_shorter_than_its_coupon(series, calendar) -> None:
    assert timing.LONGEST * 366 / 250 < 182.6
    with pytest.raises(FactorError, match="1 to 120 sessions, found 121"):
        timing.bond_returns(series, 121, calendar)


def test_a_horizon_that_the_bond_cannot_have_leaves_the_other_factors_theirs(
    values, synthetic_prices, series, calendar, instruments
) -> None:
    made = timing.summary(
        values, synthetic_prices, series, LIBRARY, (20, 121), calendar, END, instruments=instruments
    )
    judged = {(f, h) for f, h in made.select("factor", "horizon").iter_rows()}
    assert {("for_stocks", 20), ("for_stocks", 121), ("for_bonds", 20)} <= judged
    assert ("for_bonds", 121) not in judged


# --- the coefficients ----------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [5, 20])
@pytest.mark.parametrize("name", ["for_stocks", "for_bonds"])
def test_one_value_a_date_is_ranked_over_dates(
    name, horizon, summed, values, synthetic_prices, series, calendar
) -> None:
    (frame,) = values.values()
    if name == "for_stocks":
        equities = synthetic_prices.filter(~pl.col("instrument_id").is_in(FUNDS))
        label = (
            forward_returns(equities, horizon, calendar)
            .group_by("date")
            .agg(pl.col("label").mean())
        )
    else:
        label = timing.bond_returns(series, horizon, calendar)
    both = frame.drop_nulls(name).join(label, on="date").sort("date")
    x, y = both[name].cast(pl.Float64).to_numpy(), both["label"].to_numpy()
    sign = LIBRARY.factors[name].direction
    found = row(summed, name, "time series", horizon)
    assert found["dates"] == both.height > 700
    assert math.isclose(found["mean_rank_ic"], sign * stats.spearmanr(x, y).statistic, abs_tol=1e-9)
    assert math.isclose(found["mean_ic"], sign * np.corrcoef(x, y)[0, 1], abs_tol=1e-9)
    u = stats.zscore(stats.rankdata(x)) * stats.zscore(stats.rankdata(y)) * sign
    assert math.isclose(
        found["t_newey_west"], newey_west.mean_tstat(u, 2 * horizon)[2], rel_tol=1e-9
    )
    ts = [found[t] for t in ("t_newey_west", "t_non_overlapping", "t_bootstrap")]
    assert abs(found["t"]) == min(map(abs, ts))
    low, high = np.quantile(x, (0.2, 0.8))
    assert math.isclose(
        found["mean_spread"], sign * (y[x > high].mean() - y[x <= low].mean()), abs_tol=1e-12
    )
    assert (
        found["coverage"]
        == 1 - frame.filter(pl.col("instrument_id") == "series:x")[name].null_count() / 901
    )
    assert found["mean_turnover"] is None
    assert found["rank_autocorrelation"] > 0.9


def test_own_factors_of_funds_through_time_and_across_names(
    summed, values, synthetic_prices, calendar
) -> None:
    (frame,) = values.values()
    funds = synthetic_prices.filter(pl.col("instrument_id").is_in(FUNDS))
    both = frame.drop_nulls("own").join(
        forward_returns(funds, 5, calendar), on=["date", "instrument_id"]
    )
    parts = []
    for _, part in both.group_by("instrument_id"):
        x, y = part["own"].cast(pl.Float64).to_numpy(), part["label"].to_numpy()
        product = stats.zscore(stats.rankdata(x)) * stats.zscore(stats.rankdata(y))
        parts.append(part.select("date").with_columns(u=pl.Series(product)))
    by_date = pl.concat(parts).group_by("date").agg(pl.col("u").mean())
    found = row(summed, "own", "time series", 5)
    assert math.isclose(found["mean_rank_ic"], -by_date["u"].mean(), abs_tol=1e-9)
    across = [
        stats.spearmanr(p["own"], p["label"]).statistic
        for _, p in both.group_by("date")
        if p.height >= 5
    ]
    found = row(summed, "own", "all", 5)
    assert found["dates"] == len(across) > 500
    assert math.isclose(found["mean_rank_ic"], -np.mean(across), abs_tol=1e-9)


def test_two_funds_are_not_ranked_across(
    values, synthetic_prices, series, instruments, calendar
) -> None:
    two = {t: f.filter(pl.col("instrument_id").is_in(FUNDS[:2])) for t, f in values.items()}
    out = timing.summary(
        two, synthetic_prices, series, LIBRARY, (5,), calendar, END, instruments=instruments
    )
    assert out["universe"].to_list() == ["time series"]
    assert out["factor"].to_list() == ["own"]


def test_what_was_not_known_does_not_count(
    values, synthetic_prices, series, instruments, calendar
) -> None:
    """At T the rows are those of a store that holds only what was known at T."""
    for at in (datetime(2018, 6, 4, 14, tzinfo=UTC), datetime(2018, 10, 9, 22, tzinfo=UTC)):
        whole = timing.summary(
            values,
            synthetic_prices,
            series,
            LIBRARY,
            (5, 20),
            calendar,
            at,
            instruments=instruments,
        )
        days = calendar.frame().filter(pl.col("known_at") <= at)["date"]
        bars = synthetic_prices.filter(pl.col("date") <= days.max())
        known = {t: f.filter(pl.col("date") <= days.max()) for t, f in values.items()}
        part = timing.summary(known, bars, series.filter(pl.col("known_at") <= at), LIBRARY, (5, 20), calendar, at,
                              instruments=instruments)  # fmt: skip
        assert whole.height == 8
        # a delisted name's last label may differ by what is held after; coverage counts rows given
        assert whole.drop("coverage").equals(part.drop("coverage"))


def test_the_contract_and_what_has_no_rows(
    summed, values, synthetic_prices, series, calendar
) -> None:
    assert summed.columns == list(contract("factors.summary").column_names)
    assert summed.select("factor", "universe", "horizon").is_unique().all()
    assert summed["bh_rejected"].null_count() == 0
    none = timing.summary({}, synthetic_prices, series, LIBRARY, (5,), calendar, END)
    assert none.is_empty()
    flat = {t: f.with_columns(for_stocks=pl.lit(1.0, pl.Float32)) for t, f in values.items()}
    found = timing.summary(flat, synthetic_prices, series, LIBRARY, (5,), calendar, END)
    assert "for_stocks" not in found["factor"]
