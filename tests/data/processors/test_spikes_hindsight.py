"""Spikes: believed until the next bar takes them back, in the table and in its history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from properties import raw_known
from synthetic import RawMarket, raw_market

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments as identity
from wealthos_pipeline.data.processors import prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.data.processors.spikes import REACH
from wealthos_pipeline.data.storage.history import OPEN_ENDED
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import CleaningSettings

FIRST = date(2016, 1, 4)
NOW = datetime(2016, 12, 1, tzinfo=UTC)
KEY = ["instrument_id", "date"]


def bars(calendar: TradingCalendar, closes: list[float | None], **more: object) -> pl.DataFrame:
    """A symbol's raw rows on consecutive sessions; None: no bar."""
    days = calendar.sessions(FIRST, calendar.offset(FIRST, len(closes) - 1))
    rows = [
        {"source": "v", "symbol": "A", "date": d, "fetched_at": NOW, "close": c, "volume": 100.0, **more}
        for d, c in zip(days, closes, strict=True) if c is not None
    ]  # fmt: skip
    return contract("raw.prices").conform(
        pl.DataFrame(rows, schema_overrides=contract("raw.prices").schema())
    )


def registry(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    told = contract("raw.instruments").conform(
        frame.select("source", "symbol").unique().with_columns(
            fetched_at=pl.lit(NOW).cast(pl.Datetime("us", "UTC")), asset_class=pl.lit("equity"),
            exchange=pl.lit("XNYS"), currency=pl.lit("USD"),
        )
    )  # fmt: skip
    return identity.clean(told, frame, calendar=calendar)


Clean = Callable[..., prices.Cleaned]


@pytest.fixture
def clean(calendar: TradingCalendar) -> Clean:
    def run(frame: pl.DataFrame, **more: object) -> prices.Cleaned:
        return prices.clean(frame, registry(frame, calendar), calendar, now=NOW, **more)  # type: ignore[arg-type]

    return run


def test_a_spike_is_rejected_and_the_chain_goes_over_it(
    clean: Clean, calendar: TradingCalendar
) -> None:
    frame = bars(calendar, [10.0, 10.5, 105.0, 10.4, 10.6])
    out = clean(frame)
    days = frame["date"].to_list()
    assert out.prices["date"].to_list() == [days[0], days[1], days[3], days[4]]
    assert out.prices["tr_index"].to_list() == pytest.approx([1, 1.05, 1.04, 1.06])
    assert not ((out.prices["flags"] & int(Flag.EXTREME)) != 0).any()
    row = out.quarantine.row(0, named=True)
    assert (row["rule"], row["date"]) == ("spike", days[2])
    assert row["known_at"] == calendar.known_at(days[3])
    assert row["detail"] == f"close 105.0, 10.0 times the bar before; 10.4 on {days[3]}"
    seen = out.earlier.row(0, named=True)
    assert seen["close"] == 105.0
    assert seen["flags"] & Flag.EXTREME
    assert seen["known_from"] == calendar.known_at(days[2])
    assert seen["known_to"] == calendar.known_at(days[3])
    until = clean(frame.filter(pl.col("date") <= days[2]))
    assert_frame_equal(out.earlier.drop("known_from", "known_to"), until.prices.tail(1))


def test_a_downward_spike(clean: Clean, calendar: TradingCalendar) -> None:
    out = clean(bars(calendar, [10.0, 0.1, 10.0]))
    assert out.prices["close"].to_list() == [10.0, 10.0]


@pytest.mark.parametrize(
    "closes",
    [
        [10.0, 105.0, 104.0],  # it stayed
        [10.0, 24.0, 10.0],  # not large enough
        [10.0, 105.0, 12.0],  # did not come back far enough
        [10.0, 105.0],  # nobody knows yet
        [10.0, 105.0, *[None] * REACH, 10.0],  # too late to tell
        [105.0, 10.0, 10.0],  # no bar before it
    ],
)
def test_what_is_no_spike(
    closes: list[float | None], clean: Clean, calendar: TradingCalendar
) -> None:
    out = clean(bars(calendar, closes))
    assert out.prices["close"].to_list() == [c for c in closes if c is not None]
    assert not out.earlier.height


@pytest.mark.parametrize(
    ("closes", "growth", "marked"),
    [
        ([10.0, 26.0, 27.0], 2.5, [1]),  # also after it was confirmed: it looks at the past only
        ([10.0, 24.0, 24.0], 2.5, []),
        ([10.0, 24.0, 24.0], 2.0, [1]),
        ([10.0, 3.9], 2.5, [1]),
        ([10.0, *[None] * (REACH - 1), 30.0], 2.5, [REACH]),
        ([10.0, *[None] * REACH, 30.0], 2.5, []),  # after a pause a move is no sign of an error
    ],
)
def test_a_move_that_may_be_a_spike_is_in_doubt(
    closes: list[float | None],
    growth: float,
    marked: list[int],
    clean: Clean,
    calendar: TradingCalendar,
) -> None:
    frame = bars(calendar, closes)
    days = calendar.sessions(frame["date"][0], frame["date"][-1])
    out = clean(frame, cleaning=CleaningSettings(spike_growth=growth)).prices
    doubt = out.filter(pl.col("flags") & int(Flag.SPIKE_DOUBT) != 0)
    assert doubt["date"].to_list() == [days[i] for i in marked]
    off = clean(frame, cleaning=CleaningSettings(spike_growth=growth, off=("spike",))).prices
    assert not off.filter(pl.col("flags") & int(Flag.SPIKE_DOUBT) != 0).height


def test_a_bar_that_takes_one_back_is_none(clean: Clean, calendar: TradingCalendar) -> None:
    out = clean(bars(calendar, [10.0, 100.0, 10.0, 100.0, 10.0, 0.5, 10.0]))
    assert out.prices["close"].to_list() == [10.0] * 4
    assert out.earlier["close"].to_list() == [100.0, 100.0, 0.5]
    assert out.earlier["tr_index"].to_list() == [10.0, 10.0, 0.05]


def test_a_split_explains_it(clean: Clean, calendar: TradingCalendar) -> None:
    """Ten for one and back: two events, no spike."""
    frame = bars(calendar, [10.0, 100.0, 10.0]).with_columns(
        split_ratio=pl.Series([None, 0.1, 10.0])
    )
    assert clean(frame).prices.height == 3


def test_the_rule_can_be_switched_off_and_tuned(clean: Clean, calendar: TradingCalendar) -> None:
    frame = bars(calendar, [10.0, 20.0, 10.0])
    assert clean(frame).prices.height == 3
    assert clean(frame, cleaning=CleaningSettings(spike_growth=1.9)).prices.height == 2
    off = CleaningSettings(spike_growth=1.9, off=("spike",))
    assert clean(frame, cleaning=off).prices.height == 3


def test_a_correction_that_makes_a_spike_is_known_from_its_fetch(
    clean: Clean, calendar: TradingCalendar
) -> None:
    frame = bars(calendar, [10.0, 10.2, 10.4, 10.5])
    bad = frame[1].with_columns(close=pl.lit(102.0), fetched_at=pl.lit(NOW - timedelta(hours=1)))
    first = frame.with_columns(fetched_at=pl.lit(NOW - timedelta(days=9)))
    neighbours = pl.concat([frame[0], frame[2]]).with_columns(fetched_at=bad["fetched_at"][0])
    frame = contract("raw.prices").conform(
        pl.concat([first, pl.concat([bad, neighbours]).select(first.columns)])
    )
    out = clean(frame)
    assert out.prices["close"].to_list() == [10.0, 10.4, 10.5]
    assert not out.earlier.height  # as it was fetched, the bar after it was there
    assert set(out.prices["known_at"][1:]) == {NOW - timedelta(hours=1)}
    assert set(out.quarantine["known_at"]) == {NOW - timedelta(hours=1)}


# --- a walk over days, with a real lake --------------------------------------------------------------


@pytest.fixture(scope="module")
def market(calendar: TradingCalendar) -> RawMarket:
    """A small market in which every sixtieth bar or so is a spike, some of them in a row."""
    made = raw_market(12, start=date(2018, 1, 2), end=date(2018, 12, 31), seed=5)
    rng = np.random.default_rng(8)
    first = pl.col("fetched_at") == pl.col("fetched_at").min().over("symbol", "date")
    frame = made.prices.filter(first).sort("symbol", "date")
    n = frame.height
    odd = rng.random(n) < 1 / 60
    odd |= np.roll(odd, 2) & (rng.random(n) < 0.5)  # every other bar
    odd |= np.roll(odd, 1) & (rng.random(n) < 0.2)  # two in a row: the second stays
    scale = np.where(odd, np.where(rng.random(n) < 0.5, 8.0, 0.1), 1.0)
    by = pl.Series(scale)
    frame = frame.with_columns(
        *(pl.col(c) * by for c in ("open", "high", "low", "close")),
        pl.when(pl.Series(rng.random(n) < 1 / 80)).then(pl.col("volume") * 50).otherwise("volume"),
        pl.when(pl.Series(odd)).then(None).otherwise("dividend").alias("dividend"),
    )
    return RawMarket(
        contract("raw.prices").conform(frame), made.series, made.instruments, made.membership
    )


def cleaned_at(
    market: RawMarket, calendar: TradingCalendar, at: datetime, lake: Lake, start: date | None
) -> prices.Cleaned:
    known = raw_known(market, at, calendar)
    names = identity.clean(market.instruments, market.prices, calendar=calendar)
    previous = None if start is None else prices.last_rows(lake.read("clean.prices"), start)
    begin = prices.context_start(start, calendar)
    raw = known.prices if begin is None else known.prices.filter(pl.col("date") >= begin)
    return prices.clean(raw, names, calendar, now=at, previous=previous, start=start)


def write(lake: Lake, out: prices.Cleaned, at: datetime, start: date | None) -> None:
    lake.restate("clean.prices", out.prices, now=at, start=start, earlier=out.earlier)
    rejected = out.quarantine
    if start is not None:
        rejected = rejected.filter(pl.col("date") >= start)
    lake.replace("clean.quarantine", rejected, start=start)


TABLES = ("clean.prices", "clean.prices_history", "clean.quarantine")


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, market: RawMarket, calendar: TradingCalendar
) -> tuple[Lake, list[tuple[datetime, dict[str, pl.DataFrame]]]]:
    """A lake that was brought up to date at uneven intervals, and its tables after each time."""
    lake = Lake(tmp_path_factory.mktemp("walk"), calendar=calendar)
    rng = np.random.default_rng(3)
    day, states = date(2018, 9, 4), []
    last: date | None = None
    while day <= date(2018, 11, 21):
        at = calendar.known_at(day) + timedelta(minutes=20)
        start = None if last is None else calendar.offset(last, 1 - REACH)
        write(lake, cleaned_at(market, calendar, at, lake, start), at, start)
        states.append((at, {t: lake.read(t) for t in TABLES}))
        last, day = day, calendar.offset(day, int(rng.choice([1, 1, 1, 2, 3])))
    return lake, states


