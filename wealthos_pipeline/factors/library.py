"""The library of factors: where definitions are found, grouped into families, checked for clashes.

Definitions are data: modules under ``equity/``, ``fixed_income/`` and ``cross_asset/`` each hold a
tuple ``FACTORS``; ``data/inputs/factors/`` holds a quant's own; installed packages offer theirs
through the entry point group ``wealthos.factors``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import Column, TableContract, wide_contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import expression as language
from wealthos_pipeline.factors.operators import FIELDS

SEMANTICS = 1
"""Raised when a kernel changes meaning, so that stored values are computed again."""

SERIES_FILL_SESSIONS = 45
"""Sessions that cover the oldest value of a series still carried forward (45 calendar days)."""

MODULES = (
    "equity.momentum",
    "equity.reversal",
    "equity.volatility",
    "equity.beta",
    "equity.liquidity",
    "equity.technical",
    "equity.seasonality",
    "equity.alpha158",
    "equity.alpha360",
    "fixed_income.curve",
    "fixed_income.credit",
    "cross_asset.trend",
    "cross_asset.risk",
)

GROUP = "wealthos.factors"


@dataclass(frozen=True)
class Family:
    """Factors that share a table ``factors.<class>_<name>``.

    lookback: sessions of history before the first date asked for, series' carry included.
    """

    asset_class: AssetClass
    name: str
    factors: tuple[Factor, ...]

    @property
    def table(self) -> str:
        return f"factors.{self.asset_class.value}_{self.name}"

    @cached_property
    def lookback(self) -> int:
        carry = SERIES_FILL_SESSIONS if any(self.series.values()) else 0
        return max(lookback(f) for f in self.factors) + carry

    @cached_property
    def trees(self) -> Mapping[str, language.Node]:
        """Factor → parsed expression, of the factors that have one."""
        return MappingProxyType(
            {f.name: language.parse(f.expression, f.name) for f in self.factors if f.expression}
        )

    @cached_property
    def series(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Factor → the ``(series, tenor)`` that it reads."""
        return MappingProxyType({n: language.series(t) for n, t in self.trees.items()})

    @property
    def definition_hash(self) -> str:
        """16 hex digits over everything that changes the table's values."""
        parts = [str(SEMANTICS), *(f"{f.name}:{f.definition_hash}" for f in self.factors)]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()

    @property
    def contract(self) -> TableContract:
        """One Float32 column a factor, by date and instrument."""
        words = self.name.replace("_", " ")
        return wide_contract(
            self.table,
            f"{self.asset_class.value.replace('_', ' ').capitalize()} factors: {words}.",
            [Column(f.name, "f32", f.title, unit(f), nullable=True) for f in self.factors],
        )


@dataclass(frozen=True)
class Library:
    """All factors of the chosen sets by name, in the order of their modules."""

    factors: Mapping[str, Factor]

    def families(self) -> list[Family]:
        """Families in the order in which their first factor was declared."""
        groups: dict[tuple[AssetClass, str], list[Factor]] = {}
        for f in self.factors.values():
            groups.setdefault((f.asset_class, f.family), []).append(f)
        return [Family(c, n, tuple(group)) for (c, n), group in groups.items()]

    def family(self, asset_class: AssetClass, name: str) -> Family:
        """One family; FactorError lists those that exist."""
        found = {f.table: f for f in self.families()}
        table = f"factors.{AssetClass(asset_class).value}_{name}"
        if table not in found:
            raise FactorError(f"no factor family {table}; there are: {', '.join(found)}")
        return found[table]

    def names(self, asset_class: AssetClass) -> list[str]:
        """Names of the factors of one asset class."""
        return [n for n, f in self.factors.items() if f.asset_class == asset_class]

    def missing_reasons(
        self, available: Collection[str], series: Collection[tuple[str, str]] = ()
    ) -> dict[str, str]:
        """Factor → why all its values are null, for the factors that lack an input.

        available: columns of ``clean.prices`` that hold any value; series: ``(series, tenor)`` of
        ``clean.series``.
        """
        out: dict[str, str] = {}
        for family in self.families():
            for f in family.factors:
                if reason := _missing(f, family, set(available), set(series)):
                    out[f.name] = reason
        return out


def _missing(
    factor: Factor, family: Family, available: set[str], series: set[tuple[str, str]]
) -> str:
    tree = family.trees.get(factor.name)
    if tree is None:
        return ""
    lacking = [
        f"${name} (needs {', '.join(c for c in FIELDS[name].columns if c not in available)})"
        for name in sorted(language.fields(tree))
        if not set(FIELDS[name].columns) <= available
    ]
    lacking += [f"series {' '.join(k).strip()}" for k in language.series(tree) if k not in series]
    return f"the data have no {', no '.join(lacking)}" if lacking else ""


def lookback(factor: Factor) -> int:
    """Sessions of history that a factor needs: derived from its expression, or as it declares."""
    if factor.expression:
        return language.lookback(language.parse(factor.expression, factor.name))
    if factor.lookback is None:
        raise FactorError(f"{factor.name}: a factor with a function must declare its lookback")
    return factor.lookback


def unit(factor: Factor) -> str:
    """The unit of a factor's values: what ``unit:`` in its title's brackets says, else nothing."""
    _, _, inside = factor.title.rpartition("[")
    return inside.removesuffix("]") if inside.endswith("]") else ""


def load(sets: Iterable[str] = ("core",), folder: Path | None = None) -> Library:
    """The factors of ``sets``, and every own one (set ``own``).

    folder: own factors, YAML or Python files; None is ``data/inputs/factors``.
    FactorError lists every fault: names that clash, expressions that cannot be read, unknown sets.
    """
    from wealthos_pipeline.factors.own import read_folder
    from wealthos_pipeline.utils.config import inputs_dir

    found: list[tuple[str, Factor]] = []
    for module in MODULES:
        for f in import_module(f"wealthos_pipeline.factors.{module}").FACTORS:
            found.append((module, f))
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        for f in point.load()():
            found.append((f"package {point.value}", replace(f, sets=(*f.sets, "own"))))
    for path, f in read_folder(folder if folder is not None else inputs_dir() / "factors"):
        found.append((path, f))
    return Library(_checked(found, tuple(sets)))


def _checked(found: list[tuple[str, Factor]], sets: tuple[str, ...]) -> Mapping[str, Factor]:
    faults: list[str] = []
    homes: dict[str, str] = {}
    kept: dict[str, Factor] = {}
    known = {s for _, f in found for s in f.sets} | {"core", "own"}
    faults += [
        f"no factor set {s!r}; sets: {', '.join(sorted(known))}" for s in sets if s not in known
    ]
    for home, f in found:
        if f.name in homes:
            faults.append(f"{f.name!r} is declared twice: in {homes[f.name]} and in {home}")
            continue
        homes[f.name] = home
        try:
            check(f)
        except FactorError as error:
            faults.append(f"{home}: {error}")
            continue
        if set(f.sets) & {*sets, "own"}:
            kept[f.name] = f
    if faults:
        raise FactorError(
            "the factor library cannot be used:\n" + "\n".join(f"  - {x}" for x in faults)
        )
    return MappingProxyType(kept)


def check(factor: Factor) -> None:
    """FactorError unless the definition can be computed."""
    if not factor.name.isidentifier() or factor.name in ("date", "instrument_id"):
        raise FactorError(f"{factor.name!r} cannot be a column; use letters, digits and _")
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
