"""What a report holds: numbers recomputed, missing things explained, nothing from later."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.reporting import Report, collect, export, interactive, page
from wealthos_pipeline.stats.var_tests import kupiec
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]
LAST, BEFORE, RUN = date(2022, 12, 28), "20221227T213000Z-a1", "20221228T213000Z-b2"


@pytest.fixture(scope="module")
def make(
    lake_of: Any, source_info: Any, mandate_definitions: Any, factor_definitions: Any
) -> Callable[..., Report]:
    def collected(frames: Frames, day: date = LAST, run_id: str = RUN) -> Report:
        return collect(
            lake_of(frames),
            date=day,
            info=source_info,
            settings=Settings(),
            run_id=run_id,
            mandates=mandate_definitions,
            factors=factor_definitions,
        )

    return collected


@pytest.fixture(scope="module")
def report(make: Callable[..., Report], fake_lake_frames: Frames) -> Report:
    return make(fake_lake_frames)


def known_then(frames: Frames, day: date, calendar: TradingCalendar) -> Frames:
    """A lake that physically holds only what was known after the close of ``day``."""
    out = {}
    for table, rows in frames.items():
        declared = contract(table)
        if table in ("meta.runs", "meta.checks"):  # about the run that rebuilds, not the day
            out[table] = rows
        elif declared.known == "column":
            out[table] = rows.filter(pl.col("known_at") <= calendar.known_at(day))
        elif declared.date_column:
            out[table] = rows.filter(pl.col(declared.date_column) <= day)
        else:
            out[table] = rows
    return out


@pytest.mark.parametrize("day", [date(2008, 9, 15), date(2020, 3, 20), date(2022, 12, 27)])
def test_a_past_report_is_not_changed_by_later_rows(
    make: Callable[..., Report], fake_lake_frames: Frames, calendar: TradingCalendar, day: date
) -> None:
    then = make(known_then(fake_lake_frames, day, calendar), day)
    now = make(fake_lake_frames, day)
    assert then.past
    assert then.date == day
    charts = [interactive.to_json(interactive.figures(r)) for r in (then, now)]
    assert charts[0] == charts[1]
    drawn = frozenset(json.loads(charts[0]))
    assert {"nav", "ic"} <= drawn
    assert page.build(then, drawn) == page.build(now, drawn)
    if day.year == 2020:
        assert export.render(then) == export.render(now)


def test_a_planted_leak_would_be_seen(
    make: Callable[..., Report], fake_lake_frames: Frames, calendar: TradingCalendar
) -> None:
    day = date(2020, 3, 20)
    early = fake_lake_frames["factors.performance"].with_columns(
        pl.lit(calendar.known_at(date(2005, 1, 3))).alias("known_at")
    )
    honest = make(fake_lake_frames, day)
    leaky = make({**fake_lake_frames, "factors.performance": early}, day)
    assert honest.factors != leaky.factors


def test_performance_is_that_of_the_nav(report: Report, fake_lake_frames: Frames) -> None:
    nav = fake_lake_frames["portfolio.nav"].filter(pl.col("mandate") == "core_equity").sort("date")
    value, days = nav["nav"].to_numpy(), nav["date"].to_list()
    mine = next(m for m in report.mandates if m.name == "core_equity")
    assert mine.track is not None
    assert mine.benchmark is not None
    year = next(i for i in reversed(range(len(days))) if days[i] <= date(2021, 12, 28))
    assert mine.track.returns["1 year"] == pytest.approx(value[-1] / value[year] - 1)
    ytd = next(i for i in reversed(range(len(days))) if days[i] <= date(2021, 12, 31))
    assert mine.track.returns["year to date"] == pytest.approx(value[-1] / value[ytd] - 1)
    peak = np.maximum.accumulate(value)
    assert mine.track.max_drawdown == pytest.approx((1 - value / peak).max())
    assert mine.track.max_drawdown_at == days[int((1 - value / peak).argmax())]
    ret = nav["return_net"].to_numpy()
    assert mine.track.volatility == pytest.approx(ret.std(ddof=1) * math.sqrt(252))
    assert mine.track.sharpe == pytest.approx(ret.mean() / ret.std(ddof=1) * math.sqrt(252))
    held = 1 / (nav["turnover"].sum() / len(ret))
    assert mine.track.holding == pytest.approx(held)
    assert mine.holding_assumed is not None
    growth = np.prod(1 + ret)
    assert mine.track.annual_return == pytest.approx(growth ** (252 / len(ret)) - 1)
    three = next(i for i in reversed(range(len(days))) if days[i] <= date(2019, 12, 28))
    assert mine.track.returns["3 years p.a."] == pytest.approx(
        (value[-1] / value[three]) ** (252 / (len(value) - 1 - three)) - 1
    )


def test_ratios_are_those_of_the_performance_module_over_the_risk_free_rate_where_known(
    make: Callable[..., Report], fake_lake_frames: Frames, calendar: TradingCalendar
) -> None:
    """A rate is known for two months only, and only from their ends on."""
    bills = pl.DataFrame(
        {
            "series": "risk_free",
            "tenor": "1M",
            "date": [date(2019, 5, 31), date(2019, 6, 28)],
            "value": [0.4, 0.3],
            "known_at": [
                calendar.known_at(date(2019, 5, 31)),
                calendar.known_at(date(2019, 6, 28)),
            ],
        }
    )
    table = contract("clean.series")
    series = fake_lake_frames["clean.series"].filter(
        ~pl.col("series").is_in(["risk_free", "ust_par"])
    )
    others = [c for c in table.column_names if c not in bills.columns]
    bills = bills.join(series.head(1).select(others), how="cross").select(table.column_names)
    frames = {**fake_lake_frames, "clean.series": pl.concat([series, table.conform(bills)])}
    nav = fake_lake_frames["portfolio.nav"].filter(pl.col("mandate") == "core_equity").sort("date")
    part = nav.filter(pl.col("date").is_between(date(2019, 5, 1), date(2019, 6, 28)))
    months = part["date"].dt.month()
    sessions = part.group_by(months.alias("month")).len().sort("month")["len"].to_list()
    rate = [{5: 1.004 ** (1 / sessions[0]), 6: 1.003 ** (1 / sessions[1])}[m] - 1 for m in months]
    over = part["return_net"].to_numpy() - np.array(rate)
    track = next(m for m in make(frames).mandates if m.name == "core_equity").track
    assert track is not None
    assert track.sharpe_excess == pytest.approx(over.mean() / over.std(ddof=1) * math.sqrt(252))
    assert track.risk_free_share == pytest.approx(part.height / nav.height)
    assert track.risk_free_until == date(2019, 6, 28)
    report = make(frames, date(2019, 6, 14))
    track = next(m for m in report.mandates if m.name == "core_equity").track
    assert track is not None
    assert track.risk_free_until == date(2019, 5, 31)
    text = export.render(report).text
    assert "Sharpe: √252 × mean / standard deviation of daily returns, nothing deducted" in text
    assert "sessions for which one is known, to 2019-05-31" in " ".join(text.split())
    assert "… assumed when deciding" in text
    without = make({**fake_lake_frames, "clean.series": series})
    track = next(m for m in without.mandates if m.name == "core_equity").track
    assert track is not None
    assert track.sharpe_excess is None


def test_exceptions_are_counted_against_their_number(
    report: Report, fake_lake_frames: Frames
) -> None:
    rows = fake_lake_frames["portfolio.risk_outcomes"].filter(pl.col("mandate") == "core_equity")
    mine = next(m for m in report.mandates if m.name == "core_equity")
    found = {(e.level, e.window): e for e in mine.exceptions}
    for window, part in (
        ("since start", rows),
        ("2008", rows.filter(pl.col("date").dt.year() == 2008)),
        ("2020", rows.filter(pl.col("date").dt.year() == 2020)),
    ):
        e = found[0.99, window]
        seen = int(part["exception_99"].sum())
        assert (e.n, e.observed) == (part.height, seen)
        assert e.expected == pytest.approx(0.01 * part.height)
        assert e.p == pytest.approx(kupiec(seen, part.height, 0.01).p_value)


def test_attribution_adds_up_to_the_difference_of_the_compounded_returns(
    report: Report, fake_lake_frames: Frames
) -> None:
    nav = fake_lake_frames["portfolio.nav"].sort("date")
    assert len([a for m in report.mandates for a in m.attribution]) == 4
    for m in report.mandates:
        for a in m.attribution:
            value = [
                nav.filter(pl.col("mandate") == name)["nav"].to_numpy()
                for name in (m.name, "equal_weight")
            ]
            mine, theirs = (v[-1] / v[-1 - a.sessions] for v in value)
            assert a.active == pytest.approx(mine - theirs, abs=1e-12)
            assert a.total == pytest.approx(a.active, abs=1e-12)
            assert abs(sum(x + y for _, x, y in a.sectors)) > 0


def test_attribution_without_a_benchmark_is_left_out(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    nav = recent_frames["portfolio.nav"].filter(pl.col("mandate") != "equal_weight")
    report = make({**recent_frames, "portfolio.nav": nav})
    assert not any(m.attribution for m in report.mandates)


def test_changes_come_from_the_record_of_the_run_before(
    report: Report, fake_lake_frames: Frames
) -> None:
    assert report.changes.against == f"run {BEFORE}, data of 2022-12-27"
    record = fake_lake_frames["record.issued"].filter(
        (pl.col("kind") == "target") & (pl.col("mandate") == "core_equity")
    )
    old, new = (
        dict(record.filter(pl.col("run_id") == r).select("instrument_id", "value").iter_rows())
        for r in (BEFORE, RUN)
    )
    change = {name: new[name] - old[name] for name in new}
    moved = [m for m in report.changes.targets if m.owner == "core_equity"]
    assert moved[0].instrument == max(change, key=lambda n: abs(change[n]))
    assert [abs(m.change) for m in moved] == sorted((abs(m.change) for m in moved), reverse=True)
    turnover = sum(abs(c) for c in change.values()) / 2
    assert (report.changes.turnover or {})["core_equity"] == pytest.approx(turnover)
    assert "1 new session of prices: 2022-12-27 to 2022-12-28." in report.changes.facts


def test_new_alerts_are_told_from_old_ones(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    record = recent_frames["record.issued"]
    known = pl.col("kind") == "alert"
    forgot = record.filter(~(known & (pl.col("instrument_id") == "wti")))
    report = make({**recent_frames, "record.issued": forgot})
    assert {a.subject: a.new for a in report.alerts} == {"impossible": False, "wti": True}


def test_a_first_run_says_that_there_is_nothing_to_compare(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    record = recent_frames["record.issued"]
    first = make({**recent_frames, "record.issued": record.filter(pl.col("run_id") == RUN)})
    assert "first run on record" in first.changes.why
    assert first.changes.against is not None
    assert "session before" in first.changes.against
    assert first.changes.predictions
    bare = make({"clean.prices": recent_frames["clean.prices"]})
    assert bare.changes.against is None


def test_a_second_run_on_the_same_data_changes_nothing(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    record = recent_frames["record.issued"].filter(pl.col("run_id") == RUN)
    again = record.with_columns(
        pl.lit("again").alias("run_id"), pl.col("issued_at") + pl.duration(minutes=5)
    )
    report = make({**recent_frames, "record.issued": pl.concat([record, again])}, run_id="again")
    assert report.changes.targets == ()
    assert report.changes.predictions == ()
    assert report.changes.facts[0] == "No new session: both speak of 2022-12-28."
    assert not any(a.new for a in report.alerts)


def test_the_impossible_mandate_keeps_its_words(report: Report) -> None:
    impossible = next(p for p in report.proposals if p.mandate == "impossible")
    assert impossible.status == "infeasible"
    assert "least change that is enough" in impossible.message
    assert impossible.trades == ()


def test_a_mandate_that_only_ever_held_cash_has_no_performance(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    nav = recent_frames["portfolio.nav"]
    cash = nav.filter(pl.col("mandate") == "core_equity").with_columns(
        mandate=pl.lit("impossible"),
        nav=pl.lit(1e7),
        names=pl.lit(0, pl.Int32),
        return_net=pl.lit(0.0),
    )
    report = make({**recent_frames, "portfolio.nav": pl.concat([nav, cash])})
    mine = next(m for m in report.mandates if m.name == "impossible")
    assert mine.track is None
    assert "cash only" in mine.why


def test_status_blocked_by_a_failed_check(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    checks = recent_frames["meta.checks"].with_columns(
        success=pl.col("check") != "positive", unexpected=pl.lit(3, pl.Int64)
    )
    report = make({**recent_frames, "meta.checks": checks})
    assert report.status == "blocked"
    assert "positive" in report.reasons[0]
    series = recent_frames["clean.series"].filter(pl.col("series") != "wti")
    mild = {"meta.checks": checks.with_columns(severity=pl.lit("warn")), "clean.series": series}
    warned = make({**recent_frames, **mild})
    assert warned.status == "complete"
    assert {a.severity for a in warned.alerts if a.name == "check_failed"} == {"warning"}


def test_status_degraded_by_a_series_that_stopped(
    make: Callable[..., Report], recent_frames: Frames
) -> None:
    series = recent_frames["clean.series"]
    report = make({**recent_frames, "clean.series": series.filter(pl.col("series") != "wti")})
    assert report.status == "complete"
    assert make(recent_frames).status == "degraded"


def test_status_degraded_by_old_prices(make: Callable[..., Report], recent_frames: Frames) -> None:
    old = recent_frames["clean.prices"].filter(pl.col("date") < date(2022, 12, 20))
    report = make({**recent_frames, "clean.prices": old})
    assert report.status == "degraded"
    assert "before the report's session 2022-12-28" in report.reasons[0]


def test_an_empty_lake_is_blocked_and_still_makes_a_page(make: Callable[..., Report]) -> None:
    report = make({})
    assert report.status == "blocked"
    rendered = export.render(report)
    assert rendered.images == {}
    assert "nothing below can be trusted" in rendered.html
    assert "No model has a scored prediction yet" in rendered.html


@pytest.mark.parametrize(
    "missing",
    [
        "clean.series",
        "clean.instruments",
        "portfolio.nav",
        "portfolio.attribution",
        "portfolio.risk",
        "portfolio.risk_outcomes",
        "portfolio.targets",
        "portfolio.solves",
        "models.evaluation",
        "models.predictions",
        "factors.performance",
        "monitor.regime",
        "monitor.opportunities",
        "meta.coverage",
        "record.issued",
    ],
)
def test_any_missing_table_leaves_a_page(
    make: Callable[..., Report], recent_frames: Frames, missing: str
) -> None:
    frames = {t: f for t, f in recent_frames.items() if t != missing}
    built = page.build(make(frames), frozenset())
    assert len(built.sections) == 9
    assert all(s.blocks for s in built.sections)


def test_a_day_without_a_session_is_that_of_the_session_before(
    make: Callable[..., Report], fake_lake_frames: Frames
) -> None:
    assert make(fake_lake_frames, date(2020, 3, 22)).date == date(2020, 3, 20)
