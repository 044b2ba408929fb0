"""Exposures of a fundamental model on a date: the market, sectors, and styles from our own scores.

All are known at the date's close: scores are point in time, a sector is the description valid then (a
static snapshot is used before it was known; ``clean.instruments.static`` says so).

- ``market``: 1 for every name;
- ``sector X``: 1 for the names of a sector with at least ``MIN_SECTOR_NAMES``; smaller sectors, and
  names without one, share ``sector other``; a group that is still smaller has the market alone. A
  single sector says nothing beside the market and is left out;
- styles, in the order of the settings: scores (already winsorised and neutral to sectors) cut at ±3
  and brought to mean 0 and deviation 1 over the names that have one; a missing score is 0, the mean.
  A style that fewer than half of the names have is left out on that date;
- names carry no more than one factor for every ``NAMES_PER_FACTOR`` of them: if the market and all
  sectors exceed that, sectors are left out; then styles from the end of the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.risk.model import Floats

MARKET = "market"
SECTOR = "sector "
OTHER = "other"
MIN_SECTOR_NAMES = 3
NAMES_PER_FACTOR = 3
STYLE_COVERAGE = 0.5
STYLE_LIMIT = 3.0
MIN_NAMES = 10
"""Fewer names with a score on a date: no cross-section, no regression."""


@dataclass(frozen=True, eq=False)
class Design:
    """Exposures of one date.

    codes: panel columns of the names, ascending. labels: ``market``, then sectors ascending, then
    styles. X: names × labels. sectors: number of sector columns (1 … sectors). left_out: label → why.
    """

    codes: NDArray[np.int64]
    labels: tuple[str, ...]
    X: Floats
    sectors: int
    left_out: dict[str, str] = field(default_factory=dict)


def design(
    codes: NDArray[np.int64],
    scores: Floats,
    styles: Sequence[str],
    sector: NDArray[np.int64],
    words: Sequence[str],
) -> Design | None:
    """The exposures of one date; None with fewer than ``MIN_NAMES`` names.

    codes: n names, ascending. scores: n × styles, NaN where there is none. sector: number of each
    name's sector in ``words``; ``len(words)`` where it has none.
    """
    n = len(codes)
    if n < MIN_NAMES:
        return None
    left_out: dict[str, str] = {}
    most = n // NAMES_PER_FACTOR
    labels, columns = [MARKET], [np.ones(n)]
    groups = _groups(sector, words)
    if len(groups) == 1:
        left_out[SECTOR + groups[0][0]] = "it is the only sector beside the market"
    elif 1 + len(groups) > most:
        for word, _ in groups:
            left_out[SECTOR + word] = _too_many(n)
    else:
        labels += [SECTOR + word for word, _ in groups]
        columns += [is_in.astype(np.float64) for _, is_in in groups]
    sectors = len(labels) - 1
    for i, name in enumerate(styles):
        value = _standardised(scores[:, i])
        if value is None:
            left_out[name] = "fewer than half of the names have a score, or all have the same"
        elif len(labels) >= most:
            left_out[name] = _too_many(n)
        else:
            labels.append(name)
            columns.append(value)
    X = np.ascontiguousarray(np.column_stack(columns))
    return Design(codes, tuple(labels), X, sectors, left_out)


def _groups(sector: NDArray[np.int64], words: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Sectors that are large enough, in the order of their words; "other" last."""
    counts = np.bincount(sector, minlength=len(words) + 1)
    large = [i for i in range(len(words)) if counts[i] >= MIN_SECTOR_NAMES]
    out = [(words[i], sector == i) for i in large]
    rest = ~np.isin(sector, large)
    if rest.sum() >= MIN_SECTOR_NAMES:
        out.append((OTHER, rest))
    return out


def _standardised(score: Floats) -> Floats | None:
    """Mean 0, deviation 1 over the names with a score, which are cut at ±3; 0 for the others."""
    there = np.isfinite(score)
    if there.sum() < max(2.0, STYLE_COVERAGE * len(score)):
        return None
    kept = np.clip(score[there], -STYLE_LIMIT, STYLE_LIMIT)
    kept = kept - kept.mean()
    deviation = float(np.sqrt((kept**2).mean()))
    if deviation < 1e-8:
        return None
    out = np.zeros(len(score))
    out[there] = kept / deviation
    return out


def _too_many(n: int) -> str:
    return f"{n} names carry {n // NAMES_PER_FACTOR} factors"
