"""The Treasury's par curve over the wire: which years are asked for, what is read, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from wire import Ask, Reply, Wire

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError, TransientError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import raw, series
from wealthos_pipeline.data.sources import treasury
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

RAW = contract("raw.series")
HEADER = ["Date", "1 Mo", "1.5 Month", "2 Mo", "3 Mo", "1 Yr", "2 Yr", "10 Yr", "30 Yr"]
TENORS = ["1M", "1.5M", "2M", "3M", "1Y", "2Y", "10Y", "30Y"]
PATH = r"/resource-center/data-chart-center/interest-rates/daily-treasury-rates\.csv/(\d{4})/all"


def value(day: date, i: int) -> float:
    return round(3.0 + 0.1 * i + 0.01 * (day.toordinal() % 7), 2)


def page(days: list[date], *, missing: str = "", header: list[str] | None = None) -> str:
    """A year as the Treasury gives it: newest first; the 1.5-month bill is missing before 2025."""
    rows = [",".join(f'"{c}"' if " " in c else c for c in header or HEADER)]
    for day in sorted(days, reverse=True):
        cells = [f"{value(day, i):.2f}" for i in range(len(TENORS))]
        if day.year < 2025:
            cells[1] = missing
        rows.append(",".join([f"{day:%m/%d/%Y}", *cells]))
    return "\n".join(rows) + "\n"


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


Serve = Callable[[date], None]


@pytest.fixture
def serve(wire: Wire, calendar) -> Serve:
    """Answer as the Treasury does on a day: every year up to then."""

    def until(today: date, missing: str = "") -> None:
        def answer(ask: Ask) -> object:
            year = int(ask.query["field_tdr_date_value"])
            assert ask.query["type"] == "daily_treasury_yield_curve"
            assert f"/{year}/" in ask.path
            end = min(date(year, 12, 31), today)
            return Reply(page(calendar.sessions(date(year, 1, 1), end), missing=missing))

        wire.serve(PATH, answer)

    return until


class Lake:
    """What a source is told that is stored."""

    def __init__(self) -> None:
        self.rows = RAW.empty()

    def __call__(self, table: str) -> pl.DataFrame:
        assert table == "raw.series"
        return self.rows

    def add(self, frames: sources.RawFrames) -> int:
        new = raw.new_rows(self.rows, frames.series, RAW)
        self.rows = pl.concat([self.rows, new])
        return new.height


@pytest.fixture
def fetch(wire: Wire, calendar):
    """Fetch at the end of a day (UTC); sleeping is recorded, not done."""

    def run(day: date, start: date | None = date(2021, 6, 1), **more) -> sources.RawFrames:
        settings = FetchSettings(base_url=wire.url, **more.pop("settings", {}))
        run.clock = Clock()
        fetcher = Fetcher(
            treasury.TreasuryVendor.limits, settings, sleep=run.clock.sleep, monotonic=run.clock
        )
        vendor = treasury.TreasuryVendor(SourceSettings(name="treasury"), settings, KeySettings(), fetcher=fetcher)  # fmt: skip
        now = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC)
        return vendor.fetch(sources.Request(start, None, now, calendar, **more))

    return run


def years(wire: Wire) -> list[str]:
    return sorted(s.query["field_tdr_date_value"] for s in wire.requests)


def test_years_are_read_as_rows_of_the_curve(fetch, serve, wire, calendar):
    serve(date(2023, 3, 8))
    out = fetch(date(2023, 3, 8))
    assert years(wire) == ["2021", "2022", "2023"]
    assert out.failures.height == 0
    got = out.series
    assert set(got["series"]) == {"ust_par"}
    assert set(got["unit"]) == {"percent"}
    assert set(got["source"]) == {"treasury"}
    days = calendar.sessions(date(2021, 6, 1), date(2023, 3, 8))
    assert got["date"].unique().sort().to_list() == days
    assert set(got["tenor"]) == set(TENORS) - {"1.5M"}
    ten = got.filter(pl.col("tenor") == "10Y").sort("date")["value"].to_list()
    assert ten == [value(d, TENORS.index("10Y")) for d in days]


def test_a_new_tenor_appears_and_a_missing_cell_is_no_row(fetch, serve, wire):
    serve(date(2025, 2, 20), missing="N/A")
    got = fetch(date(2025, 2, 20), start=date(2024, 12, 1)).series
    first = got.group_by("tenor").agg(pl.col("date").min())
    assert dict(first.iter_rows())["1.5M"] == date(2025, 1, 2)
    assert dict(first.iter_rows())["2M"] == date(2024, 12, 2)


def test_only_years_that_are_not_stored_to_their_end_are_asked_for(fetch, serve, wire):
    lake = Lake()
    serve(date(2022, 12, 28))
    lake.add(fetch(date(2022, 12, 28), stored=lake))
    assert years(wire) == ["2021", "2022"]
    # the last days of 2022 are not stored yet
    wire.requests.clear()
    serve(date(2023, 1, 5))
    new = lake.add(fetch(date(2023, 1, 5), stored=lake))
    assert years(wire) == ["2022", "2023"]
    assert new == 5 * 7  # 29 and 30 December, 3 to 5 January
    wire.requests.clear()
    assert lake.add(fetch(date(2023, 1, 5), stored=lake)) == 0
    assert years(wire) == ["2023"]
    # a hole in the middle is filled
    lake.rows = lake.rows.filter(pl.col("date").dt.year() != 2022)
    wire.requests.clear()
    fetch(date(2023, 1, 5), stored=lake)
    assert years(wire) == ["2022", "2023"]
    wire.requests.clear()
    fetch(date(2023, 1, 5), stored=lake, full=True)
    assert years(wire) == ["2021", "2022", "2023"]


def test_a_corrected_yield_is_a_second_version(fetch, serve, wire, calendar):
    lake = Lake()
    serve(date(2023, 3, 8))
    lake.add(fetch(date(2023, 3, 8), stored=lake))
    days = calendar.sessions(date(2023, 1, 1), date(2023, 3, 9))
    text = page(days).replace(f"{date(2023, 3, 8):%m/%d/%Y},", "03/08/2023,9", 1)
    wire.serve("/2023/all", text)
    out = fetch(date(2023, 3, 9), stored=lake)
    assert lake.add(out) == 7 + 1
    versions = lake.rows.filter((pl.col("date") == date(2023, 3, 8)) & (pl.col("tenor") == "1M"))
    assert versions.sort("fetched_at")["value"].to_list() == [
        value(date(2023, 3, 8), 0),
        90 + value(date(2023, 3, 8), 0),
    ]
    now = datetime(2023, 3, 10, tzinfo=UTC)
    clean = series.clean(lake.rows, calendar, now=now)
    stamped = clean.filter((pl.col("date") == date(2023, 3, 8)) & (pl.col("tenor") == "1M"))
    assert stamped.select("basis", "known_at").row(0) == ("observed", datetime(2023, 3, 9, 23, 30, tzinfo=UTC))  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "more", "slept"),
    [
        ("rate_limited", {"retry_after": 7}, 7),
        ("rate_limited", {}, None),
        ("error_500", {"status": 503}, None),
        ("html", {}, None),
        ("truncated", {}, None),
        ("truncated", {"cut": True}, None),
        ("empty", {}, None),
        ("dropped", {}, None),
    ],
)
def test_a_year_that_came_badly_is_asked_again(fetch, serve, wire, fault, more, slept):
    serve(date(2023, 3, 8))
    wire.fault("/2022/all", fault, **more)
    out = fetch(date(2023, 3, 8))
    assert out.failures.height == 0
    assert out.series["date"].dt.year().unique().sort().to_list() == [2021, 2022, 2023]
    assert wire.asked("/2022/all") == 2
    assert any(s == slept for s in fetch.clock.slept) if slept else max(fetch.clock.slept) <= 60


@pytest.mark.faults
@pytest.mark.parametrize(
    ("title", "fault", "more", "words"),
    [
        ("500, all day", "error_500", {"body": "Database is down"}, "Database is down"),
        ("a web page instead of CSV, all day", "html", {}, "We will be right back"),
        ("a year's file is cut off, all day", "truncated", {}, "cut off"),
        ("a year's file has no rows, all day", "empty", {}, "without a single day"),
    ],
)
def test_a_year_that_cannot_be_had_is_told_and_the_rest_kept(
    fetch, serve, wire, title, fault, more, words, fault_row
):
    serve(date(2023, 3, 8))
    wire.fault("/2022/all", fault, times=None, **more)
    out = fetch(date(2023, 3, 8), settings={"retries": 2})
    assert out.series["date"].dt.year().unique().sort().to_list() == [2021, 2023]
    failure = out.failures.row(0, named=True)
    assert (failure["symbol"], failure["what"]) == ("2022", "series")
    assert words in failure["reason"]
    assert wire.asked("/2022/all") == 3
    # nothing is lost: the next run asks for that year
    wire.calm()
    wire.requests.clear()
    again = fetch(date(2023, 3, 8), stored=lambda table: out.series)
    assert years(wire) == ["2022", "2023"]
    assert again.series["date"].dt.year().unique().to_list() == [2022]
    kept = "the other years; the next run asks for this one again"
    fault_row("treasury", title, f"{failure['symbol']}: {failure['reason']}", kept)


def test_a_service_that_is_gone_is_one_sentence(fetch, wire):
    wire.close()
    with pytest.raises(SourceError, match=r"treasury gave nothing.*cannot be reached"):
        fetch(date(2023, 3, 8), settings={"retries": 1})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Date,Price\n01/03/2022,3\n", SourceError, "it has: Date, Price"),
        ("Date,10 Yr\n01/03/2022,high\n", SourceError, "line 2, 10 Yr: 'high' is no number"),
        ("Date,10 Yr\n13/45/2022,3\n", SourceError, "'13/45/2022' is no day of 2022"),
        ("Date,10 Yr\n01/03/2021,3\n", SourceError, "is no day of 2022"),
        ("Date,10 Yr\n01/03/2022,3\n01/03/2022,4\n", SourceError, "two rows for 2022-01-03"),
        ("Date,10 Yr\n03/03/2022,3\n", TransientError, "begins on 2022-03-03, not in January"),
        ("Date,1 Yr,10 Yr\n01/04/2022,3,3\n01/03/2022,4", TransientError, "line 3 has 2 of 3"),
        ("", TransientError, "without a single day"),
    ],
)
def test_what_cannot_be_read_is_named(text, error, words):
    with pytest.raises(error) as caught:
        treasury.read(text, 2022, date(2023, 1, 1))
    assert words in str(caught.value)
    assert type(caught.value) is error


def test_the_first_days_of_a_year_may_have_no_curve_yet():
    assert treasury.read("Date,10 Yr\n", 2023, date(2023, 1, 2)).height == 0
    with pytest.raises(TransientError):
        treasury.read("Date,10 Yr\n", 2023, date(2023, 2, 2))


def test_zero_is_a_yield():
    got = treasury.read("Date,1 Mo,10 Yr\n01/03/2022,0.00,N/A\n", 2022, date(2023, 1, 1))
    assert got.rows() == [(date(2022, 1, 3), "1M", 0.0)]


def test_the_treasurys_real_files(fetch, wire, calendar, shared_data):
    """Five years as published, over the wire; the curve is the one that ``files`` reads."""
    from wealthos_pipeline.data.sources import rates

    folder = shared_data / "treasury"
    for year in range(2021, 2026):
        wire.serve(f"/{year}/all", (folder / f"treasury_par_{year}.csv").read_text())
    out = fetch(date(2025, 7, 12), start=date(2021, 1, 1))
    assert out.failures.height == 0
    got = out.series.select("tenor", "date", "value").sort("tenor", "date")
    direct, _ = rates.read_par_yields(folder)
    mine = direct.filter(pl.col("date") >= date(2021, 1, 1)).sort("tenor", "date")
    # the long file of 1990 to 2022 has tenors of its own
    assert got.join(mine, on=["tenor", "date", "value"], how="anti").height == 0
    assert got.height > 0.98 * mine.height
    cleaned = series.clean(out.series, calendar, now=datetime(2025, 7, 14, tzinfo=UTC))
    assert cleaned.height == got.height
    hour = cleaned["known_at"].dt.convert_time_zone("America/New_York").dt.hour()
    assert set(hour) == {19}


def test_it_is_joined_by_name(wire, serve, calendar):
    """`--also treasury` beside the sample: one source, rows of both."""
    from wealthos_pipeline.utils.config import load_settings

    serve(date(2022, 12, 30))
    settings = load_settings(
        source={"also": ("treasury",)}, fetch={"base_url": wire.url, "per_minute": 6000}
    )
    now = datetime(2022, 12, 31, tzinfo=UTC)
    got = sources.get(settings).fetch(
        sources.Request(date(2022, 12, 1), None, now + timedelta(hours=1), calendar)
    )
    assert {"sample", "treasury"} >= set(got.series["source"]) >= {"treasury"}
    assert set(got.prices["source"]) == {"sample"}
    assert got.failures.height == 0
