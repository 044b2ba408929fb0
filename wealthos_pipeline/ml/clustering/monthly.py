"""Clusters at the last session of each month, from the sessions before it.

Numbers, and how many clusters there are, depend on the months before: each month follows the one before it. A run that begins with a later
month is handed the rows that are stored and goes on from the last of them, so that it ends with the same
bits as a run of everything; the first month of the data starts the numbering.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.redundancy import representatives
from wealthos_pipeline.ml.clustering import correlation, matching, sectors

WINDOW: Final = 504
"""Sessions of returns."""

COVERAGE: Final = 0.75
"""Share of them that a name must have."""

LINKAGE: Final[Mapping[str, str]] = {"correlation": "ward", "sectors": "average"}
"""Average linkage of raw correlations puts 99 % of some 500 names into one cluster, because the market
moves them all: there Ward's. Of residuals average linkage is steadier from month to month than Ward's."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Rows of ``models.clusters`` and of ``models.cluster_quality``, dates ≥ ``start``."""

    members: pl.DataFrame
    quality: pl.DataFrame


@dataclass
class _State:
    """Where a method's numbering stands: name → number at its last date, and the next number."""

    before: dict[str, int] = field(default_factory=dict)
    unused: int = 1


def clusters(
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    end: date,
    start: date | None = None,
    stored: pl.DataFrame | None = None,
) -> Clusters:
    """Clusters of the universe at the month ends in [start, end].

    prices: ``instrument_id, date, slot, tr_index``, from ``WINDOW`` + 1 sessions before ``start`` on.
    universe: ``date, instrument_id``. stored: ``models.clusters`` before ``start``.
    In a cluster is who belongs to the universe at the month end, has ``COVERAGE`` of the window's
    returns, and returns that vary. A month with fewer than ``correlation.LEAST_NAMES`` such names has no
    rows, and the next one follows the one before it.
    """
    from threadpoolctl import threadpool_limits

    rows, judged = contract("models.clusters"), contract("models.cluster_quality")
    states = {method: _resumed(stored, method) for method in LINKAGE}
    if prices.is_empty():
        return Clusters(rows.empty(), judged.empty())
    first = prices["date"].min() if start is None else start
    ends = calendar.lasts(first, end, "month")  # type: ignore[arg-type]
    members = universe.filter(pl.col("date").is_in(ends)).sort("date", "instrument_id")
    days = members["date"].rle()
    offsets = np.concatenate([[0], np.cumsum(days.struct.field("len").to_numpy())]).astype(int)
    names, returns, low = _returns(prices)
    place = {name: j for j, name in enumerate(names)}
    everyone = members["instrument_id"].to_list()
    months: list[_Month] = []
    with threadpool_limits(limits=1, user_api="blas"):
        for day, a, b in zip(days.struct.field("value"), offsets, offsets[1:], strict=False):
            at = calendar.slot(day) - low + 1
            if at > len(returns):
                continue
            column = np.array([place[n] for n in everyone[a:b] if n in place], np.int64)
            window = returns[at - WINDOW : at, column]
            enough = np.isfinite(window).sum(axis=0) >= COVERAGE * WINDOW
            ids, window = [names[j] for j in column[enough]], window[:, enough]
            made = (_month(day, method, ids, window, state) for method, state in states.items())
            months += [m for m in made if m is not None]
    if not months:
        return Clusters(rows.empty(), judged.empty())
    return Clusters(
        rows.conform(_member_rows(months)), judged.conform(_quality_rows(months, calendar))
    )


@dataclass(frozen=True, slots=True)
class _Month:
    """One method at one month end: arrays by name, and the facts of ``models.cluster_quality``."""

    day: date
    method: str
    names: list[str]
    number: np.ndarray
    size: np.ndarray
    representative: np.ndarray
    stability: np.ndarray
    clusters: int
    stability_to_previous: float
    stayed: float
    silhouette: float


