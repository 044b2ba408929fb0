"""Exposures to the last known risk model and the factors' returns, session by session.

The model of session t is the last month-end one of t − 1 or before: a model of another day is there for
that day's proposals only and is gone the day after. A name that it does not know has its typical
exposures, as when the portfolio was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel


@dataclass(frozen=True, eq=False)
class FactorDays:
    """Models in force and factor returns by row of a panel.

    factors: K, in order, of all models. returns: K × T, 0 where a factor is not known. used: K × T, the
    model in force has the factor. known: T, there is a model. models: (first row, past the last row,
    exposures of every name of the panel, panel names × K).
    """

    factors: tuple[str, ...]
    returns: Floats
    used: NDArray[np.bool_]
    known: NDArray[np.bool_]
    models: tuple[tuple[int, int, Floats], ...]

    def exposures(
        self, columns: NDArray[np.int64], weights: Floats, rows: NDArray[np.int64]
    ) -> Floats:
        """``Σ w B``, K × sessions, summed in the order of the names.

        weights: names × sessions, of the close before each of ``rows`` (of the panel, ascending).
        """
        out = np.zeros((len(self.factors), len(rows)))
        for first, stop, B in self.models:
            lo, hi = (int(x) for x in np.searchsorted(rows, [first, stop]))
            if lo == hi:
                continue
            here = weights[:, lo:hi]
            held = np.flatnonzero((here != 0.0).any(axis=1))
            own, part = (
                np.zeros((len(self.factors), hi - lo)),
                np.empty((len(self.factors), hi - lo)),
            )
            for i in held:
                np.multiply(B[columns[i]][:, None], here[i], out=part)
                own += part
            out[:, lo:hi] = own
        return out


def factor_returns(B: Floats, returns: Floats, weights: Floats) -> Floats:
    """Returns of the factors on each session by weighted least squares: sessions × K.

    B: exposures, N × K. returns: sessions × N, NaN where a name has none; it is left out that day.
    weights: N, of the squared errors (1 / specific variance). Where exposures are collinear (a market and
    all its sectors) the solution of least norm is taken. A session with fewer than K returns gives NaN.
    Each session is one product of its own: its bits do not depend on the others.
    """
    T, K = len(returns), B.shape[1]
    out = np.full((T, K), np.nan)
    seen = np.isfinite(returns)
    root = np.sqrt(weights)
    patterns: dict[bytes, Floats] = {}
    for t in range(T):
        there = seen[t]
        if there.sum() < max(K, 1):
            continue
        key = there.tobytes()
        if key not in patterns:
            patterns[key] = np.linalg.pinv(B[there] * root[there, None])
        out[t] = patterns[key] @ (root[there] * returns[t, there])
    return out


def factor_days(
    models: Mapping[date, RiskModel],
    panel: Panel,
    calendar: TradingCalendar,
    first: int,
    last: int,
    stored: pl.DataFrame | None = None,
) -> FactorDays:
    """Models and factor returns of the sessions first … last of ``panel``.

    stored: ``date, factor, value``; a session that has every factor of its model takes them from there.
    Other sessions are estimated on the returns of the model's names, weighted by inverse specific variance.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    ends = [d for d in sorted(models) if calendar.offset(d, 1).month != d.month]
    spans = []
    for i, day in enumerate(ends):
        lo = max(panel.row(calendar.slot(day)) + 1, first)
        hi = last + 1
        if i + 1 < len(ends):
            hi = min(hi, panel.row(calendar.slot(ends[i + 1])) + 1)
        if lo < hi:
            spans.append((lo, hi, models[day]))
    factors = tuple(sorted({f for _, _, m in spans for f in m.factors}))
    place = {f: k for k, f in enumerate(factors)}
    K, T = len(factors), len(panel.dates)
    returns, used = np.zeros((K, T)), np.zeros((K, T), dtype=np.bool_)
    known = np.zeros(T, dtype=np.bool_)
    code = {name: i for i, name in enumerate(panel.ids)}
    own = {} if stored is None else _stored(stored)
    made = []
    with threadpool_limits(1, user_api="blas"):
        for lo, hi, m in spans:
            where = np.array([place[f] for f in m.factors], dtype=np.int64)
            B = np.zeros((len(panel.ids), K))
            B[:, where] = m.align(panel.ids)[0]
            f = _session_returns(m, panel, code, lo, hi)
            for row in range(lo, hi):
                told = own.get(panel.dates[row], {})
                if all(name in told for name in m.factors):
                    f[row - lo] = [told[name] for name in m.factors]
            returns[where, lo:hi] = np.where(np.isfinite(f), f, 0.0).T
            used[where, lo:hi] = True
            known[lo:hi] = True
            made.append((lo, hi, B))
    return FactorDays(factors, returns, used, known, tuple(made))


def _session_returns(
    m: RiskModel, panel: Panel, code: Mapping[str, int], lo: int, hi: int
) -> Floats:
    there = [i for i, name in enumerate(m.ids) if name in code]
    columns = np.array([code[m.ids[i]] for i in there], dtype=np.int64)
    tr = panel.tr[lo - 1 : hi].take(columns, axis=1)
    moves = tr[1:] / tr[:-1] - 1.0
    return factor_returns(np.ascontiguousarray(m.B[there]), moves, 1.0 / m.d[there] ** 2)


def _stored(frame: pl.DataFrame) -> dict[date, dict[str, float]]:
    out: dict[date, dict[str, float]] = {}
    for day, factor, value in frame.select("date", "factor", "value").drop_nulls().iter_rows():
        out.setdefault(day, {})[factor] = value
    return out
