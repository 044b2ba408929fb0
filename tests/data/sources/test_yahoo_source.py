"""The vendor yahoo as a whole: yfinance's own client talks to a Yahoo on loopback."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
import yahoo_payloads as fake
from wire import Wire

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data import sources
from wealthos_pipeline.utils.config import load_settings

FIRST = date(2024, 1, 2)
QUARTERS = [date(2023, 9, 30), date(2023, 12, 31)]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def days(calendar) -> list[date]:
    return calendar.sessions(FIRST, date(2024, 3, 28))


@pytest.fixture
def market(wire, days) -> fake.Market:
    """Two US shares, one in pence, an index; everybody trades on New York's days."""
    n = len(days)
    pounds = {"zone": "Europe/London", "exchange": "LSE", "opens": time(8), "hours": 8.5}
    midnight = {"zone": "Europe/London", "exchange": "CCY", "opens": time(0), "hours": 23.98}
    return fake.Market(
        {
            "AAA": fake.Listing(days, [100.0 + i for i in range(n)]),
            "BBB": fake.Listing(days, [50.0 + 0.5 * i for i in range(n)]),
            "OCDO.L": fake.Listing(days, [300.0 - i for i in range(n)], currency="GBp", **pounds),
            "^VIX": fake.Listing(days, [15.0 + i % 7 for i in range(n)], kind="INDEX"),
            "GBPUSD=X": fake.Listing(days, [1.25] * n, kind="CURRENCY", **midnight),
        },
        fake.evening(days[30]),
        {"AAA": fake.company("Aaa Inc.", "Technology")},
        {"AAA": {"annual": {"TotalRevenue": {QUARTERS[1]: 400.0}},
                 "quarterly": {"TotalRevenue": dict.fromkeys(QUARTERS, 100.0)}}},
    ).serve(wire)  # fmt: skip


def at(market: fake.Market, now: datetime) -> datetime:
    market.now = now
    return now


def test_everything_that_yahoo_gives(wire, market, calendar, days) -> None:
    lake = fake.Lake()
    fetch = fake.asking(wire, calendar, lake, "AAA", "OCDO.L", gives=None)
    frames = fetch(at(market, fake.evening(days[30])))
    assert frames.failures.rows() == []
    assert lake.add(frames) == {
        "prices": 62, "series": 62 - 1, "instruments": 2, "fundamentals": 3, "earnings": 0,
    }  # fmt: skip
    assert frames.prices["currency"].unique().sort().to_list() == ["GBp", "USD"]
    apple, pence = frames.instruments.sort("symbol").rows(named=True)
    assert (apple["name"], apple["sector"]) == ("Aaa Inc.", "Information Technology")
    assert (apple["exchange"], apple["first_trade"]) == ("XNYS", FIRST)
    assert (pence["exchange"], pence["currency"], pence["asset_class"]) == ("XLON", "GBp", "equity")
    series = frames.series.group_by("series", "tenor", "unit").len().sort("series").rows()
    assert series == [("fx", "GBPUSD", "rate", 30), ("vix", "", "index", 31)]
    assert frames.fundamentals["period"].to_list() == ["quarter", "quarter", "year"]


def test_a_pair_is_asked_for_every_currency_but_the_base(wire, market, calendar, days) -> None:
    market.listings["EURUSD=X"] = market.listings["GBPUSD=X"]
    market.listings["SAP.DE"] = fake.Listing(days, [9.0] * len(days), currency="EUR")
    fetch = fake.asking(
        wire, calendar, fake.Lake(), "AAA", "OCDO.L", "SAP.DE", gives=("prices", "series")
    )
    frames = fetch(at(market, fake.evening(days[30])))
    assert set(frames.series["tenor"]) == {"", "GBPUSD", "EURUSD"}
    assert wire.asked("USDUSD=X") == 0


