"""Factors over any table: Polars, pandas, pyarrow or a DuckDB relation, without lake or calendar."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import engine
from wealthos_pipeline.factors.expression import Node, fields, parse, walk
from wealthos_pipeline.factors.expression import series as series_of
from wealthos_pipeline.factors.operators import FIELDS, LABELS

DATES = ("date", "datetime")
NAMES = ("instrument_id", "symbol", "instrument", "ticker", "asset")
"""Columns that say when and who; the first that a table has counts."""


def evaluate(
    expressions: Mapping[str, str] | str,
    panel: Any,
    series: pl.DataFrame | None = None,
    *,
    calendar: TradingCalendar | None = None,
    start: date | datetime | None = None,
    threads: int | None = None,
    block_cells: int = engine.BLOCK_CELLS,
) -> pl.DataFrame:
    """Expressions over a table: its date and name columns and a Float32 column an expression.

    expressions: name → expression, one expression (its column is ``value``), or the name of a set of
        the library (``"alpha158"``).
    panel: a Polars frame, lazy or not, a pandas frame (an index with names counts as columns), a
        pyarrow table, a DuckDB relation, or what else offers its columns by the Arrow protocol; one
        row a name and session, in any order. Columns ``date`` (dates, or instants of bars) and
        ``instrument_id``, ``symbol``, ``instrument``, ``ticker`` or ``asset``; ``$x`` is the column ``x``, as given. ``$ret`` is made from
        ``close``, ``$market_ret`` from all names; groups (``sector`` …) are columns too. A table with ``tr_index`` is one of
        ``clean.prices``: there ``$close`` and its kin are the forward-adjusted series.
    series: ``clean.series``, for ``Series(…)``; what was known when needs a ``calendar``.
    calendar: whose sessions windows count, names without a bar included. None: the sessions are the
        distinct dates of the table.
    start: rows from here on; earlier ones are history.

    Sorted by date and name. Null: see ``engine.compute``. FactorError with every fault of the table
    and of the expressions, and what to do.
    """
    frame = _frame(panel)
    day, name, faults = _keys(frame, calendar)
    given = frozenset(frame.columns) - {day, name, "market_ret", "slot"}
    trees = _trees(expressions, frame, given, (day, name), faults)
    if calendar is None and any(map(series_of, trees.values())):
        faults.append("Series(…) is read as it was known: pass calendar=")
    if faults:
        raise FactorError(
            "the table cannot be used:\n" + "\n".join(f"  - {f}" for f in faults)
            + f"\nIt has: {', '.join(f'{n} ({t})' for n, t in frame.schema.items())}"
        )  # fmt: skip
    labels = [c for c in frame.columns if c in LABELS]
    wanted = [
        c for c in frame.columns if c in given and (c in labels or _is_number(frame.schema[c]))
    ]
    rows = frame.select(
        pl.col(day).alias("date"), pl.col(name).cast(pl.String).alias("instrument_id"), *wanted
    )
    days = None
    if calendar is None:
        days = rows["date"].unique().sort()
        if start is not None:
            start = _session(int((days < start).sum()))
        calendar = _Sessions(len(days))
        place = days.to_frame("date").with_row_index("place")
        rows = rows.join(place, on="date", how="left", maintain_order="left").with_columns(
            date=pl.lit(_session(0)) + pl.duration(days=pl.col("place"))
        ).drop("place")  # fmt: skip
    else:
        rows = rows.with_columns(pl.col("date").cast(pl.Date))
    out = engine.values(
        trees, rows, series, calendar=calendar, start=start, threads=threads,
        block_cells=block_cells,
    )  # fmt: skip
    if days is not None:
        at = out["date"].to_physical().cast(pl.Int64)
        out = out.with_columns(days.gather(at).alias("date"))
    keys = {"date": day, "instrument_id": name}
    out = out.with_columns(
        pl.col("date").cast(frame.schema[day]), pl.col("instrument_id").cast(frame.schema[name])
    ).rename({a: b for a, b in keys.items() if a != b})
    return out.sort(day, name) if frame.schema[name].is_integer() else out


class _Sessions(TradingCalendar):
    """Sessions that are nothing but numbers: the day ``k`` after 1970-01-01 is session ``k``."""

    def __init__(self, size: int) -> None:
        self.exchange = "the table"
        self._dates = np.arange(max(size, 1)).astype("datetime64[D]")

    def frame(self, start: date | None = None, end: date | None = None) -> pl.DataFrame:
        slots = pl.Series("slot", np.arange(len(self._dates), dtype=np.int32))
        out = pl.DataFrame({"date": pl.Series(self._dates), "slot": slots})
        return out.filter(pl.col("date").is_between(start or date.min, end or date.max))


def _session(k: int) -> date:
    return np.datetime64(k, "D").item()  # type: ignore[no-any-return]


def _frame(panel: Any) -> pl.DataFrame:
    """``panel`` as a Polars frame; Qlib's ``$close`` is the column ``close``."""
    pandas = sys.modules.get("pandas")
    if isinstance(panel, pl.LazyFrame):
        frame = panel.collect()
    elif isinstance(panel, pl.DataFrame):
        frame = panel
    elif pandas is not None and isinstance(panel, pandas.DataFrame):
        named = [n for n in panel.index.names if n is not None]
        frame = pl.from_pandas(panel.reset_index() if named else panel)
    elif type(panel).__module__.split(".")[0] in ("duckdb", "_duckdb") and hasattr(panel, "pl"):
        frame = panel.pl()
    elif isinstance(panel, Mapping) or hasattr(panel, "__arrow_c_stream__"):
        frame = pl.DataFrame(panel)
    else:
        raise FactorError(
            f"a {type(panel).__name__} is no table; give a Polars or pandas frame, a pyarrow table "
            "or a DuckDB relation"
            + ("; a file is read with pl.read_parquet(…)" if isinstance(panel, str | Path) else "")
        )
    return frame.rename({c: c.removeprefix("$") for c in frame.columns if c.startswith("$")})


