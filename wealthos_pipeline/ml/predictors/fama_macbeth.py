"""Fama–MacBeth: a regression on each date, and the mean of its coefficients over dates.

On every training date y is regressed on a constant and the features by weighted least squares; a missing
feature is 0, the date's mean. The model's coefficients are the means over dates, each date counting what
its rows' weights add up to; their standard errors are Newey–West's with lags that reach past the overlap of
the labels (``dated.lags``). A coefficient is the return of a portfolio with an exposure of 1 to its feature
and 0 to the others, in units of the label.

A date with fewer than five names more than features, or on which features are combinations of each other,
has no regression; a feature that no name has on a date is left out of that date's.
Source: Fama & MacBeth (1973); Cochrane (2005), "Asset Pricing", §12.3; Newey & West (1987).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.predictors import dated, linear
from wealthos_pipeline.ml.predictors.parameters import Family, Parameter

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec, Value
    from wealthos_pipeline.ml.datasets import Training
    from wealthos_pipeline.ml.predictors.base import Fitted, Predictor
    from wealthos_pipeline.ml.predictors.parameters import Members

MORE_NAMES = 5
"""Names that a date needs beyond its features."""

COLLINEAR = 1e-8
"""A column whose part that the others do not explain is smaller than this share of it is one of them."""


@dataclass(frozen=True, slots=True)
class FamaMacBeth:
    """min_t: coefficients with a smaller |t| are 0. shrink: the others times max(0, 1 − 1/t²)."""

    min_t: float = 0.0
    shrink: bool = False
    name: str = "fama_macbeth"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"min_t": self.min_t, "shrink": self.shrink}

    def fit(self, rows: Training) -> Fitted:
        """One QR decomposition a date, on one thread.

        ``figures`` of the fit: ``mean`` (before ``min_t`` and ``shrink``), ``se``, ``t``, ``dates``.
        ModelError also if fewer than two dates have a regression, or no coefficient is left.
        """
        linear.usable(rows, "fama_macbeth")
        found, few, alike = _by_date(rows)
        explained = [f for f, n in zip(rows.features, alike.each, strict=True) if n]
        used = np.isfinite(found[:, -1])
        if used.sum() < 2:
            p = rows.X.shape[1]
            most = int(np.diff(linear.first_rows(rows.dates)).max())
            raise ModelError(
                f"fama_macbeth: {int(used.sum())} of {len(used)} training dates have a regression, two "
                f"are needed: {few} have too few names ({p} features need {p + MORE_NAMES}, a date has "
                f"{most} at most), on {alike.dates} features are combinations of each other"
                f"{_those(explained)}. Choose fewer features, or ridge"
            )
        lags = dated.lags(rows)
        means = dated.means(found, dated.date_weights(rows), lags)
        beta = dated.kept(means.mean[:-1], means.se[:-1], min_t=self.min_t, shrink=self.shrink)
        if not beta.any():
            best = np.nanmax(np.abs(np.append(means.t[:-1], 0.0)))
            raise ModelError(
                f"fama_macbeth: no coefficient is left: the largest |t| is {best:.2f}, min_t is "
                f"{self.min_t:g}. Lower min_t or choose other features"
            )
        return linear.FittedLinear(
            "fama_macbeth",
            rows.features,
            tuple(beta.tolist()),
            float(means.mean[-1]),
            {
                "mean": tuple(means.mean[:-1].tolist()),
                "se": tuple(means.se[:-1].tolist()),
                "t": tuple(means.t[:-1].tolist()),
                "dates": tuple(means.dates[:-1].astype(float).tolist()),
            },
            {
                "dates": float(used.sum()),
                "dates_with_few_names": float(few),
                "dates_with_collinear_features": float(alike.dates),
                "lags": float(lags),
            },
        )

    def from_text(self, text: str) -> Fitted:
        return linear.from_text(text, "fama_macbeth")


@dataclass(slots=True)
class _Alike:
    """Dates on which features are combinations of each other, and of each feature the dates on which it is one
    of those before it (features,)."""

    dates: int
    each: np.ndarray


def _those(names: list[str]) -> str:
    """Some of ``names`` in parentheses."""
    return f" ({', '.join(names[:20])}{' …' if len(names) > 20 else ''})" if names else ""


def _by_date(rows: Training) -> tuple[np.ndarray, int, _Alike]:
    """Coefficients (dates, features + 1), the constant last, NaN where there is none; dates with too few
    names; dates with collinear features."""
    p = rows.X.shape[1]
    edges = linear.first_rows(rows.dates).tolist()
    out = np.full((len(edges) - 1, p + 1), np.nan)
    few, alike = 0, _Alike(0, np.zeros(p, dtype=np.int64))
    with linear.one_thread():
        for d, (a, b) in enumerate(pairwise(edges)):
            X = linear.filled(rows.X[a:b])
            there = np.flatnonzero(X.any(axis=0))
            if b - a < len(there) + MORE_NAMES:
                few += 1
                continue
            root = np.sqrt(rows.w[a:b])[:, None]
            A = np.column_stack([np.ones(b - a), X[:, there]]) * root
            Q, R = np.linalg.qr(A)
            explained = np.abs(np.diag(R)) <= COLLINEAR * np.linalg.norm(A, axis=0)
            if explained.any():
                alike.dates += 1
                alike.each[there] += explained[1:]
                continue
            beta = np.linalg.solve(R, Q.T @ (rows.y[a:b] * root[:, 0]))
            out[d, there], out[d, -1] = beta[1:], beta[0]
    return out, few, alike


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return FamaMacBeth(float(params["min_t"]), bool(params["shrink"]), spec.name)


SIGNIFICANCE = (
    Parameter("min_t", 0.0, "coefficients with a smaller absolute t are 0", low=0.0, high=20.0),
    Parameter("shrink", False, "coefficients times max(0, 1 − 1/t²): the doubtful ones count less"),
)

FAMILY = Family(
    name="fama_macbeth",
    title="mean of a regression on each date",
    learns=(
        "The label of each date is regressed on the features; a coefficient is its mean over dates, with a "
        "Newey–West standard error. Missing features are the date's mean."
    ),
    use=(
        "With a short list of features whose premia are to be named, with errors: each date needs five "
        "names more than there are features."
    ),
    source="Fama & MacBeth (1973); Newey & West (1987)",
    parameters=SIGNIFICANCE,
    build=_build,
)
