"""Stated delistings: the file, the terminal bar, and what labels and backtests make of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.core.mandate import Costs
from wealthos_pipeline.data.processors import delistings, membership, prices
from wealthos_pipeline.data.processors import instruments as identity
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.factors import forward_returns
from wealthos_pipeline.portfolio.accounts import DEAD_AFTER, Account, Feed, rules, ticks
from wealthos_pipeline.portfolio.panel import build
from wealthos_pipeline.utils.config import CleaningSettings

FIRST = date(2016, 1, 4)
NOW = datetime(2016, 6, 1, tzinfo=UTC)
LAST = 9
"""Number of the last session of DEAD."""


@pytest.fixture
def days(calendar: TradingCalendar) -> list[date]:
    return calendar.sessions(FIRST, calendar.offset(FIRST, 39))


@pytest.fixture
def raw(days: list[date]) -> pl.DataFrame:
    """Two names; DEAD stops after ten sessions, and two rows of its come later."""
    rows = [
        {"symbol": s, "date": d, "close": 10.0 + i % 3, "volume": 5.0}
        for s in ("DEAD", "LIVE") for i, d in enumerate(days) if s == "LIVE" or i <= LAST or i in (12, 30)
    ]  # fmt: skip
    return contract("raw.prices").conform(
        pl.DataFrame(rows).with_columns(source=pl.lit("v"), fetched_at=pl.lit(NOW))
    )


@pytest.fixture
def names(raw: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    told = raw.select("source", "symbol").unique().with_columns(
        fetched_at=pl.lit(NOW), asset_class=pl.lit("equity"), exchange=pl.lit("XNYS"), currency=pl.lit("USD")
    )  # fmt: skip
    return identity.clean(contract("raw.instruments").conform(told), raw, calendar=calendar)


def written(folder: Path, *lines: str) -> Path:
    path = folder / delistings.FILE
    path.write_text("\n".join(lines) + "\n")
    return path


# --- the file --------------------------------------------------------------------------------------


def test_no_file_is_no_delisting(tmp_path: Path, calendar: TradingCalendar) -> None:
    assert delistings.read(tmp_path / delistings.FILE, calendar).height == 0


def test_every_fault_is_listed(tmp_path: Path, calendar: TradingCalendar) -> None:
    path = written(
        tmp_path,
        "symbol,date,terminal_return,known_on",
        ",2016-01-15,-0.3,",
        "A,2016-01-16,0.1,",
        "B,15.01.2016,-1.5,",
        "C,,minus,soon",
        "D,2016-01-15,,",
        "D,2016-01-19,,",
    )
    with pytest.raises(ConfigError) as caught:
        delistings.read(path, calendar)
    said = str(caught.value)
    for words in (
        "row 2: neither symbol nor instrument_id",
        "row 3: 2016-01-16 is no session of XNYS",
        "row 4: date '15.01.2016' is not YYYY-MM-DD",
        "row 4: terminal_return -1.5 is not a decimal of at least -1",
        "row 5: terminal_return 'minus' is not a decimal number",
        "row 5: date is empty",
        "row 5: known_on 'soon' is not YYYY-MM-DD",
        "'D' has several rows",
    ):
        assert words in said
    with pytest.raises(ConfigError, match=r"missing columns \['date'\], unknown columns \['day'\]"):
        delistings.read(written(tmp_path, "symbol,day", "A,2016-01-15"), calendar)


def test_names_that_nobody_has_are_said(
    tmp_path: Path, names: pl.DataFrame, calendar: TradingCalendar
) -> None:
    stated = delistings.read(
        written(tmp_path, "symbol,instrument_id,date", "GONE,,2016-01-15", ",XNYS:DEAD,2016-01-15"),
        calendar,
    )
    assert delistings.unmatched(stated, names) == ["GONE"]
    ends = delistings.resolved(stated, names, calendar)
    assert ends["instrument_id"].to_list() == ["XNYS:DEAD"]


# --- the bar ---------------------------------------------------------------------------------------


def stated(
    days: list[date],
    names: pl.DataFrame,
    calendar: TradingCalendar,
    value: float | None = -0.4,
    known_on: date | None = None,
) -> pl.DataFrame:
    row = {"symbol": "DEAD", "date": days[LAST], "terminal_return": value, "known_on": known_on}
    return delistings.resolved(pl.DataFrame([row], schema=delistings.COLUMNS), names, calendar)


def test_one_bar_of_the_stated_return(
    raw: pl.DataFrame, names: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> None:
    ends = stated(days, names, calendar)
    out = prices.clean(raw, names, calendar, now=NOW, ends=ends)
    dead = out.prices.filter(pl.col("instrument_id") == "XNYS:DEAD")
    assert dead["date"].to_list() == days[: LAST + 2]
    last, bar = dead.rows(named=True)[-2:]
    assert bar["close"] == last["close"] * 0.6
    assert bar["tr_index"] == last["tr_index"] * 0.6
    assert bar["flags"] == Flag.TERMINAL
    assert (bar["volume"], bar["source"], bar["currency"]) == (0.0, "delistings.csv", "USD")
    assert bar["known_at"] == calendar.known_at(days[LAST + 1])
    assert out.quarantine.select("date", "rule").rows() == [
        (days[12], "after_delisting"),
        (days[30], "after_delisting"),
    ]
    told = out.adjustments.row(0, named=True)
    assert (told["rule"], told["before"]) == ("terminal_return", last["close"])
    off = CleaningSettings(off=("terminal_return",))
    without = prices.clean(raw, names, calendar, now=NOW, ends=ends, cleaning=off).prices
    assert without.equals(out.prices.filter(pl.col("flags") != int(Flag.TERMINAL)))


def test_a_total_loss_keeps_the_index_positive(
    raw: pl.DataFrame, names: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> None:
    ends = stated(days, names, calendar, -1.0)
    out = prices.clean(raw, names, calendar, now=NOW, ends=ends).prices
    bar = out.filter(pl.col("flags") == int(Flag.TERMINAL)).row(0, named=True)
    assert 0 < bar["tr_index"] < 1e-5
    label = forward_returns(out, 5, calendar).filter(pl.col("date") == days[LAST - 2])["label"]
    assert label.to_list()[0] == pytest.approx(-1.0, abs=2e-6)


def test_an_unknown_return_leaves_the_last_bar(
    raw: pl.DataFrame, names: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> None:
    out = prices.clean(raw, names, calendar, now=NOW, ends=stated(days, names, calendar, None))
    assert out.prices.filter(pl.col("instrument_id") == "XNYS:DEAD")["date"].max() == days[LAST]


@pytest.mark.parametrize("late", [None, 5])
def test_day_by_day_equals_at_once_and_nothing_is_known_early(
    late: int | None,
    raw: pl.DataFrame,
    names: pl.DataFrame,
    days: list[date],
    calendar: TradingCalendar,
) -> None:
    ends = stated(days, names, calendar, known_on=days[LAST + late] if late else None)
    told = calendar.known_at(days[LAST + (late or 1)])
    assert ends["told_at"].to_list() == [told]
    raw = raw.filter((pl.col("symbol") == "LIVE") | (pl.col("date") <= days[LAST])).with_columns(
        fetched_at=pl.col("date").cast(pl.Datetime("us", "UTC")) + timedelta(hours=22)
    )
    store = contract("clean.prices").empty()
    before = None
    for day in days[LAST - 2 : LAST + 8]:
        now = calendar.known_at(day) + timedelta(minutes=5)
        given = raw.filter(pl.col("date") <= day).with_columns(fetched_at=pl.lit(now))
        full = prices.clean(given, names, calendar, now=now, ends=ends).prices
        start = None
        if before is not None:
            first = delistings.due(ends, before, now)
            start = min(day, first) if first else day
        previous = None if start is None else prices.last_rows(store, start)
        out = prices.clean(
            given, names, calendar, now=now, ends=ends, start=start, previous=previous
        ).prices
        kept = store if start is None else store.filter(pl.col("date") < start)
        store = pl.concat([kept.clear() if start is None else kept, out])
        assert_frame_equal(store, full, check_exact=True)
        assert (store["flags"] == int(Flag.TERMINAL)).any() == (now >= told)
        before = now


# --- what others make of it ------------------------------------------------------------------------


@pytest.fixture
def bars(
    raw: pl.DataFrame, names: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> pl.DataFrame:
    return prices.clean(raw, names, calendar, now=NOW, ends=stated(days, names, calendar)).prices


def test_labels_have_the_terminal_return_and_then_cash(
    bars: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> None:
    dead = pl.col("instrument_id") == "XNYS:DEAD"
    tr = dict(bars.filter(dead).select("date", "tr_index").iter_rows())
    for horizon in (1, 5, 20):
        out = dict(
            forward_returns(bars, horizon, calendar)
            .filter(dead)
            .select("date", "label")
            .iter_rows()
        )
        assert max(out) == days[LAST - 1]  # bought at its last bar at the latest
        for t in range(LAST):
            end = days[min(t + 1 + horizon, LAST + 1)]
            assert out[days[t]] == tr[end] / tr[days[t + 1]] - 1
    blind = forward_returns(bars.drop("flags"), 5, calendar).filter(dead)
    assert blind["date"].max() == days[LAST]  # this is what the flag is for


def test_it_is_in_no_universe(bars: pl.DataFrame, days: list[date]) -> None:
    members = membership.universe(bars, contract("clean.membership").empty())
    assert members.filter(pl.col("instrument_id") == "XNYS:DEAD")["date"].max() == days[LAST]


def test_a_holder_ends_with_it_in_cash_and_nobody_trades_at_it(
    bars: pl.DataFrame, days: list[date], calendar: TradingCalendar
) -> None:
    panel = build(bars, calendar)
    dead = panel.ids.index("XNYS:DEAD")
    row = panel.row(calendar.slot(days[LAST + 1]))
    assert not panel.tradable(row)[dead]
    assert panel.tradable(row - 1)[dead]
    units = pl.Series([0.0] * len(panel.ids)).to_numpy().copy()
    units[dead] = 100.0
    account = Account(Feed.of(panel), rules(Costs()), units, 0)
    account.mark(row - 2)
    account.advance(row - 1, row + DEAD_AFTER + 2)
    close = bars.filter(pl.col("instrument_id") == "XNYS:DEAD")["close"]
    navs = account.results[0][1][:, 0].tolist()
    assert navs[0] == ticks(100 * close[-2])
    assert navs[1] == pytest.approx(navs[0] * 0.6)
    assert navs[-1] == navs[1]
    assert account.nav == account.state[0] / 10_000
    assert not account.shares.any()