def test_the_first_bars_have_a_rate_that_was_known_before_them(
    wire, market, calendar, days
) -> None:
    gives = ("prices", "series")
    fetch = fake.asking(wire, calendar, fake.Lake(), "OCDO.L", gives=gives)
    frames = fetch(at(market, fake.evening(days[30])), start=days[10])
    assert frames.prices["date"].min() == days[10]
    rates = frames.series.filter(pl.col("series") == "fx")
    assert rates["date"].min() < days[10]
    assert frames.series.filter(pl.col("series") == "vix")["date"].min() == days[10]


def test_only_what_is_missing_plus_the_overlap_is_asked(wire, market, calendar, days) -> None:
    lake = fake.Lake()
    fetch = fake.asking(wire, calendar, lake, "AAA", "BBB", fetch={"overlap_sessions": 5})
    lake.add(fetch(at(market, fake.evening(days[30]))))
    assert lake.add(fetch(at(market, fake.evening(days[31]))))["prices"] == 2
    asked = [s for s in wire.requests if "chart/AAA" in s.path][-1]
    begin = datetime.fromtimestamp(int(asked.query["period1"]), UTC).date()
    assert begin == days[25] - timedelta(days=7)
    assert lake.latest("AAA")["date"].to_list() == days[:32]


def test_one_cookie_and_one_crumb_serve_the_whole_run(wire, market, calendar, days) -> None:
    fetch = fake.asking(wire, calendar, fake.Lake(), "AAA", "BBB", "OCDO.L", gives=None)
    fetch(at(market, fake.evening(days[30])))
    assert wire.asked(r"^/\?") == 1
    assert wire.asked("getcrumb") == 1
    data = [s for s in wire.requests if s.path.startswith(("/v8", "/v10", "/ws"))]
    assert {s.query["crumb"] for s in data} == {"a.crumb"}
    assert "chrome" in data[0].ask.headers["user-agent"].lower(), "yfinance's session"


def test_a_split_and_a_dividend_between_two_fetches(wire, market, calendar, days) -> None:
    """The stored rows stay; the event is one row more; nothing is given twice or lost."""
    listing = market.listings["AAA"]
    listing.splits[days[32]] = (4.0, 1.0)
    listing.dividends[days[33]] = 0.4
    lake = fake.Lake()
    fetch = fake.asking(wire, calendar, lake, "AAA")
    lake.add(fetch(at(market, fake.evening(days[31]))))
    frames = fetch(at(market, fake.evening(days[34])))
    lake.add(frames)
    assert frames.failures.rows() == []
    latest = lake.latest("AAA")
    assert latest["date"].to_list() == days[:35]
    events = latest.filter((pl.col("split_ratio") != 1) | (pl.col("dividend") != 0))
    assert events.select("date", "split_ratio", "dividend").rows() == [
        (days[32], 4.0, 0.0), (days[33], 1.0, 0.4),
    ]  # fmt: skip
    factor = pl.when(pl.col("basis_vintage") >= days[32], pl.col("date") < days[32])
    traded = latest.select(pl.col("close") * factor.then(4.0).otherwise(1.0)).to_series()
    assert traded.to_list() == pytest.approx(listing.closes[:35])


def test_on_the_morning_of_a_split_nothing_moves(wire, market, calendar, days) -> None:
    """Yahoo's history is rescaled already, the bar of the split is still running: no row may come in
    on a basis that no stored event explains."""
    market.listings["AAA"].splits[days[31]] = (4.0, 1.0)
    lake = fake.Lake()
    fetch = fake.asking(wire, calendar, lake, "AAA")
    lake.add(fetch(at(market, fake.evening(days[30]))))
    frames = fetch(at(market, fake.morning(days[31])))
    assert frames.failures.rows() == []
    assert lake.add(frames)["prices"] == 0
    frames = fetch(at(market, fake.evening(days[31])))
    lake.add(frames)
    assert lake.latest("AAA").row(-1, named=True)["split_ratio"] == 4.0


