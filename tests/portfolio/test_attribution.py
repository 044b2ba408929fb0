"""Attribution: the textbook example, the sum to the active return, linking over time."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from portfolio_market import Market

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.portfolio import attribution, backtest, linking
from wealthos_pipeline.portfolio.backtest import Backtest

Book = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def book(market: Market, core: Mandate, core_run: Backtest, benchmark_run: Backtest) -> Book:
    """Positions and NAV of the benchmark, a mandate, and one that fills at the open."""
    early = market.run(core.model_copy(update={"name": "opening", "fill": "open"}))
    runs = (core_run, early, benchmark_run)
    return pl.concat([r.positions for r in runs]), pl.concat([r.nav for r in runs])


@pytest.fixture(scope="module")
def effects(market: Market, book: Book) -> pl.DataFrame:
    return attribution.daily(
        *book, market.prices, market.instruments, market.calendar, absolute=False
    )


def test_brinson_fachler_textbook_example() -> None:
    e = attribution.brinson_fachler(
        np.array([0.4, 0.3, 0.3]),
        np.array([0.4, 0.2, 0.4]),
        np.array([0.20, -0.05, 0.06]),
        np.array([0.10, -0.04, 0.08]),
        0.064,
    )
    np.testing.assert_allclose(100 * e.allocation, [0.0, -1.04, -0.16], atol=1e-12)
    assert 100 * e.selection.sum() == pytest.approx(3.0)
    assert 100 * e.interaction.sum() == pytest.approx(0.1)
    total = e.allocation.sum() + e.selection.sum() + e.interaction.sum()
    assert total == pytest.approx(0.083 - 0.064)


def test_a_sector_that_one_side_does_not_hold() -> None:
    e = attribution.brinson_fachler(
        np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([0.1, 0.3]), np.array([0.1, 9.0]), 0.1
    )
    np.testing.assert_allclose(e.allocation, [0.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(e.interaction, [0.0, 0.5 * 0.2])
    np.testing.assert_allclose(e.selection, [0.0, 0.0])


def test_effects_add_up_to_the_active_return_every_day(
    book: Book, effects: pl.DataFrame, core_run: Backtest
) -> None:
    _, nav = book
    bench = nav.filter(pl.col("mandate") == "equal_weight").select(
        "date", pl.col("return_net").alias("b")
    )
    sums = effects.group_by("mandate", "date").agg(pl.col("value").sum())
    joined = sums.join(nav, on=["mandate", "date"]).join(bench, on="date")
    assert set(effects["mandate"]) == {"core", "opening"}
    assert joined.filter(pl.col("mandate") == "core").height == core_run.nav.height - 1
    np.testing.assert_allclose(joined["value"], joined["return_net"] - joined["b"], atol=1e-12)
    residual = effects.filter(pl.col("effect") == "residual")
    assert residual.height == joined.height
    assert residual["value"].abs().max() < 1e-12  # type: ignore[operator]


def test_each_line_is_what_it_says(
    market: Market, book: Book, effects: pl.DataFrame, core_run: Backtest
) -> None:
    """One day by hand: weights of the evening before, returns of the day, sector by sector."""
    positions, nav = book
    day, before = date(2018, 6, 13), date(2018, 6, 12)
    last = [
        market.prices.filter(pl.col("date") <= d)
        .sort("date")
        .group_by("instrument_id", maintain_order=True)
        .agg(pl.col("tr_index", "close").last().name.suffix(f"_{name}"))
        for d, name in ((before, "a"), (day, "b"))
    ]
    marks = last[0].join(last[1], on="instrument_id")
    sides = {}
    for name in ("core", "equal_weight"):
        mine = positions.filter((pl.col("mandate") == name) & (pl.col("date") <= before))
        held = (
            mine.filter(pl.col("date") == mine["date"].max())
            .join(marks, on="instrument_id")
            .join(market.instruments, on="instrument_id")
            .with_columns(pl.col("sector").fill_null("unknown sector"))
        )
        value = nav.filter((pl.col("mandate") == name) & (pl.col("date") == before))["nav"][0]
        sides[name] = {
            s: (
                (part["units"] * part["close_a"]).sum() / value,
                (
                    part["units"] * part["close_a"] * (part["tr_index_b"] / part["tr_index_a"] - 1)
                ).sum()
                / value,
            )
            for (s,), part in held.partition_by("sector", as_dict=True).items()
        }
    got = {
        (e, g): v
        for e, g, v in effects.filter((pl.col("mandate") == "core") & (pl.col("date") == day))
        .select("effect", "group", "value")
        .iter_rows()
    }
    total = sum(c for _, c in sides["equal_weight"].values())
    for sector, (w_b, c_b) in sides["equal_weight"].items():
        w_p, c_p = sides["core"].get(sector, (0.0, 0.0))
        r_b = c_b / w_b
        r_p = c_p / w_p if w_p else r_b
        assert got["allocation", sector] == pytest.approx((w_p - w_b) * (r_b - total), abs=1e-15)
        assert got["selection", sector] == pytest.approx(w_b * (r_p - r_b), abs=1e-15)
        assert got["interaction", sector] == pytest.approx((w_p - w_b) * (r_p - r_b), abs=1e-15)
    # the values of positions are rounded to 1/10,000: 30 of them, of a million
    assert got["trading", ""] == pytest.approx(0.0, abs=1e-8)


def test_trading_and_cost_appear_on_fill_days_only(effects: pl.DataFrame, book: Book) -> None:
    _, nav = book
    fills = nav.filter(pl.col("cost") > 0).select("date").unique()
    lines = effects.filter(pl.col("effect").is_in(["trading", "cost"]))
    quiet = lines.join(fills, on="date", how="anti")
    assert quiet["value"].abs().max() < 1e-8  # type: ignore[operator]
    opening = lines.filter((pl.col("mandate") == "opening") & (pl.col("effect") == "trading"))
    assert opening["value"].abs().max() > 1e-6  # type: ignore[operator]


def test_starting_at_a_later_date_gives_the_same_bits(
    market: Market, book: Book, effects: pl.DataFrame
) -> None:
    positions, nav = book
    for cut in (date(2018, 8, 1), date(2018, 8, 17), market.last):
        again = attribution.daily(
            positions,
            nav.filter(pl.col("date") >= market.calendar.offset(cut, -1)),
            market.prices.filter(pl.col("date") >= market.calendar.offset(cut, -backtest.LOOKBACK)),
            market.instruments,
            market.calendar,
            start=cut,
            absolute=False,
        )
        assert again.equals(effects.filter(pl.col("date") >= cut))


@pytest.mark.parametrize("period", [(None, None), (date(2018, 1, 1), date(2018, 12, 31))])
def test_linked_effects_add_up_to_the_difference_of_compounded_returns(
    book: Book, effects: pl.DataFrame, period: tuple[date | None, date | None]
) -> None:
    _, nav = book
    start, end = period
    got = linking.linked(effects, nav, start=start, end=end)
    days = (
        effects.filter(
            (pl.col("date") >= (start or date.min)) & (pl.col("date") <= (end or date.max))
        )
        .select("date")
        .unique()
    )
    for mandate in ("core", "opening"):
        whole = [
            nav.filter(pl.col("mandate") == m).join(days, on="date", how="semi")
            .select((1 + pl.col("return_net")).product()).item() - 1
            for m in (mandate, "equal_weight")
        ]  # fmt: skip
        total = got.filter(pl.col("mandate") == mandate)["value"].sum()
        assert total == pytest.approx(whole[0] - whole[1], abs=1e-12)
    assert "residual" in got["effect"].to_list()


def test_linking_one_day_changes_nothing(book: Book, effects: pl.DataFrame) -> None:
    day = date(2018, 6, 13)
    got = linking.linked(effects, book[1], start=day, end=day)
    want = effects.filter(pl.col("date") == day).sort("mandate", "effect", "group")
    np.testing.assert_allclose(
        got.sort("mandate", "effect", "group")["value"], want["value"], rtol=1e-12
    )


def test_linking_needs_the_returns_of_both_sides(book: Book, effects: pl.DataFrame) -> None:
    _, nav = book
    with pytest.raises(PortfolioError, match="equal_weight"):
        linking.linked(effects, nav.filter(pl.col("mandate") != "equal_weight"))
