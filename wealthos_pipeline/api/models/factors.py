"""Factors: what they are, how they did, their values."""

from __future__ import annotations

import datetime as dt

from pydantic import Field

from wealthos_pipeline.api.models.base import Answer, Page


class FactorPerformance(Answer):
    """How a factor did over all dates whose outcome is known."""

    universe: str
    horizon: int = Field(description="sessions")
    dates: int
    mean_ic: float | None
    mean_rank_ic: float | None
    t_newey_west: float | None
    t_non_overlapping: float | None
    detectable_ic: float | None = Field(description="smallest mean IC that this panel can show")
    mean_spread: float | None = Field(description="top minus bottom fifth a horizon, decimal")
    mean_turnover: float | None
    coverage: float | None = Field(description="share of bars with a value")
    t_bootstrap: float | None = None
    t: float | None = Field(None, description="the t nearest 0 of the three: the one that decides")
    p_value: float | None = Field(None, description="of t, two-sided")
    bh_rejected: bool | None = Field(
        None, description="survives a false-discovery rate of 5 % over the library"
    )
    hlz_passed: bool | None = Field(
        None, description="p_value below 0.0027, which is |t| > 3.0 of many dates"
    )
    icir: float | None = Field(None, description="mean over deviation of the rank IC by date")
    monotonicity: float | None = None
    spread_net: float | None = Field(None, description="mean_spread after costs, decimal")
    rank_autocorrelation: float | None = None
    half_life: float | None = Field(None, description="sessions")


class FactorEntry(Answer):
    """One factor."""

    name: str
    title: str
    detail: str | None = Field(None, description="formula and reference")
    reason_missing: str | None = None
    table: str | None = Field(None, description="where its values are; null if it has none")
    performance: tuple[FactorPerformance, ...] = ()
    cluster: int | None = Field(None, description="factors of one number say much the same")
    nearest: str | None = Field(None, description="the factor most like it")
    nearest_correlation: float | None = None
    marginal_ic: float | None = Field(
        None, description="rank IC of what the base set does not explain"
    )
    t_marginal: float | None = None


class FactorPage(Page):
    """Factors in the order of their names."""

    items: tuple[FactorEntry, ...]


class FactorValue(Answer):
    """A factor's value; null where it cannot be computed."""

    date: dt.date
    instrument_id: str
    symbol: str | None
    value: float | None


class FactorValuePage(Page):
    """Values in the order of date and instrument."""

    factor: str
    items: tuple[FactorValue, ...]