def test_a_walk_equals_the_full_run_in_history_too(
    walked: tuple[Lake, list[tuple[datetime, dict[str, pl.DataFrame]]]],
    market: RawMarket,
    calendar: TradingCalendar,
    tmp_path: Path,
) -> None:
    _, states = walked
    for i in (1, 2, len(states) // 2, len(states) - 1):
        at, tables = states[i]
        lake = Lake(tmp_path / str(i), calendar=calendar)
        write(lake, cleaned_at(market, calendar, at, lake, None), at, None)
        for name in TABLES:
            assert_frame_equal(lake.read(name), tables[name], check_exact=True)
    at, tables = states[-1]
    past = tables["clean.prices_history"]
    taken = past.filter(pl.col("known_to") != OPEN_ENDED)
    assert taken.height > 20
    assert taken.height == tables["clean.quarantine"].filter(pl.col("rule") == "spike").height
    assert ((past["flags"] & int(Flag.VOLUME_SPIKE)) != 0).any()


def test_computing_again_changes_nothing(
    walked: tuple[Lake, list[tuple[datetime, dict[str, pl.DataFrame]]]],
    market: RawMarket,
    calendar: TradingCalendar,
) -> None:
    lake, states = walked
    versions = [lake.version(t) for t in TABLES]
    at = states[-1][0] + timedelta(minutes=5)
    for start in (None, calendar.offset(at.date(), -40)):
        write(lake, cleaned_at(market, calendar, at, lake, start), at, start)
        assert [lake.version(t) for t in TABLES] == versions


def test_as_of_equals_a_store_that_never_saw_the_reversal(
    walked: tuple[Lake, list[tuple[datetime, dict[str, pl.DataFrame]]]],
    market: RawMarket,
    calendar: TradingCalendar,
    tmp_path: Path,
) -> None:
    lake, states = walked
    rng = np.random.default_rng(12)
    spiked = states[-1][1]["clean.quarantine"]["date"].unique().to_list()
    days = [
        *rng.choice(spiked, 5),
        *rng.choice(calendar.sessions(date(2018, 3, 1), max(spiked)), 3),
    ]
    for i, day in enumerate(days):
        at = calendar.known_at(day) + timedelta(minutes=(0, 1, 600)[i % 3])
        fresh = cleaned_at(market, calendar, at, Lake(tmp_path / str(i)), None).prices
        then = lake.read("clean.prices", as_of=at)
        assert_frame_equal(then, fresh, check_exact=True)
        assert then.height > 200


def test_another_threshold_is_a_change_of_mind(
    clean: Clean, calendar: TradingCalendar, tmp_path: Path
) -> None:
    """What stood while its reversal was known stood until the rules changed."""
    frame = bars(calendar, [10.0, 20.0, 10.0, 10.1])
    lake = Lake(tmp_path, calendar=calendar)
    one = clean(frame)
    lake.restate("clean.prices", one.prices, now=NOW, earlier=one.earlier)
    two = clean(frame, cleaning=CleaningSettings(spike_growth=1.9))
    later = NOW + timedelta(days=1)
    lake.restate("clean.prices", two.prices, now=later, earlier=two.earlier)
    assert lake.read("clean.prices", as_of=NOW).height == 4
    assert lake.read("clean.prices").height == 3