def _month(
    day: date, method: str, ids: list[str], window: np.ndarray, state: _State
) -> _Month | None:
    """``state`` moves on, unless there are too few names."""
    if len(ids) < correlation.LEAST_NAMES:
        return None
    data = sectors.residuals(window) if method == "sectors" else window
    rho = correlation.correlations(data)
    varies = np.isfinite(rho.diagonal())
    if varies.sum() < correlation.LEAST_NAMES:
        return None
    rho = rho[np.ix_(varies, varies)]
    names = [n for n, v in zip(ids, varies, strict=True) if v]
    before = state.before
    old = sorted(set(before.values()))
    found = correlation.partition(rho, LINKAGE[method], len(old))
    number = matching.follow(names, found.labels, before, state.unused)
    same = [before[n] == k for n, k in zip(names, number, strict=True) if n in before]
    made = _Month(
        day, method, names, number, np.bincount(found.labels)[found.labels],
        representatives(rho, found.labels), matching.companions(names, found.labels, before),
        found.clusters,
        matching.adjusted_rand(matching.overlap(names, found.labels, before, old)),
        sum(same) / len(same) if same else float("nan"), found.silhouette,
    )  # fmt: skip
    state.before = {n: int(k) for n, k in zip(names, number, strict=True)}
    state.unused = max(state.unused, int(number.max()) + 1)
    return made


def _member_rows(months: list[_Month]) -> pl.DataFrame:
    size = [len(m.names) for m in months]

    def repeated(values: list[date] | list[str]) -> pl.Series:
        return pl.Series(values).gather(np.repeat(np.arange(len(months)), size))

    return pl.DataFrame(
        {
            "date": repeated([m.day for m in months]),
            "method": repeated([m.method for m in months]),
            "instrument_id": [n for m in months for n in m.names],
            "cluster": np.concatenate([m.number for m in months]),
            "size": np.concatenate([m.size for m in months]),
            "representative": np.concatenate([m.representative for m in months]),
            "stability": np.concatenate([m.stability for m in months]),
        }
    ).with_columns(pl.col("stability").fill_nan(None))


def _quality_rows(months: list[_Month], calendar: TradingCalendar) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [m.day for m in months],
            "method": [m.method for m in months],
            "clusters": [m.clusters for m in months],
            "names": [len(m.names) for m in months],
            "stability_to_previous": [m.stability_to_previous for m in months],
            "stayed": [m.stayed for m in months],
            "silhouette": [m.silhouette for m in months],
            "known_at": [calendar.known_at(m.day) for m in months],
        }
    ).with_columns(pl.col("stability_to_previous", "stayed").fill_nan(None))


def _resumed(stored: pl.DataFrame | None, method: str) -> _State:
    """Where the stored rows of a method end."""
    rows = None if stored is None else stored.filter(pl.col("method") == method)
    if rows is None or rows.is_empty():
        return _State()
    last = rows.filter(pl.col("date") == rows["date"].max())
    before = dict(last.select("instrument_id", "cluster").iter_rows())
    return _State(before, int(rows["cluster"].max()) + 1)  # type: ignore[arg-type]


def _returns(prices: pl.DataFrame) -> tuple[list[str], np.ndarray, int]:
    """Names, one-session returns (slots, names) with NaN where either bar is missing, and the first slot:
    a window before the first bar, so that how much is there never decides."""
    names = prices["instrument_id"].unique().sort()
    column = prices["instrument_id"].cast(pl.Enum(names)).to_physical().to_numpy()
    slot = prices["slot"].to_numpy().astype(np.int64)
    low = int(slot.min()) - WINDOW
    level = np.full((int(slot.max()) - low + 1, len(names)), np.nan)
    level[slot - low, column] = prices["tr_index"].to_numpy()
    out = np.full_like(level, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        out[1:] = level[1:] / level[:-1] - 1.0
    out[~np.isfinite(out)] = np.nan
    return names.to_list(), out, low
