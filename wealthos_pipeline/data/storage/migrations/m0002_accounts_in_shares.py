"""Positions are shares, attribution has schemes and benchmarks, decisions name their objective.

``portfolio.positions`` held units of the total-return index, and ``portfolio.attribution`` had one scheme
against one benchmark. Shares cannot be had from those units: dividends were part of them. These tables are
results, so nothing is converted: the next run makes them whole, for the code that makes them has changed
(``assets._shared.stage`` compares its hash). The number is what matters: a program that knows layout 1 only
would read shares as units, and refuses instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Lake

MADE_AGAIN = (
    "portfolio.attribution", "portfolio.nav", "portfolio.positions", "portfolio.risk", "portfolio.solves",
)  # fmt: skip
"""Tables whose columns or meaning changed."""


def migrate(lake: Lake) -> None:
    """StorageError if one of the tables cannot be opened; otherwise nothing to move."""
    for table in MADE_AGAIN:
        latest = lake.version(table)
        if latest is not None:
            lake.state(table, latest)
