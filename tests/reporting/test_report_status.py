"""complete, degraded or blocked: old parts are named with their age, late prices are noticed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.reporting import Report, collect, page
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]
LAST, RUN = date(2022, 12, 28), "20221228T213000Z-b2"


@pytest.fixture(scope="module")
def healthy(recent_frames: Frames) -> Frames:
    """Without the alert about data that the frames raise on purpose."""
    series = recent_frames["clean.series"]
    return {**recent_frames, "clean.series": series.filter(pl.col("series") != "wti")}


@pytest.fixture(scope="module")
def make(lake_of: Any, source_info: Any, mandate_definitions: Any) -> Callable[..., Report]:
    def collected(frames: Frames, now: datetime | None = None) -> Report:
        return collect(
            lake_of(frames),
            date=LAST,
            info=source_info,
            settings=Settings(),
            run_id=RUN,
            mandates=mandate_definitions,
            now=now,
        )

    return collected


def until(frames: Frames, table: str, day: date) -> Frames:
    return {**frames, table: frames[table].filter(pl.col("date") <= day)}


def test_all_of_the_session_is_complete(make: Callable[..., Report], healthy: Frames) -> None:
    report = make(healthy)
    assert (report.status, report.reasons, report.ages) == ("complete", (), ())


@pytest.mark.parametrize(
    ("table", "anchor", "what"),
    [
        ("monitor.regime", "market", "Regime"),
        ("portfolio.nav", "mandates", "Performance of the mandates"),
        ("portfolio.risk", "mandates", "Risk forecasts"),
    ],
)
def test_an_old_part_is_named_with_its_age(
    make: Callable[..., Report], healthy: Frames, table: str, anchor: str, what: str
) -> None:
    frames = until(healthy, table, date(2022, 12, 21))
    if table == "portfolio.nav":  # what is made from it stops with it
        frames = until(frames, "portfolio.attribution", date(2022, 12, 21))
    report = make(frames)
    assert report.status == "degraded"
    said = f"{what}: as of 2022-12-21, 4 sessions before the prices."  # 22, 23, 27, 28
    assert report.reasons == (said,)
    built = page.build(report, frozenset())
    (section,) = (s for s in built.sections if s.anchor == anchor)
    assert getattr(section.blocks[0], "text", None) == said
    assert any(getattr(b, "text", None) == said for b in built.lead)


def test_no_live_decision_makes_a_page_of_the_past_not_an_old_one(
    make: Callable[..., Report], healthy: Frames
) -> None:
    live = pl.col("run_kind") == "live"
    report = make(
        {**healthy, "portfolio.solves": healthy["portfolio.solves"].filter(~live)},
    )
    assert report.past
    assert report.ages == ()


@pytest.mark.parametrize(
    ("late", "status"), [(0, "complete"), (1, "degraded"), (20, "degraded"), (21, "complete")]
)
def test_late_prices_are_noticed_and_an_ended_panel_is_not_called_late_every_day(
    make: Callable[..., Report],
    healthy: Frames,
    calendar: TradingCalendar,
    late: int,
    status: str,
) -> None:
    closed = calendar.known_at(calendar.date_of(calendar.slot(LAST) + late))
    report = make(healthy, closed + timedelta(hours=1))
    assert report.status == status
    assert any("sessions since then" in r or "session since then" in r for r in report.reasons) == (
        status == "degraded"
    )
    assert any("end on 2022-12-28" in n for n in report.notes) == (late > 20)


def test_a_vendor_that_did_not_give_prices_degrades_the_page(
    make: Callable[..., Report], healthy: Frames
) -> None:
    rows = [
        ("yahoo", "*", "yahoo gave nothing: HTTP 503", "everything", "what was stored"),
        ("treasury", "*", "29 of 35 not asked: HTTP 500", "series", "what was stored"),
        ("yahoo", "GONE", "GONE: No data found", "prices", None),
        ("yahoo", "AAPL", "HTTP 500", "news", None),  # no price: not a reason
        ("files", "XYZ", "no sector", None, None),
    ]
    names = ["source", "symbol", "reason", "what", "kept"]
    failures = pl.DataFrame(rows, schema=names, orient="row").with_columns(run_id=pl.lit(RUN))
    report = make({**healthy, "meta.failures": failures})
    assert report.status == "degraded"
    assert report.reasons == (
        "treasury: 29 of 35 not asked: HTTP 500.",
        "yahoo gave nothing: HTTP 503.",
        "yahoo, GONE: No data found.",
    )
    other = failures.with_columns(run_id=pl.lit("another run"))
    assert make({**healthy, "meta.failures": other}).status == "complete"


def test_no_trade_is_shown_on_late_prices(make: Callable[..., Report], healthy: Frames) -> None:
    clock = TradingCalendar("XNYS", 30)
    fresh = make(healthy, clock.known_at(LAST))
    assert any(p.trades for p in fresh.proposals)
    report = make(healthy, clock.known_at(clock.offset(LAST, 1)))
    assert report.proposals
    assert not any(p.trades for p in report.proposals)
    assert all("every price is stale" in p.message for p in report.proposals)


def test_a_bar_that_was_corrected_in_the_evening_is_not_called_missing(
    make: Callable[..., Report], healthy: Frames
) -> None:
    bars = healthy["clean.prices"]
    name = bars.filter(pl.col("date") == LAST)["instrument_id"].sort()[0]
    last = (pl.col("instrument_id") == name) & (pl.col("date") == LAST)
    late = pl.col("known_at") + pl.duration(hours=1)

    def behind(flags: int) -> list[int]:
        moved = bars.with_columns(
            pl.when(last).then(late).otherwise("known_at").alias("known_at"),
            pl.when(last).then(pl.lit(flags, pl.Int32)).otherwise("flags").alias("flags"),
        )
        report = make({**healthy, "clean.prices": moved})
        return [age for _, _, age in report.health.behind]

    before = len(make(healthy).health.behind)
    assert len(behind(128)) == before
    assert len(behind(0)) == before + 1
