"""The door for a person with Python: ``load("prices", as_of=…, universe=…)``.

It reads what the last published run holds, so that its frames are those that SQL
(``prices_asof``, ``prices_of``) and the service (``/v1/data/…``) give: same rows, types and order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import ConfigError, FactorError
from wealthos_pipeline.data.processors import versions
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage.lake import Lake, names
from wealthos_pipeline.data.storage.manifest import RUNS, Snapshot
from wealthos_pipeline.utils.names import close

LAYERS = ("clean", "factors", "models", "portfolio", "monitor", "record", "meta", "raw")
"""Where a table's short name is looked for, in this order."""

SCORES = "factors.scores_"
"""Tables with the standardised values of factors, under the factors' names."""

EVERYBODY = "default"
"""The universe that everybody is in where no source says who is."""

Day = date | str
Instant = date | datetime | str


def load(
    table: str,
    *,
    as_of: Instant | None = None,
    universe: str | None = None,
    start: Day | None = None,
    end: Day | None = None,
    columns: str | Sequence[str] | None = None,
    symbols: str | Sequence[str] | None = None,
    root: str | Path | None = None,
) -> pl.DataFrame:
    """Rows of a table of the last published run, in the order of its contract.

    table: a name such as ``prices`` (of ``clean`` before other layers), ``clean.prices``,
        ``factors.equity_momentum``, or a factor's (``date, instrument_id`` and its values; the
        standardised ones are columns of ``factors.scores_equity``).
    as_of: only what could have been known then. A date means its midnight, UTC, as in SQL; an
        instant carries a time zone; text is ISO 8601. Where a table keeps its versions as rows
        (fundamentals, macro, earnings) the last one of each value; without ``as_of`` all of them.
        Factors and what is made from them are today's values for the sessions known then.
    universe: only instruments that were in it on the date of their row, as known at ``as_of``.
    start, end: inclusive range of the table's date column. columns: all if None.
    symbols: instruments that ever had one of these symbols.
    root: the settings' (``WEALTHOS_ROOT``, ``./data``) if None.

    NoManifestError where nothing was published; ConfigError, ContractError for what cannot be
    asked, with a list of what can.
    """
    snapshot = published(root)
    name, factor = resolve(table, snapshot)
    contract = snapshot.contract(name)
    at = None if as_of is None else instant(as_of)
    refuse(contract, as_of=at, universe=universe, symbols=symbols)
    chosen = names(contract, [columns] if isinstance(columns, str) else columns)
    if factor is not None and columns is None:
        chosen = ["date", "instrument_id", factor]
    wanted = dict.fromkeys([*chosen, *contract.sort_columns, *_asked(contract, universe, symbols)])
    if name == RUNS:
        finished = pl.col("finished_at") <= snapshot.manifest.finished_at
        rows = snapshot.lake.scan(RUNS).filter(finished)
    else:
        first, last = day(start, "start"), day(end, "end")
        rows = snapshot.scan(name, as_of=at, columns=list(wanted), start=first, end=last)
    if symbols is not None:
        rows = _with_symbols(rows, contract, snapshot, symbols)
    if universe is not None:
        rows = _of_universe(rows, contract, snapshot, universe, at)
    stored = name if at is None or not contract.restatable else f"{name}_history"
    return snapshot.lake.collect(rows, contract, snapshot.version(stored)).select(chosen)


def published(root: str | Path | None = None) -> Snapshot:
    """The last published run under ``root``, with the calendar that its rows were stamped by."""
    from wealthos_pipeline.utils.config import load_settings

    place = Path(root) if root is not None else load_settings().root
    last = manifests.last(Lake(place))
    return Snapshot(Lake(place, calendar=clock(last.config)), last)


def clock(config: Mapping[str, Any]) -> TradingCalendar:
    """The calendar of a run, from the settings in its manifest."""
    exchange = config.get("source", {}).get("exchange", "XNYS")
    return TradingCalendar(exchange, config.get("time", {}).get("known_lag_minutes", 30))


def instant(value: Instant) -> datetime:
    """An instant in UTC: of a date its midnight, as in SQL. ConfigError without a time zone."""
    given = value
    if isinstance(value, str):
        try:
            value = _parsed(value.strip())
        except ValueError:
            raise ConfigError(
                f"as_of={given!r} is not a date or an instant. Write 2008-09-15 or "
                "2008-09-15T21:00:00+00:00."
            ) from None
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    if value.tzinfo is None:
        raise ConfigError(
            f"as_of={given!s} has no time zone, so it is no instant. Write "
            f"{value.isoformat()}+00:00, pass datetime(…, tzinfo=UTC), or a date for its midnight."
        )
    return value.astimezone(UTC)


def day(value: Day | None, option: str) -> date | None:
    """A date; ConfigError names the option where it is none."""
    if isinstance(value, datetime):
        raise ConfigError(f"{option}={value} is an instant; it takes a date, such as 2008-09-15.")
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ConfigError(f"{option}={value!r} is not a date. Write it as 2008-09-15.") from None


