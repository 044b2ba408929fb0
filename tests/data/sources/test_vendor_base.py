"""The base of every vendor: what is asked when, what fails alone, what every row carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_vendor import Days, Market, SmallVendor, small_vendor
from wire import Wire

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import AccessError, ConfigError, SourceError, UnknownSymbolError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import Request, SourceInfo, ingestion
from wealthos_pipeline.data.sources.fetching import Limits
from wealthos_pipeline.data.sources.ingestion import Stored
from wealthos_pipeline.data.sources.vendor import Vendor
from wealthos_pipeline.utils.config import FetchSettings, KeySettings, Settings, SourceSettings


@dataclass
class Asked:
    """What was asked of a ``Plain`` vendor, in order."""

    log: list[tuple[str, str, Any]] = field(default_factory=list)

    def of(self, what: str) -> list[str]:
        return [s for w, s, _ in self.log if w == what]


class Plain(Vendor):
    """A vendor without a network. ``market`` gives its bars; ``broken`` symbols raise."""

    name = "plain"
    limits = Limits(per_minute=1e9, concurrency=1, retries=0)
    gives = (
        "prices",
        "profile",
        "fundamentals",
        "earnings",
        "news",
        "series",
        "macro",
        "membership",
    )
    market: Market
    asked: Asked
    broken: dict[str, Exception]

    def info(self) -> SourceInfo:
        return SourceInfo(self.name, "Plain", "none", "numbers", live=True)

    def bars(self, symbol: str, start: date | None, end: date | None) -> pl.DataFrame:
        self.asked.log.append(("prices", symbol, start))
        if symbol in self.broken:
            raise self.broken[symbol]
        m = self.market
        rows = [m.bar(symbol, i) for i in range(m.today + 1) if start is None or m.days[i] >= start]
        return pl.DataFrame(rows).with_columns(
            pl.col("date").str.to_date(),
            pl.lit(m.days[m.today]).alias("basis_vintage"),
            pl.lit("USD").alias("currency"),
        )

    def profile(self, symbol: str) -> dict[str, object]:
        self.asked.log.append(("profile", symbol, None))
        return {"name": f"{symbol} Inc.", "sector": "Energy", "country": None}

    def fundamentals(self, symbol: str) -> pl.DataFrame:
        self.asked.log.append(("fundamentals", symbol, None))
        row = {"metric": "revenue", "period": "year", "period_end": date(2023, 12, 31), "vintage": "",
               "value": 5.0}  # fmt: skip
        return pl.DataFrame([row])

    def earnings(self, symbol: str) -> pl.DataFrame:
        return pl.DataFrame([{"period_end": date(2023, 12, 31), "hour": "after"}])

    def news(self, symbol: str, since: datetime | None) -> pl.DataFrame:
        self.asked.log.append(("news", symbol, since))
        at = datetime(2024, 1, 5, 12, tzinfo=UTC) + timedelta(days=self.market.today)
        return pl.DataFrame([{"news_id": f"{symbol}-{at:%d}", "headline": "…", "published_at": at}])

    def series(self, request: Request) -> pl.DataFrame:
        row = {"series": "ust_par", "tenor": "10Y", "date": date(2024, 1, 3), "value": 4.0,
               "unit": "percent", "frequency": "day"}  # fmt: skip
        return pl.DataFrame([row])

    def macro(self, request: Request) -> pl.DataFrame:
        raise AccessError("not in your plan")

    def membership(self, request: Request) -> pl.DataFrame:
        return pl.DataFrame([{"universe": "index", "symbol": "AAA", "start": date(2020, 1, 2)}])


class Story:
    """A plain vendor, its market and the lake."""

    def __init__(self, folder: Path, calendar: TradingCalendar, **settings: Any) -> None:
        self.market = Market(calendar, ["AAA", "BBB", "CCC"], sessions=60)
        self.asked, self.broken = Asked(), {}
        self.settings: dict[str, Any] = {"symbols": self.market.symbols, **settings}
        self.days = Days(folder, calendar, self.vendor)

    def vendor(self) -> Plain:
        made = Plain(SourceSettings(name="plain", **self.settings), FetchSettings(), KeySettings())
        made.market, made.asked, made.broken = self.market, self.asked, self.broken
        return made

    def evening(self, position: int, **more: Any) -> dict[str, pl.DataFrame]:
        self.asked.log.clear()
        return self.days.run(self.market.evening(position), **more)


@pytest.fixture
def story(tmp_path: Path, calendar: TradingCalendar) -> Story:
    return Story(tmp_path, calendar)


def test_everything_that_a_vendor_gives_arrives_with_its_source_and_fetch(story: Story) -> None:
    frames = story.evening(20)
    now = story.market.evening(20)
    for name in (
        "prices",
        "series",
        "instruments",
        "membership",
        "fundamentals",
        "news",
        "earnings",
    ):
        frame = frames[f"raw.{name}"]
        assert frame.height, name
        assert frame["source"].unique().to_list() == ["plain"], name
        assert frame["fetched_at"].unique().to_list() == [now], name
    assert frames["raw.instruments"].sort("symbol").row(0, named=True)["name"] == "AAA Inc."
    assert story.days.failures() == [
        {"run_id": "r1", "source": "plain", "symbol": "*", "reason": "not in your plan",
         "what": "macro", "kept": None}
    ]  # fmt: skip


def test_a_day_appends_a_day(story: Story) -> None:
    story.evening(20)
    frames = story.evening(21)
    assert frames["raw.prices"].select("symbol", "date").rows() == [
        (s, story.market.days[21]) for s in ("AAA", "BBB", "CCC")
    ]
    for name in ("series", "instruments", "membership", "fundamentals", "earnings"):
        assert frames[f"raw.{name}"].is_empty(), name


def test_asking_twice_the_same_evening_appends_nothing(story: Story) -> None:
    story.evening(20)
    frames = story.evening(20)
    assert [n for n, f in frames.items() if f.height and n != "meta.failures"] == []


def test_descriptions_are_asked_for_once_a_week_each(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    story = Story(tmp_path, calendar, gives=("prices", "profile", "fundamentals"))
    story.evening(0)
    assert story.asked.of("profile") == story.asked.of("fundamentals") == ["AAA", "BBB", "CCC"]
    seen: list[tuple[date, str]] = []
    for position in range(1, 18):
        story.evening(position)
        assert story.asked.of("profile") == story.asked.of("fundamentals")
        seen += [(story.market.days[position], s) for s in story.asked.of("profile")]
    for symbol in ("AAA", "BBB", "CCC"):
        days = [d for d, s in seen if s == symbol]
        gaps = [(b - a).days for a, b in pairwise(days)]
        assert len(gaps) >= 2
        assert min(gaps) >= 5  # a slot that falls on a holiday is asked with the next run
        assert max(gaps) <= 9
    story.evening(59)
    assert story.asked.of("profile") == ["AAA", "BBB", "CCC"]  # a week is over for all
    story.evening(59)
    assert story.asked.of("profile") == []


def test_news_are_asked_since_the_newest_story(story: Story) -> None:
    story.evening(20)
    assert next(a for a in story.asked.log if a[0] == "news") == ("news", "AAA", None)
    newest = story.days.lake.read("raw.news")["published_at"].max()
    frames = story.evening(21)
    assert {since for what, _, since in story.asked.log if what == "news"} == {newest}
    assert frames["raw.news"].height == 3


def test_a_story_that_is_dated_ahead_does_not_end_the_news(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Plain.news

    def news(self: Plain, symbol: str, since: datetime | None) -> pl.DataFrame:
        ahead = told(self, symbol, since).with_columns(
            news_id=pl.lit("ahead"), published_at=pl.lit(datetime(2033, 1, 1, tzinfo=UTC))
        )
        return pl.concat([told(self, symbol, since), ahead])

    monkeypatch.setattr(Plain, "news", news)
    story.evening(20)
    stored = story.days.lake.read("raw.news").filter(pl.col("news_id") != "ahead")
    story.evening(21)
    since = {since for what, _, since in story.asked.log if what == "news"}
    assert since == {stored["published_at"].max()}


def test_a_new_symbol_comes_in_full_and_the_others_do_not(story: Story) -> None:
    story.settings["symbols"] = ("AAA", "BBB")
    story.evening(20)
    story.settings["symbols"] = ("AAA", "BBB", "CCC")
    story.evening(21)
    start = story.market.days[10]
    assert [a for a in story.asked.log if a[0] == "prices"] == [
        ("prices", "AAA", start), ("prices", "BBB", start), ("prices", "CCC", None)
    ]  # fmt: skip
    assert story.days.bars["date"].to_list() == story.market.days[:22] * 3


def test_a_symbol_that_paused_goes_on_where_it_stopped(story: Story) -> None:
    story.evening(5)
    story.broken["BBB"] = SourceError("BBB is halted")
    for position in (20, 45):
        story.evening(position)
        assert story.days.failures()[-1]["kept"] == f"bars through {story.market.days[5]}"
    story.broken.clear()
    story.evening(46)
    start = story.market.calendar.offset(story.market.days[5], -10)
    assert ("prices", "BBB", start) in story.asked.log
    assert story.days.bars["date"].to_list() == story.market.days[:47] * 3
    assert story.days.prices.height == 47 * 3


def test_a_day_reads_the_last_bars_only(story: Story, calendar: TradingCalendar) -> None:
    story.evening(50)
    stored = Stored(story.days.lake, calendar, "plain", now=story.market.evening(51), overlap=10)
    assert stored("raw.prices")["date"].min() == story.market.days[30]
    assert stored.begin == story.market.days[30]
    assert stored("raw.instruments").height == 3


@pytest.mark.parametrize(
    "error", [KeyError("close"), TypeError("no number"), pl.exceptions.ComputeError("odd")]
)
def test_an_odd_answer_fails_alone(error: Exception, story: Story) -> None:
    story.evening(20)
    story.broken["BBB"] = error
    story.evening(21)
    (failure,) = [f for f in story.days.failures() if f["what"] == "prices"]
    assert failure["symbol"] == "BBB"
    assert "another shape than expected" in failure["reason"]
    assert type(error).__name__ in failure["reason"]
    assert failure["kept"] == f"bars through {story.market.days[20]}"
    last = story.days.bars.group_by("symbol").agg(pl.col("date").max()).sort("symbol")
    assert last["date"].to_list() == [story.market.days[i] for i in (21, 20, 21)]


def test_a_symbol_that_the_vendor_does_not_know_is_not_described(story: Story) -> None:
    story.broken["CCC"] = UnknownSymbolError("no such symbol")
    frames = story.evening(20)
    assert frames["raw.instruments"]["symbol"].to_list() == ["AAA", "BBB"]
    assert "CCC" not in story.asked.of("news")


def test_nothing_at_all_is_an_error_with_the_vendors_words(story: Story) -> None:
    story.settings["gives"] = ("prices",)
    story.broken |= dict.fromkeys(("AAA", "BBB", "CCC"), AccessError("your plan has no candles"))
    with pytest.raises(SourceError, match="plain gave nothing: your plan has no candles"):
        story.evening(20)


def test_bars_that_fail_do_not_keep_the_rest_from_coming(story: Story) -> None:
    story.evening(20)
    story.broken |= dict.fromkeys(("AAA", "BBB", "CCC"), AccessError("your plan has no candles"))
    frames = story.evening(21)
    assert frames["raw.prices"].is_empty()
    assert frames["raw.news"].height == 3
    assert {f["symbol"] for f in story.days.failures() if f["what"] == "prices"} == {
        "AAA",
        "BBB",
        "CCC",
    }


def test_full_asks_for_everything_and_stores_nothing_twice(story: Story) -> None:
    story.evening(20)
    rows = story.days.prices.height
    story.evening(21, full=True)
    assert {a[2] for a in story.asked.log if a[0] == "prices"} == {None}
    assert story.days.prices.height == rows + 3


def test_settings_choose_what_is_wanted(tmp_path: Path, calendar: TradingCalendar) -> None:
    story = Story(tmp_path, calendar, gives=("prices",))
    frames = story.evening(3)
    assert {w for w, _, _ in story.asked.log} == {"prices"}
    assert (
        frames["raw.instruments"]["currency"].to_list() == ["USD"] * 3
    )  # the plainest description


def test_failures_of_one_reason_are_one_row() -> None:
    found = pl.DataFrame(
        [("AAA", "no", "prices", None), ("AAA", "no", "news", "the old"), ("BBB", "no", None, None)],
        schema=["symbol", "reason", "what", "kept"], orient="row",
    )  # fmt: skip
    got = contract("meta.failures").conform(ingestion.failures(found, "r1", "plain"))
    assert got.select("symbol", "what", "kept").rows() == [
        ("AAA", "prices, news", "the old"), ("BBB", None, None)
    ]  # fmt: skip


# --- which symbols, which keys --------------------------------------------------------------------


def plain(**settings: Any) -> Plain:
    return Plain(SourceSettings(name="plain", **settings), FetchSettings(), KeySettings())


def test_symbols_come_from_the_settings_or_a_file(tmp_path: Path) -> None:
    assert plain(symbols=("BBB", " AAA ", "BBB")).symbols == ("BBB", "AAA")
    file = tmp_path / "universe.csv"
    file.write_text("name,Ticker\nBravo,BBB\nAlpha, AAA\nBravo again,BBB\n,\n")
    assert plain(universe=file).symbols == ("BBB", "AAA")
    file.write_text("name\nBravo\n")
    with pytest.raises(ConfigError, match="no column symbol; it has: name"):
        plain(universe=file)
    with pytest.raises(ConfigError, match=r"asked symbol by symbol .* Add --symbols"):
        plain(universe=tmp_path / "none.csv")


def test_a_vendor_that_is_not_asked_by_symbol_needs_none(tmp_path: Path) -> None:
    assert plain(gives=("series",), universe=tmp_path / "none.csv").symbols == ()


def test_a_missing_key_names_the_variable_and_a_key_is_never_shown() -> None:
    vendor = Plain(
        SourceSettings(name="plain", symbols=("A",)),
        FetchSettings(),
        KeySettings(finnhub="hunter2"),  # type: ignore[arg-type]
    )
    assert vendor.secret("finnhub") == "hunter2"
    assert "hunter2" not in repr(vendor.keys) + repr(Settings(keys=vendor.keys).public())
    with pytest.raises(AccessError, match="WEALTHOS_KEYS__FRED"):
        vendor.secret("fred")


def test_every_vendor_can_be_loaded_and_says_who_it_is() -> None:
    keys = KeySettings(finnhub="k", alpha_vantage="k", fred="k")  # type: ignore[arg-type]
    assert set(sources.VENDORS) >= {"yahoo", "finnhub", "alpha_vantage", "treasury", "fred"}
    for name in sources.VENDORS:
        settings = Settings(source=SourceSettings(name=name, symbols=("AAA",)), keys=keys)
        source = sources.get(settings)
        info = source.info()
        assert source.name == info.name == name
        assert info.licence
        assert info.live


def test_an_address_of_another_server_is_used(calendar: TradingCalendar) -> None:
    with Wire() as wire:
        market = Market(calendar, ["AAA"])
        market.open(wire)
        vendor: SmallVendor = small_vendor(wire.url + "/", market.symbols)
        frames = vendor.fetch(Request(None, None, market.evening(3), calendar))
        assert frames.prices.height == 4
        assert wire.asked("bars/AAA") == 1
