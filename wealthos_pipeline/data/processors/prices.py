"""From raw bars to ``clean.prices``: rules, one basis, forward-chained indices, flags.

Nothing here depends on bars after the row's date, save corrections that were fetched later, which
stamp ``known_at``, and spikes, which are believed until the bar after them is known (``spikes``).
A version of a bar passes ``row_rules``, ``effective`` makes one bar of its versions, the bars are
``chain``-ed, and ``flags`` marks them.

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
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import (
    chain,
    delistings,
    events,
    flags,
    hours,
    off_days,
    quality,
    quarantine,
    raw,
    row_rules,
    spikes,
    units,
)
from wealthos_pipeline.data.processors import rules as registry
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.chain import context_start, last_rows
from wealthos_pipeline.data.processors.effective import effective
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.data.processors.instruments import identified
from wealthos_pipeline.utils.config import CleaningSettings

__all__ = ["Cleaned", "Flag", "clean", "context_start", "last_rows"]

SLACK = 0.005
"""The close may lie outside [low, high] by this fraction (rounding of adjusted prices)."""


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
    rows = raw_prices.filter(~row_rules.EMPTY)
    named = raw.bar_known_at(identified(rows, instruments), calendar)
    named = hours.own_close(named, instruments, calendar)
    cleaning = cleaning or CleaningSettings()
    off = registry.switched_off(cleaning)
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
    judged = off_days.carried(row_rules.judge(named, instruments["symbol"].unique(), now))
    bad = judged.filter(pl.col("rule").is_not_null())
    good = events.with_factors(
        judged.filter(pl.col("rule").is_null()).drop(
            "rule", "detail", *row_rules.ENDED, strict=False
        )
    )
    if start is not None and previous is not None:  # before it, what was taken back stays so
        good = chain.as_stored(good, previous, start)

    def built(
        rows: pl.DataFrame, *, hindsight: bool = True
    ) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Bars from ``start`` on with their growth, and what was repaired in them."""
        whole, broken = _repaired(effective(rows), off)
        bars = events.judged(quality.marked(whole, cleaning), off)
        if start is not None:
            bars = bars.filter(pl.col("date") >= start)
        bars = chain.grown(chain.continued(bars, previous, calendar, start))
        return events.grown(bars, base, off, hindsight=hindsight), broken

    first, broken = built(good)
    earlier = contract("clean.prices_history").empty()
    if units.SETTLED in first.columns and (fell := units.settled(first)).height:
        names = good.join(fell, on="instrument_id", how="semi", maintain_order="left")
        then = chain.chained(built(names, hindsight=False)[0])
        earlier = units.history(_finished(then, instruments, off, cleaning), fell)
    found = spikes.NONE if "spike" in off else spikes.find(first, cleaning)
    if not found.height:
        prices = _finished(chain.chained(first), instruments, off, cleaning)
        logged = quarantine.logged(broken, judged, prices, releases, events.logged(first))
        rejected = row_rules.rejected(bad, raw_prices, calendar)
        out = Cleaned(prices, rejected, logged, earlier, events.counts(first))
        return _closed(out, previous, ends, now, start, off)
    again = good.join(found, on="instrument_id", how="semi", maintain_order="left")
    kept, _ = built(again.join(found, on=spikes.KEY, how="anti", maintain_order="left"))
    bars = spikes.spliced(first, kept, found)
    chained = chain.chained(bars)
    prices = _finished(chained, instruments, off, cleaning)
    seen = _finished(spikes.believed(first, found, chained, cleaning), instruments, off, cleaning)
    found = spikes.dated(found, prices)
    bad = pl.concat([bad, spikes.rejected(good, found)], how="diagonal")
    out = Cleaned(
        prices,
        row_rules.rejected(bad, raw_prices, calendar),
        quarantine.logged(broken, judged, prices, releases, events.logged(bars)),
        pl.concat([spikes.history(seen, found), earlier]).unique(
            ["instrument_id", "date"], keep="first", maintain_order=True
        ),
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
    rows = [out.prices] if previous is None else [previous, out.prices]
    mine = pl.concat([r.select(chain.STATE) for r in rows]).join(
        ends, on="instrument_id", how="semi"
    )
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


def _finished(
    bars: pl.DataFrame, instruments: pl.DataFrame, off: frozenset[str], cleaning: CleaningSettings
) -> pl.DataFrame:
    """Rows of ``clean.prices`` from chained bars."""
    large = min(flags.EXTREME, cleaning.spike_growth)
    bars = bars.with_columns(spikes.doubt(cleaning).alias("_doubt"))
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
            flags.bits(bars, off, large).alias("flags"),
            (pl.col("close") * pl.col("volume")).alias("dollar_volume"),
            pl.coalesce("currency", "_currency").alias("currency"),
            pl.when(observed).then(pl.lit("observed")).otherwise(pl.lit("assumed")).alias("basis"),
            pl.when(observed).then("_observed").otherwise("known_at").alias("known_at"),
        )
        .select(pl.col("^(" + "|".join(table.column_names) + ")$"))
    )
