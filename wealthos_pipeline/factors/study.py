"""One factor looked at from all sides: what ``wealthos factors evaluate`` and ``tearsheet`` show.

Numbers about means carry the factor's direction: positive is what the factor's author expects.
Buckets count from 1 (lowest values) and carry no direction.

With ``delay=1`` (the rule of this house) a value of t is bought at the close of t+1. ``delay=0`` buys at
the very close that the value is made of; it is there to be compared with other libraries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import study_frames as frames
from wealthos_pipeline.factors.grid import Grid, grid, liquidity

HORIZONS = (1, 2, 5, 10, 20, 40, 60, 120)
LAGS = (1, 5, 20)
VARIANTS = ("plain", "sector", "liquidity")
MIN_NAMES = 5
MIN_GROUP = 3


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of one factor. All frames are sorted by their first columns.

    universes: ``members`` (at the date) and ``all`` where these differ, else ``all`` alone; the first
    one is the one that counts. variants: ``plain``; ``sector``, ``liquidity``: ranks less what sectors,
    or log dollar volume, explain of them (of the first universe). known_at: when the last label that
    was used was known. cost: one-way, in basis points of what is traded.

    ic: ``universe, variant, horizon, date, n, ic, rank_ic``, times direction; one row where
        at least ``MIN_NAMES`` names have a value and a label.
    summary: ``universe, variant, horizon, dates, mean_ic, mean_rank_ic, se, half_width, labels, t_newey_west, t_bootstrap,
        t_non_overlapping, t, decided_by, p_value, detectable_ic, icir, low, high, positive``. t: the one
        nearest 0 of the three (see ``stats.mean_test``); se: the largest of the three; icir: mean over
        standard deviation of the rank IC by date, not annualised; low, high: 95 % interval of the mean
        rank IC, its shape from seeded draws of the stationary bootstrap, its width ``half_width``, that of
        se and Student's t with as many degrees as labels side by side, less one; positive: share of dates above 0.
    decay: ``universe, variant, horizon, mean_rank_ic, low, high``; low and high ± half_width.
    quantiles: ``universe, horizon, bucket, dates, mean_return, mean_excess``: decimal over the
        horizon; excess over the mean of the date's names. Dates of few names have buckets 1, 3, 5 or 1, 5
        alone: where ``dates`` differ, so does the market behind ``mean_return``.
    spread: ``universe, horizon, dates, gross, renewal, cost, net, t_gross, t_net``: top minus bottom
        bucket times direction, a horizon; renewal: share of names replaced after a horizon, mean of
        both legs; cost = 4 · cost_bp / 10,000 · renewal: two legs, each sold and bought.
    cumulative: ``universe, date, q1 … q5, spread, spread_net``: growth of 1 less 1 over labels of one
        session, date being the last of the label; the spread's days are added, not compounded. Null, and
        unchanged by the day, where the date has too few names for the bucket.
    monotonicity: ``universe, horizon, buckets, spearman, right_steps``: rank correlation of the
        bucket's number and mean excess times direction; share of steps up from bucket to bucket.
    turnover: ``universe, date, top, bottom``: one-way, since the session before.
    autocorrelation: ``universe, lag, rank_autocorrelation``: mean over dates.
    coverage: ``universe, date, bars, values, share``.
    by_year, by_regime, by_sector: ``horizon, year | regime | sector (text), dates, names, mean_rank_ic, t`` of
        the first universe, plain; in a sector the ranks are taken within it.
    half_life: sessions until the rank autocorrelation is ½, read between the lags on a log scale (a
        straight line to one that is not positive), beyond them at the last lag's rate; NaN: unknown.
    """

    name: str
    direction: int
    universes: tuple[str, ...]
    variants: tuple[str, ...]
    horizons: tuple[int, ...]
    delay: int
    costs_bp: float
    buckets: int
    start: date
    end: date
    known_at: datetime | None
    ic: pl.DataFrame
    summary: pl.DataFrame
    decay: pl.DataFrame
    quantiles: pl.DataFrame
    spread: pl.DataFrame
    cumulative: pl.DataFrame
    monotonicity: pl.DataFrame
    turnover: pl.DataFrame
    autocorrelation: pl.DataFrame
    coverage: pl.DataFrame
    by_year: pl.DataFrame
    by_regime: pl.DataFrame
    by_sector: pl.DataFrame
    half_life: float
    notes: Mapping[str, str] = field(default_factory=dict)
    """What could not be computed, with the reason: ``by_regime`` → "no regimes were given"."""


