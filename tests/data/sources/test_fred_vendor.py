"""FRED over the wire: market series, exchange rates, statistics with all their vintages, refusals."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from pydantic import SecretStr
from wire import Ask, Reply, Wire

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import AccessError, SourceError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import macro, raw, series
from wealthos_pipeline.data.sources import fred
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

KEY = "0123456789abcdef0123456789abcdef"
BAD_KEY = {
    "error_code": 400,
    "error_message": "Bad Request.  The value for variable api_key is not registered.",
}
GONE = {"error_code": 400, "error_message": "Bad Request.  The series does not exist."}
FOREVER = "9999-12-31"

Version = tuple[str, str, str]
"""Date of the observation, vintage, value."""

CPI: list[Version] = [
    ("2023-01-01", "2023-02-14", "300.5"),
    ("2023-02-01", "2023-03-14", "301.6"),
    ("2023-01-01", "2023-03-14", "300.7"),  # revised with the next release
    ("2023-03-01", "2023-04-12", "."),  # not collected
    ("2023-01-01", "2024-02-09", "300.4"),  # seasonal factors, a year later
]


def _before(day: str) -> str:
    return str(date.fromisoformat(day) - timedelta(days=1))


class Alfred:
    """The service: versions by series, clipped to the real time that is asked for, in pages."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Version]] = {}
        self.today = date(2024, 6, 3)
        self.page = 100_000

    def __call__(self, ask: Ask) -> object:
        query = ask.query
        if query.get("api_key") != KEY:
            return Reply(BAD_KEY, 400)
        if query["series_id"] not in self.versions:
            return Reply(GONE, 400)
        first = query.get("realtime_start", str(self.today))
        last = query.get("realtime_end", str(self.today))
        told: dict[str, list[tuple[str, str]]] = {}
        for day, vintage, value in self.versions[query["series_id"]]:
            if vintage <= str(self.today):
                told.setdefault(day, []).append((vintage, value))
        rows = []
        for day, versions in told.items():
            if not query.get("observation_start", "0") <= day <= query.get("observation_end", "9"):
                continue
            versions.sort()
            ends = [_before(vintage) for vintage, _ in versions[1:]]
            for (vintage, value), end in zip(versions, [*ends, FOREVER], strict=True):
                if vintage <= last and end >= first:
                    rows.append({"realtime_start": max(first, vintage), "realtime_end": min(last, end), "date": day, "value": value})  # fmt: skip
        rows.sort(key=lambda r: (r["date"], r["realtime_start"]))
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.page)
        return {"count": len(rows), "offset": offset, "limit": limit,
                "observations": rows[offset : offset + limit]}  # fmt: skip

    def market(self, name: str, days: list[date], start: float = 1.0, step: float = 0.01) -> None:
        """A series that is never revised, published the day after."""
        self.versions[name] = [
            (str(d), str(d + timedelta(days=1)), f"{start + i * step:.4f}")
            for i, d in enumerate(days)
        ]


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


@pytest.fixture
def alfred(wire: Wire, calendar) -> Alfred:
    service = Alfred()
    days = calendar.sessions(date(2024, 5, 15), date(2024, 5, 31))
    for i, name in enumerate(fred.MARKETS):
        service.market(name, days, start=1.0 + i)
    months = [date(2023, m, 1) for m in range(1, 13)]
    for name in ("AAA", "BAA"):
        service.market(name, months, start=4.0)
    for name in fred.STATISTICS:
        service.versions[name] = list(CPI)
    wire.serve("/fred/series/observations", service)
    return service


@pytest.fixture
def fetch(wire: Wire, calendar):
    def run(
        now: datetime = datetime(2024, 6, 3, 23, tzinfo=UTC), key: str | None = KEY, **more
    ) -> sources.RawFrames:
        settings = FetchSettings(base_url=wire.url, **more.pop("settings", {}))
        source = SourceSettings(name="fred", **more.pop("source", {}))
        run.clock = Clock()
        fetcher = Fetcher(
            fred.FredVendor.limits, settings, sleep=run.clock.sleep, monotonic=run.clock
        )
        keys = KeySettings(fred=None if key is None else SecretStr(key))
        vendor = fred.FredVendor(source, settings, keys, fetcher=fetcher)
        request = {"start": date(2023, 1, 1), "end": None, **more}
        return vendor.fetch(sources.Request(now=now, calendar=calendar, **request))

    return run


