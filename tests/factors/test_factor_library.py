"""Definitions: found, grouped, checked for clashes, described."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors import library as home
from wealthos_pipeline.factors.definition import check, lookback
from wealthos_pipeline.factors.engine import compute


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_the_package_offers_what_it_says() -> None:
    for name in factors.__all__:
        assert getattr(factors, name) is not None
    with pytest.raises(AttributeError):
        factors.nothing_of_this_name  # noqa: B018


def test_every_core_factor_is_described(folder: Path) -> None:
    library = factors.load(("core",), folder)
    equity = library.names(AssetClass.EQUITY)
    assert 35 <= len(equity) <= 45
    assert len(library.names(AssetClass.FIXED_INCOME)) >= 5
    assert len(library.names(AssetClass.CROSS_ASSET)) >= 5
    for f in library.factors.values():
        assert f.title[0].isupper() or f.title[0].isdigit()
        assert any(c.isdigit() for c in f.reference), f"{f.name} cites nothing with a year"
        assert f.nan_means
        assert f.direction in (-1, 1)
    titles = [f.title for f in library.factors.values() if f.asset_class is AssetClass.EQUITY]
    assert len(set(titles)) == len(titles)


def test_families_have_tables_with_contracts(folder: Path) -> None:
    library = factors.load(("core",), folder)
    tables = [f.table for f in library.families()]
    assert len(set(tables)) == len(tables)
    for family in library.families():
        contract = family.contract
        assert isinstance(contract, TableContract)
        assert contract.column_names == ("date", "instrument_id", *(f.name for f in family.factors))
        assert contract.schema()[family.factors[0].name] == pl.Float32()
        assert contract.layer == "factors"
        assert family.lookback >= max(lookback(f) for f in family.factors)
    momentum = library.family(AssetClass.EQUITY, "momentum")
    assert momentum.contract.column("momentum_12_1").unit == "decimal"
    assert momentum.lookback == 21 + 230 + 251 + 1
    with pytest.raises(FactorError, match=r"there are: factors\.equity_momentum"):
        library.family(AssetClass.EQUITY, "momentun")


def test_the_hash_follows_the_definition(folder: Path) -> None:
    (folder / "mine.yaml").write_text("factors: {a: 'Mean($close, 5) / $close'}")
    one = factors.load((), folder).family(AssetClass.EQUITY, "own").definition_hash
    assert one == factors.load((), folder).family(AssetClass.EQUITY, "own").definition_hash
    (folder / "mine.yaml").write_text("factors: {a: 'Mean($close, 6) / $close'}")
    assert one != factors.load((), folder).family(AssetClass.EQUITY, "own").definition_hash


def test_own_factors_from_yaml_and_python(folder: Path, synthetic_prices, calendar) -> None:
    (folder / "_draft.yaml").write_text("not: [read")
    (folder / "README.md").write_text("not read either")
    (folder / "mine.yaml").write_text(
        "factors:\n"
        "  quiet: Ref($close, 21) / Ref($close, 252) - 1\n"
        "  dear_days:\n"
        "    expression: Mean($close > Mean($close, 20), 60)\n"
        "    direction: -1\n"
        "    title: Share of days above the mean [decimal]\n"
    )
    (folder / "spread.py").write_text(
        "import polars as pl\n"
        "from wealthos_pipeline.core.asset import AssetClass\n"
        "from wealthos_pipeline.core.factor import Factor\n"
        "def spread(frame):\n"
        "    return frame.select('date', 'instrument_id', value=pl.col('high') / pl.col('low') - 1)\n"
        "FACTORS = (Factor('day_range', AssetClass.EQUITY, 'own', -1, 'High over low [decimal]', 'own',\n"
        "                  function=spread, lookback=0),)\n"
    )
    library = factors.load((), folder)
    assert list(library.factors) == ["quiet", "dear_days", "day_range"]
    assert library.factors["dear_days"].direction == -1
    family = library.family(AssetClass.EQUITY, "own")
    assert family.lookback == 252
    out = compute(family, synthetic_prices, None, calendar=calendar)
    assert out.columns == ["date", "instrument_id", "quiet", "dear_days", "day_range"]
    assert all(out[c].drop_nulls().len() > 1000 for c in out.columns[2:])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "factors: {momentum_12_1: $close}", "'momentum_12_1' is declared twice: in equity.momentum and in a.yaml"),
        ("a.yaml", "factors: {x: 'Meen($close, 3)'}", "did you mean 'Mean'"),
        ("a.yaml", "factors: {x: 'Ref($close, -1)'}", "looks into the future"),
        ("a.yaml", "factors: {'a b': $close}", "cannot be a column"),
        ("a.yaml", "factors: {date: $close}", "cannot be a column"),
        ("a.yaml", "factors: {x: {expression: $close, direction: 3}}", "direction is +1 or -1"),
        ("a.yaml", "factors: {x: {formula: $close}}", "a.yaml: factors.x"),
        ("a.yaml", "factors: [1, 2]", "a.yaml: factors"),
        ("a.yaml", "factors: {x: [", "a.yaml is not YAML"),
        ("a.py", "FACTORS = 3", "a.py has no FACTORS"),
        ("a.py", "1 / 0", "a.py fails when it is imported: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_own_files_that_cannot_be_used(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(FactorError) as caught:
        factors.load(("core",), folder)
    assert words in str(caught.value)


def test_every_fault_is_listed(folder: Path) -> None:
    (folder / "a.yaml").write_text("factors: {x: 'Meen($close, 3)', y: '$clos', z: $close}")
    with pytest.raises(FactorError) as caught:
        factors.load(("core", "alpha9000"), folder)
    message = str(caught.value)
    assert "Meen" in message
    assert "$clos;" in message
    assert "alpha9000" in message


def test_a_package_offers_factors_by_entry_point(folder: Path, monkeypatch) -> None:
    from wealthos_pipeline.core.factor import Factor

    class Point:
        name, value = "desk", "desk_factors:load"

        def load(self):
            return lambda: [
                Factor(
                    "desk_a", AssetClass.EQUITY, "desk", 1, "A", "own", "$close / $open", sets=()
                )
            ]

    monkeypatch.setattr(
        home, "entry_points", lambda group: [Point()] if group == home.GROUP else []
    )
    library = factors.load((), folder)
    assert list(library.factors) == ["desk_a"]
    assert library.families()[0].table == "factors.equity_desk"


def test_a_function_needs_a_lookback() -> None:
    from wealthos_pipeline.core.factor import Factor

    f = Factor("f", AssetClass.EQUITY, "own", 1, "F", "own", function=lambda x: x)
    with pytest.raises(FactorError, match="must declare its lookback"):
        check(f)


def test_warming_loads_every_kernel_that_an_operator_or_an_evaluation_names() -> None:
    from wealthos_pipeline.factors import warm
    from wealthos_pipeline.factors.operators import OPERATORS

    modules = set(warm.warm())
    assert ({o.kernel.split(":")[0] for o in OPERATORS.values()} | {"section"}) - {""} <= modules