def find(name: str, tables: Iterable[str]) -> str | None:
    """``layer.table`` of a full or short name; None if there is none."""
    have = set(tables)
    if name in have:
        return name
    return next((full for layer in LAYERS if (full := f"{layer}.{name}") in have), None)


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with those that come close, else those that do."""
    have = sorted(set(known))
    near = close(name, have)
    like = f"Did you mean {', '.join(near)}? " if near else ""
    shown = ", ".join(have[:40]) + (f" and {len(have) - 40} more" if len(have) > 40 else "")
    return ConfigError(f"no {kind} called {name!r}. {like}There are: {shown or 'none'}.")


def resolve(name: str, snapshot: Snapshot) -> tuple[str, str | None]:
    """The table that ``name`` means; with the factor, where it is one of a table's columns."""
    from wealthos_pipeline.core.data import load as declared

    tables = {*snapshot.tables(), *declared()}
    found = find(name, tables)
    if found is not None:
        return found, None
    families = [t for t in snapshot.tables() if _family(snapshot.contract(t))]
    homes = [t for t in families if name in snapshot.contract(t).column_names[2:]]
    values = [t for t in homes if not t.startswith(SCORES)]  # a name means the values themselves
    homes = values or homes
    if len(homes) == 1:
        return homes[0], name
    if homes:
        raise FactorError(
            f"{name!r} is a factor of {', '.join(homes)}; say which: load({homes[0]!r}, "
            f"columns=['date', 'instrument_id', {name!r}])"
        )
    factors = [c for t in families for c in snapshot.contract(t).column_names[2:]]
    short = [t.partition(".")[2] for t in tables]
    near = close(name, [*factors, *short, *tables])
    raise unknown("table or factor", name, near or tables)


def refuse(
    contract: TableContract,
    *,
    as_of: datetime | None,
    universe: str | None,
    symbols: object | None,
) -> None:
    """ConfigError, in words, for what cannot be asked of the table."""
    name, have = contract.name, contract.column_names
    if as_of is not None and contract.known == "none":
        instead = {
            "raw": "its rows carry fetched_at; the table of the layer clean has as_of",
            "meta": "it is a log of runs",
            "record": "it is what was issued when; filter issued_at",
        }.get(contract.layer, "it sums up all dates")
        if name.endswith("_history"):
            instead = "its rows carry known_from and known_to; the table without _history has as_of"
        raise ConfigError(f"{name} cannot be read as of an instant: {instead}.")
    if universe is not None and "universe" not in have and not _dated(contract):
        raise ConfigError(
            f"{name} has no instrument with a date in its rows, so it has no universe. Its columns: "
            f"{', '.join(have)}."
        )
    if symbols is not None and "instrument_id" not in have and "symbol" not in have:
        raise ConfigError(f"{name} is not about instruments. Its columns: {', '.join(have)}.")


def _dated(contract: TableContract) -> bool:
    return "instrument_id" in contract.column_names and contract.date_column not in (
        None,
        "valid_from",
    )


def _parsed(text: str) -> date | datetime:
    return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)


def _family(contract: TableContract) -> bool:
    return contract.layer == "factors" and contract.column_names[:2] == ("date", "instrument_id")


def _asked(contract: TableContract, universe: str | None, symbols: object | None) -> list[str]:
    """Columns that the filters need."""
    have = contract.column_names
    if universe is not None and "universe" in have:
        return ["universe", *(c for c in ("instrument_id", "symbol") if c in have)]
    found: list[str] = []
    if universe is not None or symbols is not None:
        found += [c for c in ("instrument_id", "symbol") if c in have]
    if universe is not None:
        found.append(str(contract.date_column))
    return found


def _with_symbols(
    rows: pl.LazyFrame, contract: TableContract, snapshot: Snapshot, symbols: str | Sequence[str]
) -> pl.LazyFrame:
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    by_symbol = "instrument_id" not in contract.column_names
    if by_symbol:
        known = rows.select("symbol").unique().collect()
    else:
        known = snapshot.read("clean.instruments", columns=["symbol", "instrument_id"])
    for symbol in wanted:
        if symbol not in known["symbol"]:
            raise unknown("symbol", symbol, known["symbol"])
    if by_symbol:
        return rows.filter(pl.col("symbol").is_in(wanted))
    ids = known.filter(pl.col("symbol").is_in(wanted))["instrument_id"].unique()
    return rows.filter(pl.col("instrument_id").is_in(ids.implode()))


def _of_universe(
    rows: pl.LazyFrame,
    contract: TableContract,
    snapshot: Snapshot,
    universe: str,
    as_of: datetime | None,
) -> pl.LazyFrame:
    own = "universe" in contract.column_names
    named = snapshot.scan(contract.name if own else "clean.membership", columns=["universe"])
    every = named.unique().collect()["universe"]
    if universe not in every and (own or universe != EVERYBODY):
        raise unknown("universe", universe, every if own else [*every, EVERYBODY])
    if own:
        return rows.filter(pl.col("universe") == universe)
    if universe not in every:
        return rows
    members = snapshot.read("clean.membership", as_of=as_of)  # what stood then, or stands
    stands = pl.col(versions.WITHDRAWN).is_null()
    spans = _apart(members.filter((pl.col("universe") == universe) & stands))
    on = pl.col(str(contract.date_column))
    inside = (on >= pl.col("_in")) & (pl.col("_out").is_null() | (on <= pl.col("_out")))
    joined = rows.join(spans.lazy(), on="instrument_id", how="inner")
    return joined.filter(inside).drop("_in", "_out")


def _apart(members: pl.DataFrame) -> pl.DataFrame:
    """``instrument_id, _in, _out``: intervals without overlaps, so that no row comes twice."""
    spans: list[tuple[str, date, date | None]] = []
    ordered = members.sort("instrument_id", "valid_from")
    for name, first, last in ordered.select("instrument_id", "valid_from", "valid_to").iter_rows():
        if spans and spans[-1][0] == name and (spans[-1][2] is None or first <= spans[-1][2]):
            open_end = last is None or spans[-1][2] is None
            spans[-1] = (name, spans[-1][1], None if open_end else max(spans[-1][2], last))  # type: ignore[type-var]
        else:
            spans.append((name, first, last))
    schema = {"instrument_id": pl.String, "_in": pl.Date, "_out": pl.Date}
    return pl.DataFrame(spans, schema=schema, orient="row")
