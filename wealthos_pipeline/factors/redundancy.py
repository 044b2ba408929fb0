"""Which factors say the same, and what each adds to the others.

Everything is measured on the first session of each month: correlations of scores move slowly, and
labels of a month do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.labels import forward_returns
from wealthos_pipeline.factors.transforms import KEY, column32, date_offsets, in_threads
from wealthos_pipeline.stats.mean_test import mean_test

CUT = 0.5
"""Factors whose mean |ρ| is above 1 − CUT share a cluster."""

MIN_NAMES = 5
MONTH = 21


@dataclass(frozen=True, slots=True)
class Ranks:
    """Centred ranks of many factors over the rows of some dates.

    rank, known: factors × rows (0 and 0 without a value); off: where dates begin.
    """

    names: tuple[str, ...]
    rows: pl.DataFrame
    off: np.ndarray
    rank: np.ndarray
    known: np.ndarray


def ranked(scores: pl.DataFrame, names: Sequence[str], threads: int | None = None) -> Ranks:
    """Ranks by date of the columns ``names`` of ``scores`` (``date, instrument_id``, …), any order."""
    from wealthos_pipeline.factors.kernels.marginal import ranks

    rows = scores.sort(KEY).rechunk()
    off = date_offsets(rows)
    rank = np.zeros((len(names), rows.height))
    known = np.zeros((len(names), rows.height))

    def one(i: int) -> None:
        ranks(column32(rows, names[i]), off, rank[i], known[i])

    in_threads(one, range(len(names)), threads)
    return Ranks(tuple(names), rows.select(KEY), off, rank, known)


def correlations(table: Ranks, min_names: int = MIN_NAMES) -> tuple[np.ndarray, np.ndarray]:
    """Mean over dates of the correlation of ranks, and the number of dates; both factors × factors.

    A factor's ranks are taken over all names that have it, the correlation over those that have both
    (at least ``min_names``). NaN where there is no such date. Ranks are multiples of ½, so that the
    sums of products are exact and no order of adding them matters.
    """
    size = len(table.names)
    total, dates = np.zeros((size, size)), np.zeros((size, size), np.int64)
    for a, b in zip(table.off[:-1], table.off[1:], strict=True):
        r, w = table.rank[:, a:b], table.known[:, a:b]
        n = w @ w.T
        s = r @ w.T
        square = (r * r) @ w.T
        product = r @ r.T
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = square - s * s / n
            rho = (product - s * s.T / n) / (np.sqrt(spread) * np.sqrt(spread.T))
        fits = (n >= min_names) & (spread > 0) & (spread.T > 0)
        total[fits] += np.clip(rho[fits], -1.0, 1.0)
        dates += fits
    with np.errstate(invalid="ignore"):
        return np.where(dates > 0, total / np.maximum(dates, 1), math.nan), dates


def clusters(correlation: np.ndarray, cut: float = CUT) -> np.ndarray:
    """Cluster number of each factor, from 1 in the order of the clusters' first factors.

    Average linkage on the distance 1 − |ρ| (1 where ρ is unknown), cut at ``cut``.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(correlation) < 2:
        return np.ones(len(correlation), np.int64)
    distance = 1.0 - np.abs(np.nan_to_num(correlation, nan=0.0))
    distance = 0.5 * (distance + distance.T)
    np.fill_diagonal(distance, 0.0)
    found = fcluster(linkage(squareform(distance, checks=False), "average"), cut, "distance")
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(c), len(number) + 1) for c in found], np.int64)