def asked(wire: Wire) -> list[str]:
    return [s.query["series_id"] for s in wire.requests]


def test_market_series_have_the_names_of_the_house(fetch, alfred, wire):
    out = fetch()
    assert out.failures.height == 0
    names = set(out.series.select("series", "tenor", "unit", "frequency").rows())
    assert {
        ("ust_par", "10Y", "percent", "day"),
        ("ust_par", "1M", "percent", "day"),
        ("vix", "", "index", "day"),
        ("credit_spread", "HY", "percent", "day"),
        ("breakeven", "10Y", "percent", "day"),
        ("moody_yield", "AAA", "percent", "month"),
        ("fx", "GBPUSD", "rate", "day"),
        ("fx", "JPYUSD", "rate", "day"),
    } <= names
    assert len(names) == len(fred.MARKETS)
    moody = out.series.filter(pl.col("series") == "moody_yield")["date"].unique().sort().to_list()
    assert moody[:2] == [date(2023, 1, 31), date(2023, 2, 28)]  # period ends, as the sample's


def test_every_pair_is_dollars_for_one_unit(fetch, alfred):
    """The Federal Reserve quotes the pound in dollars and the dollar in yen."""
    alfred.versions["DEXUSUK"] = [("2024-05-01", "2024-05-06", "1.2500")]
    alfred.versions["DEXJPUS"] = [("2024-05-01", "2024-05-06", "160.0")]
    got = fetch().series.filter(pl.col("series") == "fx")
    value = dict(got.filter(pl.col("tenor").is_in(["GBPUSD", "JPYUSD"])).select("tenor", "value").rows())  # fmt: skip
    assert value == {"GBPUSD": 1.25, "JPYUSD": 0.00625}
    assert all(t.endswith("USD") for t in got["tenor"])


def test_beside_the_treasury_its_curve_is_not_asked_for(fetch, alfred, wire):
    out = fetch(source={"also": ("treasury",)})
    assert "ust_par" not in set(out.series["series"])
    assert not set(asked(wire)) & set(fred.YIELDS)


def test_only_what_is_new_and_an_overlap_is_asked_for(fetch, alfred, wire):
    first = fetch()
    alfred.market("VIXCLS", [date(2024, 5, 30), date(2024, 5, 31), date(2024, 6, 3)], start=20.0)
    alfred.today = date(2024, 6, 4)
    wire.requests.clear()
    stored = {"raw.series": first.series, "raw.macro": first.macro}
    out = fetch(datetime(2024, 6, 4, 23, tzinfo=UTC), stored=stored.__getitem__)
    begins = {s.query["series_id"]: s.query.get("observation_start") for s in wire.requests}
    assert begins["DGS10"] == "2024-05-17"
    assert begins["AAA"] == "2023-09-22"
    assert out.series["series"].unique().to_list() == ["vix"]
    assert out.series.sort("date")["date"].to_list()[-1] == date(2024, 6, 3)
    assert out.macro.height == 0


def test_all_vintages_are_kept_and_dated_at_the_end_of_their_day(fetch, alfred):
    got = fetch().macro.filter(pl.col("series") == "cpi_sa").sort("date", "vintage")
    assert got.select("date", "vintage", "value").rows() == [
        (date(2023, 1, 1), "2023-02-14", 300.5),
        (date(2023, 1, 1), "2023-03-14", 300.7),
        (date(2023, 1, 1), "2024-02-09", 300.4),
        (date(2023, 2, 1), "2023-03-14", 301.6),
        (date(2023, 3, 1), "2023-04-12", None),
    ]
    assert got["published_at"].to_list()[0] == datetime(2023, 2, 15, 5, tzinfo=UTC)
    assert got["published_at"].to_list()[1] == datetime(2023, 3, 15, 4, tzinfo=UTC)  # summer time
    units = dict(fetch().macro.group_by("series").agg(pl.col("value").max()).iter_rows())
    assert units["nonfarm_payroll_sa"] == 301_600.0
    assert units["real_gdp_saar"] == pytest.approx(301.6e9)


def test_a_vintage_that_stands_is_not_given_again(fetch, alfred, wire):
    """Asked from a day on, the service dates what stands as of that day: no version of ours."""
    rows = contract("raw.macro").empty()
    for today in ("2023-02-20", "2023-03-20", "2023-03-21", "2023-05-01", "2024-06-03"):
        alfred.today = date.fromisoformat(today)
        now = datetime.fromisoformat(today).replace(hour=23, tzinfo=UTC)
        kept = rows
        out = fetch(
            now, stored=lambda t, kept=kept: kept if t == "raw.macro" else contract(t).empty()
        )
        assert raw.new_rows(rows, out.macro, contract("raw.macro")).height == out.macro.height
        rows = pl.concat([rows, out.macro])
    by_day = rows.drop("fetched_at").sort("series", "date", "vintage")
    at_once = fetch().macro.drop("fetched_at").sort("series", "date", "vintage")
    assert by_day.equals(at_once)
    first = [s.query for s in wire.requests if s.query["series_id"] == "CPIAUCSL"]
    assert [q["realtime_start"] for q in first] == [
        fred.BEGINNING, "2023-02-14", "2023-03-14", "2023-03-14", "2023-04-12", fred.BEGINNING,
    ]  # fmt: skip


def test_a_correction_on_the_day_of_the_last_vintage_is_seen(fetch, alfred):
    alfred.today = date(2023, 3, 14)
    first = fetch(datetime(2023, 3, 14, 15, tzinfo=UTC))
    alfred.versions["CPIAUCSL"][1] = ("2023-02-01", "2023-03-14", "301.9")
    second = fetch(
        datetime(2023, 3, 14, 23, tzinfo=UTC),
        stored=lambda t: first.macro if t == "raw.macro" else first.series,
    )
    assert second.macro.select("series", "date", "value").rows() == [
        ("cpi_sa", date(2023, 2, 1), 301.9)
    ]


def test_what_was_known_is_known_of_the_vintages(fetch, alfred, calendar):
    """Clean statistics at an instant are those that the service gave on that day."""
    now = datetime(2024, 6, 3, 23, tzinfo=UTC)
    whole = macro.clean(fetch(now).macro, now=now)
    for today in ("2023-02-14", "2023-02-20", "2023-03-20", "2024-02-08", "2024-02-11"):
        alfred.today = date.fromisoformat(today)
        then = datetime.fromisoformat(today).replace(tzinfo=UTC) + timedelta(hours=23)
        seen = macro.clean(fetch(then).macro, now=then)
        assert seen.equals(whole.filter(pl.col("known_at") <= then)), today
    assert whole.filter(pl.col("series") == "cpi_sa")["value"].to_list() == [300.5, 300.7, 300.4, 301.6]  # fmt: skip


def test_long_answers_come_in_pages(fetch, alfred, wire):
    whole = fetch().macro
    wire.requests.clear()
    alfred.page = 2
    assert fetch().macro.equals(whole)
    offsets = [s.query["offset"] for s in wire.requests if s.query["series_id"] == "UNRATE"]
    assert offsets == ["0", "2", "4"]


