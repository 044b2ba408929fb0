"""A user's price panel: Parquet or CSV, long or wide, usual column names, every fault at once.

Long: one row a symbol and date, with ``close`` and whatever else is there. Wide: a date column and
one column of closes per symbol. A long file without a symbol column is one symbol, named as the file.

What makes the file unusable is listed in one PanelError. A row that is merely wrong (a negative
price, a date that is no session) passes, and cleaning puts it in quarantine by name. Rows that give
one key twice are one row when they agree and ``rejected`` when they do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from wealthos_pipeline.core.errors import PanelError, SourceError
from wealthos_pipeline.data.sources import tabular

SYNONYMS: dict[str, tuple[str, ...]] = {
    "symbol": ("ticker", "sym", "instrument", "asset", "security", "secid", "stock", "code"),
    "date": ("datetime", "timestamp", "day", "trade_date", "trading_date", "index", "index_level_0",
             "level_0_index", "unnamed_0", ""),
    "open": ("open_price", "px_open", "adj_open_price"),
    "high": ("high_price", "px_high"),
    "low": ("low_price", "px_low"),
    "close": ("close_price", "px_last", "px_close", "last", "price", "last_price"),
    "adj_close": ("adjclose", "adjusted_close", "close_adj", "close_adjusted", "adj_price",
                  "adjusted_price", "adjusted"),
    "volume": ("vol", "px_volume", "shares_traded"),
    "dividend": ("dividends", "div", "cash_dividend", "div_cash"),
    "split_ratio": ("split", "splits", "stock_split", "stock_splits", "split_factor"),
    "currency": ("ccy", "cur"),
}  # fmt: skip
"""Field → other names that are recognised, in any case, with spaces or underscores."""

NUMERIC = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")
_KEY = ["symbol", "date"]

Layout = Literal["long", "wide", "single"]


@dataclass(frozen=True, slots=True)
class Panel:
    """What a file held.

    rows: ``symbol, date`` (unique) and the fields that the file has, Float64.
    rejected: ``symbol, date, rule, detail`` of rows that contradict each other.
    fields: numeric fields that the file has; ignored: columns that were not recognised.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    fields: tuple[str, ...]
    ignored: tuple[str, ...]
    layout: Layout

    @property
    def symbols(self) -> pl.Series:
        return self.rows["symbol"].unique().sort()

    @property
    def last(self) -> date:
        """Last date in the file."""
        day = self.rows["date"].max()
        assert isinstance(day, date)
        return day


def read(path: Path) -> Panel:
    """The panel in ``path``; PanelError lists every fault that makes it unusable."""
    try:
        table = tabular.read(path)
    except SourceError as error:
        raise PanelError(str(path.name), [str(error)]) from error
    columns, faults = tabular.match(table.frame.columns, SYNONYMS)
    layout = _layout(table.frame.columns, columns)
    if "date" not in columns:
        faults.append(
            f"no date column (expected 'date', or {_other('date')}); "
            f"the file has: {', '.join(table.frame.columns)}"
        )
    if not table.frame.height:
        faults.append("there are no rows")
    if layout != "wide" and not {"close", "adj_close"} & columns.keys():
        faults.append(
            f"no column of closing prices (expected 'close', or {_other('close')}, or "
            f"'adj_close'); the file has: {', '.join(table.frame.columns)}"
        )
    if faults:
        raise PanelError(path.name, faults)
    long = _wide(table, columns["date"]) if layout == "wide" else _long(table, columns, layout)
    frame, fields, faults = long
    if not faults:
        faults = _case_faults(frame)
    if not faults and not frame.height:
        faults.append("no row holds a price")
    if faults:
        raise PanelError(path.name, faults)
    known = set(columns.values())
    ignored = () if layout == "wide" else tuple(c for c in table.frame.columns if c not in known)
    rows, rejected = _unique(frame)
    if rejected.height > rows.height:
        faults = [_mostly_twice(rejected, layout, table.frame.columns)]
        raise PanelError(path.name, faults)
    return Panel(rows, rejected, fields, ignored, layout)


def _other(field: str) -> str:
    return ", ".join(n for n in SYNONYMS[field] if n and n[-1].isalpha())


def _layout(names: list[str], columns: dict[str, str]) -> Layout:
    if "symbol" in columns:
        return "long"
    # LOW and OPEN are also tickers: a file of one symbol has a close and nothing unknown
    if {"close", "adj_close"} & columns.keys() and len(columns) == len(names):
        return "single"
    return "wide"


Read = tuple[pl.DataFrame, tuple[str, ...], list[str]]


