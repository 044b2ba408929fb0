"""Columns that many tables share."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column


def known(doc: str = "instant from which the row could have been known") -> Column:
    """The ``known_at`` column."""
    return Column("known_at", "instant", doc)