# --- when it is known ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frequency", "day", "known"),
    [
        # a Thursday: the evening of Friday
        ("ust_par", "day", date(2024, 3, 7), datetime(2024, 3, 9, 0, tzinfo=UTC)),
        # the Friday before Columbus Day: the Federal Reserve is closed on Monday
        ("vix", "day", date(2024, 10, 11), datetime(2024, 10, 15, 23, tzinfo=UTC)),
        # the rates of a week: on Monday of the next; on Tuesday when Monday is a holiday
        ("fx", "day", date(2024, 3, 4), datetime(2024, 3, 11, 23, tzinfo=UTC)),
        ("fx", "day", date(2024, 3, 8), datetime(2024, 3, 11, 23, tzinfo=UTC)),
        ("fx", "day", date(2024, 11, 8), datetime(2024, 11, 13, 0, tzinfo=UTC)),
        ("moody_yield", "month", date(2024, 2, 29), datetime(2024, 3, 5, 0, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "XLON"])
def test_market_series_are_known_when_the_releases_are_out(name, frequency, day, known, exchange):
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    table = contract("raw.series")
    frame = table.conform(
        pl.DataFrame(
            [{"source": "fred", "series": name, "tenor": "", "date": day, "value": 1.0, "unit": "percent",
              "frequency": frequency, "fetched_at": datetime(2025, 1, 1, tzinfo=UTC)}]
        )
    )  # fmt: skip
    cleaned = series.clean(frame, TradingCalendar(exchange), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert cleaned["known_at"].item() == known


# --- what goes wrong -----------------------------------------------------------------------------


def test_without_a_key_it_says_how_to_give_one(fetch, alfred, wire):
    with pytest.raises(AccessError, match="WEALTHOS_KEYS__FRED"):
        fetch(key=None)
    assert wire.requests == []


@pytest.mark.faults
def test_a_refused_key_is_told_in_freds_words_and_never_shown(fetch, alfred, wire, fault_row):
    wrong = "f" * 32
    with pytest.raises(SourceError) as caught:
        fetch(key=wrong, settings={"concurrency": 1})
    said = str(caught.value)
    assert "The value for variable api_key is not registered" in said
    assert "WEALTHOS_KEYS__FRED" in said
    assert wrong not in said
    assert len(wire.requests) < 20  # not every series is tried
    fault_row("fred", "the key is refused", f"*: {said}", "what was stored before")


@pytest.mark.parametrize("name", ["HTTP", "key"])
def test_the_key_is_in_no_failure(fetch, alfred, wire, name):
    echo = {"error_code": 500, "error_message": f"cannot serve api_key={KEY}"}
    wire.fault("series_id=VIXCLS", "status", times=None, status=500, body=echo)
    out = fetch(settings={"retries": 1})
    text = out.failures.write_json()
    assert KEY not in text
    assert "cannot serve" in text


@pytest.mark.faults
def test_one_series_that_is_gone_is_a_row_and_the_rest_is_kept(fetch, alfred, fault_row):
    del alfred.versions["BAMLH0A0HYM2"]
    out = fetch()
    row = out.failures.row(0, named=True)
    assert out.failures.height == 1
    assert row["symbol"] == "BAMLH0A0HYM2"
    assert "The series does not exist" in row["reason"]
    assert "HY" not in set(out.series["tenor"])
    assert out.series.select("series", "tenor").unique().height == len(fred.MARKETS) - 1
    seen = f"{row['symbol']}: {row['reason']}"
    fault_row("fred", "a series was discontinued", seen, "the other series; what was stored of it")


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("rate_limited", {"retry_after": 9}),
        ("rate_limited", {}),
        ("error_500", {}),
        ("html", {}),
        ("truncated", {}),
        ("truncated", {"cut": True}),
        ("dropped", {}),
    ],
)
def test_a_series_that_came_badly_is_asked_again(fetch, alfred, wire, fault, more):
    calm = fetch()
    wire.requests.clear()
    wire.fault("series_id=(VIXCLS|UNRATE)", fault, times=2, **more)
    out = fetch()
    assert out.failures.height == 0
    assert out.series.equals(calm.series)
    assert out.macro.equals(calm.macro)
    assert asked(wire).count("VIXCLS") + asked(wire).count("UNRATE") == 4
    assert not more.get("retry_after") or 9 in fetch.clock.slept


@pytest.mark.faults
def test_a_page_that_does_not_come_is_no_shorter_series(fetch, alfred, wire, fault_row):
    """The number of observations is given: fewer of them are not taken for all."""
    alfred.page = 2
    wire.fault(
        "series_id=UNRATE.*offset=2", "empty", times=None, body={"count": 5, "observations": []}
    )
    out = fetch(settings={"retries": 1})
    assert "unemployment_rate" not in set(out.macro["series"])
    assert "2 of 5 observations" in out.failures["reason"].item()
    seen = f"UNRATE: {out.failures['reason'].item()}"
    fault_row("fred", "a long answer ends early", seen, "the other series; the next run asks again")


def test_an_empty_series_of_a_first_fetch_is_told(fetch, alfred):
    alfred.versions["UNRATE"] = []
    out = fetch()
    assert out.failures["symbol"].to_list() == ["UNRATE"]
    assert "no observation" in out.failures["reason"].item()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("VIXCLS", "n/a?", "n/a?"), ("DEXJPUS", "0.0", "not positive"), ("DEXJPUS", "-1", "not positive")],
)  # fmt: skip
def test_a_value_that_is_none_is_refused_with_its_series(fetch, alfred, name, value, words):
    alfred.versions[name] = [("2024-05-01", "2024-05-02", value)]
    out = fetch()
    assert out.failures["symbol"].to_list() == [name]
    assert words in out.failures["reason"].item()
