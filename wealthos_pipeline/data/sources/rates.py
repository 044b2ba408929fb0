"""Yield, exchange-rate and volatility files: US Treasury par yields in their usual layouts, VIX.

Par yields: a date column and one column a tenor, percent a year; ``10 Yr``, ``BC_10YEAR``,
``DGS10`` and ``10Y`` are one. In ``BC_…`` files a zero stands for a missing value.

Exchange rates: a date column and one column a pair; ``GBPUSD``, ``GBP/USD``, ``gbp_usd`` and
``GBPUSD=X`` are one, dollars for a pound. FRED's own columns (``DEXUSUK``, ``DEXJPUS``) become
dollars for one unit, as the source ``fred`` stores them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

import polars as pl

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources import tabular

AGREE = 0.02
"""Percentage points by which two files may differ on the same day."""

FX_AGREE = 0.005
"""Share by which two files' exchange rates may differ: they are taken at different hours."""

_CODES = """
AED ARS AUD BRL CAD CHF CLP CNH CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KRW KWD MXN
MYR NOK NZD PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR
"""
CURRENCIES = frozenset(_CODES.split())
"""ISO 4217 codes that make a column a pair."""

_TENOR = re.compile(
    r"^(?:bc_|ust_)?(\d+(?:\.\d+)?)[ _]*(m|mo|mos|month|months|y|yr|yrs|year|years)$"
)
_FRED = re.compile(r"^dgs(\d+)(mo)?$")

Meaning = TypeVar("Meaning")


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
    newest, differ = _read_all(path, _read_one, "yields", "rates", "par yields by date")
    notes = [
        (f"ust_par {t}", f"{d}: {n} differs from an earlier file by {g:.2f} points; {n} is used")
        for t, d, n, g, _ in differ.iter_rows()
        if g > AGREE + 1e-9
    ]
    return newest, notes


def read_fx(path: Path) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """``tenor, date, value`` (tenor: the pair) from a CSV or a folder of them, and what differs.

    Where two files give a day, the one that ends later is used; a difference of more than
    ``FX_AGREE`` is listed. SourceError names every fault of every file.
    """
    newest, differ = _read_all(
        path, _read_pairs, "rates", "exchange rates", "exchange rates by date"
    )
    notes = [
        (f"fx {t}", f"{d}: {n} differs from an earlier file by {g / abs(v):.1%}; {n} is used")
        for t, d, n, g, v in differ.iter_rows()
        if g > FX_AGREE * abs(v)
    ]
    return newest, notes


def pair(name: str) -> tuple[str, bool] | None:
    """``('GBPUSD', False)`` for any spelling of the pair; None for other columns.

    True where the column is quoted the other way round and has to be inverted.
    """
    from wealthos_pipeline.data.sources.fred import MARKETS

    market = MARKETS.get(name.strip().upper())
    if market is not None and market.series == "fx":
        return market.tenor, market.inverse
    text = re.sub(r"[\s/_.-]", "", name.strip().upper().removesuffix("=X"))
    known = len(text) == 6 and text[:3] in CURRENCIES and text[3:] in CURRENCIES
    return (text, False) if known and text[:3] != text[3:] else None


def _read_all(
    path: Path,
    read: Callable[[Path, list[str]], pl.DataFrame | None],
    values: str,
    title: str,
    expected: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The newest ``tenor, date, value`` of all files, and where two differ: ``tenor, date, file, gap,
    value``."""
    if not path.exists():
        raise SourceError(f"there is no file or folder {path}; expected {expected}")
    paths = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not paths:
        raise SourceError(f"{path} holds no CSV file; expected {expected}")
    faults: list[str] = []
    files: list[tuple[date, str, pl.DataFrame]] = []
    for file in paths:
        frame = read(file, faults)
        if frame is not None and frame.height:
            files.append((frame["date"].max(), file.name, frame))  # type: ignore[arg-type]
    if faults:
        raise SourceError(
            f"the {title} in {path} cannot be used:\n" + "\n".join(f"  - {f}" for f in faults)
        )
    if not files:
        raise SourceError(f"{path} holds no {values}")
    files.sort(key=lambda f: f[:2])
    everything = pl.concat(
        [
            f.with_columns(pl.lit(i).alias("_order"), pl.lit(n).alias("_file"))
            for i, (_, n, f) in enumerate(files)
        ]
    ).sort("tenor", "date", "_order")
    newest = everything.unique(["tenor", "date"], keep="last", maintain_order=True)
    before = pl.col("value").shift(1).over("tenor", "date")
    differ = (
        everything.with_columns((pl.col("value") - before).abs().alias("_gap"))
        .filter(pl.col("_gap") > 0)
        .sort("date", "tenor")
    )
    return (
        newest.select("tenor", "date", "value").sort("tenor", "date"),
        differ.select("tenor", "date", "_file", "_gap", "value"),
    )


def _opened(
    path: Path, meaning: Callable[[str], Meaning | None], sort: str, faults: list[str]
) -> tuple[tabular.Table, pl.Series, dict[str, Meaning]] | None:
    """The table in a file, its dates, and its columns that have a ``meaning``; None, with the faults,
    where it has no dates or no such column. sort: what such a column is, in words."""
    try:
        table = tabular.read(path)
    except SourceError as error:
        faults.append(str(error))
        return None
    columns, problems = tabular.match(
        table.frame.columns, {"date": ("day", "observation_date", "time_period")}
    )
    found = {c: m for c in table.frame.columns if (m := meaning(c)) is not None}
    if "date" not in columns:
        problems.append("no date column")
    if not found:
        problems.append(f"no {sort}; it has: {', '.join(table.frame.columns)}")
    if problems:
        faults += [f"{path.name}: {p}" for p in problems]
        return None
    day, fault = tabular.dates(table.frame[columns["date"]], table.first)
    faults += [f"{path.name}: {fault}"] if fault else []
    return table, day, found


def _read_pairs(path: Path, faults: list[str]) -> pl.DataFrame | None:
    opened = _opened(path, pair, "column that is a pair of currencies such as 'GBPUSD'", faults)
    if opened is None:
        return None
    table, day, pairs = opened
    names = [name for name, _ in pairs.values()]
    problems = [f"two columns mean {n}" for n in sorted({n for n in names if names.count(n) > 1})]
    out = [day.alias("date")]
    for column, (name, inverse) in pairs.items():
        values, fault = tabular.numbers(table.frame[column], table.first)
        problems += [fault] if fault else []
        bad = (values <= 0).fill_null(value=False)
        if bad.any():
            shown = tabular.quoted(table.frame[column], bad, table.first)
            problems.append(f"column {column!r} has rates that are not positive: {shown}")
        out.append((1.0 / values if inverse else values).alias(name))
    if problems:
        faults += [f"{path.name}: {p}" for p in problems]
        return None
    return _long(pl.DataFrame(out))


def _long(wide: pl.DataFrame) -> pl.DataFrame:
    return (
        wide.drop_nulls("date")
        .unpivot(index="date", variable_name="tenor", value_name="value")
        .drop_nulls("value")
        .unique(["tenor", "date"], keep="last", maintain_order=True)
    )


def _read_one(path: Path, faults: list[str]) -> pl.DataFrame | None:
    opened = _opened(path, tenor, "tenor column such as '10 Yr'", faults)
    if opened is None:
        return None
    table, day, tenors = opened
    problems = []
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
    return _long(pl.DataFrame(out))


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
