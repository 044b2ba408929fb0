"""A score that weighs each feature by how well it has ranked outcomes: its shrunk information coefficient.

On each training date the rank IC of a feature is the Spearman correlation of it with the label over the
names that have both. Its mean over dates is shrunk by its own uncertainty,

    weight = mean IC · n_eff / (n_eff + k),   n_eff = min(T, (deviation of the IC / Newey–West error)²),

the mean of a normal posterior whose prior says IC 0 and is worth k independent dates (``prior_dates``):
its standard deviation is that of a date's IC / √k, so the default of 36 says 0.02 where a date's IC varies
by 0.12. n_eff is the number of dates as independent as the series is not, since labels overlap. The sign is
the data's, not that of the paper that the factor comes from.

``combine: inverse_covariance`` weighs them by Σ⁻¹ · (shrunk ICs) instead, Σ being the Ledoit–Wolf covariance
of the ICs over dates: the weights with the largest mean over deviation of the combined IC (Qian, Hua &
Sorensen 2007, ch. 7), scaled to the same sum of absolute weights. Score = Σ weight · feature, missing as 0.
Source: Grinold & Kahn (1999), ch. 6 and 10; Ledoit & Wolf (2004).
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

MIN_NAMES = 5
"""Fewer names with a feature and a label on a date: no IC of that date."""


@dataclass(frozen=True, slots=True)
class ICWeighted:
    """prior_dates: k of the module's formula. combine: ``ic`` or ``inverse_covariance``."""

    prior_dates: float = 36.0
    combine: str = "ic"
    name: str = "ic_weighted"

    @property
    def params(self) -> Mapping[str, Value]:
        return {"prior_dates": self.prior_dates, "combine": self.combine}

    def fit(self, rows: Training) -> Fitted:
        """``figures`` of the fit: ``ic`` (mean), ``se``, ``t``, ``n_eff``, ``dates``; NaN for a feature
        that has an IC on fewer than two dates or on all the same one: its weight is 0.

        ModelError also if that is so of every feature.
        """
        linear.usable(rows, "ic_weighted")
        ics = rank_ics(rows)
        means = dated.means(ics, dated.date_weights(rows), dated.lags(rows))
        known = means.se > 0
        if not known.any():
            dates = len(ics)
            raise ModelError(
                f"ic_weighted: no feature has an information coefficient on two of {dates} training "
                f"dates with {MIN_NAMES} names or more; check labels and features, or wait for more data"
            )
        n_eff = np.full(len(known), np.nan)
        np.divide(means.deviation, means.se, out=n_eff, where=known)
        n_eff = np.minimum(n_eff**2, means.dates)
        weights = np.where(known, means.mean * n_eff / (n_eff + self.prior_dates), 0.0)
        if self.combine == "inverse_covariance":
            weights[known] = _inverse_covariance(ics[:, known], means.mean[known], weights[known])
        if not weights.any():
            raise ModelError(
                f"ic_weighted: the mean information coefficient of each of {len(weights)} features is 0: no "
                "weight is left. Choose other features"
            )
        return linear.FittedLinear(
            "ic_weighted",
            rows.features,
            tuple(weights.tolist()),
            0.0,
            {
                "ic": tuple(means.mean.tolist()),
                "se": tuple(means.se.tolist()),
                "t": tuple(means.t.tolist()),
                "n_eff": tuple(n_eff.tolist()),
                "dates": tuple(means.dates.astype(float).tolist()),
            },
            {"dates": float(len(ics)), "lags": float(dated.lags(rows))},
        )

    def from_text(self, text: str) -> Fitted:
        return linear.from_text(text, "ic_weighted")


def rank_ics(rows: Training) -> np.ndarray:
    """Spearman correlation of each feature with the label on each date, float64 (dates, features); NaN
    with fewer than five names that have the feature, or where either is the same for all."""
    edges = linear.first_rows(rows.dates).tolist()
    return np.array([_date(rows.X[a:b], rows.y[a:b]) for a, b in pairwise(edges)])


def _date(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    F = np.ascontiguousarray(X.T)
    there = np.isfinite(F)
    F = np.where(there, F, np.nan)
    count = there.sum(axis=1)
    full = count == len(y)
    y_ranks = np.broadcast_to(_ranks(y[None, :]), F.shape).copy()
    if not full.all():
        y_ranks[~full] = _ranks(np.where(there[~full], y, np.nan))
    middle = ((count + 1) / 2.0)[:, None]
    a = np.where(there, _ranks(F) - middle, 0.0)
    b = np.where(there, y_ranks - middle, 0.0)
    scale = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    out = np.full(len(F), np.nan)
    np.divide(np.sum(a * b, axis=1), scale, out=out, where=(count >= MIN_NAMES) & (scale > 0))
    return out


def _ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks from 1 within each row, NaN last (their ranks mean nothing); float64."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.arange(values.shape[1])
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.where(ends, place, values.shape[1])[:, ::-1]
    last = np.minimum.accumulate(last, axis=1)[:, ::-1]
    out = np.empty(values.shape)
    np.put_along_axis(out, order, (first + last) / 2.0 + 1.0, axis=1)
    return out


def _inverse_covariance(ics: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ⁻¹ · weights, scaled to the sum of absolute ``weights``; a date without an IC has the mean."""
    from sklearn.covariance import ledoit_wolf

    if not weights.any():
        return weights
    e = np.nan_to_num(ics - mean)
    with linear.one_thread():
        sigma = ledoit_wolf(e, assume_centered=True)[0]
        out: np.ndarray = np.linalg.solve(sigma, weights)
    return out * (np.sum(np.abs(weights)) / np.sum(np.abs(out)))


def _build(
    spec: ModelSpec, params: Mapping[str, Value], threads: int, members: Members
) -> Predictor:
    return ICWeighted(float(params["prior_dates"]), str(params["combine"]), spec.name)


FAMILY = Family(
    name="ic_weighted",
    title="features weighted by their shrunk information coefficients",
    learns=(
        "The mean rank IC of each feature over the training dates, shrunk by its own uncertainty, is its "
        "weight; its sign is the data's. Nothing else is fitted."
    ),
    use=(
        "A combination that hardly overfits; weak where features are near copies of each other, unless "
        "combine is inverse_covariance."
    ),
    source="Grinold & Kahn (1999), ch. 6 and 10; Qian, Hua & Sorensen (2007), ch. 7",
    parameters=(
        Parameter(
            "prior_dates",
            36.0,
            "independent dates that the prior IC of 0 is worth; 0: no shrinkage",
            low=0.0,
        ),
        Parameter(
            "combine",
            "ic",
            "ic: by the shrunk IC; inverse_covariance: by the inverse covariance of the ICs as well",
            choices=("ic", "inverse_covariance"),
        ),
    ),
    build=_build,
)