def test_the_running_session_is_no_bar(wire, market, calendar, days) -> None:
    lake = fake.Lake()
    fetch = fake.asking(wire, calendar, lake, "AAA", "OCDO.L")
    frames = fetch(at(market, fake.morning(days[31])))
    assert frames.prices["date"].max() == days[30]
    frames = fetch(at(market, fake.evening(days[31])))
    assert frames.prices["date"].max() == days[31]


def test_a_coins_day_ends_at_midnight(wire, market, calendar) -> None:
    """It trades on days without a session in New York; today's bar runs until the day is over."""
    every = [date(2024, 3, 1) + timedelta(days=i) for i in range(10)]
    market.listings["BTC-USD"] = fake.Listing(
        every, [6e4] * 10, zone="UTC", exchange="CCC", kind="CRYPTOCURRENCY", opens=time(0), hours=23.98
    )  # fmt: skip
    fetch = fake.asking(wire, calendar, fake.Lake(), "BTC-USD", gives=("prices", "profile"))
    saturday = date(2024, 3, 9)
    frames = fetch(at(market, datetime.combine(saturday, time(22), UTC)))
    assert frames.prices["date"].max() == date(2024, 3, 8)
    frames = fetch(at(market, datetime.combine(saturday + timedelta(days=1), time(1), UTC)))
    assert frames.prices["date"].max() == saturday
    assert frames.instruments.row(0, named=True)["exchange"] == "24/7"
    assert frames.instruments.row(0, named=True)["asset_class"] == "cross_asset"
    assert wire.asked("quoteSummary/BTC") == 0, "a coin has no firm behind it"


def test_settings_choose_the_vendor(wire) -> None:
    settings = load_settings(
        source={"name": "yahoo", "symbols": ("AAA",)}, fetch={"base_url": wire.url}
    )
    source = sources.get(settings)
    assert source.name == "yahoo"
    assert source.info().live
    assert {b.name for b in source.info().biases} >= {"survivors", "sector_snapshot"}


def test_nothing_of_yfinance_is_changed_for_others(wire, market, calendar, days) -> None:
    import yfinance.data
    from yfinance import const

    before = (const._BASE_URL_, const._QUERY1_URL_, const._ROOT_URL_)
    fake.asking(wire, calendar, fake.Lake(), "AAA")(at(market, fake.evening(days[30])))
    assert before == (const._BASE_URL_, const._QUERY1_URL_, const._ROOT_URL_)
    shared = yfinance.data.SingletonMeta._instances
    assert not [c for c in shared if c.__module__.startswith("wealthos")]
    assert logging.getLogger("yfinance").propagate


PROGRAM = """
import sys
from datetime import UTC, datetime
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import load_settings
settings = load_settings(
    source={"name": "yahoo", "symbols": ("AAA", "ZZZ"), "gives": ("prices",)},
    fetch={"base_url": sys.argv[1], "per_minute": 1e6, "retries": 0},
)
now = datetime.fromisoformat(sys.argv[2])
frames = sources.get(settings).fetch(sources.Request(None, None, now, TradingCalendar()))
assert frames.prices.height == 31 and frames.failures.height == 1, frames
"""


def test_a_home_that_cannot_be_written_and_a_silent_terminal(
    wire, market, days, tmp_path: Path
) -> None:
    """No SQLite file, no message of yfinance, even when a cookie cannot be had."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)
    wire.fault(r"^/\?", "dropped", times=None)
    at(market, fake.evening(days[30]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, wire.url, market.now.isoformat()],
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert list(home.rglob("*")) == []


def test_a_symbol_with_slashes_or_spaces_stays_one_path(wire, calendar, days) -> None:
    fetch = fake.asking(wire, calendar, fake.Lake(), "A/../B C?x=1")
    with pytest.raises(SourceError):
        fetch(fake.evening(days[30]))
    assert {s.path for s in wire.requests if "chart" in s.path} == {
        "/v8/finance/chart/A/../B C?x=1"
    }