def study(
    values: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    name: str,
    direction: int = 1,
    calendar: TradingCalendar,
    horizons: Sequence[int] = HORIZONS,
    universe: pl.DataFrame | None = None,
    groups: pl.DataFrame | None = None,
    regimes: pl.DataFrame | None = None,
    costs_bp: float = 10.0,
    delay: int = 1,
    end_known: datetime | None = None,
    variants: Sequence[str] = VARIANTS,
    min_names: int = MIN_NAMES,
    draws: int = 1000,
    seed: int = 0,
) -> Study:
    """Look at the column ``name`` of ``values`` (``date, instrument_id, name``).

    prices: ``clean.prices`` of the names (``instrument_id, date, tr_index``; ``slot``, ``flags`` and
    ``dollar_volume`` are used where they are there). universe: ``date, instrument_id`` of the members;
    None: all names. groups: ``instrument_id, valid_from, sector``. regimes: ``date, regime``.
    end_known: labels known later are not used; None: all of ``prices``. horizons that leave fewer than
    two dates are dropped. FactorError where nothing can be judged, saying what is missing.
    """
    needed = ("date", "instrument_id", name)
    if missing := [c for c in needed if c not in values.columns]:
        raise FactorError(f"a study needs {needed}; {missing} are not among {values.columns}")
    cells = grid(prices, calendar)
    last = cells.first + len(cells.index) - 1
    if end_known is not None:
        last = min(last, calendar.slot(calendar.last_known(end_known)))
    cells = _between(cells, 0, max(last + 1 - cells.first, 0))
    x = cells.column(values, name, calendar)
    found = np.flatnonzero(np.isfinite(x).any(axis=1))
    if not len(found):
        raise FactorError(
            f"{name} has no value on a day on which its name has a bar"
            + (f" known at {end_known}" if end_known else "")
        )
    room = last - cells.first - int(found[0]) - delay
    kept = tuple(h for h in sorted({int(h) for h in horizons}) if h <= room)
    if not kept:
        raise FactorError(
            f"{name}: {room + delay} sessions after its first value are too few for the horizons "
            f"{tuple(horizons)} with a delay of {delay}"
        )
    first = int(found[0])
    cells = _between(cells, first, len(x))
    x = x[first:]
    notes: dict[str, str] = {}
    labels = {h: cells.labels(h, delay, last) for h in sorted({1, *kept})}
    masks = {"all": cells.bar}
    if universe is not None:
        members = cells.mask(universe, calendar)
        if not (members == cells.bar).all():
            masks = {"members": members, **masks}
    main = next(iter(masks))
    lags = tuple(sorted({1, *LAGS, *kept}))
    sections = {
        u: frames.section(x, labels, mask, cells, lags, min_names) for u, mask in masks.items()
    }
    if not any((s.by_date[:, :, frames.N] >= min_names).any() for s in sections.values()):
        raise FactorError(
            f"{name} cannot be ranked: on no date do {min_names} names have a value and a label"
        )
    plain = {(u, "plain"): s for u, s in sections.items()}
    others, sector, words = _variants(
        x, cells, prices, groups, calendar, variants, sections[main], min_names, notes
    )
    every = {**plain, **{(main, v): s for v, s in others.items()}}
    ic = frames.ic_frame(every, kept, cells, direction)
    summary = frames.summary_frame(every, kept, direction, draws, seed)
    quantiles = frames.quantile_frame(sections, kept)
    auto = frames.autocorrelation_frame(sections, [g for g in LAGS if g < len(cells.index)])
    by_sector = frames.empty_by("sector")
    if sector is not None:
        by_sector = frames.by_sector_frame(
            x, labels, masks[main], sector, words, cells, kept, min_names, direction
        )
    if regimes is None:
        notes["by_regime"] = "no regimes were given"
    used = ic.filter(pl.col("horizon").is_in(kept))
    lasts = used.group_by("horizon").agg(pl.col("date").max())
    ends = [calendar.known_at(calendar.offset(d, delay + h)) for h, d in lasts.iter_rows()]
    return Study(
        name=name, direction=direction, universes=tuple(masks), variants=("plain", *others),
        horizons=kept, delay=delay, costs_bp=costs_bp, buckets=frames.bucket_count(sections[main]),
        start=cells.days[0], end=calendar.date_of(min(last, cells.first + int(found[-1]) - first)),
        known_at=max(ends, default=None), ic=ic, summary=summary,
        decay=frames.decay_frame(summary), quantiles=quantiles,
        spread=frames.spread_frame(sections, kept, direction, costs_bp),
        cumulative=frames.cumulative_frame(sections, cells, direction, costs_bp, delay, calendar),
        monotonicity=frames.monotonicity_frame(quantiles, direction),
        turnover=frames.turnover_frame(sections, cells), autocorrelation=auto,
        coverage=frames.coverage_frame(x, masks, cells),
        by_year=frames.by_frame(
            sections[main], kept, "year", cells.days.dt.year().cast(pl.String), direction
        ),
        by_regime=frames.by_regime_frame(sections[main], kept, regimes, cells, direction),
        by_sector=by_sector, half_life=half_life(auto.filter(pl.col("universe") == main)),
        notes=notes,
    )  # fmt: skip


