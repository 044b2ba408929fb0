"""What was executed of the orders: CSV files that a person or a broker supplies.

An execution names its order by ``order_id``, or by ``mandate``, ``symbol`` and ``date`` (of the decision). ``shares``,
``price`` and ``time`` are needed; ``side``, ``fees`` and ``fill_id`` may be given. A time without a zone is that of
the exchange. A file is refused with all its faults; what is refused is never half taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.holdings import (
    Symbols,
    day_of,
    identified,
    number_of,
    symbols,
    table_of,
    unknown,
)
from wealthos_pipeline.utils.names import close

_COLUMNS = {"order_id": ("order",), "mandate": ("portfolio", "account"), "symbol": ("ticker", "instrument_id"),
            "date": ("decision_date",), "side": (), "shares": ("units", "quantity", "filled"), "price": (),
            "fees": ("commission",), "time": ("executed_at", "timestamp"), "fill_id": ("execution_id",)}  # fmt: skip

RANGE = 0.01
"""A price may lie outside of the day's lowest and highest by this share of them."""
WIDE = 0.10
"""The same around the close, where lowest and highest are not known."""
WHOLE = 1e-6
"""Shares by which fills may exceed their order: fractions are written with so many digits."""


@dataclass(frozen=True)
class _Order:
    order_id: str
    mandate: str
    date: date
    instrument: str
    shares: Mapping[str, float]
    """Most shares that any version of it asked for, by side."""


@dataclass(frozen=True, eq=False)
class _Terms:
    """What fills are read against; ``faults`` collects what is wrong."""

    orders: Mapping[str, _Order]
    by_name: Mapping[tuple[str, date, str], str]
    ids: Symbols
    bars: Mapping[tuple[str, date], tuple[float | None, float | None, float, float]]
    """(instrument, session) → low, high, close, split index."""
    splits: Mapping[tuple[str, date], float]
    calendar: TradingCalendar
    now: datetime | None
    faults: list[str] = field(default_factory=list)


def read(
    folder: Path,
    record: pl.DataFrame,
    instruments: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    now: datetime | None = None,
) -> pl.DataFrame:
    """``clean.fills`` from every CSV in ``folder``; empty when there is none.

    record: ``record.orders``. prices: ``instrument_id, date, low, high, close, split_index`` of the names ordered,
    from the first decision on; a session without a bar yet is not judged by price. ConfigError lists every fault of every file: unknown
    orders (with near ones), wrong sides, more than was ordered, times before the order or in the future,
    prices far from the day's range, fill ids given twice, numbers that cannot be read.
    """
    terms = _terms(record, instruments, prices, calendar, now)
    rows: list[dict[str, object]] = []
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else []:
        rows += _read_one(path, terms)
    _together(rows, terms)
    if terms.faults:
        listed = "\n".join(f"  - {f}" for f in terms.faults)
        raise ConfigError(
            f"the fills in {folder.name} cannot be used:\n{listed}\n"
            "Correct the files or move them out of the folder; `wealthos portfolio orders` shows the orders."
        )
    table = contract("clean.fills")
    schema = table.schema()
    return table.conform(pl.DataFrame([{n: r[n] for n in schema} for r in rows], schema=schema))


def _terms(
    record: pl.DataFrame,
    instruments: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    now: datetime | None,
) -> _Terms:
    found: dict[str, _Order] = {}
    rows = record.sort("order_id", "issued_at", "run_id")
    for o, mandate, day, name, side, shares in rows.select(
        "order_id", "mandate", "date", "instrument_id", "side", "shares"
    ).iter_rows():
        asked = dict(found[o].shares) if o in found else {}
        asked[side] = max(asked.get(side, 0.0), shares)
        found[o] = _Order(o, mandate, day, name, asked)
    bars = {
        (n, d): (low, high, last, split)
        for n, d, low, high, last, split in prices.select(
            "instrument_id", "date", "low", "high", "close", "split_index"
        ).iter_rows()
    }
    return _Terms(
        found,
        {(o.mandate, o.date, o.instrument): o.order_id for o in found.values()},
        symbols(instruments),
        bars,
        {key: bar[3] for key, bar in bars.items()},
        calendar,
        now,
    )


def _read_one(path: Path, terms: _Terms) -> list[dict[str, object]]:
    frame = table_of(path, _COLUMNS, terms.faults)
    if not frame.width:
        return []
    missing = [c for c in ("shares", "price", "time") if c not in frame.columns]
    named = {"order_id"} <= {*frame.columns} or {"mandate", "symbol", "date"} <= {*frame.columns}
    if not named:
        missing.append("order_id (or mandate, symbol and date)")
    if missing:
        terms.faults.append(
            f"{path.name}: no column {', '.join(missing)}; it has: {', '.join(frame.columns)}"
        )
        return []
    out = []
    for number, cells in enumerate(frame.iter_rows(named=True), start=2):
        text = {k: (v or "").strip() for k, v in cells.items()}
        faults: list[str] = []
        row = _row(text, terms, faults)
        where = f"{path.name} row {number}"
        terms.faults.extend(f"{where}: {fault}" for fault in faults)
        if row is not None and not faults:
            row["fill_id"] = text.get("fill_id") or f"{path.stem}:{number}"
            out.append({**row, "where": where})
    return out


