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
from wealthos_pipeline.factors.multiple import judged
from wealthos_pipeline.factors.study_frames import icir, mean, monotonicity
from wealthos_pipeline.factors.transforms import KEY, column32, date_offsets, in_threads, slots_of
from wealthos_pipeline.stats.mean_test import mean_test

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


def coverage(values: pl.DataFrame | pl.LazyFrame) -> dict[str, float]:
    """Factor → share of the rows of ``values`` that have a value; 0 without rows."""
    counted = values.lazy().select(pl.len().alias("rows"), pl.all().exclude(*KEY).null_count())
    found = counted.collect().row(0, named=True)
    rows = found.pop("rows")
    return {name: 1.0 - missing / rows if rows else 0.0 for name, missing in found.items()}


def summary(
    performance: pl.DataFrame,
    library: Library,
    coverage: Mapping[str, float],
    *,
    costs_bp: float = 10.0,
) -> pl.DataFrame:
    """Rows of ``factors.summary``: one a factor, universe and horizon.

    performance: all rows known. Means are times the factor's direction. ``t`` is the one nearest 0 of
    Newey–West, stationary bootstrap and non-overlapping dates, ``detectable_ic`` takes the largest of
    their standard errors. coverage: factor → share of bars with a value. costs_bp: one-way, of what is
    traded; ``spread_net`` pays it for two legs, each sold and bought where it is renewed.
    """
    table = contract("factors.summary")
    if performance.is_empty():
        return table.empty()
    rows = []
    key = ["factor", "universe", "horizon"]
    ordered = performance.sort(*key, "date").rechunk()
    group = ordered.select(pl.struct(key).rle_id())[key[0]].to_numpy()
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    whole = {
        c: ordered[c].fill_null(math.nan).to_numpy()
        for c in ("ic", "rank_ic", *(f"q{q}" for q in range(1, 6)), "spread", "turnover", "renewal",
                  "rank_autocorrelation")
    }  # fmt: skip
    # where each row stands among the dates of the table: a factor of month-ends keeps its distances
    place = ordered["date"].rank("dense").to_numpy().astype(np.int64) - 1
    for begin, end in zip(begins, [*begins[1:], ordered.height], strict=True):
        part = {c: v[begin:end] for c, v in whole.items()}
        factor, universe, horizon = ordered.select(key).row(int(begin))
        sign = library.factors[factor].direction if factor in library.factors else 1
        rank_ic = part["rank_ic"] * sign
        spaced = np.full(place[end - 1] - place[begin] + 1, math.nan)
        spaced[place[begin:end] - place[begin]] = rank_ic
        test = mean_test(spaced, horizon)
        # less the middle of the outer two: days with few names have no bucket 2, and another market
        level = 0.5 * (part["q1"] + part["q5"])
        over = [mean(part[f"q{q}"] - level) * sign for q in range(1, 6)]
        buckets = [m for m in over if math.isfinite(m)]
        spread, persistence = mean(part["spread"]), mean(part["rank_autocorrelation"])
        rows.append(
            {
                "factor": factor,
                "universe": universe,
                "horizon": horizon,
                "dates": test.observations,
                "mean_ic": mean(part["ic"]) * sign,
                "mean_rank_ic": test.mean,
                "t_newey_west": test.t_newey_west,
                "t_bootstrap": test.t_bootstrap,
                "t_non_overlapping": test.t_non_overlapping,
                "t": test.t,
                "p_value": test.p_value,
                "detectable_ic": test.detectable,
                "icir": icir(rank_ic[np.isfinite(rank_ic)]),
                "mean_spread": spread,
                "spread_net": spread - 4.0 * costs_bp / 1e4 * mean(part["renewal"]),
                "monotonicity": monotonicity(np.array(buckets))[0],
                "mean_turnover": mean(part["turnover"]),
                "rank_autocorrelation": persistence,
                "half_life": half_life(persistence),
                "coverage": coverage.get(factor, math.nan),
            }
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return table.conform(judged(frame.with_columns(pl.col(pl.Float64).fill_nan(None))))


def half_life(autocorrelation: float) -> float:
    """Sessions until ``autocorrelation`` ** sessions is ½; NaN where it is not between 0 and 1."""
    if not 0.0 < autocorrelation < 1.0:
        return math.nan
    return math.log(0.5) / math.log(autocorrelation)
