"""Alpha Vantage over the wire: plans, limits by the minute and day, refusals that answer HTTP 200."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import alpha_vantage_payloads as vendor
import polars as pl
import pytest
from wire import Bar, Reply, Wire, bars

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import (
    AccessError,
    SourceError,
    TransientError,
    UnknownSymbolError,
    WealthOSError,
)
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.sources import alpha_vantage_parse as parse
from wealthos_pipeline.data.sources.alpha_vantage import AlphaVantage
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, SourceSettings

KEY = "C0FFEESESAMEALPHA"
NOW = datetime(2024, 6, 28, 22, tzinfo=UTC)
PAID = 1200.0
PRICES = contract("raw.prices")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def rows(calendar) -> list[Bar]:
    days = calendar.sessions(date(2023, 9, 1), NOW.date())
    return bars(days, [100 + 0.25 * i for i in range(len(days))])


@pytest.fixture
def clock() -> Clock:
    return Clock()


Fetch = Callable[..., sources.RawFrames]


@pytest.fixture
def fetch(wire: Wire, calendar, clock: Clock) -> Fetch:
    """One fetch of a new vendor object; ``have`` are the frames that are stored."""

    def ask(
        *symbols: str,
        now: datetime = NOW,
        gives: tuple[str, ...] | None = ("prices",),
        have: sources.RawFrames | None = None,
        key: str | None = KEY,
        per_minute: float | None = PAID,
        **settings: float,
    ) -> sources.RawFrames:
        limits = FetchSettings.model_validate(
            {"base_url": wire.url, "retries": 2, "per_minute": per_minute} | settings
        )
        fetcher = Fetcher(AlphaVantage.limits, limits, sleep=clock.sleep, monotonic=clock)
        source = AlphaVantage(
            SourceSettings(name="alpha_vantage", symbols=symbols, gives=gives),
            limits,
            KeySettings(alpha_vantage=key),  # type: ignore[arg-type]
            fetcher=fetcher,
        )
        stored = None
        if have is not None:
            stored = lambda table: getattr(have, table.removeprefix("raw."))  # noqa: E731
        return source.fetch(sources.Request(None, None, now, calendar, stored=stored))

    return ask


def failure(frames: sources.RawFrames, symbol: str) -> dict[str, str]:
    return frames.failures.filter(pl.col("symbol") == symbol).row(0, named=True)


# bars


def test_a_paid_plan_gives_traded_bars_with_events(wire, fetch, rows):
    split, paid = rows[50].date, rows[20].date
    vendor.serve(wire, vendor.Company("AAA", rows, {split: 4.0}, {paid: 0.8}))
    got = fetch("AAA").prices
    assert got["date"].to_list() == [b.date for b in rows]
    assert got["close"].to_list() == [b.close for b in rows]
    assert got.filter(pl.col("split_ratio") != 1)["date", "split_ratio"].rows() == [(split, 4.0)]
    assert got.filter(pl.col("dividend") != 0)["date", "dividend"].rows() == [(paid, 0.8)]
    assert got["basis_vintage"].null_count() == got.height  # as traded
    assert got["adj_close"].null_count() == 0


def test_the_free_plan_gives_the_last_bars_without_events(wire, fetch, rows):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows), plan="free")
    got = fetch("AAA", "BBB")
    last = [b.date for b in rows][-100:]
    assert got.prices.filter(symbol="BBB")["date"].to_list() == last
    for column in ("split_ratio", "dividend", "adj_close", "basis_vintage"):
        assert got.prices[column].null_count() == got.prices.height
    # what the plan refuses is asked once and said once
    assert wire.asked("DAILY_ADJUSTED") == wire.asked("DAILY&.*full") == 1
    assert got.failures["symbol"].to_list() == ["*", "*"]
    assert "premium endpoint" in got.failures["reason"][0]
    assert "outputsize=full parameter value is a premium feature" in got.failures["reason"][1]


def test_a_short_range_is_asked_for_in_short(wire, fetch, rows):
    old = [b for b in rows if b.date <= date(2024, 6, 26)]
    vendor.serve(wire, vendor.Company("AAA", old))
    first = fetch("AAA", now=datetime(2024, 6, 26, 22, tzinfo=UTC))
    vendor.serve(wire, vendor.Company("AAA", rows))
    second = fetch("AAA", have=first)
    assert [s.query["outputsize"] for s in wire.requests] == ["full", "compact"]
    new = raw.new_rows(first.prices, second.prices, PRICES)
    assert new["date"].to_list() == [date(2024, 6, 27), date(2024, 6, 28)]


# descriptions and statements


def test_a_profile_has_a_gics_sector_only_where_the_words_mean_one(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"))
    got = fetch("AAA", gives=("profile",)).instruments.row(0, named=True)
    assert (got["name"], got["exchange"], got["country"]) == ("AAA Works", "XNYS", "US")
    assert (got["sector"], got["industry"]) == ("Information Technology", "SOFTWARE")
    assert parse.profile({"Name": "B", "Sector": "TRADE & SERVICES"})["sector"] is None


def test_what_has_no_overview_is_searched(wire, fetch):
    vendor.serve(wire)
    found = {
        "1. symbol": "TSCO.LON", "2. name": "Tesco PLC", "3. type": "Equity",
        "4. region": "United Kingdom", "8. currency": "GBX", "9. matchScore": "1.0",
    }  # fmt: skip
    fund = found | {"1. symbol": "SPY", "3. type": "ETF", "4. region": "United States"}
    wire.serve("SYMBOL_SEARCH", {"bestMatches": [found, fund]})
    got = fetch("TSCO.LON", "SPY", "NIX", gives=("profile",))
    shown = got.instruments.select("symbol", "name", "asset_class", "exchange", "currency")
    assert shown.rows()[1:] == [
        ("SPY", "Tesco PLC", "cross_asset", "XNYS", "GBX"),
        ("TSCO.LON", "Tesco PLC", "equity", "XLON", "GBX"),
    ]
    assert "NIX is neither described nor found" in failure(got, "NIX")["reason"]


def test_statements_have_standard_names_and_periods(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"))
    got = fetch("AAA", gives=("fundamentals",)).fundamentals
    annual = got.filter(period="year", period_end=date(2023, 12, 31))
    assert dict(annual.select("metric", "value").iter_rows()) == {
        "revenue": 1000.0,
        "net_income": 90.0,
        "total_assets": 5000.0,
        "total_equity": 2000.0,
        "operating_cash_flow": 120.0,
    }
    assert annual["currency"].unique().to_list() == ["USD"]
    today = got.filter(period="point")
    assert today.select("metric", "period_end", "value").rows() == [
        ("beta", NOW.date(), 1.2),
        ("market_cap", NOW.date(), 114234572800.0),
    ]
    assert wire.asked("OVERVIEW") == 1


def test_the_overview_is_asked_once_for_profile_and_numbers(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"))
    fetch("AAA", gives=("profile", "fundamentals"))
    assert wire.asked("OVERVIEW") == 1


def test_earnings(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"))
    got = fetch("AAA", gives=("earnings",)).earnings
    columns = ("period_end", "report_date", "hour", "eps_estimate", "eps_actual")
    assert got.select(columns).rows() == [
        (date(2023, 12, 31), date(2024, 1, 24), "unknown", 3.78, None),
        (date(2024, 3, 31), date(2024, 4, 24), "after", 1.6, 1.68),
    ]


# series and statistics


def test_rates_of_the_currencies_that_the_names_trade_in(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"), vendor.Company("BBB", currency="GBX"))
    got = fetch("AAA", "BBB", gives=("profile", "series")).series
    fx = got.filter(series="fx")
    assert fx.select("tenor", "date", "value", "unit").rows() == [
        ("GBPUSD", date(2024, 6, 3), 1.27, "rate"),
        ("GBPUSD", date(2024, 6, 4), 1.28, "rate"),
    ]
    curve = got.filter(series="ust_par", tenor="10Y")
    assert curve.select("date", "value").rows() == [
        (date(2024, 5, 31), 4.51),
        (date(2024, 6, 4), 4.33),
    ]
    assert got.filter(series="ust_par")["tenor"].n_unique() == 6


def test_statistics_in_whole_units(wire, fetch):
    vendor.serve(wire)
    got = fetch("AAA", gives=("macro",)).macro
    cpi = got.filter(series="cpi")
    assert cpi.select("date", "value", "unit", "frequency").rows() == [
        (date(2024, 4, 1), 313.548, "index", "month"),
        (date(2024, 5, 1), 314.069, "index", "month"),
    ]
    gdp = got.filter(series="real_gdp").row(0, named=True)
    assert (gdp["value"], gdp["unit"], gdp["frequency"]) == (5672.5e9, "usd", "quarter")
    assert got["series"].n_unique() == 8


def test_a_statistic_that_fails_does_not_cost_the_others(wire, fetch):
    vendor.serve(wire)
    wire.serve("UNEMPLOYMENT", {"Information": "The service is closed."})
    got = fetch("AAA", gives=("macro",))
    assert got.macro["series"].n_unique() == 7
    assert "The service is closed." in failure(got, "UNEMPLOYMENT")["reason"]


def test_an_interval_that_has_no_rule_is_told(wire, fetch):
    vendor.serve(wire)
    odd = vendor.indicator("CPI", "semiannual", "index", {"2024-01-01": "310"})
    wire.serve("function=CPI", odd)
    got = fetch("AAA", gives=("macro",))
    assert "unknown interval 'semiannual'" in failure(got, "CPI")["reason"]
    assert "cpi" not in got.macro["series"].to_list()


# limits


@pytest.mark.faults
def test_the_free_plan_stops_after_the_requests_of_a_day(wire, fetch, rows, clock, fault_row):
    names = [f"S{i:02d}" for i in range(40)]
    vendor.serve(wire, *(vendor.Company(n, rows) for n in names), plan="free")
    got = fetch(*names, gives=("prices", "profile"), per_minute=None)
    assert len(wire.requests) == 25
    assert got.prices["symbol"].unique().sort().to_list() == names[:23]  # two found the plan out
    seen = got.failures.filter(pl.col("reason").str.contains("not asked")).row(0, named=True)
    assert seen["reason"].startswith("17 of 40 not asked: the 25 requests a day of Alpha Vantage's")
    assert max(clock.slept) == pytest.approx(12.0)  # five a minute
    assert clock.now == pytest.approx(25 * 12.0)
    # the day after, those that have nothing go first
    wire.requests.clear()
    second = fetch(*names, have=got, per_minute=None)
    assert second.prices["symbol"].unique().sort().to_list()[-17:] == names[23:]
    fault_row("alpha_vantage", "the free plan's day is used up", seen["reason"],
              "what came; the rest follows the day after, the oldest first")  # fmt: skip


def test_the_vendors_word_on_the_day_ends_the_asking(wire, fetch, rows):
    names = ("AAA", "BBB", "CCC")
    vendor.serve(wire, *(vendor.Company(n, rows) for n in names))
    wire.serve("symbol=BBB", vendor.daily_limit(KEY))
    got = fetch(*names, gives=("prices", "profile", "earnings"))
    assert got.prices["symbol"].unique().to_list() == ["AAA"]
    assert len(wire.requests) == 2
    seen = got.failures["reason"].to_list()
    assert seen[0].startswith("2 of 3 not asked: ")
    assert "our standard API rate limit is 25 requests per day" in seen[0]
    assert "API key as ***" in seen[0]


@pytest.mark.parametrize(("words", "wait"), [(vendor.PER_MINUTE, 60.0), (vendor.BURST, 0.5)])
def test_the_limit_of_the_minute_is_waited_for(wire, fetch, rows, clock, words, wait):
    vendor.serve(wire, vendor.Company("AAA", rows))
    calm = fetch("AAA")
    clock.slept.clear()
    wire.fault("DAILY_ADJUSTED", "empty", body={"Note": words})
    got = fetch("AAA")
    assert got.failures.height == 0
    assert got.prices.equals(calm.prices)
    assert max(clock.slept) >= wait


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (vendor.unknown("TIME_SERIES_DAILY_ADJUSTED"), UnknownSymbolError),
        ({"Information": vendor.PREMIUM}, parse.PremiumError),
        ({"Information": vendor.FULL_IS_PREMIUM}, parse.PremiumError),
        (vendor.daily_limit(KEY), parse.DailyLimitError),
        ({"Note": vendor.PER_MINUTE}, TransientError),
        ({"Information": vendor.BURST}, TransientError),
        ({"Error Message": "the parameter apikey is invalid or missing. Please claim your free API key"}, AccessError),
        ({"Information": "The **demo** API key is for demo purposes only."}, AccessError),
        ({"Information": "Something new."}, SourceError),
        ([], TransientError),
    ],
)  # fmt: skip
def test_sentences_that_answer_200_are_understood(payload, error):
    found = parse.refusal(payload, "OVERVIEW AAA", KEY)
    assert type(found) is error
    assert KEY not in str(found)
    assert "OVERVIEW AAA" in str(found)
    assert parse.refusal({"Symbol": "AAA"}, "OVERVIEW AAA", KEY) is None


# faults


WHAT = {
    "unknown symbol": "unknown symbol, answered with HTTP 200",
    "html": "a web page instead of JSON",
}


@pytest.mark.parametrize(
    ("name", "fault", "more", "words"),
    [
        ("429", "rate_limited", {"retry_after": 9}, "HTTP 429: Too Many Requests"),
        ("500", "error_500", {"body": "Backend is down"}, "HTTP 500: Backend is down"),
        ("html", "html", {}, "a web page came instead of JSON"),
        ("cut off", "truncated", {}, "cut off"),
        ("broken", "truncated", {"cut": True}, "broke off"),
        ("slow", "slow", {}, "no complete answer within 0.3 s"),
        ("unknown symbol", "empty", {"body": vendor.unknown("X")}, "Invalid API call."),
        ("no rows", "empty", {"body": {"Meta Data": {}, "Time Series (Daily)": {}}}, "the series is empty"),
        ("other shape", "empty", {"body": {"hello": 1}}, "no time series in the answer; it has ['hello']"),
    ],
)  # fmt: skip
@pytest.mark.faults
def test_a_fault_that_stays_costs_its_symbol_only(
    wire, fetch, rows, name, fault, more, words, fault_row
):
    vendor.serve(wire, vendor.Company("AAA", rows), vendor.Company("BBB", rows))
    wire.fault("symbol=BBB", fault, times=None, **more)
    got = fetch("AAA", "BBB", timeout_seconds=0.3)
    assert got.prices["symbol"].unique().to_list() == ["AAA"]
    seen = failure(got, "BBB")["reason"]
    assert words in seen
    assert KEY not in seen
    # nothing is lost or given twice: the next run asks for all that is missing
    wire.calm()
    again = fetch("AAA", "BBB", have=got)
    new = raw.new_rows(got.prices, again.prices, PRICES)
    assert new["symbol"].unique().to_list() == ["BBB"]
    assert new.height == len(rows)
    if name in WHAT:
        fault_row("alpha_vantage", WHAT[name], seen, "the other symbols; the next run asks again")


def test_without_a_key_nothing_is_asked(wire, fetch):
    with pytest.raises(AccessError, match="WEALTHOS_KEYS__ALPHA_VANTAGE"):
        fetch("AAA", key=None)
    assert wire.requests == []


def test_the_key_appears_nowhere(wire, fetch, rows, caplog):
    """Not in the log at its finest, the failures, the tables, nor in an exception and its causes."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for fault, more in (
        ("refused_key", {"body": {"error": f"bad apikey={KEY}"}}),
        ("rate_limited", {"body": f"slow down, {KEY}"}),
        ("html", {"body": f"<html><title>{KEY}</title></html>"}),
        ("truncated", {}),
        ("dropped", {}),
        ("empty", {"body": vendor.daily_limit(KEY)}),
        ("empty", {"body": {"Error Message": f"the apikey {KEY} is invalid"}}),
        (None, {}),
    ):
        vendor.serve(wire, vendor.Company("AAA", rows))
        if fault:
            wire.fault("", fault, times=None, **more)
        try:
            got = fetch("AAA", gives=None, retries=1)
            said.append(got.failures.write_csv())
            said += [getattr(got, n).write_csv() for n in ("prices", "instruments", "macro")]
        except WealthOSError as error:
            said += traceback.format_exception(error)
        wire.calm()
    wire.close()
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        fetch("AAA", retries=1)
    said += traceback.format_exception(caught.value)
    said += [r.getMessage() + str(r.args) + str(r.exc_info) for r in caplog.records]
    assert len(said) > 20
    assert [s for s in said if KEY in s] == []
    assert all(s.query["apikey"] == KEY for s in wire.requests)


