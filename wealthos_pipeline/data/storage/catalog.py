"""The catalog: every table, column, factor and source in words, for people and for SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import polars as pl

from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.core.factor import Factor


class _Bias(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def detail(self) -> str: ...


class Described(Protocol):
    """What a source says about itself (data.sources.SourceInfo)."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def provenance(self) -> str: ...
    @property
    def biases(self) -> tuple[_Bias, ...]: ...
    @property
    def missing(self) -> Mapping[str, str]: ...


def build(
    contracts: Iterable[TableContract],
    *,
    factors: Iterable[Factor],
    missing: Mapping[str, str],
    info: Described,
) -> pl.DataFrame:
    """``meta.catalog``: one row a table, column, factor, source, bias and missing field.

    missing: factor name → why its values are null with these data.
    """
    rows: list[tuple[str, str, str, str | None, str | None]] = []
    for table in contracts:
        rows.append(("table", table.name, table.description, f"key: {', '.join(table.key)}", None))
        for column in table.columns:
            detail = "; ".join(filter(None, (column.dtype, column.unit)))
            why = info.missing.get(column.name) if table.name == "clean.prices" else None
            rows.append(("column", f"{table.name}.{column.name}", column.doc, detail, why))
    for factor in factors:
        formula = factor.expression or "Python function"
        sign = "high is good" if factor.direction > 0 else "low is good"
        detail = f"{formula} — {sign}; {factor.reference}; null means: {factor.nan_means}"
        rows.append(("factor", factor.name, factor.title, detail, missing.get(factor.name)))
    rows.append(
        ("source", info.name, info.title, f"{info.provenance} Licence: {info.licence}", None)
    )
    for bias in info.biases:
        rows.append(("bias", bias.name, bias.title, bias.detail, None))
    for name, reason in info.missing.items():
        rows.append(("missing", name, f"{name} is not available", None, reason))
    out = contract("meta.catalog")
    return out.conform(pl.DataFrame(rows, schema=out.schema(), orient="row"))
