"""Is what a model sees and says still distributed as before? Measures, and how large they get by chance.

**PSI.** The population stability index ``Σ (p − q) ln(p / q)`` compares shares of classes now (p) with those of a
reference (q): deciles of the reference, and a class of its own for missing values. The rule of thumb takes 0.1 for a
shift and 0.25 for a large one, whatever the sample; but without any drift ``PSI / (1/n + 1/m)`` is about χ² with
one degree less than there are classes (Yurdakul & Naranjo 2020, §2), so with 20 names it is 0.45 on average and
with 500 it is 0.02. And cross-sections differ from one another by more than chance, because names hang together and
features are slow. So the reference's own sessions say how much (``usual``): the PSI of each against the others, of
which mean and variance give the distribution by Satterthwaite's matching (as Rao & Scott 1984 do for clustered
counts), never below what χ² says. Only what exceeds the rule of thumb *and* this is drift. Of all subjects and months,
43 % lie above 0.25 on the sample's 20 stocks and 11 % on the panel's members; above both, 0.01 % and at most 0.1 %.

**What cannot be seen.** Scores are standardised within each date: a feature that doubles for every name, or moves by a
constant, is the same score, and no index of its distribution can tell. What is seen is the shape of the cross-section
(tails, ties, lumps), missing names, and, by ``stability``, whether names still stand where they stood at the review
before: a feed that mixes up its names leaves every distribution as it was, a feed that has stopped leaves it frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

CLASSES = 10
"""Classes of present values."""

CELLS = 64
"""Cells, equally likely for a normal variable, in which scores are counted; classes are unions of them."""

MODERATE, LARGE = 0.1, 0.25
"""The rule of thumb."""

FALSE_ALARMS = 0.01
"""Chance a review that any subject of a model is found drifted by PSI without drift, and again by stability."""

MIN_REVIEWS = 12
"""Fewer sessions in a reference cannot tell how they differ."""

_PSEUDO = 0.5
"""Observations added to each class."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How a cross-section differs from a reference.

    psi: see ``psi``. limit: ``usual``. rows, reference_rows: names now, rows of the reference. missing,
    missing_before: shares without a value.
    """

    psi: float
    limit: float
    rows: int
    reference_rows: int
    missing: float
    missing_before: float

    @property
    def drifted(self) -> bool:
        return self.psi >= MODERATE and self.psi > self.limit


def psi(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Population stability index of counts by class against those of a reference; float64 (...,).

    counts, reference: (..., classes), at least 0. Smoothed so that it is finite: half an observation is added to each
    class of the reference, and as many to the counts, spread as the reference is; so a class that is empty on both
    sides adds next to nothing.
    """
    now, before = np.asarray(counts, np.float64), np.asarray(reference, np.float64)
    k = now.shape[-1]
    q = (before + _PSEUDO) / (before.sum(-1, keepdims=True) + _PSEUDO * k)
    p = (now + _PSEUDO * k * q) / (now.sum(-1, keepdims=True) + _PSEUDO * k)
    out: np.ndarray = np.sum((p - q) * np.log(p / q), axis=-1)
    return out


def usual(reference: np.ndarray, rows: int, chance: float) -> float:
    """The PSI that ``rows`` names exceed with probability ``chance`` if they come from the reference.

    reference: (sessions, classes) counts, one row a session, at least two. Each session's PSI against the others has
    mean μ and variance v; that of a new session is taken as μ times an F variable with ν = 2 μ² / v degrees over ν
    times the sessions (mean and variance are estimates), where μ is at least that of a multinomial sample and ν at
    most that of χ². Sessions with more names than ``rows`` differ by less, so μ grows with their ratio. Never less
    than the largest among the reference's own: heavy tails and slow features make the formula alone 2 to 4 times too
    ready (simulated: 1 % becomes 4 %).
    """
    from scipy.special import fdtri

    total = reference.sum(0)
    sizes = reference.sum(1)
    used = sizes > 0
    each = psi(reference[used], total - reference[used])
    n, m = float(np.mean(sizes[used])), float(total.sum())
    free = max(int(np.count_nonzero(total)) - 1, 1)
    k = _PSEUDO * reference.shape[1]
    shrunk = (rows / (rows + k)) ** 2
    least = free * (1.0 / rows + 1.0 / m) * shrunk
    mean = max(float(np.mean(each)) * max(n / rows, 1.0), least)
    spread = float(np.var(each, ddof=1)) * max(n / rows, 1.0) ** 2
    nu = min(2.0 * mean * mean / spread, free) if spread > 0 else float(free)
    formula = mean * float(fdtri(nu, nu * len(each), 1.0 - chance))
    return max(formula, float(np.max(each)))


