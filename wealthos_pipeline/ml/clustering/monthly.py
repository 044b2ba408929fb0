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
    names, returns, low = _returns(prices)
    place = {name: j for j, name in enumerate(names)}
    parts: list[pl.DataFrame] = []
    quality: list[dict[str, object]] = []
    with threadpool_limits(limits=1, user_api="blas"):
        for (day,), here in members.group_by("date", maintain_order=True):
            at = calendar.slot(day) - low + 1  # type: ignore[arg-type]
            if at > len(returns):
                continue
            column = np.array([place[n] for n in here["instrument_id"] if n in place], np.int64)
            window = returns[at - WINDOW : at, column]
            enough = np.isfinite(window).sum(axis=0) >= COVERAGE * WINDOW
            ids, window = [names[j] for j in column[enough]], window[:, enough]
            for method, state in states.items():
                made = _month(method, ids, window, state)
                if made is not None:
                    frame, facts = made
                    parts.append(frame.with_columns(date=pl.lit(day)))
                    known = calendar.known_at(day)  # type: ignore[arg-type]
                    quality.append({"date": day, "method": method, **facts, "known_at": known})
    return Clusters(
        rows.conform(pl.concat(parts)) if parts else rows.empty(),
        judged.conform(
            pl.DataFrame(quality, infer_schema_length=None).with_columns(
                pl.col("stability_to_previous", "stayed").cast(pl.Float64).fill_nan(None)
            )
        )
        if quality
        else judged.empty(),
    )


def _month(
    method: str, ids: list[str], window: np.ndarray, state: _State
) -> tuple[pl.DataFrame, dict[str, object]] | None:
    """One method at one month end; ``state`` moves on."""
    if len(ids) < correlation.LEAST_NAMES:
        return None
    data = sectors.residuals(window) if method == "sectors" else window
    rho = correlation.correlations(data)
    varies = np.isfinite(rho.diagonal())
    if varies.sum() < correlation.LEAST_NAMES:
        return None
    rho = rho[np.ix_(varies, varies)]
    names = [n for n, v in zip(ids, varies, strict=True) if v]
    old = sorted(set(state.before.values()))
    found = correlation.partition(rho, LINKAGE[method], len(old))
    number = matching.follow(names, found.labels, state.before, state.unused)
    size = np.bincount(found.labels)[found.labels]
    frame = pl.DataFrame(
        {
            "instrument_id": names,
            "cluster": number.astype(np.int32),
            "size": size.astype(np.int32),
            "representative": representatives(rho, found.labels),
            "stability": pl.Series(matching.companions(names, found.labels, state.before)).fill_nan(
                None
            ),
        }
    ).with_columns(pl.lit(method).alias("method"))
    both = [k for k, n in enumerate(names) if n in state.before]
    same = sum(state.before[names[k]] == number[k] for k in both)
    facts: dict[str, object] = {
        "clusters": found.clusters,
        "names": len(names),
        "stability_to_previous": matching.adjusted_rand(
            matching.overlap(names, found.labels, state.before, old)
        ),
        "stayed": same / len(both) if both else None,
        "silhouette": found.silhouette,
    }
    state.before = {n: int(k) for n, k in zip(names, number, strict=True)}
    state.unused = max(state.unused, int(number.max()) + 1)
    return frame, facts


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
