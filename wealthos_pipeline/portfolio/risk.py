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
    """Risk models at ``dates``; a date at which fewer than one name qualifies is left out.

    prices: ``clean.prices`` rows reaching ``risk_sessions`` sessions before the first date.
    universe: ``date, instrument_id``. A name counts at t if it was a member on any date in the
    trailing window: what was just removed may still be held, and its risk is needed to sell it.
    """
    raise NotImplementedError


def to_frames(models: Iterable[RiskModel]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``portfolio.risk_exposures`` and ``portfolio.risk_factors``."""
    raise NotImplementedError


def from_frames(exposures: pl.DataFrame, factors: pl.DataFrame) -> dict[date, RiskModel]:
    """Risk models by date from the two tables: exactly what ``to_frames`` was given."""
    raise NotImplementedError
