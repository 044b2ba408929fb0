"""Instruments, asset classes and universes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class AssetClass(StrEnum):
    """What an instrument is; also the first half of a factor table's name."""

    EQUITY = "equity"
    FIXED_INCOME = "fixed_income"
    CROSS_ASSET = "cross_asset"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing or series, identified by a text that is never reused.

    ``sector`` is what the source knew; ``static`` says that it is a snapshot and not a history.
    """

    instrument_id: str
    symbol: str
    asset_class: AssetClass
    name: str | None = None
    sector: str | None = None
    exchange: str = "XNYS"
    currency: str = "USD"
    valid_from: date | None = None
    valid_to: date | None = None
    static: bool = True


@dataclass(frozen=True, slots=True)
class Universe:
    """A named set of instruments, possibly with membership that changes over time.

    ``source`` is ``"all"`` (every instrument of the asset class that has a bar) or
    ``"membership"`` (intervals in ``clean.membership`` under this name).
    """

    name: str
    asset_class: AssetClass = AssetClass.EQUITY
    source: str = "all"
