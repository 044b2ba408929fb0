"""Reading what people write: tables in Parquet or CSV, numbers and dates in any usual spelling.

Nothing is guessed silently. Each function gives what it could read and a sentence about what it
could not, with row numbers (of the file's line for CSV) and the values found.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.errors import SourceError

EMPTY = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", ".", "nat")
"""Spellings of a missing value, any case."""

SHOWN = 5
"""Values quoted in a fault."""

_DATE_FORMATS = (
    ("%Y-%m-%d", r"^\d{4}-\d{1,2}-\d{1,2}$"),
    ("%Y/%m/%d", r"^\d{4}/\d{1,2}/\d{1,2}$"),
    ("%Y%m%d", r"^\d{8}$"),
    ("%d.%m.%Y", r"^\d{1,2}\.\d{1,2}\.\d{4}$"),
    ("%d-%b-%Y", r"^\d{1,2}-[A-Za-z]{3}-\d{4}$"),
)
_SLASHED = r"^\d{1,2}/\d{1,2}/\d{4}$"
_CLOCK = r"[T ]\d{2}:\d{2}.*$"


@dataclass(frozen=True, slots=True)
class Table:
    """A file as it is: text columns for CSV, typed ones for Parquet.

    first: number of the first data row as people count it (2 in a CSV with a header line).
    """

    path: Path
    frame: pl.DataFrame
    first: int


def read(path: Path) -> Table:
    """The table in ``path``. SourceError says why it cannot be read."""
    if path.is_dir():
        raise SourceError(f"{path.name} is a folder; expected one Parquet or CSV file")
    if not path.is_file():
        raise SourceError(f"there is no file {path}; check the path")
    kind = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if kind not in ("parquet", "pq", "csv", "txt", "tsv"):
        raise SourceError(f"{path.name}: unknown kind of file {kind!r}; expected Parquet or CSV")
    if not path.stat().st_size:
        raise SourceError(f"{path.name} is empty (0 bytes)")
    try:
        if kind in ("parquet", "pq"):
            return Table(path, pl.read_parquet(path, glob=False), 1)
        _refuse_header(path)
        frame = pl.read_csv(path, infer_schema=False, separator=_separator(path), glob=False)
        return Table(path, frame, 2)
    except (pl.exceptions.PolarsError, OSError, ValueError, UnicodeDecodeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = "Parquet" if kind in ("parquet", "pq") else "CSV"
        advice = "Copy or export it again"
        if "utf-8" in first:
            advice = "Save it with the encoding UTF-8"
        elif "more fields than" in first:
            advice = "Is there a title above the line with the names of the columns? Remove it"
        raise SourceError(
            f"{path.name} is no readable {what} file, perhaps truncated: {first}. {advice}"
        ) from error


def _refuse_header(path: Path) -> None:
    """SourceError for a first line that names a column twice, or that is not UTF-8."""
    raw = _head(path)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{path.name} is written in UTF-16. Save it with the encoding UTF-8")
    try:
        line = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return  # read_csv says where
    names = next(csv.reader([line.rstrip("\r\n")], delimiter=_separator(path)), [])
    named = [n.strip() for n in names if n.strip()]
    twice = sorted({n for n in named if named.count(n) > 1})
    if twice:
        shown = ", ".join(map(repr, twice[:SHOWN]))
        more = f" and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        raise SourceError(
            f"{path.name} names a column twice in its first line: {shown}{more}; keep one of each. "
            "Two lines of names, as yfinance writes them, have to be made one"
        )


def _head(path: Path) -> bytes:
    """The first line, whatever the compression."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        return file.readline(1_000_000)


def _separator(path: Path) -> str:
    head = _head(path)
    return max((",", ";", "\t", "|"), key=lambda s: head.count(s.encode()))