def _keys(frame: pl.DataFrame, calendar: TradingCalendar | None) -> tuple[str, str, list[str]]:
    """The date and the name column, and what is wrong with them."""
    faults: list[str] = []
    day = next((c for c in DATES if c in frame.columns), "")
    name = next((c for c in NAMES if c in frame.columns), "")
    if not day:
        faults.append("no column 'date'; rename the one that holds the session")
    elif not isinstance(frame.schema[day], pl.Date | pl.Datetime):
        faults.append(
            f"{day!r} is {frame.schema[day]}; cast it to dates, e.g. pl.col({day!r}).str.to_date()"
        )
    elif calendar is not None and isinstance(frame.schema[day], pl.Datetime) and (
        (frame[day].dt.truncate("1d") != frame[day]).any()
    ):  # fmt: skip
        faults.append(f"{day!r} has times of day; leave calendar= out, or cast it to dates")
    if not name:
        faults.append(
            "no column 'instrument_id' or 'symbol'; rename the one that says whose row it is"
        )
    elif not (
        isinstance(frame.schema[name], pl.String | pl.Categorical | pl.Enum)
        or frame.schema[name].is_integer()
    ):
        faults.append(f"{name!r} is {frame.schema[name]}; cast it to text")
    for c in (day, name):
        if c and (n := frame[c].null_count()):
            faults.append(f"{n} rows have no {c}; drop them")
    if not faults and _any_twice(frame, day, name):
        twice = frame.filter(pl.struct(day, name).is_duplicated()).select(day, name)
        faults.append(
            f"{twice.height} rows share date and name, for example {twice.row(0)}; "
            "keep one, e.g. .unique([...], keep='last')"
        )
    return day, name, faults


def _any_twice(frame: pl.DataFrame, day: str, name: str) -> bool:
    days = frame.lazy().group_by(name).agg(pl.col(day).n_unique()).select(pl.col(day).sum())
    return bool(days.collect().item() < frame.height)


def _trees(
    expressions: Mapping[str, str] | str,
    frame: pl.DataFrame,
    given: frozenset[str],
    keys: tuple[str, str],
    faults: list[str],
) -> dict[str, Node]:
    """Parsed expressions; what cannot be read or has no column is added to ``faults``."""
    if isinstance(expressions, str) and not expressions.isidentifier():
        expressions = {"value": expressions}
    if isinstance(expressions, str):
        from wealthos_pipeline.factors.library import load

        members = load((expressions,), strict=False).factors.values()
        expressions = {
            f.name: f.expression
            for f in members
            if f.expression and not f.target and f.asset_class is AssetClass.EQUITY
        }
    if not isinstance(expressions, Mapping):
        raise FactorError(
            f"expressions are {{name: expression}}, found a {type(expressions).__name__}"
        )
    if taken := [n for n in expressions if n in keys]:
        faults.append(f"{taken[0]!r} is a column of the table that says when or who: another name")
    out: dict[str, Node] = {}
    lacking: dict[str, list[str]] = {}
    for name, text in expressions.items():
        try:
            out[name] = parse(text, name, fields=given)
        except FactorError as error:
            faults.append(str(error))
            continue
        nodes = list(walk(out[name]))
        for label in sorted({str(n.params[0]) for n in nodes if n.op == "Label"}):
            if label not in frame.columns:
                faults.append(f"{name}: groups by {label}; the table has no column {label!r}")
        if any(n.op == "Statement" for n in nodes):
            faults.append(f"{name}: Statement(…) is read from the lake; make it a column")
        for field in sorted(fields(out[name])):
            lacking.setdefault(field, []).append(name)
    for field, users in lacking.items():
        if words := _fault_of(field, frame):
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            faults.append(f"${field} (in {users[0]}{more}): {words}")
    return out


def _fault_of(field: str, frame: pl.DataFrame) -> str:
    """Why the table cannot give ``$field``; empty if it can."""
    if "tr_index" in frame.columns and field in FIELDS:
        columns = FIELDS[field].columns
    elif field == "market_ret":
        columns = ("close",)
    else:
        columns = (field if field in frame.columns else field.removeprefix("raw_"),)
    for c in columns:
        if c not in frame.columns:
            return f"the table has no column {c!r}; add it, or rename the one that holds it"
        if not _is_number(frame.schema[c]):
            return f"column {c!r} is {frame.schema[c]}; cast it to numbers"
    return ""


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
