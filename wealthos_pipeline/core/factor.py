"""The definition of a factor: data, not code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wealthos_pipeline.core.asset import AssetClass

if TYPE_CHECKING:
    import polars as pl

FactorFunction = Callable[["pl.DataFrame"], "pl.DataFrame"]


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor, declared once.

    Exactly one of ``expression`` (the factor language) and ``function`` (frame in, frame with
    ``instrument_id, date, value`` out, for what the language cannot say) is given.

    direction: +1 when a high value is expected to go with a high return, −1 when with a low one.
    lookback: sessions of history needed before the date; derived from ``expression``, required
        with ``function``.
    basis: ``"adjusted"`` (the forward-adjusted series), ``"unadjusted"`` (needs traded prices) or
        ``"unit"``: a constant of the original formula (``$volume + 1``) makes the value depend on the
        unit of its input beyond rounding.
    target: what a factor that is the same for all names is judged by: ``"bond"`` (the 10-year par
        bond's return) or ``"market"`` (the equal-weighted stocks'); empty for a factor that differs
        by name, which is judged within the date.
    nan_means: what a missing value says, in words, beyond the warm-up.
    """

    name: str
    asset_class: AssetClass
    family: str
    direction: int
    title: str
    reference: str
    expression: str | None = None
    function: FactorFunction | None = field(default=None, compare=False)
    lookback: int | None = None
    basis: str = "adjusted"
    inputs: tuple[str, ...] = ("clean.prices",)
    sets: tuple[str, ...] = ("core",)
    nan_means: str = "fewer observations than the window asks for"
    target: str = ""

    @property
    def table(self) -> str:
        """The lake table that holds this factor's values."""
        return f"factors.{self.asset_class.value}_{self.family}"

    @property
    def definition_hash(self) -> str:
        """16 hex digits over everything that changes the values."""
        code = None
        if self.function is not None:
            code = self.function.__code__.co_code.hex() + repr(self.function.__code__.co_consts)
        body = [self.name, self.expression, code, self.basis, self.lookback]
        return hashlib.blake2b(json.dumps(body).encode(), digest_size=8).hexdigest()
