"""What a mandate holds, as a person supplied it: CSV files with ``mandate, date, symbol, units``.

``symbol`` is a symbol, an instrument_id or ``cash``; units of cash are money. One file may hold
several mandates; without a ``mandate`` column the file's name is the mandate.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date, datetime
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.instruments import normalised

CASH = "cash"
_COLUMNS = {"mandate": ("portfolio", "account"), "symbol": ("ticker", "instrument_id"),
            "units": ("shares", "quantity", "position")}  # fmt: skip


def read(
    folder: Path,
    instruments: pl.DataFrame,
    calendar: TradingCalendar | None = None,
    *,
    now: datetime | None = None,
    long_only: Collection[str] = (),
) -> pl.DataFrame:
    """``clean.holdings`` from every CSV in ``folder``; empty when there is none.

    long_only: mandates that may not hold negative units. ``known_at`` is that of the bars of the
    holdings' date. ConfigError lists every fault of every file: missing columns, unknown symbols,
    numbers and dates that cannot be read, dates after ``now``, positions given twice.
    """
    table = contract("clean.holdings")
    calendar = calendar or TradingCalendar()
    faults: list[str] = []
    rows: list[dict[str, object]] = []
    ids = _symbols(instruments)
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else []:
        rows += _read_one(path, ids, calendar, now, long_only, faults)
    seen: dict[tuple[object, ...], object] = {}
    for row in rows:
        key = (row["mandate"], row["date"], row["instrument_id"])
        if key in seen:
            faults.append(f"{row['where']}: {key[2]} of {key[0]} on {key[1]} is given again")
        seen[key] = row
    if faults:
        listed = "\n".join(f"  - {f}" for f in faults)
        raise ConfigError(f"the holdings in {folder.name} cannot be used:\n{listed}")
    schema = table.schema()
    return table.conform(pl.DataFrame([{n: r[n] for n in schema} for r in rows], schema=schema))


_Holders = dict[str, list[tuple[date, str]]]


def _symbols(instruments: pl.DataFrame) -> _Holders:
    """Every accepted spelling → who had it since when, ascending; exact spellings win."""
    by_time = instruments.sort("valid_from", "instrument_id")
    out: _Holders = {}
    for spelling in (normalised(pl.col("symbol")), pl.col("symbol"), pl.col("instrument_id")):
        found: _Holders = {}
        rows = by_time.select(spelling.alias("text"), "valid_from", "instrument_id")
        for text, since, instrument in rows.iter_rows():
            found.setdefault(text, []).append((since, instrument))
        out |= found
    return out


def _held(holders: list[tuple[date, str]], day: date | None) -> str:
    """The last that had the symbol by ``day``, else the first that ever had."""
    since = [i for begin, i in holders if day is not None and begin <= day]
    return since[-1] if since else holders[0][1]


def _read_one(
    path: Path,
    ids: _Holders,
    calendar: TradingCalendar,
    now: datetime | None,
    long_only: Collection[str],
    faults: list[str],
) -> list[dict[str, object]]:
    try:
        frame = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        faults.append(f"{path.name} cannot be read as CSV: {str(error).splitlines()[0]}")
        return []
    known = {w: field for field, words in _COLUMNS.items() for w in (field, *words)}
    frame = frame.rename(
        {c: known.get(c.strip().lower(), c.strip().lower()) for c in frame.columns}
    )
    missing = [c for c in ("date", "symbol", "units") if c not in frame.columns]
    if missing:
        faults.append(f"{path.name}: no column {missing}; it has: {', '.join(frame.columns)}")
        return []
    out: list[dict[str, object]] = []
    for number, row in enumerate(frame.iter_rows(named=True), start=2):
        where = f"{path.name} row {number}"
        mandate = (row.get("mandate") or path.stem).strip()
        symbol, day = (row["symbol"] or "").strip(), _day(row["date"])
        units = _number(row["units"])
        before = len(faults)
        if day is None:
            faults.append(f"{where}: date {row['date']!r} is not YYYY-MM-DD")
        elif now is not None and day > now.date():
            faults.append(f"{where}: date {day} is in the future")
        if units is None:
            faults.append(f"{where}: units {row['units']!r} is not a number")
        if symbol.lower() == CASH:
            instrument: str | None = CASH
        else:
            holders = ids.get(symbol) or ids.get(_spelled(symbol))
            instrument = _held(holders, day) if holders else None
            if instrument is None:
                faults.append(f"{where}: no instrument has the symbol {symbol!r}")
            elif units is not None and units < 0 and mandate in long_only:
                faults.append(f"{where}: {units:g} units of {symbol}, but {mandate} is long only")
        if len(faults) == before and day is not None:
            out.append(
                {
                    "mandate": mandate,
                    "date": day,
                    "instrument_id": instrument,
                    "units": units,
                    "known_at": calendar.known_at(day),
                    "where": where,
                }
            )
    return out


def _spelled(symbol: str) -> str:
    return str(pl.select(normalised(pl.lit(symbol))).item())


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "").strip())
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None
