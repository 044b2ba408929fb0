"""A dividend or a split of a day on which the house's exchange was closed counts on the next bar."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, off_days, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar

RAW = contract("raw.prices")
BEFORE, OFF, AFTER = date(2022, 11, 23), date(2022, 11, 24), date(2022, 11, 25)  # Thanksgiving
LAST = date(2022, 11, 28)
CLOSES = {date(2022, 11, 22): 100.0, BEFORE: 104.0, OFF: 99.0, AFTER: 101.0, LAST: 102.0}


def rows(
    at: datetime,
    *,
    days: tuple[date, ...] = tuple(CLOSES),
    dividend: float = 0.0,
    split: float = 1.0,
) -> list[dict[str, Any]]:
    """Closes, split-adjusted as of ``at``; the event is of ``OFF``."""
    vintage = at.date()
    return [
        {
            "source": "vendor",
            "symbol": "LON",
            "date": d,
            "close": CLOSES[d] / split,  # as traded before the split, a part of it since
            "volume": 1e6,
            "dividend": dividend if d == OFF else 0.0,
            "split_ratio": split if d == OFF else 1.0,
            "currency": "USD",
            "basis_vintage": vintage,
            "fetched_at": at,
        }
        for d in days
    ]


def cleaned(
    calendar: TradingCalendar, *fetches: list[dict[str, Any]], **more: Any
) -> prices.Cleaned:
    given = RAW.conform(pl.DataFrame([r for f in fetches for r in f], infer_schema_length=None))
    described = pl.DataFrame(
        {"source": "vendor", "symbol": "LON", "asset_class": "equity", "exchange": "XNYS",
         "currency": "USD", "fetched_at": [given["fetched_at"].min()]}
    )  # fmt: skip
    named = instruments.clean(
        contract("raw.instruments").conform(described), given, calendar=calendar
    )
    now = given["fetched_at"].max()
    assert isinstance(now, datetime)
    return prices.clean(given, named, calendar, now=more.pop("now", now), base="USD", **more)


@pytest.fixture
def evening(calendar: TradingCalendar) -> datetime:
    return calendar.known_at(LAST) + timedelta(minutes=5)


def test_a_dividend_is_in_the_return_over_the_closed_day(calendar, evening) -> None:
    plain = cleaned(calendar, rows(evening)).prices
    out = cleaned(calendar, rows(evening, dividend=5.2))
    bars = out.prices.sort("date")
    assert OFF not in bars["date"].to_list()
    assert dict(bars.select("date", "dividend").iter_rows()) == {
        d: 5.2 if d == AFTER else 0.0 for d in CLOSES if d != OFF
    }
    growth = dict(bars.select("date", pl.col("tr_index") / pl.col("tr_index").shift(1)).iter_rows())
    assert growth[AFTER] == pytest.approx((101.0 + 5.2) / 104.0, rel=1e-12)
    assert growth[LAST] == pytest.approx(102.0 / 101.0, rel=1e-12)
    assert bars["close"].to_list() == plain.sort("date")["close"].to_list()
    (kept,) = out.quarantine.select("date", "rule", "detail").rows()
    assert kept[:2] == (OFF, "not_a_session")
    assert kept[2].endswith(f"dividend 5.2; split and dividend count on {AFTER}")


def test_a_split_is_on_the_next_bar_and_prices_before_are_as_traded(calendar, evening) -> None:
    bars = cleaned(calendar, rows(evening, split=4.0)).prices.sort("date")
    assert bars.select("date", "split_ratio").filter(pl.col("split_ratio") != 1).rows() == [
        (AFTER, 4.0)
    ]
    assert bars.filter(pl.col("date") == BEFORE)["close"].item() == pytest.approx(104.0)
    growth = (bars["tr_index"] / bars["tr_index"].shift(1)).to_list()
    assert growth[2] == pytest.approx(101.0 / 104.0, rel=1e-12)
    assert bars["close"].to_list() == pytest.approx([100.0, 104.0, 25.25, 25.5])


def test_one_that_is_listed_later_is_a_correction_known_then(calendar, evening) -> None:
    late = evening + timedelta(days=1)
    second = rows(late, days=(OFF,), dividend=5.2)
    out = cleaned(calendar, rows(evening), second)
    bar = out.prices.filter(pl.col("date") == AFTER)
    assert bar["dividend"].item() == 5.2
    assert bar.select("basis", "known_at").row(0) == ("observed", late)
    before = out.prices.filter(pl.col("date") == BEFORE)
    assert before["basis"].item() == "assumed"


def test_a_continuation_is_the_whole(calendar, evening) -> None:
    fetched = rows(evening, dividend=5.2)
    whole = cleaned(calendar, fetched).prices.sort("date")
    before = prices.last_rows(whole, AFTER)
    part = cleaned(calendar, fetched, start=AFTER, previous=before).prices
    assert part.sort("date").equals(whole.filter(pl.col("date") >= AFTER))


def test_without_a_bar_soon_after_nothing_moves(calendar, evening) -> None:
    days = tuple(d for d in CLOSES if d <= OFF)
    out = cleaned(calendar, rows(evening, days=days, dividend=5.2))
    assert out.prices["dividend"].sum() == 0.0
    frame = pl.DataFrame({"rule": ["no_close"], "instrument_id": ["X"], "source": ["v"], "date": [OFF], "dividend": [1.0],
                          "split_ratio": [1.0]})  # fmt: skip
    assert off_days.carried(frame) is frame
