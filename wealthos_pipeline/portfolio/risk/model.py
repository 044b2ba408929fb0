"""What a risk model is, whoever estimated it: exposures B, factor covariance F, specific volatility d."""

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

Floats = NDArray[np.float64]

SPECIFIC = "specific"
"""What stands in the column ``factor`` of a stored specific volatility."""
VOLATILITY_FLOOR = 1e-4
"""Smallest daily specific volatility: all-equal returns do not make a riskless asset."""


@dataclass(frozen=True, eq=False)
class RiskModel:
    """Risk at one date, daily: ``Σ = B F B' + diag(d²)``.

    ids: names, ascending, n of them. factors: their names, ascending, k of them: ``pc01`` … of a
    statistical model (none for a single name), ``market``, ``sector Energy``, ``momentum_12_1`` … of a
    fundamental one.
    B: n × k, decimal return per unit of factor. F: k × k, positive semi-definite; singular where the
    factors' returns are tied, as those of sectors are. d: specific volatility, n, decimal, positive.
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

    def of(self, weights: Floats) -> Floats:
        """Daily volatility of portfolios; weights: n × portfolios, in the order of ``ids``."""
        beta = self.B.T @ weights
        own = ((self.d[:, None] * weights) ** 2).sum(axis=0)
        return np.sqrt(np.maximum((beta * (self.F @ beta)).sum(axis=0), 0.0) + own)


def to_frames(models: Iterable[RiskModel]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``portfolio.risk_exposures`` and ``portfolio.risk_factors``.

    PortfolioError where names or factors do not ascend, or a factor is called ``specific``: they could
    not be read back as they are.
    """
    exposures, factors = contract("portfolio.risk_exposures"), contract("portfolio.risk_factors")
    e_parts, f_parts = [exposures.empty()], [factors.empty()]
    for m in models:
        for what, words in (("names", m.ids), ("factors", m.factors)):
            if list(words) != sorted(set(words)) or SPECIFIC in words:
                raise PortfolioError(
                    f"the risk model of {m.date} cannot be stored: its {what} must ascend, be "
                    f"different and not be called {SPECIFIC!r}; found {list(words)[:8]}"
                )
        n, k = len(m.ids), len(m.factors)
        names = pl.Series("instrument_id", m.ids, dtype=pl.String)
        labels = pl.Series("factor", (*m.factors, SPECIFIC), dtype=pl.String)
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
        if part.height != len(ids) * (k + 1) or SPECIFIC not in labels or len(F) != k * k:
            raise PortfolioError(
                f"the stored risk model of {day} is incomplete: {part.height} exposures for "
                f"{len(ids)} names and {k} factors, {len(F)} covariances; estimate it again"
            )
        values = part["value"].to_numpy().reshape(len(ids), k + 1)
        own = labels.index(SPECIFIC)
        out[day] = RiskModel(
            date=day,
            ids=tuple(ids),
            factors=tuple(labels[:own] + labels[own + 1 :]),
            B=np.ascontiguousarray(np.delete(values, own, axis=1)),
            F=np.array(F).reshape(k, k),
            d=np.ascontiguousarray(values[:, own]),
        )
    return out
