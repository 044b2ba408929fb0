"""What a mandate holds, as a person supplied it: CSV files with ``mandate, date, symbol, units``.

``symbol`` is a symbol, an instrument_id or ``cash``; units of cash are money. One file may hold
several mandates; without a ``mandate`` column the file's name is the mandate. With ``cost`` (a share) or
``cost_total``, and ``acquired``, a row is a tax lot: several rows of a symbol are several lots, and their
sum is the position. ``lot`` names a lot; without it they are numbered as written.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.instruments import normalised
from wealthos_pipeline.utils.names import close

CASH = "cash"
_COLUMNS = {"mandate": ("portfolio", "account"), "symbol": ("ticker", "instrument_id"),
            "units": ("shares", "quantity", "position"), "lot": ("lot_id",),
            "cost": ("cost_per_share", "cost_basis"), "cost_total": ("total_cost",),
            "acquired": ("acquired_on", "purchase_date"), "currency": ()}  # fmt: skip
_LOT = ("lot", "acquired", "cost", "cost_total")


@dataclass(frozen=True, eq=False)
class Statements:
    """Rows of ``clean.holdings`` and ``clean.lots``."""

    holdings: pl.DataFrame
    lots: pl.DataFrame


@dataclass(frozen=True)
class _Row:
    """One row that can be used; ``lot`` is None where it says nothing of a purchase."""

    where: str
    mandate: str
    day: date
    instrument: str
    units: float
    lot: str | None
    cost: float | None
    acquired: date | None

    @property
    def position(self) -> tuple[str, date, str]:
        return self.mandate, self.day, self.instrument

    @property
    def is_lot(self) -> bool:
        return self.lot is not None or self.cost is not None or self.acquired is not None


@dataclass(frozen=True, eq=False)
class _Terms:
    """What rows are read against; ``faults`` collects what is wrong."""

    ids: Symbols
    now: datetime | None
    long_only: Collection[str]
    base: Mapping[str, str]
    currencies: frozenset[str]
    faults: list[str] = field(default_factory=list)


def read(
    folder: Path,
    instruments: pl.DataFrame,
    calendar: TradingCalendar | None = None,
    *,
    now: datetime | None = None,
    long_only: Collection[str] = (),
) -> pl.DataFrame:
    """``clean.holdings`` from every CSV in ``folder``; see ``statements``."""
    return statements(folder, instruments, calendar, now=now, long_only=long_only).holdings


def statements(
    folder: Path,
    instruments: pl.DataFrame,
    calendar: TradingCalendar | None = None,
    *,
    now: datetime | None = None,
    long_only: Collection[str] = (),
    base: Mapping[str, str] | None = None,
) -> Statements:
    """``clean.holdings`` and ``clean.lots`` from every CSV in ``folder``; empty when there is none.

    long_only: mandates that may not hold negative units. base: base currency by mandate (USD
    where a mandate is not in it). ``known_at`` is that of the bars of the holdings' date.
    ConfigError lists every fault of every file: missing columns, unknown symbols (with the nearest), numbers and
    dates that cannot be read, dates after ``now``, positions given twice, and of lots: negative ones, both signs,
    ids given twice, a cost of 0 or less, a purchase after the statement or in the future, a cost
    without a purchase date, a currency that is unknown or not the base currency.
    """
    calendar = calendar or TradingCalendar()
    known = (
        set(instruments["currency"].drop_nulls()) if "currency" in instruments.columns else set()
    )
    terms = _Terms(
        symbols(instruments),
        now,
        long_only,
        base or {},
        frozenset({*known, *(base or {}).values()}),
    )
    rows: list[_Row] = []
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else []:
        rows += _read_one(path, terms)
    groups: dict[tuple[str, date, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.position, []).append(row)
    for group in groups.values():
        _judge(group, terms.faults)
    if terms.faults:
        listed = "\n".join(f"  - {f}" for f in terms.faults)
        raise ConfigError(f"the holdings in {folder.name} cannot be used:\n{listed}")
    return Statements(_positions(groups, calendar), _lots(groups, calendar))


def _positions(
    groups: Mapping[tuple[str, date, str], list[_Row]], calendar: TradingCalendar
) -> pl.DataFrame:
    table = contract("clean.holdings")
    body = [
        (mandate, day, instrument, math.fsum(r.units for r in rows), calendar.known_at(day))
        for (mandate, day, instrument), rows in groups.items()
    ]
    return table.conform(pl.DataFrame(body, schema=table.schema(), orient="row"))


def _lots(
    groups: Mapping[tuple[str, date, str], list[_Row]], calendar: TradingCalendar
) -> pl.DataFrame:
    table = contract("clean.lots")
    body = [
        (*key, r.lot or str(i), r.units, r.cost, r.acquired, calendar.known_at(key[1]))
        for key, rows in groups.items()
        for i, r in enumerate(rows, 1)
        if r.is_lot
    ]
    return table.conform(pl.DataFrame(body, schema=table.schema(), orient="row"))


def _judge(rows: list[_Row], faults: list[str]) -> None:
    """What is wrong with the rows of one position together."""
    mandate, day, instrument = rows[0].position
    what = f"{instrument} of {mandate} on {day}"
    if len(rows) == 1:
        return
    bare = [r for r in rows if not r.is_lot]
    if len(bare) == len(rows):
        faults.extend(f"{r.where}: {what} is given again" for r in rows[1:])
        return
    faults.extend(
        f"{r.where}: {what} has lots in other rows, and this row has neither cost nor acquired"
        for r in bare
    )
    if len({r.units > 0 for r in rows}) > 1:
        faults.append(f"{rows[-1].where}: the lots of {what} are of both signs")
    seen: dict[str, str] = {}
    for i, r in enumerate(rows, 1):
        name = r.lot or str(i)
        if name in seen:
            faults.append(f"{r.where}: lot {name!r} of {what} is also in {seen[name]}")
        seen.setdefault(name, r.where)


Symbols = dict[str, list[tuple[date, str]]]
"""Every accepted spelling → who had it since when, ascending."""


def symbols(instruments: pl.DataFrame) -> Symbols:
    """Every accepted spelling → who had it since when, ascending; exact spellings win."""
    by_time = instruments.sort("valid_from", "instrument_id")
    out: Symbols = {}
    for spelling in (normalised(pl.col("symbol")), pl.col("symbol"), pl.col("instrument_id")):
        found: Symbols = {}
        rows = by_time.select(spelling.alias("text"), "valid_from", "instrument_id")
        for text, since, instrument in rows.iter_rows():
            found.setdefault(text, []).append((since, instrument))
        out |= found
    return out


def identified(ids: Symbols, symbol: str, day: date | None) -> str | None:
    """Who had ``symbol`` on ``day``: the last that had it by then, else the first that ever had."""
    holders = ids.get(symbol) or ids.get(_spelled(symbol))
    if not holders:
        return None
    since = [i for begin, i in holders if day is not None and begin <= day]
    return since[-1] if since else holders[0][1]


def unknown(ids: Symbols, symbol: str) -> str:
    """What is said of a symbol that nobody has, with those that come near."""
    near = close(symbol, ids, 3)
    like = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no instrument has the symbol {symbol!r}{like}"


def table_of(path: Path, columns: Mapping[str, tuple[str, ...]], faults: list[str]) -> pl.DataFrame:
    """A CSV as text with its columns by their own names; no rows, and a fault, where it is no CSV."""
    try:
        frame = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        faults.append(f"{path.name} cannot be read as CSV: {str(error).splitlines()[0]}")
        return pl.DataFrame()
    known = {w: name for name, words in columns.items() for w in (name, *words)}
    found = {c: known.get(c.strip().lower(), c.strip().lower()) for c in frame.columns}
    twice = sorted({n for n in found.values() if list(found.values()).count(n) > 1})
    if twice:
        faults.append(f"{path.name}: several columns mean {', '.join(twice)}; keep one")
        return pl.DataFrame()
    return frame.rename(found)


def _read_one(path: Path, terms: _Terms) -> list[_Row]:
    frame = table_of(path, _COLUMNS, terms.faults)
    if not frame.width:
        return []
    missing = [c for c in ("date", "symbol", "units") if c not in frame.columns]
    if missing:
        terms.faults.append(f"{path.name}: no column {missing}; it has: {', '.join(frame.columns)}")
        return []
    out = []
    for number, cells in enumerate(frame.iter_rows(named=True), start=2):
        text = {k: (v or "").strip() for k, v in cells.items()}
        row = _row(f"{path.name} row {number}", text.get("mandate") or path.stem, text, terms)
        if row is not None:
            out.append(row)
    return out


def _row(where: str, mandate: str, text: Mapping[str, str], terms: _Terms) -> _Row | None:
    """One row, or None where something is wrong with it (told in ``terms.faults``)."""
    symbol, day, units = text["symbol"], day_of(text["date"]), number_of(text["units"])
    faults: list[str] = []
    if day is None:
        faults.append(f"date {text['date']!r} is not YYYY-MM-DD")
    elif terms.now is not None and day > terms.now.date():
        faults.append(f"date {day} is in the future")
    if units is None:
        faults.append(f"units {text['units']!r} is not a number")
    lot = {name: text.get(name, "") for name in _LOT}
    instrument: str | None = CASH
    if symbol.lower() == CASH:
        if any(lot.values()):
            faults.append("cash has no lots; leave lot, acquired and cost empty")
    else:
        instrument = identified(terms.ids, symbol, day)
        if instrument is None:
            faults.append(unknown(terms.ids, symbol))
        elif units is not None and units < 0 and mandate in terms.long_only:
            faults.append(f"{units:g} units of {symbol}, but {mandate} is long only")
    cost, acquired = _purchase(symbol, units, day, lot, terms.now, faults)
    faults += _currency(mandate, text.get("currency", ""), terms)
    terms.faults.extend(f"{where}: {fault}" for fault in faults)
    if faults or day is None or instrument is None or units is None:
        return None
    return _Row(where, mandate, day, instrument, units, lot["lot"] or None, cost, acquired)


def _purchase(
    symbol: str,
    units: float | None,
    day: date | None,
    lot: Mapping[str, str],
    now: datetime | None,
    faults: list[str],
) -> tuple[float | None, date | None]:
    """Cost a share and day of a lot's purchase; both None where the row is no lot."""
    if not any(lot.values()) or symbol.lower() == CASH:
        return None, None
    if units is not None and units <= 0:
        faults.append(
            f"a lot of {units:g} units of {symbol}: a lot is of shares still held; write a short "
            "position as one row without lot, acquired and cost"
        )
    acquired = day_of(lot["acquired"])
    if not lot["acquired"]:
        faults.append(f"the lot of {symbol} has no acquired date: its tax rate cannot be told")
    elif acquired is None:
        faults.append(f"acquired {lot['acquired']!r} is not YYYY-MM-DD")
    elif day is not None and acquired > day:
        faults.append(f"acquired on {acquired}, after the statement's date {day}")
    elif now is not None and acquired > now.date():
        faults.append(f"acquired on {acquired}, which is in the future")
    if lot["cost"] and lot["cost_total"]:
        faults.append(f"the lot of {symbol} has cost and cost_total; give one of them")
        return None, acquired
    name = "cost_total" if lot["cost_total"] else "cost"
    given = number_of(lot[name])
    if not lot[name]:
        faults.append(f"the lot of {symbol} has no cost: its gain cannot be told")
    elif given is None:
        faults.append(f"{name} {lot[name]!r} is not a number")
    elif given <= 0:
        faults.append(f"{name} {given:g} of {symbol} is not above 0")
    elif name == "cost_total" and units is not None and units > 0:
        given /= units
    return given, acquired


def _currency(mandate: str, text: str, terms: _Terms) -> list[str]:
    base = terms.base.get(mandate, "USD")
    if not text or text.upper() == base:
        return []
    if text.upper() not in terms.currencies:
        return [f"currency {text!r} is unknown; expected {base}"]
    return [f"currency {text.upper()} is not {mandate}'s base currency {base}; convert the cost"]


def _spelled(symbol: str) -> str:
    return str(pl.select(normalised(pl.lit(symbol))).item())


def day_of(text: str | None) -> date | None:
    """A date written as YYYY-MM-DD; None for anything else."""
    try:
        return date.fromisoformat((text or "").strip())
    except ValueError:
        return None


def number_of(text: str | None) -> float | None:
    """A finite decimal number; None for anything else."""
    try:
        value = float((text or "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None