def half_life(autocorrelation: pl.DataFrame) -> float:
    """Lag at which the rank autocorrelation is ½ (``lag, rank_autocorrelation``); see ``Study``."""
    lag, before = 0.0, 1.0
    for at, value in autocorrelation.select("lag", "rank_autocorrelation").sort("lag").iter_rows():
        if value is None:
            break
        if value <= 0.0:
            return lag + (at - lag) * (before - 0.5) / (before - value)
        if value <= 0.5:
            return lag + (at - lag) * math.log(0.5 / before) / math.log(value / before)
        lag, before = float(at), min(value, 1.0)
    if lag == 0.0:
        return math.nan
    return lag * math.log(0.5) / math.log(before) if before < 1.0 else math.inf


def _between(cells: Grid, begin: int, end: int) -> Grid:
    """The rows ``begin`` to ``end`` of the grid: nothing before the factor's first value is needed, nothing
    after what was known may be."""
    return Grid(
        cells.ids, cells.first + begin, cells.days[begin:end], cells.index[begin:end],
        cells.bar[begin:end], cells.traded[begin:end],
    )  # fmt: skip


def _variants(
    x: np.ndarray,
    cells: Grid,
    prices: pl.DataFrame,
    groups: pl.DataFrame | None,
    calendar: TradingCalendar,
    wanted: Sequence[str],
    base: frames.Section,
    min_names: int,
    notes: dict[str, str],
) -> tuple[dict[str, frames.Section], np.ndarray | None, list[str]]:
    """The sections of the neutral variants, and the sector of each cell."""
    from wealthos_pipeline.factors.kernels import residual

    out: dict[str, frames.Section] = {}
    sector: np.ndarray | None = None
    words: list[str] = []
    if groups is None or groups["sector"].null_count() == groups.height:
        notes["sector"] = notes["by_sector"] = "no sectors are known"
    elif "sector" in wanted:
        sector, words = cells.sectors(groups)
        y = np.empty_like(base.x)
        number = np.ascontiguousarray(sector.ravel()[base.cell])
        residual.within(base.x, base.off, number, len(words), MIN_GROUP, min_names, y)
        out["sector"] = base.with_values(y, min_names)
    if "dollar_volume" not in prices.columns or not prices["dollar_volume"].count():
        notes["liquidity"] = "no dollar volume is known"
    elif "liquidity" in wanted:
        y = np.empty_like(base.x)
        volume = np.ascontiguousarray(liquidity(prices, cells, calendar).ravel()[base.cell])
        residual.beside(base.x, base.off, volume, min_names, y)
        out["liquidity"] = base.with_values(y, min_names)
    return out, sector, words