def plain(name: str) -> str:
    """A column name for comparison: lower case, words joined by ``_``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def match(
    columns: Iterable[str], synonyms: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], list[str]]:
    """Field → column, and faults where two columns mean one field."""
    found: dict[str, str] = {}
    faults: list[str] = []
    meaning = {word: field for field, words in synonyms.items() for word in (field, *words)}
    for column in columns:
        field = meaning.get(plain(column))
        if field is None:
            continue
        if field in found:
            faults.append(f"columns {found[field]!r} and {column!r} both mean {field}; keep one")
        else:
            found[field] = column
    return found, faults


def numbers(column: pl.Series, first: int) -> tuple[pl.Series, str | None]:
    """``column`` as Float64 with null for missing, and a fault if it holds text."""
    dtype = column.dtype
    if dtype == pl.Null:
        return column.cast(pl.Float64), None
    if dtype.is_numeric():
        return column.cast(pl.Float64).fill_nan(None), None
    if dtype == pl.Categorical or isinstance(dtype, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return (
            pl.Series(column.name, [None] * len(column), dtype=pl.Float64),
            f"column {column.name!r} holds {dtype}; expected numbers",
        )
    text = column.str.strip_chars()
    values = text.cast(pl.Float64, strict=False)
    bad = values.is_null() & _given(text)
    fault = None
    if bad.any():
        fault = f"column {column.name!r} has text where numbers are expected: {quoted(column, bad, first)}"
        fault += _spelling(text.filter(bad))
    return values.fill_nan(None), fault


def _spelling(bad: pl.Series) -> str:
    """What to do where all the text is numbers in another spelling."""
    bare = bad.str.replace_all(r"[$€£\s]", "")
    if bare.str.contains(r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$").all():
        return "; write decimals with a point, not a comma, and thousands without separators"
    if bare.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$").all():
        return "; write thousands without separators: 1234.5"
    if bare.str.contains(r"^[+-]?[\d,.]+$").all():
        return "; write plain numbers, such as 1234.5: without currency and separators"
    return ""


def dates(column: pl.Series, first: int) -> tuple[pl.Series, str | None]:
    """``column`` as Date, in its own time zone, and a fault listing what is no date."""
    dtype = column.dtype
    if dtype == pl.Date:
        return column, None
    if isinstance(dtype, pl.Datetime):
        return column.dt.date(), None
    if dtype.is_integer():
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return (
            pl.Series(column.name, [None] * len(column), dtype=pl.Date),
            f"column {column.name!r} holds {dtype}; expected dates such as 2024-01-31",
        )
    # a panel repeats few distinct dates many times: read each once
    distinct = pl.DataFrame({"_text": column.unique(maintain_order=True)})
    text = distinct["_text"].str.strip_chars().str.replace(_CLOCK, "")
    parsed, ambiguous = _parse(text)
    values = (
        pl.DataFrame({"_text": column})
        .join(
            distinct.with_columns(parsed.alias("_date")),
            on="_text",
            how="left",
            maintain_order="left",
            nulls_equal=True,
        )["_date"]
        .alias(column.name)
    )
    bad = values.is_null() & _given(column.str.strip_chars())
    if ambiguous:
        return values, (
            f"column {column.name!r}: dates such as {ambiguous!r} can mean day/month or month/day; "
            "write YYYY-MM-DD"
        )
    if bad.any():
        fault = f"column {column.name!r} has values that are no dates: {quoted(column, bad, first)}"
        if column.filter(bad).str.strip_chars().str.contains(r"^\d{5}(\.\d+)?$").all():
            fault += "; these are Excel's numbers of days: format the column as dates, YYYY-MM-DD"
        return values, fault
    return values, None


def _parse(text: pl.Series) -> tuple[pl.Series, str | None]:
    tries = [
        text.set(~text.str.contains(shape).fill_null(value=False), None).str.to_date(
            form, strict=False
        )
        for form, shape in _DATE_FORMATS
    ]
    ambiguous = None
    slashed = text.set(~text.str.contains(_SLASHED).fill_null(value=False), None)
    if slashed.null_count() < len(slashed):
        us = slashed.str.to_date("%m/%d/%Y", strict=False)
        eu = slashed.str.to_date("%d/%m/%Y", strict=False)
        us_fits = us.null_count() == slashed.null_count()
        eu_fits = eu.null_count() == slashed.null_count()
        if us_fits and eu_fits and not (us.drop_nulls() == eu.drop_nulls()).all():
            ambiguous = str(slashed.drop_nulls()[0])
        tries.append(eu if eu_fits and not us_fits else us)
    return pl.select(pl.coalesce(tries)).to_series(), ambiguous


def _given(text: pl.Series) -> pl.Series:
    return text.is_not_null() & ~text.str.to_lowercase().is_in(list(EMPTY))


def quoted(column: pl.Series, bad: pl.Series, first: int) -> str:
    """The first few bad values with their row numbers."""
    at = bad.arg_true()
    shown = ", ".join(f"row {i + first}: {column[int(i)]!r}" for i in at.head(SHOWN))
    rest = len(at) - SHOWN
    return shown + (f" and {rest} more" if rest > 0 else "")