def _row(text: Mapping[str, str], terms: _Terms, faults: list[str]) -> dict[str, object] | None:
    """One execution, or None; what is wrong is told in ``faults``."""
    order = _order(text, terms, faults)
    numbers = {name: number_of(text.get(name)) for name in ("shares", "price", "fees")}
    if not text.get("fees"):
        numbers["fees"] = 0.0
    for name, value in numbers.items():
        if value is None:
            faults.append(f"{name} {text.get(name, '')!r} is not a number")
        elif name != "fees" and value <= 0:
            faults.append(f"{name} {value:g} is not above 0; write the side in its own column")
        elif name == "fees" and value < 0:
            faults.append(f"fees {value:g} are below 0")
    when = _instant(text["time"], terms.calendar)
    if when is None:
        faults.append(f"time {text['time']!r} is not an instant such as 2022-12-29T10:05:00")
    elif terms.now is not None and when > terms.now:
        faults.append(f"time {text['time']} is in the future")
    if order is None:
        return None
    side = _side(text.get("side", ""), order, faults)
    shares, price, fees = numbers["shares"], numbers["price"], numbers["fees"]
    if when is None or side is None or shares is None or price is None or fees is None:
        return None
    session = _session(when, terms.calendar)
    decided = terms.calendar.known_at(order.date) - terms.calendar.lag
    if when < decided:
        faults.append(
            f"executed at {when:%Y-%m-%d %H:%M} UTC, before the order's decision at the close of "
            f"{order.date} ({decided:%H:%M} UTC)"
        )
    else:
        faults.extend(_far(order.instrument, session, price, terms))
    return {
        "order_id": order.order_id, "mandate": order.mandate, "date": order.date,
        "instrument_id": order.instrument, "side": side, "session": session, "time": when,
        "shares": shares, "price": price, "fees": fees, "known_at": terms.calendar.known_at(session),
    }  # fmt: skip


def _order(text: Mapping[str, str], terms: _Terms, faults: list[str]) -> _Order | None:
    given = text.get("order_id", "")
    if given:
        if given in terms.orders:
            return terms.orders[given]
        near = close(given, terms.orders, 2)
        like = f"; did you mean {' or '.join(near)}?" if near else ""
        faults.append(f"no order {given!r} was issued{like}")
        return None
    mandate, symbol, day = (text.get(name, "") for name in ("mandate", "symbol", "date"))
    decided = day_of(day)
    if decided is None:
        faults.append(f"date {day!r} (of the decision) is not YYYY-MM-DD")
        return None
    name = identified(terms.ids, symbol, decided)
    if name is None:
        faults.append(unknown(terms.ids, symbol))
        return None
    found = terms.by_name.get((mandate, decided, name))
    if found is None:
        days = sorted({str(d) for m, d, n in terms.by_name if m == mandate and n == name})
        have = f"; orders of {symbol} are of {', '.join(days[-5:])}" if days else ""
        faults.append(f"{mandate!r} has no order of {symbol} decided on {decided}{have}")
        return None
    return terms.orders[found]


def _side(text: str, order: _Order, faults: list[str]) -> str | None:
    asked = sorted(order.shares)
    if not text:
        if len(asked) == 1:
            return asked[0]
        faults.append(f"the order was issued to {' and to '.join(asked)}; give the side")
        return None
    side = {"b": "buy", "s": "sell"}.get(text.lower(), text.lower())
    if side not in asked:
        faults.append(
            f"side {text!r}, but order {order.order_id} of {order.instrument} is to {asked[0]}"
        )
        return None
    return side


def _far(name: str, session: date, price: float, terms: _Terms) -> list[str]:
    """A price that nobody can have got on that session; nothing where the session has no bar yet."""
    bar = terms.bars.get((name, session))
    if bar is None:
        return []
    low, high, last, _ = bar
    known = low is not None and high is not None
    least, most, slack = (low, high, RANGE) if known else (last, last, WIDE)
    if least is None or most is None or least * (1 - slack) <= price <= most * (1 + slack):
        return []
    between = f"between {least:g} and {most:g}" if known else f"at {last:g} at the close"
    return [f"price {price:g} is far from what {name} traded at on {session}: {between}"]


def _together(rows: list[dict[str, object]], terms: _Terms) -> None:
    """What is wrong with fills of one order together: the same id twice, more than was ordered."""
    seen: dict[tuple[object, object], object] = {}
    total: dict[tuple[str, str], float] = {}
    for r in rows:
        key = (r["order_id"], r["fill_id"])
        if key in seen:
            terms.faults.append(f"{r['where']}: fill {r['fill_id']} is also in {seen[key]}")
            continue
        seen[key] = r["where"]
        order = terms.orders[str(r["order_id"])]
        side = str(r["side"])
        ratio = split_ratio(terms.splits, order.instrument, order.date, r["session"])  # type: ignore[arg-type]
        pair = (order.order_id, side)
        total[pair] = total.get(pair, 0.0) + float(r["shares"]) / ratio  # type: ignore[arg-type]
        asked = order.shares[side]
        if total[pair] > asked + WHOLE:
            terms.faults.append(
                f"{r['where']}: with it {total[pair]:g} shares of {order.instrument} were executed, and "
                f"{asked:g} were ordered"
            )


def split_ratio(
    splits: Mapping[tuple[str, date], float], name: str, since: date, until: date
) -> float:
    """New shares a share of ``since`` on ``until``; 1 where either has no bar."""
    then, now = splits.get((name, since)), splits.get((name, until))
    return now / then if then and now else 1.0


def _instant(text: str, calendar: TradingCalendar) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) <= 10:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=calendar.zone)
    return when.astimezone(UTC)


def _session(when: datetime, calendar: TradingCalendar) -> date:
    """The session that an execution belongs to: the first whose close is not before it."""
    day = calendar.on_or_after(when.astimezone(calendar.zone).date())
    closed = calendar.known_at(day) - calendar.lag
    return day if when <= closed else calendar.offset(day, 1)
