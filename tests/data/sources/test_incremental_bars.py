"""What an overlap says: the same, a new basis, a restatement, or something that nothing explains."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import Request
from wealthos_pipeline.data.sources.incremental import judge, last_bars, starts, unexplained

PRICES = contract("raw.prices")
FIRST = date(2024, 1, 2)
TRADED = [100.0, 101.5, 99.75, 102.0, 103.25, 101.0, 104.5, 105.25, 103.0, 106.75, 107.5, 108.25]


def days(n: int) -> list[date]:
    return TradingCalendar().sessions(FIRST, FIRST + timedelta(days=3 * n + 5))[:n]


def bars(
    last: int,
    *,
    first: int = 0,
    splits: dict[int, float] | None = None,
    listed: dict[int, float] | None = None,
    dividends: dict[int, float] | None = None,
    digits: int | None = None,
    restated: dict[int, float] | None = None,
    symbol: str = "AAA",
    **more: Any,
) -> pl.DataFrame:
    """Bars ``first`` to ``last`` of one symbol as of session ``last``. listed: the splits that the
    vendor tells, all if None."""
    splits, dividends = splits or {}, dividends or {}
    listed = splits if listed is None else listed
    session = days(len(TRADED))
    traded = [
        (restated or {}).get(i, c)
        / float(np.prod([r for k, r in splits.items() if k <= i] or [1.0]))
        for i, c in enumerate(TRADED)
    ]
    rows = []
    for i in range(first, last + 1):
        later = float(np.prod([r for k, r in splits.items() if i < k <= last] or [1.0]))
        paid = float(
            np.prod([1 - a / traded[k - 1] for k, a in dividends.items() if i < k <= last] or [1.0])
        )
        close = traded[i] / later
        shown = close if digits is None else round(close, digits)
        adjusted = close * paid if digits is None else round(close * paid, digits)
        rows.append(
            {
                "source": "small", "symbol": symbol, "date": session[i], "close": shown,
                "adj_close": adjusted, "volume": 1000.0 * later, "split_ratio": listed.get(i, 1.0),
                "dividend": dividends.get(i, 0.0) / later, "currency": "USD",
                "basis_vintage": session[last],
                "fetched_at": datetime(2024, 1, 1, 22, tzinfo=UTC) + timedelta(days=last), **more,
            }
        )  # fmt: skip
    return PRICES.conform(pl.DataFrame(rows))


def request(last: int, **more: Any) -> Request:
    calendar = TradingCalendar()
    now = calendar.known_at(days(len(TRADED))[last]) + timedelta(hours=1)
    return Request(None, None, now, calendar, **more)


@pytest.mark.parametrize("digits", [None, 2, 4])
@pytest.mark.parametrize("ratio", [2.0, 3.0, 7.0, 0.1, 1.5])
def test_a_listed_split_explains_the_basis_whatever_the_rounding(
    ratio: float, digits: int | None
) -> None:
    old, new = (bars(last, splits={10: ratio}, digits=digits) for last in (9, 11))
    assert unexplained(new, old) is None
    verdict = judge(new, old, request(11))
    assert (verdict.again, verdict.notices) == ({}, ())


@pytest.mark.parametrize("ratio", [2.0, 0.1, 1.05])
def test_a_factor_that_no_split_explains_is_found(ratio: float) -> None:
    old = bars(9)
    new = bars(11, splits={10: ratio}, listed={})
    reason = unexplained(new, old)
    assert reason is not None
    assert f"prices are {1 / ratio:.6g} times" in reason
    verdict = judge(new, old, request(11))
    assert set(verdict.again) == {"AAA"}
    assert judge(new, old, request(11, full=True)).again == {}  # it is all there already


def test_a_wrong_ratio_in_the_list_explains_nothing() -> None:
    reason = unexplained(bars(11, splits={10: 4.0}, listed={10: 2.0}), bars(9))
    assert reason is not None
    assert "0.5 times" in reason


def test_a_factor_before_a_day_inside_the_overlap_is_found() -> None:
    """The vendor back-adjusted for a split of some days ago and never listed it."""
    old = bars(9, splits={6: 2.0}, listed={})
    old = old.with_columns(  # it had not adjusted the older bars then
        pl.when(pl.col("date") < days(12)[6])
        .then(pl.col("close") * 2)
        .otherwise("close")
        .alias("close")
    )
    assert unexplained(bars(11, splits={6: 2.0}, listed={}), old) is not None


def test_a_split_that_is_listed_late_means_everything_anew() -> None:
    """Bars were stored with a basis after the ex-date, without the split: older ones are not in view."""
    old = bars(9, splits={6: 2.0}, listed={})
    reason = unexplained(bars(11, splits={6: 2.0}), old)
    assert reason is not None
    assert "came into the vendor's list later" in reason
    assert unexplained(bars(11, splits={6: 2.0}), bars(9, splits={6: 2.0})) is None


@pytest.mark.parametrize(
    "changed", [{4: 100.0}, {4: 100.0, 8: 110.0}, {9: 107.0}, {2: 101.0, 3: 101.0}]
)
def test_single_bars_that_differ_are_restated(changed: dict[int, float]) -> None:
    assert unexplained(bars(11, restated=changed), bars(9)) is None


def test_noise_of_float32_is_no_difference() -> None:
    new = bars(11).with_columns(pl.col("close").cast(pl.Float32).cast(pl.Float64))
    assert unexplained(new, bars(9)) is None


@pytest.mark.parametrize("splits", [{}, {10: 4.0}])
@pytest.mark.parametrize("dividends", [{10: 2.0}, {3: 1.0, 10: 2.0}, {10: 1.0, 11: 0.5}])
def test_new_dividends_explain_adjusted_closes(
    dividends: dict[int, float], splits: dict[int, float]
) -> None:
    old, new = (bars(last, dividends=dividends, splits=splits, digits=4) for last in (9, 11))
    assert old["adj_close"].to_list() != new["adj_close"].to_list()[:10]
    assert unexplained(new, old) is None


def test_adjusted_closes_that_no_dividend_explains() -> None:
    new = bars(11, dividends={10: 2.0})
    hidden = new.with_columns(pl.lit(0.0).alias("dividend"))
    for answer in (hidden, new.with_columns(pl.col("dividend") / 3)):
        reason = unexplained(answer, bars(9))
        assert reason is not None
        assert "adjusted closes are" in reason


def test_the_currency_is_compared_by_unit() -> None:
    was, now = bars(9, currency="GBp"), bars(11, currency="GBX")
    assert judge(now, was, request(11)).refused == frozenset()
    verdict = judge(bars(11, currency="GBP"), was, request(11))
    assert verdict.refused == {"AAA"}
    assert "prices came in GBP and are stored in GBp" in verdict.notices[0].reason
    assert verdict.notices[0].kept == f"bars through {days(12)[9]}"
    assert judge(bars(11, currency="GBP"), was, request(11, full=True)).refused == frozenset()


def test_bars_that_are_no_longer_given_are_named() -> None:
    gone = bars(11, first=3).filter(~pl.col("date").is_in([days(12)[5], days(12)[8]]))
    verdict = judge(gone, bars(9), request(11))
    assert [n.symbol for n in verdict.notices] == ["AAA"]
    assert f"bars of {days(12)[5]}, {days(12)[8]}," in verdict.notices[0].reason


def test_a_lagging_symbol_is_named_and_a_whole_one_not() -> None:
    both = pl.concat([bars(10), bars(11, symbol="BBB")])
    verdict = judge(both, bars(9), request(11))
    assert [(n.symbol, n.reason) for n in verdict.notices] == [
        ("AAA", f"no bar of {days(12)[11]} yet")
    ]


def test_only_the_symbol_that_changed_is_fetched_again() -> None:
    names = [f"S{i:02}" for i in range(30)]
    old = pl.concat([bars(9, symbol=s) for s in names])
    new = pl.concat(
        [bars(11, symbol=s, splits={10: 2.0} if s == "S07" else {}, listed={}) for s in names]
    )
    assert set(judge(new, old, request(11)).again) == {"S07"}


def test_ranges_begin_an_overlap_before_the_last_bar() -> None:
    calendar = TradingCalendar()
    stored = pl.concat([bars(9), bars(4, symbol="BBB")])
    asked = request(9)
    last = last_bars(stored, asked)
    assert last == {"AAA": days(12)[9], "BBB": days(12)[4]}
    got = starts(["AAA", "BBB", "NEW"], last, asked, 3)
    assert got == {"AAA": days(12)[6], "BBB": days(12)[1], "NEW": None}
    bounded = Request(days(12)[7], None, asked.now, calendar)
    assert starts(["AAA", "NEW"], last, bounded, 3) == {"AAA": days(12)[7], "NEW": days(12)[7]}
    assert starts(["AAA"], last, request(9, full=True), 3) == {"AAA": None}


def test_rows_of_the_future_are_no_last_bar() -> None:
    assert last_bars(bars(11), request(7)) == {"AAA": days(12)[7]}
    assert judge(bars(11), bars(11), request(9)).notices == ()
