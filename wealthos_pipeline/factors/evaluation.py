"""How each factor did: information coefficients, quantile returns, turnover, and their summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.library import Library


def performance(
    scores: pl.DataFrame,
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    library: Library,
    horizons: Sequence[int],
    calendar: TradingCalendar,
    *,
    start: date | None = None,
    end_known: datetime,
    values: pl.DataFrame | None = None,
    threads: int | None = None,
) -> pl.DataFrame:
    """Rows of ``factors.performance`` for dates ≥ ``start`` whose label was known at ``end_known``.

    scores: of the members at the date (universe ``members``); values: raw values of all names
    (universe ``all``), left out when None.
    """
    raise NotImplementedError


def summary(
    performance: pl.DataFrame, library: Library, coverage: Mapping[str, float]
) -> pl.DataFrame:
    """Rows of ``factors.summary``: one a factor, universe and horizon. coverage: share of bars."""
    raise NotImplementedError
