"""Which group each name belongs to on each session of a panel."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.panel import Panel


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of the names of a panel.

    labels: in order. changes: by panel column, (row from which on, number of the label), ascending, the
    first from row 0.
    """

    labels: tuple[str, ...]
    changes: tuple[tuple[tuple[int, int], ...], ...]

    def spells(self, column: int, rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """(label, first, past the last) positions in ``rows`` (ascending) of one name's groups."""
        own = self.changes[column]
        if len(own) == 1:
            yield own[0][1], 0, len(rows)
            return
        cuts = [*np.searchsorted(rows, [row for row, _ in own]).tolist(), len(rows)]
        for (_, label), lo, hi in zip(own, cuts, cuts[1:], strict=False):
            if lo < hi:
                yield label, lo, hi


def grouping(labels: pl.DataFrame, scheme: str, panel: Panel) -> Grouping:
    """Groups from ``instrument_id, label`` and, where they change, ``valid_from``.

    The description valid on the session counts; before the first one, the first (a static snapshot). A
    name without a label is in ``unknown <scheme>``.
    """
    unknown = f"unknown {scheme.replace('_', ' ')}"
    if "valid_from" not in labels.columns:
        labels = labels.with_columns(pl.lit(date.min).alias("valid_from"))
    rows = labels.select(
        "instrument_id", "valid_from", pl.col("label").cast(pl.String).fill_null(unknown)
    ).sort("instrument_id", "valid_from")
    spoken: dict[str, list[tuple[date, str]]] = {}
    for name, since, word in rows.iter_rows():
        spoken.setdefault(name, []).append((since, word))
    described = [spoken.get(name, [(date.min, unknown)]) for name in panel.ids]
    words = tuple(sorted({word for own in described for _, word in own}))
    number = {word: j for j, word in enumerate(words)}
    changes = []
    for own in described:
        mine = [(0, number[own[0][1]])]
        for since, word in own[1:]:
            row = bisect_left(panel.dates, since)
            if row == mine[-1][0]:
                mine.pop()
            if row < len(panel.dates) and (not mine or mine[-1][1] != number[word]):
                mine.append((row, number[word]))
        changes.append(tuple(mine))
    return Grouping(words, tuple(changes))
