"""A primary source with others beside it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, SourceError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import Bias, RawFrames, Request, SourceInfo
from wealthos_pipeline.data.sources.combined import Combined, or_stored
from wealthos_pipeline.utils.config import Settings, SourceSettings


def frame(table: str, source: str, now: datetime, **values: Any) -> pl.DataFrame:
    row = {"source": source, "fetched_at": now, **values}
    return contract(table).conform(
        pl.DataFrame([row], schema_overrides={"fetched_at": pl.Datetime("us", "UTC")})
    )


class Made:
    """A source of one bar and one yield, or one that fails."""

    gives = ("prices", "series")
    plans = True

    def __init__(self, name: str, error: str = "", **info: Any) -> None:
        self.name, self.error = name, error
        self.about = SourceInfo(name, name.title(), f"{name}'s terms", f"{name}.example", **info)

    def info(self) -> SourceInfo:
        return self.about

    def fetch(self, request: Request) -> RawFrames:
        if self.error:
            raise SourceError(self.error)
        n, now = self.name, request.now
        empty = {t: contract(f"raw.{t}").empty() for t in ("instruments", "membership")}
        return RawFrames(
            prices=frame("raw.prices", n, now, symbol="AAA", date=date(2024, 1, 3), close=1.0),
            series=frame("raw.series", n, now, series="s", tenor="", date=date(2024, 1, 3),
                         value=1.0, unit="index", frequency="day"),
            **empty,
        )  # fmt: skip


@pytest.fixture
def request_(calendar: TradingCalendar) -> Request:
    return Request(None, None, calendar.known_at(date(2024, 1, 3)), calendar)


def test_bars_come_from_the_primary_and_series_from_all(request_: Request) -> None:
    got = Combined(Made("one"), [Made("two"), Made("three")]).fetch(request_)
    assert got.prices["source"].to_list() == ["one"]
    assert got.series["source"].to_list() == ["one", "three", "two"]


def test_a_source_beside_it_that_fails_is_a_failure_of_its_own(request_: Request) -> None:
    got = Combined(Made("one"), [Made("two", "two is down")]).fetch(request_)
    assert got.series["source"].to_list() == ["one"]
    assert got.failures.to_dicts() == [
        {"symbol": "*", "reason": "two is down", "what": "everything",
         "kept": "what was stored before", "source": "two"}
    ]  # fmt: skip


def test_a_primary_that_fails_is_an_error_only_where_nothing_is_stored(request_: Request) -> None:
    both = Combined(Made("one", "one is down"), [Made("two")])
    with pytest.raises(SourceError, match="one is down"):
        both.fetch(request_)
    bars = Made("one").fetch(request_).prices
    asked = Request(None, None, request_.now, request_.calendar, stored=lambda table: bars)
    got = both.fetch(asked)
    assert got.series["source"].to_list() == ["two"]
    assert got.failures.row(0, named=True)["kept"] == "everything stored through 2024-01-03"
    others = Request(None, None, request_.now, request_.calendar,
                     stored=lambda table: bars.with_columns(pl.lit("other").alias("source")))  # fmt: skip
    with pytest.raises(SourceError, match="one is down"):
        or_stored(both.primary, others)  # bars of another source are no help


def test_files_that_cannot_be_read_are_an_error_always(request_: Request) -> None:
    broken = Made("files", "the panel is unreadable")
    broken.plans = False
    bars = Made("files").fetch(request_).prices
    asked = Request(None, None, request_.now, request_.calendar, stored=lambda table: bars)
    with pytest.raises(SourceError, match="unreadable"):
        or_stored(broken, asked)


def test_what_is_said_about_all_is_said_once() -> None:
    bias, other = Bias("survivors", "t", "d"), Bias("x", "t", "d")
    one = Made(
        "one", biases=(bias,), missing={"series": "none", "volume": "closes only"}, live=True
    )
    info = Combined(one, [Made("two", biases=(bias, other))]).info()
    assert (info.name, info.title, info.live) == ("one", "One + Two", True)
    assert info.licence == "one: one's terms; two: two's terms"
    assert [b.name for b in info.biases] == ["survivors", "x"]
    assert dict(info.missing) == {"volume": "closes only"}


def test_settings_name_the_sources_beside_the_primary() -> None:
    both = sources.get(Settings(source=SourceSettings(name="sample", also=("treasury",))))
    assert isinstance(both, Combined)
    assert both.names == ("sample", "treasury")
    assert not both.plans
    for also in (("nope",), ("sample",)):
        with pytest.raises(ConfigError, match=also[0]):
            sources.get(Settings(source=SourceSettings(name="sample", also=also)))


def test_a_vendor_beside_another_gives_no_bars() -> None:
    settings = SourceSettings(name="sample", also=("yahoo",), symbols=("AAA",), gives=("prices",))
    both = sources.get(Settings(source=settings))
    assert isinstance(both, Combined)
    (yahoo,) = both.others
    assert not yahoo.wants("prices")  # type: ignore[attr-defined]
    assert not yahoo.wants("profile")  # type: ignore[attr-defined]
    assert yahoo.wants("fundamentals")  # type: ignore[attr-defined]
