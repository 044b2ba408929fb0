"""What a fit looks at: by gain, by shuffling on dates that it did not see, and by SHAP.

Three answers to three questions. *Gain* is what the training rows were split by; noise gets some of it, and the more
values a feature has the more. *Permutation* is what is lost out of sample when the feature's values are exchanged
among the names of each date (Breiman 2001; within dates, so that the cross-section stays what it was): only it says
that a feature was worth anything, and its standard error over dates says how surely. Features that say the same hide
each other, because the others still tell the model: shuffled together with its cluster such a feature shows. *SHAP*
(Lundberg & Lee 2017) is how far a feature moves predictions, right or wrong.

The shuffles are drawn with a seed of the fit and the feature, so they are the same in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.ml import rank_ic
from wealthos_pipeline.ml.predictors.base import Fitted

REPEATS = 5
"""Shuffles of each feature; the drop is their mean."""

FEW_REPEATS = 2
"""The same where there are more than ``MANY`` features."""

MANY = 80

SHAP_ROWS = 1_000
"""Rows that SHAP is measured on at most, evenly over all."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows that a fit did not see, by date. X: float32 (rows, features). outcome: float64, plain forward return.
    dates: datetime64[D], ascending. spacing: sessions from one date to the next."""

    X: np.ndarray
    outcome: np.ndarray
    dates: np.ndarray
    spacing: int = 1

    @property
    def digest(self) -> str:
        """BLAKE2b of all of it, 16 hex digits."""
        found = hashlib.blake2b(digest_size=8)
        for part in (self.X, self.outcome, self.dates.astype(np.int64)):
            found.update(str((part.shape, self.spacing)).encode())
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Importance:
    """value: in the method's own unit. se: standard error over dates, NaN where it is not known."""

    feature: str
    value: float
    se: float


def ranked(found: Sequence[Importance]) -> list[tuple[int, Importance]]:
    """With their ranks: 1 is the largest value, ties in the order of the names."""
    order = sorted(found, key=lambda i: (-i.value, i.feature))
    return list(enumerate(order, 1))


def gain(fitted: Fitted) -> list[Importance]:
    """Share of each feature in the sum of ``Fitted.gain``; empty where the family has no such number or nothing
    was used."""
    values = fitted.gain()
    if values is None or not np.sum(values) > 0:
        return []
    share = values / np.sum(values)
    return [Importance(f, float(v), np.nan) for f, v in zip(fitted.features, share, strict=True)]


def permutation(
    fitted: Fitted,
    sample: Sample,
    *,
    seed: str,
    horizon: int,
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int | None = None,
) -> list[Importance]:
    """Drop of the mean rank IC over dates when a feature is shuffled within dates.

    seed: of the shuffles, with the feature's name: the fit's ``model_id``. groups: name → features that are shuffled
    together, by the same exchange of names; None: every feature by itself. horizon: sessions of the outcome, for the
    standard error, which is the largest of ``stats.mean_test``. A feature that no name has in the sample is left
    out. Dates on which the rank IC does not exist count as 0 there, as they do before the shuffle.
    """
    from wealthos_pipeline.stats.mean_test import mean_test

    X = sample.X
    edges = rank_ic.offsets(sample.dates)
    outcome = rank_ic.ranks(sample.outcome, edges)
    overlap = max(1, -(-horizon // sample.spacing))
    base = _ics(fitted, X, outcome, edges)
    number = repeats or (REPEATS if X.shape[1] <= MANY else FEW_REPEATS)
    place = {f: j for j, f in enumerate(fitted.features)}
    used = fitted.gain()
    out = []
    for name, features in _groups(fitted, groups):
        columns = [place[f] for f in features if np.isfinite(X[:, place[f]]).any()]
        if not columns:
            continue
        drop = np.zeros(len(base))
        if used is None or np.any(used[columns] > 0):  # what no split reads changes no prediction
            for repeat in range(number):
                order = shuffle(edges, f"{seed}/{name}/{repeat}")
                shuffled = X.copy()
                shuffled[:, columns] = X[order][:, columns]
                drop += base - _ics(fitted, shuffled, outcome, edges)
        drop /= number
        test = mean_test(drop, overlap)
        out.append(Importance(name, float(np.mean(drop)), test.se if np.any(drop) else 0.0))
    return out


def shuffle(edges: np.ndarray, seed: str) -> np.ndarray:
    """Row numbers in an order that is random within each segment, int64; a function of ``seed``."""
    number = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big")
    draws = np.random.default_rng(number).random(edges[-1])
    segment = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    return np.lexsort((draws, segment))


def shap(fitted: Fitted, sample: Sample, *, rows: int = SHAP_ROWS) -> list[Importance]:
    """Mean absolute contribution of each feature to the prediction, in the prediction's unit.

    Over at most ``rows`` rows, evenly spaced. se: over dates, each counting as its mean. Empty where the family has
    no contributions.
    """
    chosen = np.unique(np.linspace(0, len(sample.X) - 1, min(rows, len(sample.X))).astype(int))
    values = fitted.contributions(sample.X[chosen])
    if values is None:
        return []
    size = np.abs(values[:, :-1])
    edges = rank_ic.offsets(sample.dates[chosen])
    counts = np.diff(edges)
    by_date = np.add.reduceat(size, edges[:-1], axis=0) / counts[:, None]
    se = np.full(size.shape[1], np.nan)
    if len(counts) > 1:
        se = np.std(by_date, axis=0, ddof=1) / np.sqrt(len(counts))
    mean = np.mean(size, axis=0)
    return [
        Importance(f, float(m), float(s)) for f, m, s in zip(fitted.features, mean, se, strict=True)
    ]


def _groups(
    fitted: Fitted, groups: Mapping[str, Sequence[str]] | None
) -> Iterator[tuple[str, Sequence[str]]]:
    if groups is None:
        yield from ((f, (f,)) for f in fitted.features)
        return
    known = set(fitted.features)
    for name, features in sorted(groups.items()):
        if mine := [f for f in features if f in known]:
            yield name, mine


def _ics(fitted: Fitted, X: np.ndarray, outcome: np.ndarray, edges: np.ndarray) -> np.ndarray:
    found = rank_ic.rank_ic(fitted.predict(X), outcome, edges)
    out: np.ndarray = np.nan_to_num(found)
    return out
