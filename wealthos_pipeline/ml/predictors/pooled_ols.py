"""Pooled least squares: one regression over all rows, with errors clustered by date and by name.

y on a constant and the features, weighted; a missing feature is 0, the date's mean. The covariance of the
coefficients is two-way clustered: V = V(date) + V(name) − V(row), each with its small-sample factor
G / (G − 1) · (N − 1) / (N − k); where the sum is not positive semi-definite its negative eigenvalues are set
to 0. It allows rows of a date to move together, and rows of a name; it does not know that labels of
neighbouring dates overlap across names, so its t is rather too large (Thompson 2011): ``fama_macbeth`` has
errors that do. Source: Cameron, Gelbach & Miller (2011), equations 2.11 and 2.16; Petersen (2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.predictors import dated, linear
from wealthos_pipeline.ml.predictors.fama_macbeth import SIGNIFICANCE
from wealthos_pipeline.ml.predictors.parameters import Family

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

COLLINEAR = 1e-10
"""Smallest eigenvalue of the features' correlations; below it they are combinations of each other."""


@dataclass(frozen=True, slots=True)
class PooledOLS:
    """min_t: coefficients with a smaller |t| are 0. shrink: the others times max(0, 1 − 1/t²)."""

    min_t: float = 0.0
    shrink: bool = False
    name: str = "pooled_ols"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"min_t": self.min_t, "shrink": self.shrink}

    def fit(self, rows: Training) -> Fitted:
        """Normal equations over blocks of dates in order, on one thread.

        ``figures`` of the fit: ``estimate`` (before ``min_t`` and ``shrink``), ``se``, ``t``; NaN for a
        feature without values. ModelError also if features are combinations of each other, if there are
        fewer than two dates or names, or rows than features, or if no coefficient is left.
        """
        varies = np.flatnonzero(linear.usable(rows, "pooled_ols"))
        p = rows.X.shape[1]
        used = np.append(varies, p)
        dates = len(linear.first_rows(rows.dates)) - 1
        names = len(np.unique(rows.names))
        if dates < 2 or names < 2 or len(rows) <= len(used):
            raise ModelError(
                f"pooled_ols: {len(rows)} rows of {names} names on {dates} dates cannot carry "
                f"{len(used)} coefficients with errors clustered by date and name; it needs two dates, "
                "two names and more rows than coefficients"
            )
        moments = linear.gram(rows, intercept=True)
        gram = moments[np.ix_(used, used)]
        with linear.one_thread():
            _refuse_collinear(gram, [rows.features[j] for j in varies])
            beta = np.linalg.solve(gram, moments[used, -1])
            variance = np.diag(_clustered(rows, used, beta, gram))
        estimate, se = np.full(p + 1, np.nan), np.full(p + 1, np.nan)
        estimate[used], se[used] = beta, np.sqrt(np.maximum(variance, 0.0))
        t = np.full(p, np.nan)
        np.divide(estimate[:-1], se[:-1], out=t, where=se[:-1] > 0)
        kept = dated.kept(estimate[:-1], se[:-1], min_t=self.min_t, shrink=self.shrink)
        if not kept.any():
            raise ModelError(
                f"pooled_ols: no coefficient is left: the largest |t| is "
                f"{np.nanmax(np.abs(np.append(t, 0.0))):.2f}, min_t is {self.min_t:g}. Lower min_t or "
                "choose other features"
            )
        return linear.FittedLinear(
            "pooled_ols",
            rows.features,
            tuple(kept.tolist()),
            float(estimate[-1]),
            {
                "estimate": tuple(estimate[:-1].tolist()),
                "se": tuple(se[:-1].tolist()),
                "t": tuple(t.tolist()),
            },
            {"rows": float(len(rows)), "dates": float(dates), "names": float(names)},
        )

    def from_text(self, text: str) -> Fitted:
        return linear.from_text(text, "pooled_ols")


def _refuse_collinear(gram: np.ndarray, names: list[str]) -> None:
    """ModelError naming the features that are combinations of each other."""
    scale = 1.0 / np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    null = np.abs(vectors[:, values < COLLINEAR])
    if null.size:
        found = [n for n, load in zip(names, null.max(axis=1), strict=False) if load > 1e-3]
        raise ModelError(
            f"pooled_ols: {null.shape[1]} of {len(names)} features are combinations of others: "
            f"{', '.join(found[:20])}{' …' if len(found) > 20 else ''}. Leave some of them out, or use "
            "ridge, which shares the coefficient among them"
        )


def _clustered(rows: Training, used: np.ndarray, beta: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Two-way clustered covariance of ``beta`` (float64, k × k), the constant last."""
    k, n = len(used), len(rows)
    of_name = np.zeros((int(rows.names.max()) + 1, k))
    by_date, by_row = np.zeros((k, k)), np.zeros((k, k))
    for part in linear.blocks(rows.dates):
        A = np.ones((part.stop - part.start, k))
        A[:, :-1] = linear.filled(rows.X[part][:, used[:-1]])
        residual = rows.y[part] - np.sum(A * beta, axis=1)
        A *= (rows.w[part] * residual)[:, None]
        by_row += A.T @ A
        edges = linear.first_rows(rows.dates[part])
        sums = np.add.reduceat(A, edges[:-1], axis=0)
        by_date += sums.T @ sums
        for a, b in pairwise(edges.tolist()):
            of_name[rows.names[part][a:b]] += A[a:b]  # a name has one row a date
    dates = len(linear.first_rows(rows.dates)) - 1
    names = len(np.unique(rows.names))
    meat = dates / (dates - 1) * by_date + names / (names - 1) * (of_name.T @ of_name)
    meat -= n / (n - 1) * by_row
    bread = np.linalg.inv(gram)
    V: np.ndarray = (n - 1) / (n - k) * (bread @ meat @ bread)
    V = (V + V.T) / 2.0
    values, vectors = np.linalg.eigh(V)
    if values[0] < 0:
        V = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return V


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return PooledOLS(float(params["min_t"]), bool(params["shrink"]), spec.name)


FAMILY = Family(
    name="pooled_ols",
    title="one regression over all rows, errors clustered by date and name",
    learns=(
        "One coefficient a feature by weighted least squares over all rows, without a penalty, with "
        "two-way clustered standard errors. Missing features are the date's mean."
    ),
    use="To see estimates and errors of a handful of features side by side with fama_macbeth.",
    source="Cameron, Gelbach & Miller (2011); Petersen (2009)",
    parameters=SIGNIFICANCE,
    build=_build,
)