@dataclass(frozen=True)
class Reference:
    """Sessions that others are compared with.

    sessions: (sessions, cells + 1) counts, the last cell the missing; cells are merged into classes by their sum
    (``merge``). chance: see ``usual``.
    """

    sessions: np.ndarray
    chance: float
    _limits: dict[int, float] = field(default_factory=dict, init=False)

    def shift(self, counts: np.ndarray) -> Shift:
        """How a cross-section differs. counts: (cells + 1,), of one name at least."""
        now = gathered(counts, self._classes)
        total = self._gathered.sum(0)
        n, m = int(now.sum()), int(total.sum())
        if n not in self._limits:
            self._limits[n] = usual(self._gathered, n, self.chance)
        return Shift(
            float(psi(now, total)), self._limits[n], n, m, float(now[-1] / n), float(total[-1] / m)
        )  # fmt: skip

    @cached_property
    def _classes(self) -> np.ndarray:
        return merge(self.sessions[:, :-1].sum(0))

    @cached_property
    def _gathered(self) -> np.ndarray:
        return gathered(self.sessions, self._classes)


def cells(values: np.ndarray) -> np.ndarray:
    """Counts of scores by cell, int64 (features, CELLS + 1), the last one the missing.

    values: (names, features) z-scores, NaN where missing. The cells do not depend on the data.
    """
    from scipy.special import ndtr

    present = np.isfinite(values)
    place = np.minimum(ndtr(np.where(present, values, 0.0)) * CELLS, CELLS - 1).astype(np.int64)
    place = np.where(present, place, CELLS) + (CELLS + 1) * np.arange(values.shape[1])
    flat = np.bincount(place.ravel(), minlength=(CELLS + 1) * values.shape[1])
    return flat.reshape(values.shape[1], CELLS + 1)


def deciles(pooled: np.ndarray) -> np.ndarray:
    """Inner edges of ``CLASSES`` equally full cells of values that are no z-scores, ascending and distinct."""
    known = pooled[np.isfinite(pooled)]
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.arange(1, CLASSES) / CLASSES, method="inverted_cdf"))


def counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of one cross-section by the cells between ``edges`` (each belongs to the cell below it), and of the
    missing; int64 (edges + 2,)."""
    known = np.isfinite(values)
    place = np.where(known, np.searchsorted(edges, values, side="left"), len(edges) + 1)
    return np.bincount(place, minlength=len(edges) + 2)


def merge(reference: np.ndarray) -> np.ndarray:
    """Class of each cell, int64: neighbouring cells together, each class as near a tenth of the reference as whole
    cells allow, and none without a row of it. reference: counts by cell."""
    total = reference.sum()
    if not total:
        return np.zeros(len(reference), dtype=np.int64)
    below = np.cumsum(reference)[:-1] / total
    wanted = np.arange(1, CLASSES) / CLASSES
    cuts = np.unique(np.argmin(np.abs(below[None, :] - wanted[:, None]), axis=1))
    held = np.add.reduceat(reference, np.append(0, cuts + 1)) > 0
    if not held[0]:
        held[int(np.argmax(held))] = False  # the first class that has rows takes those before it in
        held[0] = True
    return np.cumsum(np.isin(np.arange(len(reference)), cuts[held[1:]] + 1)).astype(np.int64)


def gathered(counts: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Counts by class, the missing last: (..., classes + 1) of (..., cells + 1)."""
    starts = np.flatnonzero(np.append(True, classes[1:] != classes[:-1]))
    inside = np.add.reduceat(counts[..., :-1], starts, axis=-1)
    return np.concatenate([inside, counts[..., -1:]], axis=-1)


def same_place(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Correlation of each column with the same names' values at the review before, over names that have both; NaN
    where fewer than five do or one side is constant. now, before: (names, features), the same names in rows."""
    both = np.isfinite(now) & np.isfinite(before)
    count = both.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(both, v, 0.0).astype(np.float64) for v in (now, before))
        a = np.where(both, a - a.sum(0) / count, 0.0)
        b = np.where(both, b - b.sum(0) / count, 0.0)
        scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
        r = (a * b).sum(0) / scale
    out: np.ndarray = np.where((count >= 5) & (scale > 1e-12), np.clip(r, -1.0, 1.0), np.nan)
    return out


def bounds(reference: np.ndarray, names: int, chance: float) -> tuple[float, float]:
    """Between which two correlations a new one of ``names`` names lies but for ``chance``, by Student's t on Fisher's
    z of the ``reference`` (its NaN dropped); (NaN, NaN) with fewer than ``MIN_REVIEWS``.

    The deviation is at least that of a sample of ``names`` independent names, 1 / √(names − 3), halved: names hang
    together in the reference as well, and a correlation near 1 has next to none.
    """
    from scipy.special import stdtrit

    known = reference[np.isfinite(reference)]
    if len(known) < MIN_REVIEWS:
        return float("nan"), float("nan")
    z = np.arctanh(np.clip(known, -0.999999, 0.999999))
    least = 0.5 / np.sqrt(max(names - 3, 1))
    wide = max(float(np.std(z, ddof=1)), least) * np.sqrt(1.0 + 1.0 / len(z))
    reach = float(stdtrit(len(z) - 1, 1.0 - chance / 2.0)) * wide
    mean = float(np.mean(z))
    return float(np.tanh(mean - reach)), float(np.tanh(mean + reach))