# recorded answers


@pytest.fixture
def recorded(shared_data: Path) -> Callable[[str], dict[str, object]]:
    folder = shared_data / "payloads" / "alpha_vantage"
    if not folder.is_dir():
        pytest.skip("the recorded answers (../shared/data/payloads) are not on this machine")
    return lambda name: json.loads((folder / name).read_text("utf-8"))


def test_recorded_overview(recorded):
    body = recorded("mock_company_overview")
    got = parse.profile(body)
    assert (got["name"], got["currency"], got["exchange"], got["sector"]) == (
        "International Business Machines Corporation", "USD", "XNYS", "Information Technology",
    )  # fmt: skip
    numbers = {r["metric"]: r["value"] for r in parse.overview(body, NOW.date())}
    assert numbers["market_cap"] == 114234572800
    assert numbers["shares_outstanding"] == 890579008
    assert numbers["pe_ratio"] == 14.1327
    assert "latest_quarter" not in numbers


def test_recorded_statement(recorded):
    frame = parse.fundamentals(
        parse.statement(recorded("mock_fundamental_data"), "INCOME_STATEMENT")
    )
    year = frame.filter(period="year", period_end=date(2019, 12, 31))
    values = dict(year.select("metric", "value").iter_rows())
    assert values["revenue"] == 77147e6
    assert values["net_income"] == 9431e6
    assert values["selling_general_administrative"] == 19956e6
    assert values["minority_interest"] == 144e6
    assert "effect_of_accounting_charges" not in values  # "None"
    assert frame.filter(period="quarter")["period_end"].min() == date(2015, 9, 30)


def test_recorded_search_finds_the_symbol_itself(recorded):
    body = recorded("symbol_search")
    got = parse.match(body, "6190.HKG")
    assert got is not None
    assert (got["exchange"], got["currency"]) == ("XHKG", "HKD")
    assert parse.match(body, "B") is None  # similar names are others


def test_recorded_bars_within_a_day_are_no_daily_bars(recorded):
    body = recorded("mock_time_series")
    frame = parse.bars(body, parse.BAR, "MSFT")
    assert frame["date"].unique().to_list() == [date(2017, 12, 18)]
    first = frame.row(0, named=True)
    assert first["high"] >= first["close"] >= first["low"] > 80


def test_other_recorded_answers_are_told(recorded, wire, fetch):
    wire.serve(r"^/query\?", Reply(recorded("global_quote")))
    with pytest.raises(SourceError, match=r"no time series in the answer; it has .'Global Quote'"):
        fetch("MSFT")
