"""Probabilities that mean what they say: Platt's calibration map.

It is fitted on scores that the learner did not train on (out of fold), never on its own fit. Platt's map has two
numbers and cannot overfit a few hundred rows; isotonic regression can take any rising shape and needs some
thousands of independent outcomes before it beats it (Niculescu-Mizil & Caruana 2005, section 5). Overlapping
labels and names that move together leave far fewer independent outcomes than rows.

All sums are NumPy's over rows in the order given: no BLAS, the same bits on any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wealthos_pipeline.core.errors import ModelError

CLIP = 1e-15
"""Probabilities are kept this far from 0 and 1 before a logarithm."""

_STEPS = 100


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(−x))``, float64, without overflow."""
    e = np.exp(-np.abs(x))
    out: np.ndarray = np.where(x >= 0, 1.0, e) / (1.0 + e)
    return out


def logit(p: np.ndarray) -> np.ndarray:
    """``log(p / (1 − p))``, p kept within [CLIP, 1 − CLIP]."""
    q = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1.0 - CLIP)
    out: np.ndarray = np.log(q) - np.log1p(-q)
    return out


@dataclass(frozen=True, slots=True)
class Platt:
    """P(1) = sigmoid(slope · score + intercept); slope ≥ 0, so a higher score is never less likely."""

    slope: float
    intercept: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, float64; each score by itself."""
        return sigmoid(self.logits(scores))

    def logits(self, scores: np.ndarray) -> np.ndarray:
        """``slope · score + intercept``."""
        return self.slope * np.asarray(scores, dtype=np.float64) + self.intercept

    def body(self) -> dict[str, Any]:
        """As JSON values, floats as hex."""
        return {"slope": self.slope.hex(), "intercept": self.intercept.hex()}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Platt:
        return cls(float.fromhex(body["slope"]), float.fromhex(body["intercept"]))


def platt(scores: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> Platt:
    """Platt's map by maximum likelihood on smoothed targets.

    scores: any real numbers, logits say. y: 0 or 1. w: weights ≥ 0, whose sums by class, N₊ and N₋, are the
    numbers of independent observations; None: each row is one. The targets are (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2), which keeps the
    numbers finite where the scores separate the classes. Where the likelihood wants a falling map
    (scores that rank the wrong way out of fold) the slope is 0: the base rate for everybody.
    ModelError if a class never occurs. Newton's method with halved steps.

    Source: Platt (1999); Lin, Lin & Weng (2007), "A note on Platt's probabilistic outputs".
    """
    x, t, v = _checked(scores, y, w)
    positive = float(np.sum(v[t == 1]))
    negative = float(np.sum(v[t == 0]))
    t = np.where(t == 1, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))
    rate = float(np.sum(v * t) / np.sum(v))
    base = float(logit(np.array([rate]))[0])
    centre = float(np.sum(v * x) / np.sum(v))
    scale = math.sqrt(float(np.sum(v * (x - centre) ** 2) / np.sum(v)))
    if not np.ptp(x) or not scale > 0:
        return Platt(0.0, base)
    z = (x - centre) / scale
    a, b = _newton(z, t, v, base)
    if not a > 0:
        return Platt(0.0, base)
    return Platt(a / scale, b - a * centre / scale)


def _checked(
    scores: np.ndarray, y: np.ndarray, w: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, outcomes and weights as arrays. ModelError in words where they are no calibration's."""
    x = np.asarray(scores, dtype=np.float64)
    t = np.asarray(y, dtype=np.float64)
    v = np.ones(len(t)) if w is None else np.asarray(w, dtype=np.float64)
    if not len(x) == len(t) == len(v):
        raise ModelError(f"calibration: {len(x)} scores, {len(t)} outcomes and {len(v)} weights")
    odd = np.setdiff1d(t, (0.0, 1.0))
    if len(odd):
        raise ModelError(f"calibration: outcomes must be 0 or 1, found {odd[:5].tolist()}")
    if not np.isfinite(x).all():
        raise ModelError(
            f"calibration: {int((~np.isfinite(x)).sum())} of {len(x)} scores not finite"
        )
    for value in (0, 1):
        if not np.any(v[t == value] > 0):
            raise ModelError(
                f"calibration: outcome {value} never occurs in {len(t)} rows; without both classes "
                "there is no probability to learn"
            )
    return x, t, v


def _newton(x: np.ndarray, t: np.ndarray, v: np.ndarray, base: float) -> tuple[float, float]:
    """Slope and intercept of the weighted logistic likelihood, from (0, base)."""

    def cost(a: float, b: float) -> float:
        f = a * x + b
        # log(1 + e^f) − t f, written for either sign of f
        return float(np.sum(v * (np.maximum(f, 0.0) - t * f + np.log1p(np.exp(-np.abs(f))))))

    a, b = 0.0, base
    now = cost(a, b)
    for _ in range(_STEPS):
        p = sigmoid(a * x + b)
        r = v * (p - t)
        h = v * p * (1.0 - p)
        ga, gb = float(np.sum(r * x)), float(np.sum(r))
        haa, hab, hbb = float(np.sum(h * x * x)), float(np.sum(h * x)), float(np.sum(h))
        haa, hbb = haa + 1e-12, hbb + 1e-12
        det = haa * hbb - hab * hab
        da, db = (hab * gb - hbb * ga) / det, (hab * ga - haa * gb) / det
        step, slope = 1.0, ga * da + gb * db
        if abs(slope) < 1e-14 * max(now, 1.0):
            break
        while step >= 1e-10:
            new = cost(a + step * da, b + step * db)
            if new <= now + 1e-4 * step * slope:
                break
            step /= 2.0
        else:
            break
        a, b, now = a + step * da, b + step * db, new
    return a, b
