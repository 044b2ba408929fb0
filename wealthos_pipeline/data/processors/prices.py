"""From raw bars to ``clean.prices``: rules, one basis, forward-chained indices, flags.

Nothing here depends on bars after the row's date, save corrections that were fetched later, which
stamp ``known_at``, and spikes, which are believed until the bar after them is known (``spikes``).
``tr_index`` and ``split_index`` are sequential Float64 products from the instrument's first bar, so
a continuation from stored rows gives the bits of a full computation.

The return into a bar, in this order: ``(close + dividend) × split / close before`` where the vendor
lists its events (``events``); else the ratio of adjusted closes inside one fetch, where it has them;
else the closes with what is known of events. Where closes carry a ``basis_vintage`` and no events are
listed they are adjusted for splits already, so a split is not applied again; a change of that basis
which also rescaled the volume is recorded as the split it was.

A delisting needs nothing: the bars stop. What a label or a backtest makes of that is said there.
Where a person stated what holders got, one more bar says so (``delistings``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import IntFlag

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.processors import (
    delistings,
    events,
    quality,
    quarantine,
    raw,
    spikes,
)
from wealthos_pipeline.data.processors import rules as registry
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.effective import RATE, effective
from wealthos_pipeline.data.processors.instruments import identified
from wealthos_pipeline.utils.config import CleaningSettings

MAX_GAP = 63
"""Sessions. After a longer pause the return is that of the closes, in whatever basis they are."""
CONTEXT = MAX_GAP + 21
"""Sessions of raw bars before ``start`` that ``clean`` needs to continue a chain."""
EXTREME = 1.5
"""A bar whose one-bar growth is above this, or below its inverse, is flagged."""
SLACK = 0.005
"""The close may lie outside [low, high] by this fraction (rounding of adjusted prices)."""

STATE = (
    "instrument_id", "date", "slot", "close", "split_index", "tr_index", "known_at", "basis",
    "currency", "local_currency", "fx_rate", "basis_vintage",
)  # fmt: skip
"""Columns of ``clean.prices`` that ``previous`` needs."""


class Flag(IntFlag):
    """Bits of ``clean.prices.flags``. A flagged bar is kept; every rule looks at the past only."""

    EXTREME = 1  # one-bar growth above EXTREME or below its inverse
    GAP = 2  # sessions without a bar before this one
    LONG_GAP = 4  # more than MAX_GAP of them: the return is that of the closes
    STALE = 8  # close unchanged for some bars and no volume, or the same bar again and again
    CROSSED = 16  # open, high, low contradicted the close and were set to null
    ZERO_VOLUME = 32  # volume is zero
    BAD_VOLUME = 64  # volume was negative or infinite and was set to null
    RESTATED = 128  # the vendor corrected the bar or its return
    VOLUME_SPIKE = 256  # many times the usual volume
    TERMINAL = 512  # no bar: the return of a delisting, as a person stated it
    ADJ_MISMATCH = 1024  # the vendor's adjusted closes say another return than its events
    SPLIT_DOUBT = 2048  # the split that counts is not the list's, or one may be missing
    UNIT_SWITCH = 4096  # the bar came a hundred times too high or low and was brought back
    DIVIDEND_REPAIRED = 8192  # the dividend was wrong and was scaled or dropped


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What cleaning gives, from ``start`` on where there is one.

    prices, quarantine, adjustments: rows of ``clean.*``; the quarantine is that of all rows handed in.
    earlier: rows of ``clean.prices`` with ``known_from, known_to``: bars that were believed until a
    later bar took them back. They belong into the history.
    counts: bars by rule, of rules that are not logged bar by bar (``converted``, ``quoted_in_cents``).
    """

    prices: pl.DataFrame
    quarantine: pl.DataFrame
    adjustments: pl.DataFrame = field(default_factory=lambda: contract("clean.adjustments").empty())
    earlier: pl.DataFrame = field(default_factory=lambda: contract("clean.prices_history").empty())
    counts: dict[str, int] = field(default_factory=dict)


def context_start(start: date | None, calendar: TradingCalendar) -> date | None:
    """From which date raw bars must be read to compute clean bars from ``start`` on."""
    return None if start is None else calendar.offset(start, -CONTEXT)