def representatives(correlation: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Which factors stand for their clusters: the one with the highest mean |ρ| to the others; of
    equal ones the first."""
    out = np.zeros(len(cluster), bool)
    size = np.abs(np.nan_to_num(correlation, nan=0.0))
    for c in np.unique(cluster):
        mine = np.flatnonzero(cluster == c)
        near = np.round(size[np.ix_(mine, mine)].mean(axis=1), 12)
        out[mine[int(np.argmax(near))]] = True
    return out


def marginal_ics(
    table: Ranks, label: np.ndarray, base: Sequence[str], min_names: int = MIN_NAMES
) -> np.ndarray:
    """Factors × dates × (names, rank IC, rank IC of what the base does not explain).

    label: one value a row of ``table.rows``, NaN where there is none. See ``kernels.marginal``.
    """
    from wealthos_pipeline.factors.kernels.marginal import marginal

    place = {n: i for i, n in enumerate(table.names)}
    out = np.full((len(table.names), len(table.off) - 1, 3), np.nan)
    chosen = np.array([place[b] for b in dict.fromkeys(base)], np.int64)
    marginal(
        table.rank, table.known, np.array(label, np.float64), table.off, chosen, min_names, out
    )
    return out


def report(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    directions: Mapping[str, int],
    horizon: int,
    calendar: TradingCalendar,
    *,
    base: Sequence[str] = (),
    threads: int | None = None,
) -> dict[str, pl.DataFrame]:
    """Rows of ``factors.correlation`` and ``factors.clusters``.

    scores: rows of the dates to use (``months``), a column a factor; labels: ``forward_returns`` of
    ``horizon``, of those known. directions: of the factors to use, in the order of the result. base:
    what a factor is set beside; those that are not there are ignored; empty: the clusters'
    representatives. Factors without a single score are left out. Signs: correlations are of the scores as they are; ICs carry the direction.
    """
    links, groups = contract("factors.correlation"), contract("factors.clusters")
    names = sorted(
        n for n in directions if n in scores.columns and scores[n].null_count() < scores.height
    )
    if not names or scores.is_empty():
        return {links.name: links.empty(), groups.name: groups.empty()}
    table = ranked(scores, names, threads)
    rho, dates = correlations(table)
    cluster = clusters(rho)
    stands = representatives(rho, cluster)
    chosen = [n for n in base if n in names] or [n for n, s in zip(names, stands, strict=True) if s]
    joined = table.rows.join(labels, on=list(KEY), how="left", maintain_order="left")
    label = joined["label"].fill_null(math.nan).to_numpy()
    ics = marginal_ics(table, label, chosen)
    last = calendar.known_at(table.rows["date"].max())  # type: ignore[arg-type]
    judged = joined.filter(pl.col("known_at").is_not_null())["known_at"].max()
    return {
        links.name: links.conform(_pairs(names, rho, dates, last)),
        groups.name: groups.conform(
            _members(
                names, rho, cluster, stands, chosen, ics, directions, horizon,
                max(last, judged) if isinstance(judged, datetime) else last,
            )
        ),
    }  # fmt: skip


def months(days: pl.Series, calendar: TradingCalendar) -> list[date]:
    """First sessions of the months within the range of ``days``."""
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return []
    return calendar.firsts(first, last, "month")


def due(
    months: Sequence[date],
    horizon: int,
    start: date | None,
    end: date,
    calendar: TradingCalendar,
) -> bool:
    """Whether anything can differ from what is stored, when scores and prices up to ``end`` are the
    same before ``start``: a month begins, or the label of one ends, on ``start`` or later."""
    if start is None:
        return True
    ends = (calendar.offset(d, 1 + horizon) for d in months)
    return any(start <= d for d in months) or any(start <= e <= end for e in ends)


def labels_of(
    prices: pl.DataFrame,
    months: Sequence[date],
    horizon: int,
    calendar: TradingCalendar,
    end_known: datetime,
) -> pl.DataFrame:
    """``forward_returns`` of the dates in ``months`` that were known at ``end_known``."""
    return forward_returns(prices, horizon, calendar).filter(
        pl.col("date").is_in(months) & (pl.col("known_at") <= end_known)
    )


def _pairs(
    names: Sequence[str], rho: np.ndarray, dates: np.ndarray, known_at: datetime
) -> pl.DataFrame:
    i, j = np.triu_indices(len(names), 1)
    return pl.DataFrame(
        {
            "factor": pl.Series(names, dtype=pl.String).gather(i),
            "other": pl.Series(names, dtype=pl.String).gather(j),
            "correlation": pl.Series(rho[i, j]).fill_nan(None),
            "dates": dates[i, j].astype(np.int32),
        }
    ).with_columns(known_at=pl.lit(known_at))


def _members(
    names: Sequence[str],
    rho: np.ndarray,
    cluster: np.ndarray,
    stands: np.ndarray,
    base: Sequence[str],
    ics: np.ndarray,
    directions: Mapping[str, int],
    horizon: int,
    known_at: datetime,
) -> pl.DataFrame:
    near = np.abs(np.nan_to_num(rho, nan=0.0))
    np.fill_diagonal(near, -1.0)
    step = max(1, math.ceil(horizon / MONTH))
    rows = []
    for i, name in enumerate(names):
        sign = directions[name]
        part = mean_test(ics[i, :, 2] * sign, step)
        # side by side only over the same months; without any marginal IC over all of them
        same = np.isfinite(ics[i, :, 2]) if part.observations else np.ones(ics.shape[1], bool)
        full = mean_test(ics[i, same, 1] * sign, step)
        nearest = int(np.argmax(near[i]))
        alone = len(names) == 1 or not near[i, nearest] > 0
        rows.append(
            {
                "factor": name, "cluster": int(cluster[i]),
                "size": int((cluster == cluster[i]).sum()), "representative": bool(stands[i]),
                "in_base": name in base, "nearest": None if alone else names[nearest],
                "nearest_correlation": None if alone else float(rho[i, nearest]),
                "horizon": horizon, "dates": part.observations, "mean_rank_ic": full.mean,
                "marginal_ic": part.mean, "t_marginal": part.t, "known_at": known_at,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )
