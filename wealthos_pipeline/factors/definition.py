"""One definition: whether it can be used, how far back it looks, in what unit its values are."""

from __future__ import annotations

import re

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import expression as language
from wealthos_pipeline.factors import statements

RESERVED_COLUMNS = frozenset({"date", "instrument_id", "known_at", "slot", "year"})
"""Columns that the tables of factors have or may get."""

_SQL = """
all analyse analyze and any array as asc asymmetric both case cast check collate column
constraint create default deferrable desc describe distinct do else end except false fetch
for foreign from group having in initially intersect into lambda lateral leading limit not
null offset on only or order pivot pivot_longer pivot_wider placing primary qualify
references returning select show some summarize symmetric table then to trailing true union
unique unpivot using variadic when where window with
"""

RESERVED_WORDS = frozenset(_SQL.split())
"""DuckDB's reserved words: as columns they would have to be quoted in every query."""


def lookback(factor: Factor) -> int:
    """Sessions of history that a factor needs: derived from its expression, or as it declares."""
    if factor.expression:
        tree = language.parse(factor.expression, factor.name)
        figures = max((statements.reach(*key) for key in language.statements(tree)), default=0)
        return language.lookback(tree) + figures
    if factor.lookback is None:
        raise FactorError(f"{factor.name}: a factor with a function must declare its lookback")
    return factor.lookback


def unit(factor: Factor) -> str:
    """The unit of a factor's values: what ``unit:`` in its title's brackets says, else nothing."""
    _, _, inside = factor.title.rpartition("[")
    return inside.removesuffix("]") if inside.endswith("]") else ""


def check(factor: Factor) -> None:
    """FactorError unless the definition can be computed and its name can be a column in SQL."""
    name = factor.name.casefold()
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", factor.name) or name in RESERVED_COLUMNS:
        raise FactorError(f"{factor.name!r} cannot be a column; use letters, digits and _")
    if name in RESERVED_WORDS:
        raise FactorError(
            f"{factor.name!r} cannot be a column: SQL keeps the word for itself; "
            f"'{factor.name}_factor' would do"
        )
    if not factor.family.isidentifier():
        raise FactorError(
            f"{factor.name}: family {factor.family!r} cannot be part of a table's name"
        )
    if (factor.expression is None) == (factor.function is None):
        raise FactorError(f"{factor.name}: give either an expression or a function")
    if factor.direction not in (-1, 1):
        raise FactorError(f"{factor.name}: direction is +1 or -1, found {factor.direction}")
    if factor.basis not in ("adjusted", "unadjusted", "unit"):
        raise FactorError(
            f"{factor.name}: basis is adjusted, unadjusted or unit, found {factor.basis!r}"
        )
    if factor.target not in ("", "bond", "market"):
        raise FactorError(
            f"{factor.name}: target is bond, market or empty, found {factor.target!r}"
        )
    if lookback(factor) < 0:
        raise FactorError(f"{factor.name}: lookback is negative")
