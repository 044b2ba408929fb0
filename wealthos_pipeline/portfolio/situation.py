"""What a decision may look at: names, weights held, prices, risk, scores, labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel

OTHERS = ("exchange", "currency", "asset_class")
"""Labels beside the sector."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known about instruments: sector and symbol by id; others by label, then id."""

    sector: dict[str, str]
    symbol: dict[str, str]
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of one purchase that are still held: shares, their cost a share, in the base currency."""

    instrument_id: str
    lot: str
    units: float
    cost: float
    acquired: date


@dataclass(frozen=True, eq=False)
class Situation:
    """Everything that a decision at the close of ``date`` may look at.

    members: names of the universe. traded: names with a price of the date that one could trade at. held: drifted weights
    (fractions of ``nav``) of what is held. close: traded price by name, for those with a bar.
    z: standardised predictions, where there are any. ic: None for objectives without alpha.
    """

    date: date
    nav: float
    members: tuple[str, ...]
    traded: frozenset[str]
    held: dict[str, float]
    close: dict[str, float]
    risk: RiskModel | None
    z: dict[str, float]
    ic: float | None
    labels: Labels
    note: str = ""
    volume: Mapping[str, float] = field(default_factory=dict)
    """Average daily dollar volume known at the date, in the base currency; absent where unknown."""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Score (standard deviations) by factor, then name: for bounds on exposures."""
    lots: tuple[Lot, ...] = ()
    returns: Callable[[Sequence[str]], Floats] | None = None
    """Simple total returns of the trailing sessions, oldest first (S × names, NaN where unknown), of the names asked for."""


def labels(instruments: pl.DataFrame, day: date) -> Labels:
    """Labels of each instrument as of ``day``: its description valid then, or its first.

    Beside sector and symbol: exchange, currency and asset class, where they are columns.
    """
    beside = [c for c in OTHERS if c in instruments.columns]
    order = instruments.sort("instrument_id", "valid_from")
    sector: dict[str, str] = {}
    symbol: dict[str, str] = {}
    others: dict[str, dict[str, str]] = {c: {} for c in beside}
    for name, sym, sec, since, *rest in order.select(
        "instrument_id", "symbol", "sector", "valid_from", *beside
    ).iter_rows():
        if name in symbol and since > day:
            continue
        symbol[name] = sym
        sector.pop(name, None)
        if sec is not None:
            sector[name] = sec
        for label, value in zip(beside, rest, strict=True):
            if value is not None:
                others[label][name] = value
    return Labels(sector, symbol, others)
