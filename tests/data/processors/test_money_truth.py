"""What traded against what comes out: a plain loop over a share, and vendors that tell it wrongly.

One share with splits and dividends, rendered as a vendor of split-adjusted bars with events (Yahoo's
kind) and as one of traded bars with events (Alpha Vantage's), in dollars and in pence, fetched in the
evening of many days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import chain, instruments, prices, raw, spikes, units
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.data.storage.history import restated
from wealthos_pipeline.utils.config import CleaningSettings

PRICES = contract("raw.prices")
CALENDAR = TradingCalendar("XNYS", 30)
N = 100
FIRST = CALENDAR.slot(date(2015, 1, 2))
DAYS = [CALENDAR.date_of(FIRST + i) for i in range(N)]
MONEY = ("open", "high", "low", "close", "adj_close")
KINDS = ("adjusted", "traded")
Row = dict[str, Any]


def known(at: int) -> datetime:
    return CALENDAR.known_at(DAYS[at]) + timedelta(minutes=7)


@dataclass
class Share:
    """splits, dividends: session → ratio, amount a new share. moves: session → growth of that day.
    listed: the same of the vendor's list, where it differs. told: session of a split or dividend → fetch
    from which the list has it. spoiled: what the vendor does to a row."""

    kind: str = "adjusted"
    currency: str = "USD"
    splits: dict[int, float] = field(default_factory=dict)
    dividends: dict[int, float] = field(default_factory=dict)
    moves: dict[int, float] = field(default_factory=dict)
    crowd: dict[int, float] = field(default_factory=dict)
    listed_dividends: dict[int, float] | None = None
    told: dict[int, int] = field(default_factory=dict)
    spoiled: Callable[[int, Row], Row] = lambda at, row: row

    def __post_init__(self) -> None:
        rng = np.random.default_rng(5)
        self.unit = 100.0 if self.currency == "GBp" else 1.0
        close = [40.0]
        for i in range(1, N):
            fell = close[-1] / self.splits.get(i, 1.0) - self.dividends.get(i, 0.0)
            close.append(fell * self.moves.get(i, float(np.exp(rng.normal(0.0, 0.012)))))
        self.close = np.array(close)
        self.volume = np.round(rng.uniform(2e6, 4e6, N)) * [
            self.crowd.get(i, 1.0) for i in range(N)
        ]

    def fetch(self, last: int, since: int = 0) -> pl.DataFrame:
        paid = self.dividends if self.listed_dividends is None else self.listed_dividends
        rows = []
        for i in range(since, last + 1):
            later = [
                r for d, r in self.splits.items() if i < d <= last and last >= self.told.get(d, d)
            ]
            factor = float(np.prod(later)) if later else 1.0
            known_split = last >= self.told.get(i, i)
            scale = self.unit / (factor if self.kind == "adjusted" else 1.0)
            price = self.close[i] * scale
            row: Row = {
                "open": price * 0.998, "high": price * 1.01, "low": price * 0.99, "close": price,
                "volume": self.volume[i] * (factor if self.kind == "adjusted" else 1.0),
                "dividend": paid.get(i, 0.0) * scale,
                "split_ratio": self.splits.get(i, 1.0) if known_split else 1.0,
                "basis_vintage": DAYS[last] if self.kind == "adjusted" else None,
            }  # fmt: skip
            rows.append({"symbol": "A", "date": DAYS[i], **self.spoiled(i, row)})
        return PRICES.conform(
            pl.DataFrame(rows, schema_overrides={"basis_vintage": pl.Date}).with_columns(
                pl.lit("vendor").alias("source"),
                pl.lit(self.currency).alias("currency"),
                pl.lit(known(last)).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            )
        )

    def truth(self) -> list[float]:
        """What one share grew to, event by event."""
        out = [1.0]
        for i in range(1, N):
            worth = (self.close[i] + self.dividends.get(i, 0.0)) * self.splits.get(i, 1.0)
            out.append(out[-1] * worth / self.close[i - 1])
        return out


def stored(share: Share, fetches: Iterable[int]) -> pl.DataFrame:
    rows, before = PRICES.empty(), None
    for last in fetches:
        since = 0 if before is None else max(0, before - 10)
        rows = pl.concat([rows, raw.new_rows(rows, share.fetch(last, since), PRICES)])
        before = last
    return rows


def cleaned(rows: pl.DataFrame, at: int = N - 1, **more: Any) -> prices.Cleaned:
    described = contract("raw.instruments").conform(
        rows.group_by("source", "symbol").agg(pl.col("fetched_at").min(), pl.col("currency").first())
        .with_columns(pl.lit("equity").alias("asset_class"), pl.lit("XNYS").alias("exchange"))
    )  # fmt: skip
    names = instruments.clean(described, rows, calendar=CALENDAR)
    return prices.clean(rows, names, CALENDAR, now=known(at), **more)


def continued(rows: pl.DataFrame, whole: pl.DataFrame, cut: int) -> pl.DataFrame:
    day = DAYS[cut]
    recent = rows.filter(pl.col("date") >= chain.context_start(day, CALENDAR))
    return cleaned(recent, previous=chain.last_rows(whole, day), start=day).prices


def check(
    out: pl.DataFrame, share: Share, *, but: tuple[int, ...] = (), index: float = 1e-9
) -> None:
    """Everything but the sessions ``but``; ``index``: how near the index must be."""
    keep = [i for i in range(out.height) if i not in but]
    ratios, paid = (
        [d.get(i, e) for i in keep] for d, e in ((share.splits, 1.0), (share.dividends, 0.0))
    )
    near = {"rtol": 1e-9, "atol": 1e-12}
    truth = np.array(share.truth())[keep]
    np.testing.assert_allclose(out["tr_index"].gather(keep), truth, rtol=index)
    np.testing.assert_allclose(out["close"].gather(keep), share.close[keep], **near)
    np.testing.assert_allclose(out["volume"].gather(keep), share.volume[keep], **near)
    np.testing.assert_allclose(out["split_ratio"].gather(keep), ratios, **near)
    np.testing.assert_allclose(out["dividend"].gather(keep), paid, **near)
    value = share.close[keep] * share.volume[keep]
    np.testing.assert_allclose(out["dollar_volume"].gather(keep), value, **near)


EVERY_DAY = (20, *range(38, 43), 50, 51, *range(55, 72), 80, 81, N - 1)
EVENTS: dict[str, Any] = {"splits": {40: 4.0, 70: 0.1}, "dividends": {25: 0.3, 50: 0.1, 80: 9.0}}


@pytest.mark.parametrize("fetches", [(N - 1,), (38, 39, 40, 71, N - 1), EVERY_DAY])
@pytest.mark.parametrize("currency", ["USD", "GBp"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_traded_comes_out(kind, currency, fetches) -> None:
    share = Share(kind, currency, **EVENTS)
    out = cleaned(stored(share, fetches))
    check(out.prices, share)
    assert out.adjustments.height == 0


@pytest.mark.parametrize("ratio", [4.0, 1.05, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_split_that_is_told_late_ends_in_the_return_of_its_day(kind, ratio) -> None:
    """Of traded closes nothing but its own number shows a split: it must be taken when it comes."""
    share = Share(kind, splits={40: ratio}, told={40: 42})
    before = cleaned(stored(share, range(38, 42)), 41).prices
    assert before["tr_index"][40] / before["tr_index"][39] == pytest.approx(
        share.close[40] / share.close[39]
    )
    rows = stored(share, range(38, 46))
    out = cleaned(rows).prices
    check(out, share)
    assert out["flags"][40] & Flag.RESTATED
    assert out["known_at"][40] == known(42)
    assert out["known_at"][39] == CALENDAR.known_at(DAYS[39])
    for cut in (39, 40, 41, 43):
        assert continued(rows, out, cut).equals(out.filter(pl.col("date") >= DAYS[cut]))


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("currency", ["USD", "GBp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dividend_on_a_day_in_the_wrong_unit_is_paid_in_full(kind, currency, factor) -> None:
    def spoiled(at: int, row: Row) -> Row:
        return row if at != 50 else row | {n: row[n] * factor for n in MONEY[:4]}

    share = Share(kind, currency, dividends={50: 1.2}, spoiled=spoiled)
    out = cleaned(stored(share, EVERY_DAY))
    check(out.prices, share)
    assert out.adjustments["rule"].to_list() == ["unit_switch"]


# --- a fall to a hundredth --------------------------------------------------------------------------


def units_marked(out: pl.DataFrame) -> list[int]:
    return ((out["flags"] & int(Flag.UNIT_SWITCH)) != 0).arg_true().to_list()


@pytest.mark.parametrize("growth", [0.0085, 0.012])
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_fall_to_a_hundredth_is_restored_when_the_bars_after_stay_there(
    kind, growth
) -> None:
    share = Share(kind, splits={40: 4.0}, moves={60: growth})
    rows = stored(share, EVERY_DAY)
    for at in (60, 61, 63):  # until then it is taken for a slip
        seen = cleaned(rows.filter(pl.col("fetched_at") <= known(at)), at).prices
        assert units_marked(seen) == list(range(60, at + 1))
        assert seen["close"][at] == pytest.approx(100 * share.close[at])
    out = cleaned(rows)
    check(out.prices, share)
    assert units_marked(out.prices) == []
    assert out.prices["flags"][60] & Flag.EXTREME
    told = CALENDAR.known_at(DAYS[64])
    assert out.prices["known_at"].to_list()[59:66] == [
        CALENDAR.known_at(DAYS[59]), *[told] * 5, CALENDAR.known_at(DAYS[65])
    ]  # fmt: skip
    then = cleaned(rows.filter(pl.col("fetched_at") <= known(63)), 63).prices
    past = out.earlier.sort("date")
    assert past["date"].to_list() == DAYS[60:64]
    assert set(past["known_to"]) == {told}
    for name in ("close", "tr_index", "flags", "dollar_volume", "known_at"):
        assert past[name].equals(then[name].tail(4)), name
    row = out.adjustments.filter(pl.col("rule") == "unit_switch").row(0, named=True)
    assert row["date"] == DAYS[60]
    assert row["before"] == pytest.approx(100 * row["after"])
    for cut in (59, 60, 62, 64, 66, 80):
        assert continued(rows, out.prices, cut).equals(
            out.prices.filter(pl.col("date") >= DAYS[cut])
        )


def test_days_one_by_one_store_what_one_go_stores() -> None:
    share = Share(moves={60: 0.01})
    rows = stored(share, EVERY_DAY)
    table, past = contract("clean.prices"), contract("clean.prices_history").empty()
    now, walked, history = table.empty(), table.empty(), past
    for at in (*range(58, 67),):
        out = cleaned(rows.filter(pl.col("fetched_at") <= known(at)), at)
        walked, changed = restated(
            table, out.prices, current=now, past=lambda h=history: h, now=known(at),
            earlier=out.earlier,
        )  # fmt: skip
        now, history = walked, history if changed is None else changed
    whole, told = restated(
        table, out.prices, current=table.empty(), past=lambda: past, now=known(66),
        earlier=out.earlier,
    )  # fmt: skip
    key = ["instrument_id", "date", "known_from"]
    assert walked.sort("date").equals(whole.sort("date"))
    assert told is not None
    assert history.sort(key).equals(told.sort(key))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("currency", ["USD", "GBp"])
def test_a_fall_to_a_hundredth_in_which_everybody_sold_is_believed_on_the_day(
    kind, currency
) -> None:
    share = Share(kind, currency, moves={60: 0.01}, crowd={60: 15.0})
    rows = stored(share, EVERY_DAY)
    at_once = cleaned(rows.filter(pl.col("fetched_at") <= known(60)), 60).prices
    check(at_once, share)
    out = cleaned(rows)
    check(out.prices, share)
    assert out.earlier.height == 0
    assert set(out.prices["basis"]) == {"assumed"}


def test_what_tells_a_fall_lies_in_what_a_day_computes_again() -> None:
    assert units.STAYS <= units.REACH <= spikes.REACH


@pytest.mark.parametrize("places", [(60,), (60, 61, 62, 63), (60, 70)])
@pytest.mark.parametrize("kind", KINDS)
def test_bars_that_go_back_to_their_unit_were_a_slip(kind, places) -> None:
    def spoiled(at: int, row: Row) -> Row:
        return row if at not in places else row | {n: row[n] / 100 for n in MONEY[:4]}

    share = Share(kind, spoiled=spoiled)
    out = cleaned(stored(share, EVERY_DAY))
    check(out.prices, share)
    assert units_marked(out.prices) == list(places)
    assert out.earlier.height == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_bar_in_the_wrong_unit_is_no_fall(kind) -> None:
    def spoiled(at: int, row: Row) -> Row:
        return row if at > 0 else row | {n: row[n] * 100 for n in MONEY[:4]}

    share = Share(kind, spoiled=spoiled)
    out = cleaned(stored(share, EVERY_DAY)).prices
    np.testing.assert_allclose(out["tr_index"], share.truth(), rtol=1e-9)


def test_a_listing_in_pence_that_is_told_in_pounds_for_good_stays_so() -> None:
    def spoiled(at: int, row: Row) -> Row:
        return row if at < 60 else row | {n: row[n] / 100 for n in MONEY[:4]}

    share = Share("adjusted", "GBp", spoiled=spoiled)
    out = cleaned(stored(share, EVERY_DAY))
    check(out.prices, share)
    assert units_marked(out.prices) == list(range(60, N))


def test_a_growth_to_the_hundredfold_is_never_taken_for_real() -> None:
    """It is a merger of shares that no list has: traded prices are then in old shares."""
    share = Share("traded", moves={60: 100.0})
    out = cleaned(stored(share, EVERY_DAY)).prices
    assert out["tr_index"][70] / out["tr_index"][59] == pytest.approx(
        share.close[70] / share.close[59] / 100
    )


# --- a special dividend on the wrong day ------------------------------------------------------------


WRONG_DAYS = [
    (kind, ("USD", "GBp")[(i + j) % 2], listed, ((N - 1,), EVERY_DAY)[(i + j // 2) % 2])
    for i, kind in enumerate(KINDS)
    for j, listed in enumerate((56, 59, 61, 64))
]
"""Every two of the four choices meet."""


@pytest.mark.parametrize(("kind", "currency", "listed", "fetches"), WRONG_DAYS)
def test_a_special_dividend_on_the_wrong_day_is_no_loss(kind, currency, listed, fetches) -> None:
    share = Share(kind, currency, splits={40: 4.0, 90: 2.0}, dividends={60: 3.0})
    share.listed_dividends = {listed: 3.0}
    rows = stored(share, fetches)
    out = cleaned(rows)
    late = listed > 60
    # listed late: the fall is a loss until then; listed early: it is paid where the price falls
    between = tuple(range(min(listed, 60), max(listed, 60) + 1))
    if late or currency == "GBp":  # reinvested days later; a hundredth of it days earlier
        check(out.prices, share, but=between, index=0.02)
    else:
        check(out.prices, share)
    rules = out.adjustments.filter(pl.col("rule") == "misdated_dividend")
    assert rules["date"].to_list() == [DAYS[listed if late else 60]]
    assert rules["after"][0] == pytest.approx(3.0 if late or currency == "USD" else 2.97)
    for cut in (57, 60, 61, 63, 65):
        assert continued(rows, out.prices, cut).equals(
            out.prices.filter(pl.col("date") >= DAYS[cut])
        )


def test_a_dividend_that_no_fall_is_near_stays_dropped_and_the_rule_can_be_switched_off() -> None:
    phantom = Share(dividends={})
    phantom.listed_dividends = {60: 6.0}
    rows = stored(phantom, EVERY_DAY)
    check(cleaned(rows).prices, phantom)
    real = Share(dividends={60: 6.0})
    real.listed_dividends = {59: 6.0}
    out = cleaned(stored(real, EVERY_DAY), cleaning=CleaningSettings(off=("misdated_dividend",)))
    assert out.adjustments["rule"].to_list() == ["phantom_dividend"]
    assert out.prices["tr_index"][60] / out.prices["tr_index"][59] < 0.9
    both = CleaningSettings(off=("misdated_dividend", "phantom_dividend"))
    paid = cleaned(stored(real, EVERY_DAY), cleaning=both).prices
    assert paid["tr_index"][60] / paid["tr_index"][58] == pytest.approx(
        (real.close[59] + 6.0) / real.close[58] * real.close[60] / real.close[59]
    )