def _long(table: tabular.Table, columns: dict[str, str], layout: Layout) -> Read:
    frame = table.frame
    faults: list[str] = []
    out: dict[str, pl.Series] = {}
    filled = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    day, fault = tabular.dates(frame[columns["date"]], table.first)
    out["date"] = day.alias("date")
    faults += [fault] if fault else []
    if layout == "single":
        stem = table.path.name.split(".", 1)[0]
        out["symbol"] = pl.Series("symbol", [stem]).new_from_index(0, frame.height)
    else:
        symbol = frame[columns["symbol"]].cast(pl.String).str.strip_chars()
        out["symbol"] = symbol.set(symbol == "", None).alias("symbol")
    for name in _KEY:
        empty = out[name].is_null() & filled
        if empty.any() and not (name == "date" and fault):
            where = ", ".join(str(i + table.first) for i in empty.arg_true().head(tabular.SHOWN))
            faults.append(f"{name} is empty in {empty.sum()} rows (row {where} …)")
    fields = tuple(f for f in NUMERIC if f in columns)
    for field in fields:
        values, fault = tabular.numbers(frame[columns[field]], table.first)
        out[field] = values.alias(field)
        faults += [fault] if fault else []
    if "currency" in columns:
        out["currency"] = frame[columns["currency"]].cast(pl.String).str.strip_chars()
        out["currency"] = out["currency"].alias("currency")
    rows = pl.DataFrame(out).filter(filled)
    if "split_ratio" in fields:  # 0 is how some vendors write "no split"
        none = (pl.col("split_ratio") == 0).fill_null(value=False)
        rows = rows.with_columns(pl.when(~none).then("split_ratio").alias("split_ratio"))
    if "close" not in fields:
        rows = rows.with_columns(pl.col("adj_close").alias("close"))
    return rows, fields, faults


def _wide(table: tabular.Table, date_column: str) -> Read:
    frame = table.frame
    faults: list[str] = []
    day, fault = tabular.dates(frame[date_column], table.first)
    faults += [fault] if fault else []
    filled = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not fault and (day.is_null() & filled).any():
        faults.append(f"date is empty in {(day.is_null() & filled).sum()} rows")
    out = [day.alias("date")]
    for name in frame.columns:
        if name == date_column:
            continue
        values, fault = tabular.numbers(frame[name], table.first)
        out.append(values.alias(name.strip()))
        faults += [fault] if fault else []
    if len({s.name for s in out}) < len(out):
        faults.append("two columns have the same name")
        return pl.DataFrame(), (), faults
    if len(out) == 1:
        faults.append("the date column is the only one; expected one column of closes per symbol")
    if "date" in [s.name for s in out[1:]] or faults:
        return pl.DataFrame(), (), faults
    rows = (
        pl.DataFrame(out)
        .filter(filled)
        .unpivot(index="date", variable_name="symbol", value_name="close")
        .drop_nulls("close")
    )
    return rows, ("close",), faults


def _case_faults(rows: pl.DataFrame) -> list[str]:
    names = rows["symbol"].unique().sort()
    upper = names.str.to_uppercase()
    if upper.n_unique() == len(names):
        return []
    twins = names.filter(upper.is_duplicated()).head(2 * tabular.SHOWN).to_list()
    return [f"symbols differ in case only: {', '.join(twins)}; write each in one way"]


def _mostly_twice(rejected: pl.DataFrame, layout: Layout, names: list[str]) -> str:
    first = rejected.row(0, named=True)
    what = "dates come" if layout == "single" else "pairs of symbol and date come"
    text = f"most {what} more than once, e.g. {first['date']}: {first['detail']}"
    if layout == "single":
        text += (
            "; without a symbol column a file is one instrument, so add one where there are several"
            f" (the file has: {', '.join(names)})"
        )
    return text


def _unique(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Identical duplicates once; contradicting ones apart."""
    empty = pl.DataFrame(
        schema={"symbol": pl.String, "date": pl.Date, "rule": pl.String, "detail": pl.String}
    )
    twice = rows.select(pl.struct(_KEY).is_duplicated()).to_series()
    if not twice.any():
        return rows, empty
    repeated = rows.filter(twice).unique(maintain_order=True)
    again = repeated.select(pl.struct(_KEY).is_duplicated()).to_series()
    good = pl.concat([rows.filter(~twice), repeated.filter(~again)])
    rejected = (
        repeated.filter(again)
        .sort(*_KEY, "close")
        .group_by(_KEY, maintain_order=True)
        .agg(
            pl.len(),
            pl.col("close").cast(pl.String).fill_null("none").str.join(", ").alias("_closes"),
        )
        .select(
            *_KEY,
            pl.lit("duplicate_key").alias("rule"),
            pl.format("{} different rows; closes {}", "len", "_closes").alias("detail"),
        )
    )
    return good, rejected


def is_adjusted(panel: Panel) -> bool:
    """Whether the closes look back-adjusted.

    Where there are splits, the closes themselves answer: adjusted ones do not jump there. Without
    any: an adjusted close that differs from the close, or neither dividends nor splits in the file,
    mean that events are inside the prices.
    """
    rows, fields = panel.rows, panel.fields
    if "split_ratio" in fields:
        moves = (
            rows.sort(_KEY)
            .with_columns(
                (pl.col("close") / pl.col("close").shift(1).over("symbol")).alias("_growth")
            )
            .filter((pl.col("split_ratio").log().abs() > 0.2) & (pl.col("_growth") > 0))
        )
        if moves.height:
            as_traded = (pl.col("_growth") * pl.col("split_ratio")).log().abs()
            votes = moves.select((as_traded < pl.col("_growth").log().abs()).sum()).item()
            return bool(2 * votes < moves.height)
    if "adj_close" in fields and "close" in fields:
        differs = (pl.col("adj_close") / pl.col("close") - 1).abs() > 1e-6
        if rows.select(differs.any()).item():
            return True
    return not {"dividend", "split_ratio"} & set(fields)
