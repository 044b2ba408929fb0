"""Vendors with events: split-adjusted closes, a list of splits and dividends, adjusted closes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices, raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag

PRICES = contract("raw.prices")
DOUBT = Flag.ADJ_MISMATCH | Flag.SPLIT_DOUBT | Flag.UNIT_SWITCH | Flag.DIVIDEND_REPAIRED


@dataclass
class Listing:
    """One symbol as it traded, and how a vendor tells of it.

    splits, dividends: position → ratio, amount. late: position of a split → fetch from which the list
    has it. rescaled: position of a split → fetch from which prices are rescaled.
    """

    calendar: TradingCalendar
    seed: int = 3
    sessions: int = 120
    splits: dict[int, float] = field(default_factory=dict)
    dividends: dict[int, float] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)
    rescaled: dict[int, int] = field(default_factory=dict)
    told: dict[int, float] = field(default_factory=dict)
    phantoms: dict[int, float] = field(default_factory=dict)
    digits: int | None = None
    level: float = 400.0
    name: str = "EVT"
    currency: str = "USD"

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        first = self.calendar.slot(date(2015, 1, 2))
        self.days = [self.calendar.date_of(first + i) for i in range(self.sessions)]
        moves = np.exp(rng.normal(0.0, 0.015, self.sessions))
        close = [self.level]
        for i in range(1, self.sessions):
            paid = self.dividends.get(i, 0.0)
            close.append((close[-1] / self.splits.get(i, 1.0) - paid) * moves[i])
        self.close = np.round(np.array(close), 2)
        self.volume = np.round(rng.uniform(1e6, 9e6, self.sessions))

    def known(self, at: int) -> datetime:
        return self.calendar.known_at(self.days[at]) + timedelta(minutes=7)

    def fetch(self, last: int, since: int = 0) -> pl.DataFrame:
        """As given in the evening of session ``last``."""
        given = [s for s in self.splits if s <= last and last >= self.rescaled.get(s, s)]
        listed = {s: self.told.get(s, r) for s, r in self.splits.items()} | self.phantoms
        listed = {s: r for s, r in listed.items() if s <= last and last >= self.late.get(s, s)}
        rows = []
        for i in range(since, last + 1):
            factor = float(np.prod([self.splits[s] for s in given if s > i] or [1.0]))
            income = 1.0
            for d, amount in self.dividends.items():
                if i < d <= last:
                    income *= 1 - amount / (self.close[d - 1] / self.splits.get(d, 1.0))
            close = self.rounded(self.close[i] / factor)
            rows.append(
                {
                    "symbol": self.name, "date": self.days[i], "close": close,
                    "open": self.rounded(self.close[i] / factor * 0.998),
                    "high": self.rounded(self.close[i] / factor * 1.01),
                    "low": self.rounded(self.close[i] / factor * 0.99),
                    "adj_close": self.rounded(self.close[i] / factor * income),
                    "volume": float(np.round(self.volume[i] * factor)),
                    "dividend": self.dividends.get(i, 0.0) / factor,
                    "split_ratio": listed.get(i, 1.0),
                }
            )  # fmt: skip
        return PRICES.conform(
            pl.DataFrame(rows).with_columns(
                pl.lit("vendor").alias("source"), pl.lit(self.currency).alias("currency"),
                pl.lit(self.days[last]).alias("basis_vintage"),
                pl.lit(self.known(last)).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            )
        )  # fmt: skip

    def rounded(self, x: float) -> float:
        return float(np.float32(x)) if self.digits is None else float(round(x, self.digits))

    def growth(self) -> np.ndarray:
        """Of a holder who reinvests at the close of the ex-day: a plain loop over what traded."""
        out = [1.0]
        for i in range(1, self.sessions):
            split, paid = self.splits.get(i, 1.0), self.dividends.get(i, 0.0)
            out.append(out[-1] * (self.close[i] + paid) * split / self.close[i - 1])
        return np.array(out)


def stored(listing: Listing, fetches: Iterable[int], overlap: int = 10) -> pl.DataFrame:
    """raw.prices after these fetches, the first in full, later ones with an overlap."""
    rows, before = PRICES.empty(), None
    for last in fetches:
        since = 0 if before is None else max(0, before - overlap)
        rows = pl.concat([rows, raw.new_rows(rows, listing.fetch(last, since), PRICES)])
        before = last
    return rows


def registry(rows: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    keys = rows.group_by("source", "symbol").agg(
        pl.col("fetched_at").min(), pl.col("currency").first()
    )
    described = keys.with_columns(
        pl.lit("equity").alias("asset_class"), pl.lit("XNYS").alias("exchange")
    )
    return instruments.clean(
        contract("raw.instruments").conform(described), rows, calendar=calendar
    )


def cleaned(
    rows: pl.DataFrame, calendar: TradingCalendar, now: datetime, **more: object
) -> prices.Cleaned:
    return prices.clean(rows, registry(rows, calendar), calendar, now=now, **more)  # type: ignore[arg-type]


def check(out: pl.DataFrame, listing: Listing, tolerance: float = 2e-6) -> None:
    n = out.height
    np.testing.assert_allclose(out["tr_index"], listing.growth()[:n], rtol=tolerance)
    np.testing.assert_allclose(out["close"], listing.close[:n], rtol=tolerance)
    ratios = [listing.splits.get(i, 1.0) for i in range(n)]
    np.testing.assert_allclose(out["split_ratio"], ratios, rtol=1e-12)


def marked(frame: pl.DataFrame, flags: Flag) -> list[date]:
    """Dates with any of ``flags``."""
    return frame.filter(pl.col("flags") & int(flags) != 0)["date"].to_list()


SPLITS = {40: 4.0, 90: 7.0}
DIVIDENDS = {20: 0.8, 60: 0.25, 100: 0.03}


@pytest.mark.parametrize("fetches", [[119], [30, 50, 119], [*range(35, 120)]])
def test_traded_prices_and_returns_whatever_was_fetched_when(calendar, now, fetches):
    listing = Listing(calendar, splits=SPLITS, dividends=DIVIDENDS)
    out = cleaned(stored(listing, fetches), calendar, now)
    check(out.prices, listing)
    np.testing.assert_allclose(out.prices["volume"], listing.volume, rtol=1e-5)
    paid = out.prices.filter(pl.col("dividend") > 0)
    np.testing.assert_allclose(paid["dividend"], list(DIVIDENDS.values()), rtol=1e-6)
    assert out.adjustments.height == 0
    assert marked(out.prices, DOUBT) == []
    assert out.prices["basis_vintage"].null_count() == out.prices.height


@pytest.mark.parametrize("digits", [None, 2, 4])
def test_a_split_between_two_fetches_moves_nothing_but_its_day(calendar, now, digits):
    listing = Listing(calendar, splits={40: 4.0}, dividends={20: 0.8}, digits=digits)
    before = cleaned(stored(listing, [38, 39]), calendar, now).prices
    rows = stored(listing, [38, 39, 40, 41])
    again = rows.filter(pl.col("date") == listing.days[35])
    assert again.height == 2  # the overlap came in another basis
    after = cleaned(rows, calendar, now).prices
    old = after.filter(pl.col("date") <= listing.days[39])
    assert old.equals(before)
    assert after["split_ratio"].to_list()[40:] == [4.0, 1.0]
    assert set(after["basis"]) == {"assumed"}
    assert marked(after, Flag.RESTATED | DOUBT) == []
    check(after, listing, 2e-6 if digits is None else 2e-3)


def test_a_split_that_the_list_has_a_day_late_is_no_return(calendar, now):
    """Prices are rescaled at once; the event comes with the fetch after."""
    listing = Listing(calendar, splits={40: 4.0}, late={40: 41})
    first = cleaned(stored(listing, [38, 39, 40]), calendar, now)
    check(first.prices, listing)
    assert first.prices["flags"][-1] & Flag.SPLIT_DOUBT
    assert first.adjustments["rule"].to_list() == ["split_without_event"]
    assert first.adjustments.select("before", "after").row(0) == (1.0, 4.0)
    later = cleaned(stored(listing, [38, 39, 40, 41, 42]), calendar, now).prices
    check(later, listing)
    assert later.head(41).equals(first.prices)


def test_a_split_that_is_listed_before_prices_are_rescaled_is_no_return(calendar, now):
    listing = Listing(calendar, splits={40: 4.0}, rescaled={40: 42})
    for fetches in ([38, 39, 40], [38, 39, 40, 41], [38, 39, 40, 41, 42, 43], [40], [41]):
        check(cleaned(stored(listing, fetches), calendar, now).prices, listing)


def test_a_wrong_ratio_in_the_list_is_no_return(calendar, now):
    listing = Listing(calendar, splits={40: 4.0}, told={40: 5.0})
    out = cleaned(stored(listing, [38, 39, 40, 41]), calendar, now)
    check(out.prices, listing)
    assert out.adjustments["rule"].to_list() == ["split_not_in_prices"]
    assert out.adjustments.select("before", "after").row(0) == (5.0, 4.0)
    # in one fetch nothing tells the ratio; the returns hold all the same
    whole = cleaned(stored(listing, [60]), calendar, now).prices
    np.testing.assert_allclose(whole["tr_index"], listing.growth()[:61], rtol=2e-6)


@pytest.mark.parametrize("ratio", [4.0, 1.1, 0.1])
def test_a_split_that_never_happened_is_no_return(calendar, now, ratio):
    listing = Listing(calendar, phantoms={40: ratio})
    out = cleaned(stored(listing, [38, 39, 40, 41]), calendar, now)
    check(out.prices, listing)
    assert out.adjustments["rule"].to_list() == ["split_not_in_prices"]
    assert out.prices["flags"][40] & Flag.SPLIT_DOUBT
    whole = cleaned(stored(listing, [60]), calendar, now).prices
    np.testing.assert_allclose(whole["tr_index"], listing.growth()[:61], rtol=2e-6)


def test_a_history_fetched_between_rescaling_and_listing_keeps_its_returns(calendar, now):
    listing = Listing(calendar, splits={40: 4.0}, late={40: 46})
    for fetches in ([45], [45, 46], [45, 46, 47, 60]):
        out = cleaned(stored(listing, fetches), calendar, now).prices
        np.testing.assert_allclose(out["tr_index"], listing.growth()[: out.height], rtol=2e-6)
        assert set(out["basis"]) == {"assumed"}


def test_a_move_by_a_plain_ratio_without_event_is_believed_and_marked(calendar, now):
    """Neither listed nor rescaled: it may be a crash. What the vendor says later is a correction."""
    listing = Listing(calendar, splits={40: 4.0}, late={40: 43}, rescaled={40: 43})
    out = cleaned(stored(listing, [38, 39, 40, 41]), calendar, now)
    day = out.prices.row(40, named=True)
    assert day["flags"] & Flag.SPLIT_DOUBT
    assert day["flags"] & Flag.EXTREME
    assert out.prices["tr_index"][40] / out.prices["tr_index"][39] == pytest.approx(
        listing.close[40] / listing.close[39]
    )
    assert out.adjustments["rule"].to_list() == ["split_without_event"]
    told = cleaned(stored(listing, [38, 39, 40, 41, 43]), calendar, now).prices
    np.testing.assert_allclose(told["tr_index"], listing.growth()[: told.height], rtol=2e-6)
    assert told["flags"][40] & Flag.RESTATED
    assert told["known_at"][40] == listing.known(43)


def test_a_split_listed_on_a_day_without_session_is_no_return(calendar, now):
    listing = Listing(calendar, splits={40: 4.0}, late={40: 999})
    rows = stored(listing, [38, 39])
    fetched = listing.fetch(40, 29)
    saturday = date(2015, 2, 28)
    assert not calendar.is_session(saturday)
    extra = fetched.tail(1).with_columns(
        pl.lit(saturday).alias("date"), pl.lit(4.0).alias("split_ratio")
    )
    rows = pl.concat([rows, raw.new_rows(rows, pl.concat([fetched, extra]), PRICES)])
    out = cleaned(rows, calendar, now)
    check(out.prices, listing)
    assert "not_a_session" in out.quarantine["rule"].to_list()


def test_events_that_contradict_adjusted_closes_count_and_are_marked(calendar, now):
    listing = Listing(calendar, dividends={20: 4.0, 60: 3.0})
    rows = listing.fetch(100)
    factor = 1 - 3.0 / listing.close[59]
    missing = rows.with_columns(
        pl.when(pl.col("date") < listing.days[60])
        .then(pl.col("adj_close") / factor)
        .otherwise("adj_close")
        .alias("adj_close")
    )
    out, twin = (cleaned(r, calendar, now) for r in (missing, rows))
    assert out.prices["tr_index"].equals(twin.prices["tr_index"])
    assert twin.adjustments.height == 0
    row = out.adjustments.row(0, named=True)
    assert out.adjustments.height == 1
    assert (row["rule"], row["date"]) == ("adjusted_close_differs", listing.days[60])
    assert row["before"] == pytest.approx(listing.close[60] / listing.close[59] - 1, abs=1e-6)
    assert row["known_at"] == calendar.known_at(listing.days[60])
    assert marked(out.prices, Flag.ADJ_MISMATCH) == [listing.days[60]]


@settings(max_examples=8, deadline=None)
@given(
    cut=st.integers(2, 118),
    fetches=st.lists(st.integers(5, 118), max_size=6),
    split=st.integers(3, 117),
    fault=st.sampled_from(["none", "late", "premature", "wrong"]),
    digits=st.sampled_from([None, 2]),
)
def test_continuing_gives_the_bits_of_a_full_computation(cut, fetches, split, fault, digits):
    calendar = TradingCalendar("XNYS", 30)
    listing = Listing(
        calendar, splits={split: 3.0}, dividends=DIVIDENDS, digits=digits,
        late={split: split + 1} if fault == "late" else {},
        rescaled={split: split + 2} if fault == "premature" else {},
        told={split: 6.0} if fault == "wrong" else {},
    )  # fmt: skip
    rows = stored(listing, sorted({*fetches, listing.sessions - 1}))
    now = listing.known(listing.sessions - 1)
    whole = cleaned(rows, calendar, now).prices
    day = listing.days[cut]
    part = cleaned(
        rows.filter(pl.col("date") >= prices.context_start(day, calendar)), calendar, now,
        previous=prices.last_rows(whole, day), start=day,
    ).prices  # fmt: skip
    assert part.equals(whole.filter(pl.col("date") >= day))
    np.testing.assert_allclose(
        whole["tr_index"], listing.growth(), rtol=2e-6 if digits is None else 2e-2
    )


@pytest.mark.parametrize("power", [-3, 5])
def test_the_basis_of_prices_changes_no_index(calendar, now, power):
    listing = Listing(calendar, splits=SPLITS, dividends=DIVIDENDS)
    rows = stored(listing, [30, 50, 119])
    money = pl.col("open", "high", "low", "close", "adj_close", "dividend")
    scaled = rows.with_columns(money * 2.0**power, pl.col("volume") * 2.0**-power)
    a, b = (cleaned(r, calendar, now).prices for r in (rows, scaled))
    same = ["tr_index", "split_index", "split_ratio", "dollar_volume", "flags"]
    assert a.select(same).equals(b.select(same))


def test_what_was_known_is_the_same_without_what_came_after(calendar):
    """No peeking and no repainting, fetched day by day over a split and dividends."""
    listing = Listing(calendar, splits={70: 3.0, 95: 2.0}, dividends={50: 0.9, 80: 0.4})
    rows = stored(listing, [30, *range(40, 120)])
    whole = cleaned(rows, calendar, listing.known(119)).prices
    for at in (45, 69, 70, 71, 94, 96):
        instant = listing.known(at) + timedelta(minutes=1)
        there = raw.as_of(rows, instant, calendar)
        seen = cleaned(there, calendar, instant).prices
        assert whole.filter(pl.col("known_at") <= instant).equals(seen)


@pytest.mark.parametrize("fault", ["none", "late"])
def test_a_history_that_is_fetched_again_in_full_moves_nothing(calendar, now, fault):
    listing = Listing(
        calendar, splits={40: 4.0}, dividends={20: 0.8}, late={40: 42} if fault == "late" else {}
    )
    rows = stored(listing, [38, 39, 40, 41])
    before = cleaned(rows, calendar, now).prices
    again = pl.concat([rows, raw.new_rows(rows, listing.fetch(43), PRICES)])
    assert again.filter(pl.col("date") == listing.days[0]).height == 2
    after = cleaned(again, calendar, now).prices
    assert after.head(42).equals(before)
    check(after, listing)


def test_a_correction_from_before_a_split_comes_in_traded_prices(calendar, now):
    listing = Listing(calendar, splits={40: 4.0}, dividends={20: 0.8})
    rows = stored(listing, [38, 39, 40, 41])
    wrong = pl.col("date") == listing.days[36]
    money = pl.col("open", "high", "low", "close", "adj_close")
    better = listing.fetch(42, 31).with_columns(
        pl.when(wrong).then(money * 1.02).otherwise(money).name.keep()
    )
    rows = pl.concat([rows, raw.new_rows(rows, better, PRICES)])
    out = cleaned(rows, calendar, now).prices
    listing.close[36] *= 1.02
    check(out, listing)
    assert marked(out, Flag.RESTATED)[:2] == [listing.days[36], listing.days[37]]
    assert marked(out, DOUBT) == []
    assert out["known_at"].to_list()[35:37] == [
        calendar.known_at(listing.days[35]),
        listing.known(42),
    ]


def test_a_first_load_does_not_know_its_later_splits(calendar):
    """The vendor gave the whole history in its latest basis. As of an instant in the past its prices are
    those that traded, to the last digits: they come times the splits since, and not by those rows."""
    listing = Listing(calendar, splits=SPLITS, dividends=DIVIDENDS)
    rows = listing.fetch(119)
    whole = cleaned(rows, calendar, listing.known(119)).prices
    for at in (15, 41, 75):
        instant = calendar.known_at(listing.days[at])
        seen = cleaned(raw.as_of(rows, instant, calendar), calendar, instant).prices
        then = whole.filter(pl.col("known_at") <= instant)
        same = ["date", "split_index", "split_ratio", "flags", "known_at"]
        assert then.select(same).equals(seen.select(same))
        for name in ("tr_index", "close", "dollar_volume"):
            np.testing.assert_allclose(seen[name], then[name], rtol=1e-14)


def test_a_spike_of_a_vendor_with_events_is_taken_back(calendar, now):
    listing = Listing(calendar, splits={40: 4.0})
    rows = stored(listing, [30, 60])
    hit = pl.col("date") == listing.days[50]
    money = pl.col("open", "high", "low", "close", "adj_close")
    spiked = rows.with_columns(pl.when(hit).then(money * 7.3).otherwise(money).name.keep())
    out = cleaned(spiked, calendar, now)
    assert out.quarantine["rule"].to_list() == ["spike"]
    good = cleaned(rows, calendar, now).prices.filter(~hit)
    np.testing.assert_allclose(out.prices["tr_index"], good["tr_index"], rtol=1e-12)
    assert out.prices["close"].equals(good["close"])
    seen = out.earlier.row(0, named=True)
    assert seen["close"] == pytest.approx(listing.close[50] * 7.3, rel=1e-6)


def test_a_panel_with_numbers_on_split_days_alone_is_handled_as_before(calendar, now):
    listing = Listing(calendar, splits=SPLITS, dividends=DIVIDENDS)
    rows = listing.fetch(119)
    some = rows.with_columns(
        pl.when(pl.col(n) != none).then(n).alias(n)
        for n, none in (("split_ratio", 1.0), ("dividend", 0.0))
    )
    none = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias("split_ratio"))
    a, b = (cleaned(r, calendar, now).prices for r in (some, none))
    assert a["tr_index"].equals(b["tr_index"])
    assert a["close"].equals(rows["close"])
    assert set(a["split_ratio"]) == {1.0}
    assert a["basis_vintage"].null_count() == 0


@pytest.mark.parametrize(
    "fetches", [[60, 61, 62, 100], [60, 65, 100], [60, 100], [58, 66, 92, 100]]
)
@pytest.mark.parametrize(("before", "after"), [(0.0, 3.0), (1.8, 3.0), (3.0, 0.0)])
def test_a_dividend_that_comes_late_or_is_corrected_is_in_the_return(
    calendar, now, fetches, before, after
):
    """No close says so: the row of the ex-day differs by its dividend alone."""
    listing = Listing(calendar, splits=SPLITS, dividends={60: after} if after else {})
    plain = listing.fetch

    def fetch(last: int, since: int = 0) -> pl.DataFrame:
        wrong = pl.lit(before / (7.0 if last >= 90 else 1.0))
        ex_day = (pl.col("date") == listing.days[60]) & pl.lit(last < 62)
        paid = pl.when(ex_day).then(wrong).otherwise("dividend").alias("dividend")
        return plain(last, since).with_columns(paid)

    listing.fetch = fetch  # type: ignore[method-assign]
    out = cleaned(stored(listing, fetches), calendar, now).prices
    check(out, listing)
    assert out["dividend"][60] == pytest.approx(after)
    if fetches[0] == 60:
        told = next(f for f in fetches if f >= 62)
        assert out["known_at"][60] == listing.known(told)
        assert out["flags"][60] & Flag.RESTATED


@pytest.mark.parametrize("fetches", [[100, 101], [70, 100]])
@pytest.mark.parametrize("at", [10, 45, 75])
def test_bars_as_of_an_instant_before_they_were_fetched_know_no_later_split(calendar, fetches, at):
    """A vendor asked years later divides the past by splits since then; a rebuilt day must not see it."""
    listing = Listing(calendar, splits={40: 4.0, 60: 0.5, 90: 7.0}, dividends={20: 0.8, 72: 0.3})
    rows = stored(listing, fetches)
    then = calendar.known_at(listing.days[at])
    known = raw.as_of(rows, then, calendar)
    assert known["basis_vintage"].max() <= max(listing.days[at], listing.days[0])
    out = cleaned(known, calendar, then).prices
    assert out["date"].max() == listing.days[at]
    check(out, listing)
    np.testing.assert_allclose(out["volume"], listing.volume[: at + 1], rtol=2e-6)
    assert out["dividend"][20] == pytest.approx(0.8) if at > 20 else True
    whole = cleaned(rows, calendar, datetime(2016, 1, 1, tzinfo=then.tzinfo)).prices[: at + 1]
    rounding = 1e-14 if at <= fetches[0] else 1e-7  # the return over two fetches
    for name in ("tr_index", "close"):
        np.testing.assert_allclose(out[name], whole[name], rtol=rounding)
    if at <= fetches[0]:  # adjusted closes of two fetches are not compared
        assert out["flags"].equals(whole["flags"])
