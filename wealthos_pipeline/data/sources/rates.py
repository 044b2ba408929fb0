"""Yield and volatility files: US Treasury par yields in their usual layouts, VIX.

Par yields: a date column and one column a tenor, percent a year; ``10 Yr``, ``BC_10YEAR``,
``DGS10`` and ``10Y`` are one. In ``BC_…`` files a zero stands for a missing value.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources import tabular

AGREE = 0.02
"""Percentage points by which two files may differ on the same day."""

_TENOR = re.compile(
    r"^(?:bc_|ust_)?(\d+(?:\.\d+)?)[ _]*(m|mo|mos|month|months|y|yr|yrs|year|years)$"
)
_FRED = re.compile(r"^dgs(\d+)(mo)?$")


def tenor(name: str) -> str | None:
    """``10Y`` for any spelling of a ten-year column; None for other columns."""
    text = name.strip().lower()
    fred = _FRED.match(text)
    if fred:
        return f"{fred[1]}{'M' if fred[2] else 'Y'}"
    found = _TENOR.match(text)
    return f"{found[1]}{found[2][0].upper()}" if found else None


def read_par_yields(path: Path) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """``tenor, date, value`` from a CSV or a folder of them, and what did not fit together.

    Where two files give a day, the one that ends later is used; a difference of more than
    ``AGREE`` is listed. SourceError names every fault of every file.
    """
    paths = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not paths:
        raise SourceError(f"{path} holds no CSV file; expected par yields by date")
    faults: list[str] = []
    files: list[tuple[date, str, pl.DataFrame]] = []
    for file in paths:
        frame = _read_one(file, faults)
        if frame is not None and frame.height:
            files.append((frame["date"].max(), file.name, frame))  # type: ignore[arg-type]
    if faults:
        raise SourceError(
            f"the rates in {path} cannot be used:\n" + "\n".join(f"  - {f}" for f in faults)
        )
    if not files:
        raise SourceError(f"{path} holds no yields")
    files.sort(key=lambda f: f[:2])
    everything = pl.concat(
        [
            f.with_columns(pl.lit(i).alias("_order"), pl.lit(n).alias("_file"))
            for i, (_, n, f) in enumerate(files)
        ]
    ).sort("tenor", "date", "_order")
    newest = everything.unique(["tenor", "date"], keep="last", maintain_order=True)
    differ = (
        everything.with_columns(
            (pl.col("value") - pl.col("value").shift(1).over("tenor", "date")).abs().alias("_gap")
        )
        .filter(pl.col("_gap") > AGREE + 1e-9)
        .sort("date", "tenor")
    )
    notes = [
        (f"ust_par {t}", f"{d}: {n} differs from an earlier file by {g:.2f} points; {n} is used")
        for t, d, n, g in differ.select("tenor", "date", "_file", "_gap").iter_rows()
    ]
    return newest.select("tenor", "date", "value").sort("tenor", "date"), notes


def _read_one(path: Path, faults: list[str]) -> pl.DataFrame | None:
    try:
        table = tabular.read(path)
    except SourceError as error:
        faults.append(str(error))
        return None
    columns, problems = tabular.match(
        table.frame.columns, {"date": ("day", "observation_date", "time_period")}
    )
    tenors = {c: t for c in table.frame.columns if (t := tenor(c)) is not None}
    if "date" not in columns:
        problems.append("no date column")
    if not tenors:
        problems.append(
            f"no tenor column such as '10 Yr'; it has: {', '.join(table.frame.columns)}"
        )
    if problems:
        faults += [f"{path.name}: {p}" for p in problems]
        return None
    day, fault = tabular.dates(table.frame[columns["date"]], table.first)
    problems += [fault] if fault else []
    out = [day.alias("date")]
    for column, name in tenors.items():
        values, fault = tabular.numbers(table.frame[column], table.first)
        problems += [fault] if fault else []
        if column.upper().startswith("BC_"):
            values = values.set((values == 0).fill_null(value=False), None)
        out.append(values.alias(name))
    faults += [f"{path.name}: {p}" for p in problems]
    if len({s.name for s in out}) < len(out):
        faults.append(f"{path.name}: two columns mean one tenor")
        return None
    return (
        pl.DataFrame(out)
        .drop_nulls("date")
        .unpivot(index="date", variable_name="tenor", value_name="value")
        .drop_nulls("value")
        .unique(["tenor", "date"], keep="last", maintain_order=True)
    )


def read_vix(path: Path) -> pl.DataFrame:
    """``date, value`` (the close) from a CSV with a date and a close column."""
    table = tabular.read(path)
    columns, faults = tabular.match(
        table.frame.columns, {"date": ("day",), "close": ("vix", "vix_close", "value", "vixcls")}
    )
    faults += [
        f"no {n} column; it has: {', '.join(table.frame.columns)}"
        for n in ("date", "close")
        if n not in columns
    ]
    if not faults:
        day, fault = tabular.dates(table.frame[columns["date"]], table.first)
        faults += [fault] if fault else []
        values, fault = tabular.numbers(table.frame[columns["close"]], table.first)
        faults += [fault] if fault else []
    if faults:
        raise SourceError(
            f"{path.name} cannot be used as VIX:\n" + "\n".join(f"  - {f}" for f in faults)
        )
    out = pl.DataFrame({"date": day, "value": values}).drop_nulls()
    return out.unique("date", keep="last", maintain_order=True).sort("date")
