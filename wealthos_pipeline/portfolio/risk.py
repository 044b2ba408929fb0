"""A statistical factor risk model, kept as exposures B, factor covariance F and specific D.

At an estimation date t, from the daily total returns of the ``risk_sessions`` sessions that end
with t (both bars of a return must be there):

- sessions are weighted ``0.5^(age / risk_half_life)``, ages in calendar slots;
- names are those of the universe at any decision within the window, with returns on at least
  60 % of the window's sessions;
- a name's mean and volatility come from its own observations, weights renormalised over them. Its
  returns are standardised; a missing one is 0 there (its expected value) for the principal
  components only;
- the components of the weighted correlation matrix are those of the largest k eigenvalues, in
  falling order, ``k = min(risk_factors, max(1, n // 5))``; each is turned so that its loadings sum
  to a positive number (if they sum to 0: so that the largest is positive). Order and sign depend on
  the date's own data only, never on the date before;
- a name with gaps gets its exposures by weighted least squares of its own observations on the
  factor returns of those sessions, so that gaps do not shrink them; a name without gaps gets the
  same from its loadings directly;
- specific volatility is that of the weighted residuals, shrunk towards the median of the names
  by ``20 / (20 + effective observations)`` and at least 10 % of the name's volatility and 1e-4.

Exposures are in units of return: ``r_i = Σ_k B_ik f_k + e_i``; a factor's variance is the share of
the standardised variance that it explains. Everything is daily. Computed on one BLAS thread:
the same bits with any number of threads and any length of history before the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import Every, TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.utils.config import PortfolioSettings

Floats = NDArray[np.float64]

MIN_COVERAGE = 0.6
"""A name needs returns on this share of the window's sessions."""
PRIOR_OBSERVATIONS = 20.0
"""Weight of the cross-sectional median in a name's specific volatility."""
SPECIFIC_SHARE = 0.1
"""Specific volatility is at least this share of the name's volatility."""
VOLATILITY_FLOOR = 1e-4
"""Smallest daily specific volatility: all-equal returns do not make a riskless asset."""
SESSIONS_PER_YEAR = 252.0


@dataclass(frozen=True, eq=False)
class RiskModel:
    """Risk at one date, daily: ``Σ = B F B' + diag(d²)``.

    ids: names, ascending, n of them. factors: ``pc01`` …, k of them (none for a single name).
    B: n × k, decimal return per unit of factor. F: k × k. d: specific volatility, n, decimal.
    """

    date: date
    ids: tuple[str, ...]
    factors: tuple[str, ...]
    B: Floats
    F: Floats
    d: Floats

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Row of each name."""
        return {name: i for i, name in enumerate(self.ids)}

    @cached_property
    def typical(self) -> tuple[Floats, float]:
        """Exposures and specific volatility for a name that the model does not know.

        The mean exposures, and the 90 % quantile of specific volatility: a young or odd name is
        taken to move with the market and to be riskier than most by itself.
        """
        d = np.sort(self.d)
        return self.B.mean(axis=0), float(d[int(0.9 * (len(d) - 1))])

    def align(self, ids: Sequence[str]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """B (len(ids) × k), d and whether the model knows the name; others are ``typical``."""
        rows = np.array([self.index.get(i, -1) for i in ids], dtype=np.int64)
        known = rows >= 0
        mean, high = self.typical
        B = np.where(known[:, None], self.B[rows], mean[None, :])
        d = np.where(known, self.d[rows], high)
        return np.ascontiguousarray(B), np.ascontiguousarray(d), known

    def volatility(self) -> Floats:
        """Total daily volatility of each name."""
        return np.sqrt(((self.B @ self.F) * self.B).sum(axis=1) + self.d**2)


def estimation_dates(
    calendar: TradingCalendar, start: date, end: date, *, every: Every = "month"
) -> list[date]:
    """Last sessions of the periods within [start, end], and the last session at or before ``end``.

    ``end`` is the latest date of the data. The last one is there for today's proposals; when the
    data grow, rows of a latest date that is not the last session of its period must go
    (replace the tables from ``calendar.offset(previous month-end, 1)`` on).
    """
    dates = calendar.lasts(start, end, every)
    last = calendar.date_of(calendar.slot(end))
    return dates if dates and dates[-1] == last else [*dates, last]


def estimate(
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    dates: Iterable[date],
    calendar: TradingCalendar,
    settings: PortfolioSettings,
) -> dict[date, RiskModel]:
    """Risk models at ``dates``; a date at which no name qualifies is left out.

    prices: ``clean.prices`` rows reaching ``risk_sessions`` + 1 sessions before the first date.
    universe: ``date, instrument_id``. A name counts at t if it was a member on any date in the
    trailing window: what was just removed may still be held, and its risk is needed to sell it.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    panel = build(prices, calendar, ids=universe["instrument_id"].unique())
    returns, member = _returns(panel), membership_matrix(panel, universe, calendar)
    S = settings.risk_sessions
    out: dict[date, RiskModel] = {}
    with threadpool_limits(1, user_api="blas"):
        for day in sorted(set(dates)):
            last = panel.row(calendar.slot(day))
            if not 0 <= last < len(panel.dates):
                continue
            first = max(last - S + 1, 0)
            counts = np.isfinite(returns[first : last + 1]).sum(axis=0)
            chosen = np.flatnonzero(
                member[first : last + 1].any(axis=0) & (counts >= MIN_COVERAGE * S)
            )
            if not len(chosen):
                continue
            window = np.full((S, len(chosen)), np.nan)
            window[S - (last + 1 - first) :] = returns[first : last + 1].take(chosen, axis=1)
            names = tuple(panel.ids[i] for i in chosen)
            out[day] = from_returns(window, names, day, settings)
    return out


