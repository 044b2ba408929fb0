"""The definition of a factor: data, not code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

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
        """16 hex digits over everything that changes the values.

        Of a function that is the whole file it stands in: helpers, constants and all. A comment
        there makes another definition too.
        """
        code = None if self.function is None else _written(self.function)
        body = [self.name, self.expression, code, self.basis, self.lookback]
        return hashlib.blake2b(json.dumps(body).encode(), digest_size=8).hexdigest()


DIGEST = "__source_digest__"
"""Name under which a module that was read by hand keeps the digest of its text."""


def _written(function: Callable[..., Any]) -> list[Any]:
    """What a function was written as: its file's digest, its name, and what it was made with."""
    inner = getattr(function, "func", None)  # functools.partial
    if inner is not None and not hasattr(function, "__code__"):
        made = [repr(getattr(function, "args", ())), repr(getattr(function, "keywords", {}))]
        return [*_written(inner), *made]
    code = getattr(function, "__code__", None)
    if code is None:  # an object that can be called
        return [*_written(type(function).__call__), repr(vars(function))]
    cells = [repr(_cell(c)) for c in (getattr(function, "__closure__", None) or ())]
    made = [
        function.__qualname__,
        repr(function.__defaults__),
        repr(function.__kwdefaults__),
        *cells,
    ]  # type: ignore[attr-defined]
    digest = getattr(function, "__globals__", {}).get(DIGEST)
    if digest is None and (path := Path(code.co_filename)).is_file():
        digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return [digest or _instructions(code), *made]


def _cell(cell: Any) -> Any:
    """What a closure holds; a function in it as it was written."""
    held = cell.cell_contents
    return _written(held) if callable(held) and hasattr(held, "__code__") else held


def _instructions(code: CodeType) -> list[Any]:
    """Code without a file (typed at a prompt), inner functions included."""
    consts = [_instructions(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), consts]