def last_rows(prices: pl.DataFrame, start: date) -> pl.DataFrame:
    """The state to continue from: the last row of every instrument before ``start``, and all rows of
    the ``CONTEXT`` sessions before it."""
    rows = prices.lazy().filter(pl.col("date") < start).select(STATE).sort("instrument_id", "date")
    near = pl.col("slot") > pl.col("slot").max() - CONTEXT
    last = pl.col("instrument_id").is_last_distinct()
    return rows.filter(near | last).collect()


def clean(
    raw_prices: pl.DataFrame,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    now: datetime,
    previous: pl.DataFrame | None = None,
    start: date | None = None,
    cleaning: CleaningSettings | None = None,
    releases: pl.DataFrame | None = None,
    base: str | None = None,
    series: pl.DataFrame | None = None,
    ends: pl.DataFrame | None = None,
) -> Cleaned:
    """Clean bars from ``start`` on (None: all), and what was rejected among the rows handed in.

    raw_prices: rows of ``raw.prices``, all versions, from ``context_start(start)`` on.
    instruments: ``clean.instruments``; rows of symbols it does not have are quarantined.
    previous: ``last_rows``: the clean rows before ``start`` to continue from. Required with it.
    cleaning: thresholds, and rules that are switched off. releases: rows of ``raw.releases``.
    base: currency to convert to, at the rates in ``series`` (``raw.series``); None: as the bars come.
    ends: ``delistings.resolved``; rows after a stated last session are quarantined.
    Rules: ``rules.RULES``. Rows whose fields are all null are no rows. ContractError when the
    raw rows do not reach back to the bar before ``start``.
    """
    rows = raw_prices.filter(~EMPTY)
    named = raw.bar_known_at(identified(rows, instruments), calendar)
    cleaning = cleaning or CleaningSettings()
    off, large = registry.switched_off(cleaning), min(EXTREME, cleaning.spike_growth)
    if releases is not None:
        releases = releases.filter(pl.col("fetched_at") <= now)
    named = quarantine.released(named, releases)
    ends = None if ends is None else ends.filter(pl.col("told_at") <= now)
    if ends is not None and ends.height:
        over = ends.select("instrument_id", pl.col("date").alias("ended"), "told_at")
        named = named.join(over, on="instrument_id", how="left", maintain_order="left")
        named = named.with_columns(pl.when(pl.col("date") > pl.col("ended")).then("told_at"))
    named = events.prepared(
        named, instruments, calendar, base=base, series=series, stale=cleaning.fx_stale_sessions
    )
    judged = _judge(named, instruments["symbol"].unique(), now)
    bad = judged.filter(pl.col("rule").is_not_null())
    good = events.with_factors(
        judged.filter(pl.col("rule").is_null()).drop("rule", *_ENDED, strict=False)
    )
    if start is not None and previous is not None:  # before it, what was taken back stays so
        good = _as_stored(good, previous, start)

    def built(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Bars from ``start`` on with their growth, and what was repaired in them."""
        whole, broken = _repaired(effective(rows), off)
        bars = events.judged(quality.marked(whole, cleaning), off)
        if start is not None:
            bars = bars.filter(pl.col("date") >= start)
        bars = _grown(_continued(bars, previous, calendar, start))
        return events.grown(bars, base, off), broken

    first, broken = built(good)
    found = spikes.NONE if "spike" in off else spikes.find(first, cleaning)
    if not found.height:
        prices = _finished(_chained(first), instruments, off, large)
        logged = quarantine.logged(broken, judged, prices, releases, events.logged(first))
        rejected = _quarantine(bad, raw_prices, calendar)
        out = Cleaned(prices, rejected, logged, counts=events.counts(first))
        return _closed(out, previous, ends, now, start, off)
    again = good.join(found, on="instrument_id", how="semi", maintain_order="left")
    kept, _ = built(again.join(found, on=spikes.KEY, how="anti", maintain_order="left"))
    bars = spikes.spliced(first, kept, found)
    chained = _chained(bars)
    prices = _finished(chained, instruments, off, large)
    seen = _finished(spikes.believed(first, found, chained, cleaning), instruments, off, large)
    found = spikes.dated(found, prices)
    bad = pl.concat([bad, spikes.rejected(good, found)], how="diagonal")
    out = Cleaned(
        prices,
        _quarantine(bad, raw_prices, calendar),
        quarantine.logged(broken, judged, prices, releases, events.logged(bars)),
        spikes.history(seen, found),
        events.counts(bars),
    )
    return _closed(out, previous, ends, now, start, off)


def _closed(
    out: Cleaned,
    previous: pl.DataFrame | None,
    ends: pl.DataFrame | None,
    now: datetime,
    start: date | None,
    off: frozenset[str],
) -> Cleaned:
    """``out`` with the terminal bars of stated delistings."""
    if ends is None or not ends.height or "terminal_return" in off:
        return out
    rows = [out.prices.select(STATE)] if previous is None else [previous, out.prices.select(STATE)]
    mine = pl.concat([r.select(STATE) for r in rows]).join(ends, on="instrument_id", how="semi")
    mine = mine.filter(pl.col("date") == pl.col("date").max().over("instrument_id"))
    bars = delistings.terminal(mine, ends, now)
    if start is not None:
        bars = bars.filter(pl.col("date") >= start)
    if not bars.height:
        return out
    return replace(
        out,
        prices=contract("clean.prices").conform(pl.concat([out.prices, bars])),
        adjustments=pl.concat([out.adjustments, delistings.logged(bars, mine, ends)]),
    )


_ENDED = ("ended", "told_at")
_FIELDS = ["open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio"]
EMPTY = (
    pl.all_horizontal(pl.col(_FIELDS[:6]).is_null())
    & (pl.col("dividend").fill_null(0.0) == 0)
    & (pl.col("split_ratio").fill_null(1.0) == 1)
)
"""A day without a bar, as vendors with events list it too."""


def _judge(frame: pl.DataFrame, symbols: pl.Series, now: datetime) -> pl.DataFrame:
    """``rule``: name of the first rule that a version breaks; null when it may be used."""
    now = now.astimezone(UTC)
    close, adj = pl.col("close"), pl.col("adj_close")
    split, dividend = pl.col("split_ratio"), pl.col("dividend")
    nobody = pl.col("instrument_id").is_null()
    sources = frame["source"].unique()
    found = {
        "renamed_symbol_overlap": nobody & pl.col("renamed").is_not_null(),
        "other_source": nobody & pl.col("symbol").is_in(symbols.implode()) & (len(sources) > 1),
        "unknown_instrument": nobody,
        "not_a_session": pl.col("slot").is_null(),
        "future_date": (pl.col("fetched_at") < pl.col("close_at")) | (pl.col("known_at") > now),
        "no_close": close.is_null() | close.is_nan(),
        "not_finite": close.is_infinite() | adj.is_infinite() | adj.is_nan(),
        "non_positive_price": (close <= 0) | (adj <= 0),
        "bad_split": (split <= 0) | ~split.is_finite(),
        "bad_dividend": (dividend < 0)
        | ~dividend.is_finite()
        | ((dividend >= close) & split.is_null()),  # with events: judged on its ex-day
    }
    if RATE in frame.columns:
        found["no_fx"] = pl.col(RATE).is_null()
    if "ended" in frame.columns:
        found["after_delisting"] = pl.col("date") > pl.col("ended")
    # a date after the run is in the future first of all, whether a session or not
    late = pl.when(pl.col("date") > now.date()).then(pl.lit("future_date"))
    free = {name: pl.col(quarantine.freed(name)).is_null() for name in quarantine.RELEASABLE}
    rule = pl.coalesce(
        late,
        *(
            pl.when(broken & free.get(name, True)).then(pl.lit(name))
            for name, broken in found.items()
        ),
    )
    return frame.with_columns(rule.alias("rule"))


def _quarantine(
    bad: pl.DataFrame, raw_prices: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    if not bad.height:
        return contract("clean.quarantine").empty()
    key = ["source", "symbol", "date", "fetched_at"]
    bad = bad.with_columns(
        pl.lit(None, dtype=d).alias(n)
        for n, d in (("detail", pl.String()), ("told_at", pl.Datetime("us", "UTC")))
        if n not in bad.columns
    )
    versions = raw_prices.join(
        bad.select("source", "symbol").unique(), on=["source", "symbol"], how="semi"
    )
    known = raw.with_known_at(versions, calendar).select(*key, "known_at")
    detail = pl.format(
        "close {}, adj_close {}, split {}, dividend {}",
        *(
            pl.col(n).cast(pl.String).fill_null("none")
            for n in ("close", "adj_close", "split_ratio", "dividend")
        ),
    )
    return quarantine.collect(
        bad.drop("known_at")
        .join(known, on=key, how="left", maintain_order="left")
        .with_columns(
            pl.lit("raw.prices").alias("table"),
            pl.coalesce("detail", detail).alias("detail"),
            pl.max_horizontal("known_at", "told_at").alias("known_at"),
        )
    )


def _continued(
    bars: pl.DataFrame, previous: pl.DataFrame | None, calendar: TradingCalendar, start: date | None
) -> pl.DataFrame:
    """``bars`` with the state before the first: ``_close, _split, _tr, _observed_before``, and the
    slot of the bar before."""
    slots = calendar.frame().select(
        pl.col("date").alias("prev_date"), pl.col("slot").alias("prev_slot")
    )
    state = (
        contract("clean.prices").empty().select(STATE)
        if previous is None
        else previous.select(STATE).filter(
            pl.col("date") == pl.col("date").max().over("instrument_id")
        )
    ).select(
        "instrument_id",
        pl.col("date").alias("_date"),
        pl.col("close").alias("_close"),
        pl.col("split_index").alias("_split"),
        pl.col("tr_index").alias("_tr"),
        pl.when(pl.col("basis") == "observed").then("known_at").alias("_observed_before"),
    )
    out = bars.join(state, on="instrument_id", how="left", maintain_order="left")
    if start is not None:
        first = out.filter(pl.col("instrument_id").is_first_distinct())
        lost = first.filter(pl.col("prev_date").is_not_null() & pl.col("_date").is_null())
        other = first.filter(pl.col("prev_date") != pl.col("_date"))
        far = calendar.slot(start) - MAX_GAP - 1
        near = first.filter(
            pl.col("prev_date").is_null() & (pl.col("_date") >= calendar.date_of(max(far, 0)))
        )
        faults = pl.concat([lost, other, near])
        if faults.height:
            who = faults.select("instrument_id", "prev_date", "_date").row(0)
            raise ContractError(
                f"clean.prices cannot continue at {start}: {faults.height} instruments, for example "
                f"{who[0]}: the bar before is {who[1]} in raw.prices and {who[2]} in `previous`. Hand "
                "in raw.prices from context_start(start) on and last_rows(clean.prices, start)"
            )
    lone = pl.col("prev_date").is_null()
    return (
        out.with_columns(
            pl.coalesce("prev_date", "_date").alias("prev_date"),
            pl.when(lone).then("_close").otherwise("prev_first_close").alias("prev_first_close"),
        )
        .join(slots, on="prev_date", how="left", maintain_order="left")
        .with_columns((pl.col("slot") - pl.col("prev_slot")).alias("step"))
    )


def _as_stored(rows: pl.DataFrame, previous: pl.DataFrame, start: date) -> pl.DataFrame:
    """``rows``, before ``start`` only those of bars that ``previous`` has."""
    old, key = pl.col("date") < start, ["instrument_id", "date"]
    stored = rows.filter(old).join(previous, on=key, how="semi", maintain_order="left")
    return pl.concat([stored, rows.filter(~old)])


def _repaired(
    bars: pl.DataFrame, off: frozenset[str]
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Impossible open, high, low and volume as null, with their flags; and the rows by rule as they
    were."""
    open_, high, low, close = (pl.col(n) for n in ("open", "high", "low", "close"))
    ohlc = pl.col("open", "high", "low")
    outside = pl.any_horizontal(
        *(x > high * (1 + SLACK) for x in (open_, close)),
        *(x < low * (1 - SLACK) for x in (open_, close)),
        high < low,
        *(~(x > 0) | ~x.is_finite() for x in (open_, high, low)),
    ).fill_null(value=False)
    volume = ((pl.col("volume") < 0) | ~pl.col("volume").is_finite()).fill_null(value=False)
    if "crossed" in off:
        outside = pl.lit(False)
    bars = bars.with_columns(outside.alias("_crossed"), volume.alias("_volume"))
    before = {"crossed": bars.filter("_crossed"), "bad_volume": bars.filter("_volume")}
    return bars.with_columns(
        pl.when(~pl.col("_crossed")).then(ohlc).name.keep(),
        pl.when(~pl.col("_volume")).then("volume").alias("volume"),
    ), before


def _grown(bars: pl.DataFrame) -> pl.DataFrame:
    """``split_ratio`` as it took effect, and the ``growth`` into each bar."""
    adjusted = pl.col("basis_vintage").is_not_null()
    long = (pl.col("step") > MAX_GAP).fill_null(value=False)
    basis = pl.col("den_close") / pl.col("prev_first_close")
    shares = pl.col("den_volume") / pl.col("prev_first_volume")
    rescaled = ((basis - 1).abs() > 0.01) & ((shares * basis - 1).abs() < 0.005)
    split = (
        pl.when(~adjusted)
        .then(pl.col("split_ratio").fill_null(1.0))
        .when(rescaled & ~long)
        .then(1.0 / basis)
        .otherwise(1.0)
    )
    event = pl.when(adjusted).then(1.0).otherwise(pl.col("split_ratio").fill_null(1.0))
    growth = (
        pl.when(pl.col("prev_date").is_null())
        .then(1.0)
        .when(long)
        .then(pl.col("close") * event / pl.col("prev_first_close"))
        .when(pl.col("num_adj").is_not_null() & pl.col("den_adj").is_not_null())
        .then(pl.col("num_adj") / pl.col("den_adj"))
        .otherwise(
            (pl.col("num_close") + pl.col("dividend").fill_null(0.0)) * event / pl.col("den_close")
        )
    )
    first = pl.col("prev_date").is_null()
    return bars.with_columns(
        pl.when(first).then(1.0).otherwise(split).alias("split_ratio"),
        growth.alias("growth"),
        long.alias("_long"),
    )


def _chained(bars: pl.DataFrame) -> pl.DataFrame:
    """``split_index, tr_index``, and since when the chain has been what it is: ``_observed``."""
    told = pl.max_horizontal("restated_at", *map(quarantine.freed, quarantine.RELEASABLE))
    observed = told.cum_max().forward_fill().over("instrument_id")
    return bars.with_columns(
        _product(bars, "growth", "_tr").alias("tr_index"),
        _product(bars, "split_ratio", "_split").alias("split_index"),
        pl.max_horizontal(observed, "_observed_before").alias("_observed"),
    )


def _product(bars: pl.DataFrame, factor: str, state: str) -> pl.Series:
    """Running product by instrument, from left to right, starting at the stored state."""
    ids = bars["instrument_id"].rle_id().to_numpy()
    values = bars[factor].to_numpy().copy()
    before = bars[state].fill_null(1.0).to_numpy()
    edges = np.flatnonzero(np.diff(ids, prepend=-1)) if len(ids) else np.empty(0, dtype=np.int64)
    for lo, hi in zip(edges, [*edges[1:], len(ids)], strict=True):
        values[lo] = before[lo] * values[lo]
        np.multiply.accumulate(values[lo:hi], out=values[lo:hi])
    return pl.Series(values)


def _finished(
    bars: pl.DataFrame, instruments: pl.DataFrame, off: frozenset[str], large: float
) -> pl.DataFrame:
    """Rows of ``clean.prices`` from chained bars; ``large``: growth from which one is extreme."""
    growth, volume = pl.col("growth"), pl.col("volume")
    bits = {
        Flag.EXTREME: (growth > large) | (growth < 1 / large),
        Flag.GAP: pl.col("step") > 1,
        Flag.LONG_GAP: pl.col("_long"),
        Flag.STALE: pl.col("_stale"),
        Flag.CROSSED: pl.col("_crossed"),
        Flag.ZERO_VOLUME: volume == 0,
        Flag.BAD_VOLUME: pl.col("_volume"),
        Flag.RESTATED: pl.col("restated_at").is_not_null(),
        Flag.VOLUME_SPIKE: pl.col("_loud"),
        **{Flag[name]: when for name, when in events.flags(bars).items()},
    }
    bits = {bit: when for bit, when in bits.items() if str(bit.name).lower() not in off}
    flags = pl.sum_horizontal(
        *(
            pl.when(when.fill_null(value=False)).then(int(bit)).otherwise(0)
            for bit, when in bits.items()
        )
    )
    money = instruments.select("instrument_id", pl.col("currency").alias("_currency")).unique(
        "instrument_id", keep="last", maintain_order=True
    )
    # what a symbol meant may have been told after the bar
    bars = bars.with_columns(pl.max_horizontal("_observed", "identified_at").alias("_observed"))
    observed = (pl.col("_observed") > pl.col("known_at")).fill_null(value=False)
    table = contract("clean.prices")
    return table.conform(
        bars.join(money, on="instrument_id", how="left", maintain_order="left")
        .with_columns(
            flags.cast(pl.Int32).alias("flags"),
            (pl.col("close") * volume).alias("dollar_volume"),
            pl.coalesce("currency", "_currency").alias("currency"),
            pl.when(observed).then(pl.lit("observed")).otherwise(pl.lit("assumed")).alias("basis"),
            pl.when(observed).then("_observed").otherwise("known_at").alias("known_at"),
        )
        .select(pl.col("^(" + "|".join(table.column_names) + ")$"))
    )
