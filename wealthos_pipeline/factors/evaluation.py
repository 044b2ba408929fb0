"""How each factor did: information coefficients, quantile returns, turnover, and their summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.factors.transforms import KEY, column32, date_offsets, in_threads, slots_of

MIN_NAMES = 5
"""Fewer names with a value and a label: no row."""


def performance(
    scores: pl.DataFrame,
    prices: pl.DataFrame,
    universe: pl.DataFrame | None,
    library: Library,
    horizons: Sequence[int],
    calendar: TradingCalendar,
    *,
    start: date | None = None,
    end_known: datetime,
    values: pl.DataFrame | None = None,
    min_names: int = MIN_NAMES,
    threads: int | None = None,
) -> pl.DataFrame:
    """Rows of ``factors.performance`` for dates ≥ ``start`` whose label was known at ``end_known``.

    scores: of the members at the date (universe ``members``; rows outside ``universe`` are left
    out); values: raw values of every name (universe ``all``), left out when None. Both should reach
    ``back(horizons)`` sessions before ``start``, for the turnover of the first date. prices:
    ``clean.prices`` from ``start`` on. Columns that are not in ``library`` are ignored.

    Rank IC averages ties. Buckets are quantiles of the value, closed on the right: 5 of 25 names or
    more; 3 of 12 to 24, kept as q1, q3, q5; 2 of fewer, kept as q1, q5. Turnover is the share of the
    top bucket (q5) that was not in it on the session before, whatever became of the names since;
    ``renewal`` the same a horizon before, the mean of the top and the bottom bucket.
    """
    parts = []
    labels = [
        forward_returns(prices, h, calendar, start=start).select(
            *KEY, pl.col("label").alias(f"{h}")
        )
        for h in horizons
    ]
    ends = _ends(horizons, calendar, end_known)
    for name, frame in (("members", scores), ("all", values)):
        if frame is None:
            continue
        rows = frame
        if start is not None:
            rows = rows.filter(pl.col("date") >= calendar.offset(start, -back(horizons)))
        if name == "members" and universe is not None:
            rows = rows.join(universe.select(KEY), on=list(KEY), how="semi")
        if rows.height:
            parts.append(_perform(rows, labels, library, horizons, calendar, min_names, threads, start)
                         .with_columns(universe=pl.lit(name)))  # fmt: skip
    table = contract("factors.performance")
    if not parts:
        return table.empty()
    out = pl.concat(parts).join(ends, on=["date", "horizon"], how="inner")
    return table.conform(out)


def back(horizons: Sequence[int]) -> int:
    """Sessions before the first date that ``performance`` looks at."""
    return max(1, *horizons)


def _ends(horizons: Sequence[int], calendar: TradingCalendar, end_known: datetime) -> pl.DataFrame:
    """``date, horizon, known_at`` of the labels known at ``end_known``."""
    days = calendar.frame()
    return pl.concat(
        days.select(
            "date",
            pl.lit(h, pl.Int32).alias("horizon"),
            pl.col("known_at").shift(-1 - h),
        )
        for h in horizons
    ).filter(pl.col("known_at") <= end_known)


def _perform(
    frame: pl.DataFrame,
    labels: list[pl.DataFrame],
    library: Library,
    horizons: Sequence[int],
    calendar: TradingCalendar,
    min_names: int,
    threads: int | None,
    start: date | None,
) -> pl.DataFrame:
    from wealthos_pipeline.factors.kernels.section import order_labels, perform

    rows = frame.sort(KEY).rechunk()
    names = [c for c in rows.columns if c in library.factors]
    off = date_offsets(rows)
    days = rows["date"].gather(off[:-1])
    ids = rows["instrument_id"].unique().sort()
    code = rows["instrument_id"].cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int64)
    label = np.empty((len(horizons), rows.height))
    order = np.zeros((len(horizons), rows.height), np.int64)
    labelled = np.zeros((len(horizons), len(days)), np.int64)
    for i, (h, part) in enumerate(zip(horizons, labels, strict=True)):
        joined = rows.select(KEY).join(part, on=list(KEY), how="left", maintain_order="left")
        label[i] = joined[f"{h}"].fill_null(math.nan).to_numpy()
        order_labels(label[i], off, order[i], labelled[i])

    slot = slots_of(days, calendar)
    lags = sorted({1, *horizons})

    def one(name: str) -> tuple[np.ndarray, np.ndarray]:
        out = np.empty((len(horizons), len(days), 9))
        moved = np.empty((len(lags), len(days), 3))
        perform(
            column32(rows, name), label, order, labelled, off, slot, code, len(ids), min_names,
            np.array(lags), out, moved,
        )  # fmt: skip
        return out, moved

    parts = []
    for name, (out, moved) in zip(names, in_threads(one, names, threads), strict=True):
        sign = float(library.factors[name].direction)
        for i, h in enumerate(horizons):
            kept = out[i, :, 0] >= min_names
            if start is not None:
                kept &= (days >= start).to_numpy()
            block = out[i, kept]
            lag = lags.index(h)
            parts.append(
                pl.DataFrame(
                    {
                        "factor": pl.Series([name]).new_from_index(0, len(block)),
                        "horizon": pl.Series([h], dtype=pl.Int32).new_from_index(0, len(block)),
                        "date": days.filter(pl.Series(kept)),
                        "n": block[:, 0].astype(np.int32),
                        "ic": block[:, 1],
                        "rank_ic": block[:, 2],
                        **{f"q{q}": block[:, 2 + q] for q in range(1, 6)},
                        "spread": (block[:, 7] - block[:, 3]) * sign,
                        "turnover": moved[0, kept, 0],
                        "renewal": 0.5 * (moved[lag, kept, 0] + moved[lag, kept, 1]),
                        "rank_autocorrelation": moved[0, kept, 2],
                    }
                )
            )
    return pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))


def first_affected(dirty: date, horizons: Sequence[int], calendar: TradingCalendar) -> date:
    """First date whose row of ``factors.performance`` a bar of ``dirty`` can change."""
    return calendar.offset(dirty, -(max(horizons) + 1))


def coverage(values: pl.DataFrame) -> dict[str, float]:
    """Factor → share of the rows of ``values`` that have a value."""
    return {
        c: 1.0 - values[c].null_count() / values.height if values.height else 0.0
        for c in values.columns
        if c not in KEY
    }


def summary(
    performance: pl.DataFrame, library: Library, coverage: Mapping[str, float]
) -> pl.DataFrame:
    """Rows of ``factors.summary``: one a factor, universe and horizon.

    performance: all rows known. Means are times the factor's direction. ``detectable_ic`` takes the
    larger of the two standard errors. coverage: factor → share of bars with a value.
    """
    from wealthos_pipeline.stats import newey_west

    rows = []
    ordered = performance.sort("factor", "universe", "horizon", "date")
    for key, part in ordered.group_by("factor", "universe", "horizon", maintain_order=True):
        factor, universe, horizon = str(key[0]), str(key[1]), int(key[2])  # type: ignore[call-overload]
        sign = library.factors[factor].direction if factor in library.factors else 1
        rank_ic = part["rank_ic"].fill_null(math.nan).to_numpy() * sign
        mean, se, t = newey_west.mean_tstat(rank_ic, 2 * horizon)
        _, se_apart, t_apart = newey_west.non_overlapping_tstat(rank_ic, horizon)
        worst = max((s for s in (se, se_apart) if math.isfinite(s) and s > 0), default=math.nan)
        rows.append(
            {
                "factor": factor,
                "universe": universe,
                "horizon": horizon,
                "dates": int(np.isfinite(rank_ic).sum()),
                "mean_ic": _mean(part["ic"]) * sign,
                "mean_rank_ic": mean,
                "t_newey_west": t,
                "t_non_overlapping": t_apart,
                "detectable_ic": newey_west.detectable_mean(worst),
                "mean_spread": _mean(part["spread"]),
                "mean_turnover": _mean(part["turnover"]),
                "coverage": coverage.get(factor, math.nan),
            }
        )
    table = contract("factors.summary")
    if not rows:
        return table.empty()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return table.conform(frame.with_columns(pl.col(pl.Float64).fill_nan(None)))


def _mean(values: pl.Series) -> float:
    kept = values.drop_nulls().to_list()
    return math.fsum(kept) / len(kept) if kept else math.nan
