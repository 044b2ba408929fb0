"""Whose risk it is: marginal and component volatility by name, sector, factor and specific risk.

``σ_p = √(w'(B F B' + D) w)`` is homogeneous of degree 1 in w, so by Euler's theorem
``σ_p = Σ_i w_i ∂σ_p/∂w_i``: the component of a name is its weight times its marginal risk ``(Σ w)_i / σ_p``
(Litterman 1996; Menchero & Davis 2011, "x-sigma-rho"). In factors ``x = B'w`` it is ``x_k (F x)_k / σ_p``, and what
is left is specific, ``Σ w_i² d_i² / σ_p``. Names, sectors, and factors with specific risk each add up to the
total. All annualised by √252.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.portfolio.books import Book
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR
from wealthos_pipeline.portfolio.risk import RiskModel

NO_SECTOR = "no sector"


def contributions(
    books: Iterable[Book],
    models: Mapping[date, RiskModel],
    sectors: Callable[[date], Mapping[str, str]],
) -> pl.DataFrame:
    """Rows of ``portfolio.risk_contributions``; a book whose date has no risk model, or of cash alone,
    has none.

    sectors: those of a date by instrument, as they were described then. A name that the model does not know is ``RiskModel.typical``.
    """
    terms = contract("portfolio.risk_contributions")
    rows: list[dict[str, Any]] = []
    known: dict[date, Mapping[str, str]] = {}
    for book in books:
        model = models.get(book.date)
        if model is not None and book.ids:
            if book.date not in known:
                known[book.date] = sectors(book.date)
            rows += _of_one(book, model, known[book.date])
    return terms.conform(pl.DataFrame(rows, schema=terms.schema()))


def _of_one(book: Book, model: RiskModel, sectors: Mapping[str, str]) -> list[dict[str, Any]]:
    w = book.weights
    B, d, _ = model.align(book.ids)
    # added name by name: a fixed order whatever library multiplies
    x = np.array([math.fsum(w * B[:, k]) for k in range(B.shape[1])])
    Fx = np.array([math.fsum(x * model.F[k]) for k in range(len(x))])
    factor = x * Fx
    own = (w * d) ** 2
    variance = math.fsum(factor) + math.fsum(own)
    sigma = math.sqrt(max(variance, 0.0))
    scale = math.sqrt(SESSIONS_PER_YEAR) / sigma if sigma > 0 else 0.0
    slope = np.array([math.fsum(B[i] * Fx) for i in range(len(w))]) + w * d * d
    part = w * slope
    keys = {"mandate": book.mandate, "run_kind": book.run_kind, "date": book.date}

    def row(
        kind: str, name: str, exposure: float | None, marginal: float | None, component: float
    ) -> dict[str, Any]:
        share = component / variance if variance > 0 else None
        return keys | {
            "kind": kind, "name": name, "exposure": exposure,
            "marginal": None if marginal is None else marginal * scale,
            "component": component * scale, "share": share,
        }  # fmt: skip

    out = [row("total", "", math.fsum(w), None, variance)]
    out += [
        row("name", name, float(w[i]), float(slope[i]), float(part[i]))
        for i, name in enumerate(book.ids)
    ]
    of = [sectors.get(name, NO_SECTOR) for name in book.ids]
    for sector in sorted(set(of)):
        inside = np.array([s == sector for s in of])
        weight, component = math.fsum(w[inside]), math.fsum(part[inside])
        out.append(row("sector", sector, weight, None, component))
    out += [
        row("factor", name, float(x[k]), float(Fx[k]), float(factor[k]))
        for k, name in enumerate(model.factors)
    ]
    out.append(row("specific", "", None, None, math.fsum(own)))
    return out


def off_total(rows: pl.DataFrame) -> float:
    """Largest absolute difference between the total volatility and the sum of names, of sectors, or of
    factors and specific risk; 0 without rows."""
    keys = ["mandate", "run_kind", "date"]
    total = rows.filter(pl.col("kind") == "total").select(*keys, pl.col("component").alias("total"))
    parts = (
        rows.filter(pl.col("kind") != "total")
        .with_columns(pl.col("kind").replace("specific", "factor"))
        .group_by(*keys, "kind")
        .agg(pl.col("component").sum())
        .join(total, on=keys, how="inner")
    )
    gap = (parts["component"] - parts["total"]).abs().max()
    return float(gap) if isinstance(gap, float) else 0.0