def from_returns(
    window: Floats, ids: Sequence[str], day: date, settings: PortfolioSettings
) -> RiskModel:
    """The risk model of one window of daily returns.

    window: sessions × names, oldest first, NaN where there is no return; names as in ``ids``.
    Call it under ``threadpool_limits(1)`` where the bits matter.
    """
    from scipy.linalg import eigh

    S, n = window.shape
    weight = 0.5 ** (np.arange(S - 1, -1, -1) / settings.risk_half_life)
    seen = np.isfinite(window)
    there = seen.any(axis=1)  # sessions before the data begin are no gaps of anybody
    window, weight, seen = window[there], weight[there], seen[there]
    S = len(window)
    w = seen * weight[:, None]
    total = w.sum(axis=0)
    mean = np.where(seen, w * window, 0.0).sum(axis=0) / total
    centred = np.where(seen, window - mean, 0.0)
    sigma = np.sqrt((w * centred**2).sum(axis=0) / total)
    moving = sigma > 1e-12
    Z = np.where(moving, centred / np.where(moving, sigma, 1.0), 0.0)
    Y = Z * np.sqrt(weight / weight.sum())[:, None]

    k = min(settings.risk_factors, max(1, n // 5), S) if n > 1 else 0
    if k:
        dual = n > S
        gram = Y @ Y.T if dual else Y.T @ Y
        size = len(gram)
        values, vectors = eigh(gram, subset_by_index=[size - k, size - 1], check_finite=False)
        values, vectors = values[::-1], vectors[:, ::-1]
        keep = values > 1e-10 * max(values[0], 1e-300)
        values, vectors = values[keep], vectors[:, keep]
        V = (Y.T @ vectors) / np.sqrt(values) if dual else vectors
        V = np.ascontiguousarray(V * _signs(V))
        k = len(values)
    if not k:
        values, V = np.empty(0), np.empty((n, 0))

    loadings = V * np.sqrt(n)
    residual = np.maximum(1.0 - ((V**2) * values).sum(axis=1), 0.0)
    gappy = np.flatnonzero(moving & ~seen.all(axis=0))
    if k and len(gappy):
        f = (Z @ V) / np.sqrt(n)
        own = np.ascontiguousarray(w[:, gappy])
        squares = (f[:, :, None] * f[:, None, :]).reshape(S, k * k)
        normal = (own.T @ squares).reshape(len(gappy), k, k)
        ridge = 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(k)
        found = np.linalg.solve(normal + ridge, ((own * Z[:, gappy]).T @ f)[:, :, None])[:, :, 0]
        loadings[gappy] = found
        rest = Z[:, gappy] - f @ found.T
        residual[gappy] = (own * rest**2).sum(axis=0) / total[gappy]

    specific = sigma * np.sqrt(residual)
    observations = total**2 / (w**2).sum(axis=0)
    pull = PRIOR_OBSERVATIONS / (PRIOR_OBSERVATIONS + observations)
    specific = (1.0 - pull) * specific + pull * np.median(specific)
    specific = np.maximum(np.maximum(specific, SPECIFIC_SHARE * sigma), VOLATILITY_FLOOR)
    return RiskModel(
        date=day,
        ids=tuple(ids),
        factors=tuple(f"pc{i + 1:02d}" for i in range(k)),
        B=np.ascontiguousarray(loadings * sigma[:, None]),
        F=np.diag(values / n),
        d=np.ascontiguousarray(specific),
    )


def to_frames(models: Iterable[RiskModel]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``portfolio.risk_exposures`` and ``portfolio.risk_factors``."""
    exposures, factors = contract("portfolio.risk_exposures"), contract("portfolio.risk_factors")
    e_parts, f_parts = [exposures.empty()], [factors.empty()]
    for m in models:
        n, k = len(m.ids), len(m.factors)
        names = pl.Series("instrument_id", m.ids, dtype=pl.String)
        labels = pl.Series("factor", (*m.factors, "specific"), dtype=pl.String)
        e_parts.append(
            pl.DataFrame(
                {
                    "date": pl.repeat(m.date, n * (k + 1), dtype=pl.Date, eager=True),
                    "instrument_id": names.gather(np.repeat(np.arange(n), k + 1)),
                    "factor": labels.gather(np.tile(np.arange(k + 1), n)),
                    "value": np.column_stack([m.B, m.d]).ravel(),
                }
            )
        )
        rows = labels.head(k)
        f_parts.append(
            pl.DataFrame(
                {
                    "date": pl.repeat(m.date, k * k, dtype=pl.Date, eager=True),
                    "factor": rows.gather(np.repeat(np.arange(k), k)),
                    "factor_2": rows.gather(np.tile(np.arange(k), k)).alias("factor_2"),
                    "covariance": np.ascontiguousarray(m.F).ravel(),
                }
            )
        )
    return exposures.conform(pl.concat(e_parts)), factors.conform(pl.concat(f_parts))


def from_frames(exposures: pl.DataFrame, factors: pl.DataFrame) -> dict[date, RiskModel]:
    """Risk models by date from the two tables: exactly what ``to_frames`` was given."""
    covariances = {
        key[0]: part
        for key, part in factors.sort("date", "factor", "factor_2")
        .partition_by("date", as_dict=True)
        .items()
    }
    out: dict[date, RiskModel] = {}
    parts = exposures.sort("date", "instrument_id", "factor").partition_by("date", as_dict=True)
    for (day,), part in sorted(parts.items()):
        ids = part["instrument_id"].unique(maintain_order=True).to_list()
        labels = part["factor"].head(part.height // len(ids)).to_list()
        k = len(labels) - 1
        F = covariances[day]["covariance"].to_numpy() if day in covariances else np.empty(0)
        if part.height != len(ids) * (k + 1) or labels[k:] != ["specific"] or len(F) != k * k:
            raise PortfolioError(
                f"the stored risk model of {day} is incomplete: {part.height} exposures for "
                f"{len(ids)} names and {k} factors, {len(F)} covariances; estimate it again"
            )
        values = part["value"].to_numpy().reshape(len(ids), k + 1)
        out[day] = RiskModel(
            date=day,
            ids=tuple(ids),
            factors=tuple(labels[:k]),
            B=np.ascontiguousarray(values[:, :k]),
            F=np.array(F).reshape(k, k),
            d=np.ascontiguousarray(values[:, k]),
        )
    return out


def membership_matrix(
    panel: Panel, universe: pl.DataFrame, calendar: TradingCalendar
) -> NDArray[np.bool_]:
    """Sessions × names: member of the universe on that session. Rows outside the panel drop out."""
    out = np.zeros(panel.tr.shape, dtype=np.bool_)
    sessions = calendar.frame().select("date", "slot")
    names = pl.DataFrame({"instrument_id": panel.ids, "code": np.arange(len(panel.ids))})
    rows = (
        universe.select("date", "instrument_id")
        .join(sessions, on="date", how="inner")
        .join(names, on="instrument_id", how="inner")
        .filter(pl.col("slot").is_between(panel.first_slot, panel.last_slot))
    )
    out[rows["slot"].to_numpy() - panel.first_slot, rows["code"].to_numpy()] = True
    return out


def _returns(panel: Panel) -> Floats:
    """One-session total returns; NaN unless both bars are there."""
    out = np.full(panel.tr.shape, np.nan)
    if len(panel.dates) > 1:
        out[1:] = panel.tr[1:] / panel.tr[:-1] - 1.0
    return out


def _signs(V: Floats) -> Floats:
    """+1 or −1 a column: loadings sum to a positive number, else the largest one is positive."""
    sums = V.sum(axis=0)
    largest = V[np.abs(V).argmax(axis=0), np.arange(V.shape[1])]
    decisive = np.where(np.abs(sums) > 1e-9, sums, largest)
    return np.where(decisive < 0, -1.0, 1.0)
