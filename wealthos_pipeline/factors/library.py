"""The library of factors: where definitions are found, grouped into families, checked for clashes.

Definitions are data: modules under ``equity/``, ``fixed_income/`` and ``cross_asset/`` each hold a
tuple ``FACTORS``; ``data/inputs/factors/`` holds a quant's own; installed packages offer theirs
through the entry point group ``wealthos.factors``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
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
from wealthos_pipeline.factors import statements
from wealthos_pipeline.factors.definition import check, lookback, unit
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
    "equity.value",
    "equity.quality",
    "equity.growth",
    "equity.investment",
    "equity.earnings",
    "equity.alpha158",
    "equity.alpha360",
    "fixed_income.curve",
    "fixed_income.credit",
    "cross_asset.trend",
    "cross_asset.risk",
    "cross_asset.market",
)

GROUP = "wealthos.factors"

MOST_COLUMNS = 60
"""Factors of a family: its table is rewritten as a whole, and read as a whole."""


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

    @property
    def own(self) -> bool:
        """Whether it holds a quant's own factors; then it holds no others."""
        return any("own" in f.sets for f in self.factors)

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
    def statements(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Factor → the ``(metric, period)`` of reports that it reads."""
        return MappingProxyType({n: language.statements(t) for n, t in self.trees.items()})

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


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with something of a quant's own. home: the file or package; factor: its name,
    empty where the whole file cannot be used."""

    home: str
    factor: str
    text: str


@dataclass(frozen=True)
class Library:
    """All factors of the chosen sets by name, in the order of their modules.

    faults: own files and factors that were left out, and why.
    """

    factors: Mapping[str, Factor]
    faults: tuple[Fault, ...] = ()

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
        self,
        available: Collection[str],
        series: Collection[tuple[str, str]] = (),
        metrics: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Factor → why all its values are null, for the factors that lack an input.

        available: columns of ``clean.prices`` that hold any value; series: ``(series, tenor)`` of
        ``clean.series``; metrics: those of ``clean.fundamentals``, None where that is not known.
        """
        out: dict[str, str] = {}
        for family in self.families():
            for f in family.factors:
                if reason := _missing(f, family, set(available), set(series), metrics):
                    out[f.name] = reason
        return out


def _missing(
    factor: Factor,
    family: Family,
    available: set[str],
    series: set[tuple[str, str]],
    metrics: Collection[str] | None,
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
    if metrics is not None and not statements.possible(tree, metrics):
        figures = sorted({m for m, _ in language.statements(tree)} - set(metrics))
        lacking.append(f"reported {' or '.join(figures)}")
    return f"the data have no {', no '.join(lacking)}" if lacking else ""


def load(
    sets: Iterable[str] = ("core",), folder: Path | None = None, *, strict: bool = True
) -> Library:
    """The factors of ``sets`` (``all``: every one), and every own one (set ``own``).

    folder: own factors, YAML or Python files; None is ``data/inputs/factors``.
    strict: FactorError lists every fault: names that clash, expressions that cannot be read, unknown
    sets. Otherwise what is wrong with a quant's own files and packages is left out and listed in
    ``Library.faults``, so that a run goes on with the rest.
    """
    chosen = tuple(sets)
    found, faults = _found(folder)
    library = _checked(found, faults, chosen)
    ours = [f for f in library.faults if strict or not f.home]
    if ours:
        raise FactorError(
            "the factor library cannot be used:\n" + "\n".join(f"  - {x.text}" for x in ours)
        )
    return library


_Found = list[tuple[str, Factor]]


def _found(folder: Path | None) -> tuple[_Found, list[Fault]]:
    """Every factor with where it was found, the library's own first; files that cannot be read."""
    from wealthos_pipeline.factors import own
    from wealthos_pipeline.utils.config import inputs_dir

    found: _Found = [
        (module, f)
        for module in MODULES
        for f in import_module(f"wealthos_pipeline.factors.{module}").FACTORS
    ]
    faults: list[Fault] = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        home = f"package {point.value}"
        try:
            offered = list(point.load()())
            if odd := [type(f).__name__ for f in offered if not isinstance(f, Factor)]:
                raise FactorError(f"gave {odd[0]}; expected wealthos_pipeline.core.factor.Factor")
        except Exception as error:
            words = str(error) if isinstance(error, FactorError) else f"cannot be loaded: {error!r}"
            faults.append(Fault(home, "", f"{home} {words}"))
            continue
        found += [(home, own.as_own(f)) for f in offered]
    for path in own.files(folder if folder is not None else inputs_dir() / "factors"):
        try:
            found += [(path.name, f) for f in own.read(path)]
        except FactorError as error:
            faults.append(Fault(path.name, "", str(error)))
    return found, faults


def _checked(found: _Found, faults: Iterable[Fault], sets: tuple[str, ...]) -> Library:
    """The chosen factors that can be used; faults of the library itself have no ``home``."""
    faults = list(faults)
    known = {s for _, f in found for s in f.sets} | {"core", "own", "all"}
    faults += [
        Fault("", "", f"no factor set {s!r}; sets: {', '.join(sorted(known))}")
        for s in sets
        if s not in known
    ]
    homes: dict[str, tuple[str, str]] = {}
    ours: set[tuple[AssetClass, str]] = set()
    kept: dict[str, Factor] = {}
    width: dict[tuple[AssetClass, str], int] = {}
    for home, f in found:
        own = "own" in f.sets
        family = (f.asset_class, f.family)

        def fault(text: str, home: str = home, f: Factor = f, own: bool = own) -> None:
            faults.append(Fault(home if own else "", f.name, text))

        if f.name.casefold() in homes:
            name, other = homes[f.name.casefold()]
            same = repr(f.name) if f.name == name else f"{f.name!r} (in SQL the same as {name!r})"
            fault(f"{same} is declared twice: in {other} and in {home}")
            continue
        homes[f.name.casefold()] = (f.name, home)
        if not own:
            ours.add(family)
        if not (own or "all" in sets or set(f.sets) & set(sets)):
            continue
        try:
            check(f)
        except FactorError as error:
            fault(f"{home}: {error}")
            continue
        if own and family in ours:
            fault(
                f"{home}: {f.name} asks for the family {f.family!r}, which is the library's own; "
                "give it another name, such as 'own'"
            )
            continue
        width[family] = width.get(family, 0) + 1
        if width[family] > MOST_COLUMNS:
            fault(
                f"{home}: {f.name} is number {width[family]} of the family {f.family!r}, whose table "
                f"has {MOST_COLUMNS} columns at most; begin another family"
            )
            continue
        kept[f.name] = f
    return Library(MappingProxyType(kept), tuple(faults))
