"""The frames of a ``Study``: each from the by-date numbers of a section."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.grid import Grid
from wealthos_pipeline.stats.bootstrap import stationary_means
from wealthos_pipeline.stats.correlation import spearman
from wealthos_pipeline.stats.mean_test import mean_block, mean_test

N, IC, RANK_IC, Q1, ALL = 0, 1, 2, 3, 8
"""Columns of the numbers by date; buckets 1 to 5 from ``Q1`` on."""


@dataclass(frozen=True, slots=True)
class Section:
    """A factor over one universe.

    cell: flat place in the grid of each row (sorted by date, name); x: its value, Float32; off: where
    dates begin. by_date: (horizons, dates, 9), see ``kernels.section.perform``; moved: (lags, dates, 3).
    """

    horizons: tuple[int, ...]
    lags: tuple[int, ...]
    cell: np.ndarray
    x: np.ndarray
    off: np.ndarray
    slot: np.ndarray
    names: int
    label: np.ndarray
    order: np.ndarray
    labelled: np.ndarray
    by_date: np.ndarray
    moved: np.ndarray

    def numbers(self, horizon: int) -> np.ndarray:
        return np.asarray(self.by_date[self.horizons.index(horizon)])

    def since(self, lag: int) -> np.ndarray:
        return np.asarray(self.moved[self.lags.index(lag)])

    def with_values(self, x: np.ndarray, min_names: int) -> Section:
        """The same rows and labels, other values."""
        from wealthos_pipeline.factors.kernels.section import perform

        by_date, moved = np.empty_like(self.by_date), np.empty_like(self.moved)
        code = np.ascontiguousarray(self.cell % self.names)
        perform(x, self.label, self.order, self.labelled, self.off, self.slot, code, self.names,
                min_names, np.array(self.lags), by_date, moved)  # fmt: skip
        return replace(self, x=x, by_date=by_date, moved=moved)


def section(
    x: np.ndarray,
    labels: Mapping[int, np.ndarray],
    mask: np.ndarray,
    cells: Grid,
    lags: Sequence[int],
    min_names: int,
) -> Section:
    """Judge ``x`` over the cells of ``mask``; all are sessions × names."""
    from wealthos_pipeline.factors.kernels.section import order_labels

    dates, names = mask.shape
    cell = np.flatnonzero(mask.ravel())
    off = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
    label = np.array([y.ravel()[cell] for y in labels.values()]).reshape(len(labels), len(cell))
    order = np.zeros(label.shape, np.int64)
    labelled = np.zeros((len(labels), dates), np.int64)
    for i in range(len(labels)):
        order_labels(label[i], off, order[i], labelled[i])
    empty = Section(
        tuple(labels), tuple(lags), cell, np.zeros(0, np.float32), off,
        np.arange(cells.first, cells.first + dates), names, label, order, labelled,
        np.empty((len(labels), dates, 9)), np.empty((len(lags), dates, 3)),
    )  # fmt: skip
    return empty.with_values(np.ascontiguousarray(x.ravel()[cell]), min_names)


Sections = Mapping[tuple[str, str], Section]
Universes = Mapping[str, Section]


def ic_frame(
    sections: Sections, horizons: Sequence[int], cells: Grid, direction: int
) -> pl.DataFrame:
    parts = []
    for (universe, variant), part in sections.items():
        for h in horizons:
            block = part.numbers(h)
            kept = np.isfinite(block[:, RANK_IC])
            parts.append(
                pl.DataFrame(
                    {
                        "date": cells.days.filter(pl.Series(kept)),
                        "n": block[kept, N].astype(np.int32),
                        "ic": block[kept, IC] * direction,
                        "rank_ic": block[kept, RANK_IC] * direction,
                    }
                ).select(
                    pl.lit(universe).alias("universe"),
                    pl.lit(variant).alias("variant"),
                    pl.lit(h, pl.Int32).alias("horizon"),
                    pl.all(),
                )
            )
    return pl.concat(parts)


def summary_frame(
    sections: Sections, horizons: Sequence[int], direction: int, draws: int, seed: int
) -> pl.DataFrame:
    rows = []
    for (universe, variant), part in sections.items():
        for h in horizons:
            ic = part.numbers(h)[:, IC] * direction
            series = part.numbers(h)[:, RANK_IC] * direction
            kept = series[np.isfinite(series)]
            test = mean_test(series, h)
            low = high = math.nan
            if len(kept) > 1 and draws:
                drawn = stationary_means(kept, mean_block(kept, h), draws, seed)
                # the bootstrap alone is too sure of itself where labels overlap: it gives the shape,
                # the most careful standard error the width
                low, high = (
                    test.mean
                    + (np.quantile(drawn, (0.025, 0.975)) - test.mean)
                    * (test.half_width / (1.96 * float(drawn.std()) or math.nan))
                ).tolist()
            rows.append(
                {
                    "universe": universe, "variant": variant, "horizon": h, "dates": len(kept),
                    "mean_ic": mean(ic), "mean_rank_ic": test.mean, "se": test.se,
                    "half_width": test.half_width, "labels": test.labels,
                    "t_newey_west": test.t_newey_west, "t_bootstrap": test.t_bootstrap,
                    "t_non_overlapping": test.t_non_overlapping, "t": test.t,
                    "decided_by": test.decided_by, "p_value": test.p_value,
                    "detectable_ic": test.detectable, "icir": icir(kept), "low": low, "high": high,
                    "positive": float((kept > 0).mean()) if len(kept) else math.nan,
                }
            )  # fmt: skip
    return table(rows, horizon=pl.Int32, dates=pl.Int32)


def decay_frame(summary: pl.DataFrame) -> pl.DataFrame:
    return summary.select(
        "universe", "variant", "horizon", "mean_rank_ic",
        low=pl.col("mean_rank_ic") - pl.col("half_width"),
        high=pl.col("mean_rank_ic") + pl.col("half_width"),
    )  # fmt: skip


def quantile_frame(sections: Universes, horizons: Sequence[int]) -> pl.DataFrame:
    rows = []
    for universe, part in sections.items():
        for h in horizons:
            block = part.numbers(h)
            for q in range(1, 6):
                returns = block[:, Q1 + q - 1]
                excess = returns - block[:, ALL]
                if np.isfinite(returns).any():
                    rows.append(
                        {
                            "universe": universe, "horizon": h, "bucket": q,
                            "dates": int(np.isfinite(returns).sum()),
                            "mean_return": mean(returns), "mean_excess": mean(excess),
                        }
                    )  # fmt: skip
    return table(rows, horizon=pl.Int32, bucket=pl.Int32, dates=pl.Int32)


def spread_frame(
    sections: Universes, horizons: Sequence[int], direction: int, costs_bp: float
) -> pl.DataFrame:
    rows = []
    for universe, part in sections.items():
        for h in horizons:
            block = part.numbers(h)
            gross = (block[:, Q1 + 4] - block[:, Q1]) * direction
            renewal = part.since(h)[:, :2].mean(axis=1)
            usual = mean(renewal)
            cost = 4.0 * costs_bp / 1e4 * renewal
            net = gross - np.where(np.isfinite(cost), cost, 4.0 * costs_bp / 1e4 * usual)
            rows.append(
                {
                    "universe": universe, "horizon": h, "dates": int(np.isfinite(gross).sum()),
                    "gross": mean(gross), "renewal": usual, "cost": mean(gross) - mean(net),
                    "net": mean(net), "t_gross": mean_test(gross, h).t, "t_net": mean_test(net, h).t,
                }
            )  # fmt: skip
    return table(rows, horizon=pl.Int32, dates=pl.Int32)


def cumulative_frame(
    sections: Universes,
    cells: Grid,
    direction: int,
    costs_bp: float,
    delay: int,
    calendar: TradingCalendar,
) -> pl.DataFrame:
    parts = []
    for universe, part in sections.items():
        block = part.numbers(1)
        kept = np.isfinite(block[:, Q1]) & np.isfinite(block[:, Q1 + 4])
        spread = (block[kept, Q1 + 4] - block[kept, Q1]) * direction
        moved = part.since(1)[kept, :2].mean(axis=1)
        # where nothing is known of the day before, both legs are bought
        cost = 4.0 * costs_bp / 1e4 * np.where(np.isfinite(moved), moved, 0.5)
        ends = np.flatnonzero(kept) + cells.first + delay + 1
        days = calendar.frame()["date"].gather(ends)
        parts.append(
            pl.DataFrame(
                {
                    "date": days,
                    **{f"q{q}": growth(block[kept, Q1 + q - 1]) for q in range(1, 6)},
                    "spread": np.cumsum(spread),
                    "spread_net": np.cumsum(spread - cost),
                }
            )
            .with_columns(pl.col(pl.Float64).fill_nan(None))
            .select(pl.lit(universe).alias("universe"), pl.all())
        )
    return pl.concat(parts)


def growth(returns: np.ndarray) -> np.ndarray:
    """Growth of 1 less 1; NaN stay and do not count."""
    grown = np.cumprod(1.0 + np.nan_to_num(returns, nan=0.0)) - 1.0
    out: np.ndarray = np.where(np.isnan(returns), np.nan, grown)
    return out


def monotonicity_frame(quantiles: pl.DataFrame, direction: int) -> pl.DataFrame:
    rows = []
    for key, part in quantiles.group_by("universe", "horizon", maintain_order=True):
        returns = part["mean_excess"].to_numpy() * direction
        rows.append(
            {
                "universe": key[0], "horizon": key[1], "buckets": len(returns),
                **dict(zip(("spearman", "right_steps"), monotonicity(returns), strict=True)),
            }
        )  # fmt: skip
    return table(rows, horizon=pl.Int32, buckets=pl.Int32)


def monotonicity(returns: np.ndarray) -> tuple[float, float]:
    """Rank correlation of bucket number and mean return, and the share of steps upwards."""
    if len(returns) < 2:
        return math.nan, math.nan
    steps = np.diff(returns)
    rho = spearman(np.arange(len(returns), dtype=float), returns) if len(returns) > 2 else math.nan
    return (rho if len(returns) > 2 else float(np.sign(steps[0]))), float((steps > 0).mean())


def turnover_frame(sections: Universes, cells: Grid) -> pl.DataFrame:
    parts = []
    for universe, part in sections.items():
        moved = part.since(1)
        kept = np.isfinite(moved[:, 0]) | np.isfinite(moved[:, 1])
        parts.append(
            pl.DataFrame(
                {
                    "date": cells.days.filter(pl.Series(kept)),
                    "top": moved[kept, 0],
                    "bottom": moved[kept, 1],
                }
            )
            .with_columns(pl.col(pl.Float64).fill_nan(None))
            .select(pl.lit(universe).alias("universe"), pl.all())
        )
    return pl.concat(parts)


def autocorrelation_frame(sections: Universes, lags: Sequence[int]) -> pl.DataFrame:
    rows = [
        {"universe": u, "lag": g, "rank_autocorrelation": mean(part.since(g)[:, 2])}
        for u, part in sections.items()
        for g in lags
    ]
    return table(rows, lag=pl.Int32)


def coverage_frame(x: np.ndarray, masks: Mapping[str, np.ndarray], cells: Grid) -> pl.DataFrame:
    parts = []
    for universe, mask in masks.items():
        bars = mask.sum(axis=1)
        frame = pl.DataFrame(
            {
                "date": cells.days,
                "bars": bars.astype(np.int32),
                "values": (mask & np.isfinite(x)).sum(axis=1).astype(np.int32),
            }
        ).filter(pl.col("bars") > 0)
        parts.append(
            frame.select(
                pl.lit(universe).alias("universe"),
                pl.all(),
                share=pl.col("values") / pl.col("bars"),
            )
        )
    return pl.concat(parts)


def by_frame(
    part: Section, horizons: Sequence[int], word: str, label: pl.Series, direction: int
) -> pl.DataFrame:
    """Means of the rank IC over the dates that share a ``label`` (null: no date of any)."""
    rows = []
    values = label.unique().drop_nulls().sort()
    for h in horizons:
        block = part.numbers(h)
        for value in values:
            here = (label == value).fill_null(False).to_numpy()
            series = np.where(here, block[:, RANK_IC] * direction, np.nan)
            if np.isfinite(series).any():
                rows.append(_by_row(h, word, value, series, block[:, N]))
    return table(rows, horizon=pl.Int32, dates=pl.Int32) if rows else empty_by(word)


def by_regime_frame(
    part: Section,
    horizons: Sequence[int],
    regimes: pl.DataFrame | None,
    cells: Grid,
    direction: int,
) -> pl.DataFrame:
    if regimes is None:
        return empty_by("regime")
    days = pl.DataFrame({"date": cells.days})
    found = days.join(
        regimes.select("date", "regime"), on="date", how="left", maintain_order="left"
    )
    return by_frame(part, horizons, "regime", found["regime"], direction)


def by_sector_frame(
    x: np.ndarray,
    labels: Mapping[int, np.ndarray],
    mask: np.ndarray,
    sector: np.ndarray,
    words: Sequence[str],
    cells: Grid,
    horizons: Sequence[int],
    min_names: int,
    direction: int,
) -> pl.DataFrame:
    rows = []
    wanted = {h: labels[h] for h in horizons}
    for i, word in enumerate(words):
        part = section(x, wanted, mask & (sector == i), cells, (1,), min_names)
        for h in horizons:
            series = part.numbers(h)[:, RANK_IC] * direction
            if np.isfinite(series).any():
                rows.append(_by_row(h, "sector", word, series, part.numbers(h)[:, N]))
    frame = table(rows, horizon=pl.Int32, dates=pl.Int32) if rows else empty_by("sector")
    return frame.sort("horizon", "sector")


def empty_by(word: str) -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "horizon": pl.Int32, word: pl.String, "dates": pl.Int32, "names": pl.Float64,
            "mean_rank_ic": pl.Float64, "t": pl.Float64,
        }
    )  # fmt: skip


def _by_row(
    horizon: int, word: str, value: str, series: np.ndarray, n: np.ndarray
) -> dict[str, object]:
    test = mean_test(series, horizon)
    return {
        "horizon": horizon, word: value, "dates": test.observations, "names": mean(n[np.isfinite(series)]),
        "mean_rank_ic": test.mean, "t": test.t,
    }  # fmt: skip


def bucket_count(part: Section) -> int:
    """Buckets on most dates: 5, 3 or 2."""
    names = part.by_date[0, :, N]
    some = names[names > 0]
    middle = float(np.median(some)) if len(some) else 0.0
    return 5 if middle >= 25 else (3 if middle >= 12 else 2)


def icir(series: np.ndarray) -> float:
    """Mean over standard deviation (ddof 1); NaN without variation."""
    if len(series) < 2 or not np.ptp(series):
        return math.nan
    return math.fsum(series) / len(series) / float(np.std(series, ddof=1))


def mean(values: np.ndarray) -> float:
    """Mean of what is finite, in a fixed order; NaN of nothing."""
    kept = values[np.isfinite(values)]
    return math.fsum(kept) / len(kept) if len(kept) else math.nan


def table(rows: Sequence[Mapping[str, object]], **types: type[pl.DataType]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)).cast(
        {k: v for k, v in types.items() if k in frame.columns}  # type: ignore[arg-type]
    )
