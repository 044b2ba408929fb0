"""What a fetch could not give, and what stands in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from wealthos_pipeline.data.sources.base import FAILURES

SHOWN = 3
"""Reasons that one message names."""

_COUNTED = re.compile(r"(\d+) of (\d+) (not asked: .*)", re.DOTALL)


@dataclass
class Log:
    """What a fetch could not give in full, row by row of ``meta.failures``."""

    rows: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    came: set[str] = field(default_factory=set)
    """Of what something came."""

    def add(self, symbol: str, reason: str, what: str, kept: str | None = None) -> None:
        """``what`` of ``symbol`` ("*": of all) did not come, for ``reason``; ``kept`` stands in its place."""
        self.rows.append((symbol, reason, what, kept))

    def drop(self, kept: Mapping[str, str]) -> None:
        """Take back what was promised to stand in a symbol's place."""
        self.rows = [
            (s, r, w, None if k is not None and kept.get(s) == k else k) for s, r, w, k in self.rows
        ]

    def words(self) -> str:
        """The reasons in short, each once: what was not asked for one reason is added up."""
        said = [row for row in self.rows if row[0] == "*"] or self.rows
        reasons = list(dict.fromkeys(reason for _, reason, _, _ in said))
        left: dict[str, tuple[int, int]] = {}
        for counted in filter(None, map(_COUNTED.match, reasons)):
            few, many = left.get(counted[3], (0, 0))
            left[counted[3]] = (few + int(counted[1]), many + int(counted[2]))
        reasons = [r for r in reasons if not _COUNTED.match(r)]
        reasons = [f"{n} of {all_} {why}" for why, (n, all_) in left.items()] + reasons
        more = f"; and {len(reasons) - SHOWN} more reasons" if len(reasons) > SHOWN else ""
        return "; ".join(reasons[:SHOWN]) + more

    def frame(self) -> pl.DataFrame:
        """Failures as ``RawFrames`` carries them."""
        return pl.DataFrame(self.rows, schema=FAILURES, orient="row")
