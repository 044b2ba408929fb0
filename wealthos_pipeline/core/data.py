"""Table contracts: columns, types, units, keys and time columns of every table.

A contract is data. It is declared here once; storage enforces it on every write, the checks are
derived from it, the catalog, the docs, the UI's column schema and the warehouse's comments show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from wealthos_pipeline.core.errors import ContractError

if TYPE_CHECKING:
    import polars as pl

DType = Literal["str", "date", "instant", "f64", "f32", "i64", "i32", "bool"]
"""Stored types: text, calendar date, UTC microsecond instant, floats, integers, boolean."""

Known = Literal["column", "bar", "none"]
"""How an as-of read decides what was known: by the ``known_at`` column, by the session's close
plus lag (``date``), or not at all (registries and logs)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``unit`` is a word such as ``decimal``, ``currency``, ``shares``, ``percent``."""

    name: str
    dtype: DType
    doc: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class TableContract:
    """What a table promises.

    name: ``layer.table``.
    key: columns that identify a row; never null; the table is stored sorted by ``sort`` or key.
    date_column: the session or period that a row describes, where there is one.
    partition: ``"year"`` adds a physical ``year`` column (Int32), hidden from readers.
    restatable: a ``<name>_history`` table with ``known_from, known_to`` is kept beside it.
    append_only: rows are never rewritten.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    date_column: str | None = None
    known: Known = "none"
    partition: Literal["year"] | None = None
    sort: tuple[str, ...] = ()
    restatable: bool = False
    append_only: bool = False
    version: int = 1

    @property
    def layer(self) -> str:
        return self.name.split(".", 1)[0]

    @property
    def sort_columns(self) -> tuple[str, ...]:
        return self.sort or self.key

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column called ``name``; ContractError lists those that exist."""
        for c in self.columns:
            if c.name == name:
                return c
        raise ContractError(
            f"{self.name} has no column {name!r}; it has: {', '.join(self.column_names)}"
        )

    def schema(self) -> dict[str, pl.DataType]:
        """The Polars schema, in order."""
        types = polars_types()
        return {c.name: types[c.dtype] for c in self.columns}

    def empty(self) -> pl.DataFrame:
        """A frame with the contract's columns and no rows."""
        import polars as pl

        return pl.DataFrame(schema=self.schema())

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` with this contract's columns in order, missing nullable ones as null.

        Raises ContractError naming every fault: missing columns, types that cannot be cast
        without loss, nulls in the key or in columns that are not nullable, duplicate keys.
        """
        import polars as pl

        faults: list[str] = []
        columns: list[pl.Expr] = []
        for c, dtype in zip(self.columns, self.schema().values(), strict=True):
            if c.name not in frame.columns:
                if c.nullable:
                    columns.append(pl.lit(None, dtype=dtype).alias(c.name))
                else:
                    faults.append(f"column {c.name!r} is missing")
            elif frame.schema[c.name] != dtype:
                columns.append(pl.col(c.name).cast(dtype, strict=True))
            else:
                columns.append(pl.col(c.name))
        unknown = [n for n in frame.columns if n not in self.column_names]
        if unknown:
            faults.append(f"columns {unknown} are not in the contract")
        if faults:
            raise ContractError(
                f"{self.name}: {'; '.join(faults)}. The frame has: {', '.join(frame.columns)}"
            )
        try:
            out = frame.select(columns)
        except pl.exceptions.PolarsError as error:
            raise ContractError(f"{self.name}: a column has the wrong type: {error}") from error
        required = [c.name for c in self.columns if not c.nullable or c.name in self.key]
        nulls = {n: k for n in required if (k := out[n].null_count())}
        if nulls:
            raise ContractError(f"{self.name}: nulls where none are allowed: {nulls}")
        if set(self.sort_columns) <= set(self.key) and self._ascends(out):
            return out
        if out.height and out.select(pl.struct(self.key).is_duplicated().any()).item():
            twice = out.filter(pl.struct(self.key).is_duplicated()).select(self.key).head(3)
            raise ContractError(
                f"{self.name}: duplicate keys {list(self.key)}, for example {twice.rows()}"
            )
        return out.sort(self.sort_columns)

    def _ascends(self, frame: pl.DataFrame) -> bool:
        """Whether each row comes after the one before: sorted, and no key twice."""
        import polars as pl

        above, equal = pl.lit(False), pl.lit(True)
        for name in self.sort_columns:
            before = pl.col(name).shift(1)
            above |= equal & (before < pl.col(name))
            equal &= before == pl.col(name)
        return bool(frame.select(above.slice(1).all()).item())


@cache
def polars_types() -> dict[str, pl.DataType]:
    """Stored type → Polars type."""
    import polars as pl

    return {
        "str": pl.String(),
        "date": pl.Date(),
        "instant": pl.Datetime("us", "UTC"),
        "f64": pl.Float64(),
        "f32": pl.Float32(),
        "i64": pl.Int64(),
        "i32": pl.Int32(),
        "bool": pl.Boolean(),
    }


def history_contract(contract: TableContract) -> TableContract:
    """The ``<name>_history`` contract of a restatable table: intervals of what was believed."""
    return TableContract(
        name=f"{contract.name}_history",
        description=f"Every version of {contract.name}: a row was believed in [known_from, known_to).",
        columns=(
            *contract.columns,
            Column("known_from", "instant", "first instant at which this version was known"),
            Column("known_to", "instant", "instant at which it was replaced; 9999 if never"),
        ),
        key=(*contract.key, "known_from"),
        date_column=contract.date_column,
        partition=contract.partition,
        sort=(*contract.sort_columns, "known_from"),
        version=contract.version,
    )


def wide_contract(
    name: str, description: str, columns: Iterable[Column], *, known: Known = "bar"
) -> TableContract:
    """A Float32 table by ``date, instrument_id``: factor families and scores."""
    return TableContract(
        name=name,
        description=description,
        columns=(
            Column("date", "date", "session that the values describe"),
            Column("instrument_id", "str", "instrument"),
            *columns,
        ),
        key=("date", "instrument_id"),
        date_column="date",
        known=known,
        partition="year",
    )


def contract(name: str) -> TableContract:
    """The declared contract called ``name`` (``_history`` derived); ContractError if unknown."""
    tables = load()
    if name in tables:
        return tables[name]
    base = name.removesuffix("_history")
    if base != name and base in tables and tables[base].restatable:
        return history_contract(tables[base])
    raise ContractError(f"no table {name!r} is declared; declared: {', '.join(sorted(tables))}")


@cache
def load() -> dict[str, TableContract]:
    """All statically declared contracts by name. Factor families add their own (factors.load)."""
    from wealthos_pipeline.core import tables

    return {t.name: t for t in tables.TABLES}
