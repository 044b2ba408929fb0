"""Identity: which instrument a vendor's symbol means on a date.

An ``instrument_id`` is text, ``<exchange>:<symbol>`` as of its first load, allocated once and never
reused. It does not depend on how much history is loaded. Symbols are attributes with validity:
``data/inputs/instruments.csv`` says where a symbol changed or was reused.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar

OVERRIDES = {
    "symbol": pl.String(),
    "instrument_id": pl.String(),
    "valid_from": pl.Date(),
    "valid_to": pl.Date(),
    "name": pl.String(),
    "asset_class": pl.String(),
    "sector": pl.String(),
    "exchange": pl.String(),
    "currency": pl.String(),
}
"""Columns of ``instruments.csv``; the first two are required, empty cells change nothing."""

_DESCRIPTION = ("name", "asset_class", "sector", "exchange", "currency")
_CLASSES = ("equity", "fixed_income", "cross_asset")


def clean(
    raw_instruments: pl.DataFrame,
    raw_prices_keys: pl.DataFrame,
    previous: pl.DataFrame | None = None,
    overrides: pl.DataFrame | None = None,
    *,
    calendar: TradingCalendar | None = None,
) -> pl.DataFrame:
    """``clean.instruments``: every symbol that has a bar, with identity and validity.

    raw_instruments: all versions. A later version that describes a symbol otherwise begins a new
        validity on the session after its fetch; the past keeps what it was computed with.
    raw_prices_keys: ``source, symbol`` with ``date`` (rows) or ``first_date``.
    previous: the registry so far; its instruments stay, even those that the source forgot.
    overrides: see ``read_overrides``. A symbol named there means only what is said there.
    Where several sources describe an instrument, the one that came to the lake last counts.
    Sectors are snapshots: ``static`` is true wherever there is one.
    """
    calendar = calendar or TradingCalendar()
    table = contract("clean.instruments")
    first = _first_dates(raw_prices_keys)
    rows: list[dict[str, object]] = []
    by_symbol = {} if overrides is None else overrides.partition_by("symbol", as_dict=True)
    described = raw_instruments.sort("source", "symbol", "fetched_at").partition_by(
        ["source", "symbol"], as_dict=True, maintain_order=True
    )
    for (source, symbol), versions in described.items():
        begin = first.get((str(source), str(symbol)))
        if begin is None:
            continue
        meanings = by_symbol.get((symbol,))
        spans = _described(versions, calendar.on_or_after(begin), calendar)
        if meanings is None:
            rows += [
                {**s, "instrument_id": f"{spans[0]['exchange']}:{str(symbol).strip().upper()}"}
                for s in spans
            ]
        else:
            rows += _overridden(meanings, spans[-1], calendar)
    arrived = dict(raw_instruments.group_by("source").agg(pl.col("fetched_at").min()).iter_rows())
    newest: dict[object, object] = {}
    for row in sorted(rows, key=lambda r: (arrived[r["source"]], str(r["source"]))):
        newest[row["instrument_id"]] = row["source"]
    rows = [r for r in rows if newest[r["instrument_id"]] == r["source"]]
    known = _merge(pl.DataFrame(rows, schema=table.schema()), previous)
    stamps = [
        calendar.known_at(d) if k is None else k
        for d, k in zip(known["valid_from"], known["known_at"], strict=True)
    ]
    return table.conform(
        known.with_columns(
            pl.Series("known_at", stamps, dtype=pl.Datetime("us", "UTC")),
            pl.col("sector").is_not_null().alias("static"),
        )
    )


def _first_dates(keys: pl.DataFrame) -> dict[tuple[str, str], date]:
    day = "first_date" if "first_date" in keys.columns else "date"
    grouped = keys.group_by("source", "symbol").agg(pl.col(day).min().alias("first"))
    return {(s, n): d for s, n, d in grouped.select("source", "symbol", "first").iter_rows()}


def _described(
    versions: pl.DataFrame, begin: date, calendar: TradingCalendar
) -> list[dict[str, object]]:
    """One row per description that differs from the one before."""
    spans: list[dict[str, object]] = []
    for row in versions.iter_rows(named=True):
        body = {n: row[n] for n in _DESCRIPTION}
        fetched: datetime = row["fetched_at"]
        if spans and all(spans[-1][n] == body[n] for n in _DESCRIPTION):
            continue
        start = begin
        known: datetime | None = None
        if spans:
            start = calendar.on_or_after(fetched.astimezone(UTC).date() + timedelta(days=1))
            known = fetched
            if start <= begin:
                spans.clear()
                start, known = begin, None
            else:
                spans[-1]["valid_to"] = calendar.offset(start, -1)
                if spans[-1]["valid_from"] == start:  # two changes before one session
                    spans.pop()
        spans.append(
            {
                **body,
                "symbol": row["symbol"],
                "source": row["source"],
                "valid_from": start,
                "valid_to": None,
                "known_at": known,
            }
        )
    return spans


def _overridden(
    meanings: pl.DataFrame, base: dict[str, object], calendar: TradingCalendar
) -> list[dict[str, object]]:
    begin = base["valid_from"]
    out = []
    for row in meanings.sort("valid_from", nulls_last=False).iter_rows(named=True):
        start = begin if row["valid_from"] is None else calendar.on_or_after(row["valid_from"])
        out.append(
            {
                **base,
                **{n: row[n] for n in _DESCRIPTION if row.get(n) is not None},
                "instrument_id": row["instrument_id"],
                "valid_from": start,
                "valid_to": row["valid_to"],
                "known_at": None,
            }
        )
    return out


def _merge(rows: pl.DataFrame, previous: pl.DataFrame | None) -> pl.DataFrame:
    """``rows`` with the first validity of known instruments kept, and forgotten ones appended."""
    if previous is None or not previous.height:
        return rows
    begun = previous.group_by("instrument_id").agg(pl.col("valid_from").min().alias("_begun"))
    first = pl.col("valid_from") == pl.col("valid_from").min().over("instrument_id")
    rows = (
        rows.join(begun, on="instrument_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(first)
            .then(pl.min_horizontal("valid_from", "_begun"))
            .otherwise("valid_from")
            .alias("valid_from")
        )
        .drop("_begun")
    )
    forgotten = previous.join(rows.select("instrument_id"), on="instrument_id", how="anti")
    return pl.concat([rows, forgotten.select(rows.columns)])


def current(instruments: pl.DataFrame, day: date | None = None) -> pl.DataFrame:
    """One row per instrument: its description on ``day`` (None: the latest)."""
    rows = instruments
    if day is not None:
        rows = rows.filter(pl.col("valid_from") <= day)
    return rows.sort("instrument_id", "valid_from").unique(
        "instrument_id", keep="last", maintain_order=True
    )


def identify(frame: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """``frame`` (``source, symbol, date``) with ``instrument_id``; null where no instrument has the
    symbol on the date."""
    spans = instruments.group_by("source", "symbol", "instrument_id").agg(
        pl.col("valid_from").min(),
        pl.when(pl.col("valid_to").is_null().any())
        .then(None)
        .otherwise(pl.col("valid_to").max())
        .alias("valid_to"),
    )
    several = pl.struct("source", "symbol").is_duplicated()
    one = spans.filter(~several).select("source", "symbol", "instrument_id")
    many = spans.filter(several)
    out = frame.join(one, on=["source", "symbol"], how="left", maintain_order="left")
    if not many.height:
        return out
    rows = frame.with_row_index("_row").join(many, on=["source", "symbol"], how="inner")
    hits = rows.filter(
        (pl.col("date") >= pl.col("valid_from"))
        & (pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to")))
    ).select("_row", pl.col("instrument_id").alias("_id"))
    return (
        out.with_row_index("_row")
        .join(hits.unique("_row"), on="_row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("instrument_id", "_id").alias("instrument_id"))
        .drop("_row", "_id")
    )


def normalised(symbol: pl.Expr) -> pl.Expr:
    """A spelling by which symbols of different files are matched: ``BRK.B``, ``BRK-B`` and
    ``brk/b`` are one."""
    return symbol.str.strip_chars().str.to_uppercase().str.replace_all(r"[./_ -]+", ".")


def read_overrides(path: Path) -> pl.DataFrame:
    """``data/inputs/instruments.csv``, or an empty frame where there is none.

    ConfigError lists every fault: missing or unknown columns, unreadable dates, unknown asset
    classes, intervals of one symbol that overlap.
    """
    if not path.is_file():
        return pl.DataFrame(schema=OVERRIDES)
    try:
        text = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}") from error
    text = text.rename({c: c.strip().lower() for c in text.columns})
    missing = [c for c in ("symbol", "instrument_id") if c not in text.columns]
    unknown = [c for c in text.columns if c not in OVERRIDES]
    if missing or unknown:
        raise ConfigError(
            f"{path}: missing columns {missing}, unknown columns {unknown}; it may have: "
            f"{', '.join(OVERRIDES)}"
        )
    text = text.with_columns(pl.all().str.strip_chars().replace("", None))
    faults = [
        f"row {i}: {name} is empty"
        for name in ("symbol", "instrument_id")
        for i in (text[name].is_null().arg_true() + 2).to_list()
    ]
    columns = []
    for name, dtype in OVERRIDES.items():
        if name not in text.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        elif dtype == pl.Date():
            parsed = text[name].str.to_date("%Y-%m-%d", strict=False)
            bad = (parsed.is_null() & text[name].is_not_null()).arg_true().to_list()
            faults += [f"row {i + 2}: {name} {text[name][i]!r} is not YYYY-MM-DD" for i in bad]
            columns.append(pl.lit(parsed).alias(name))
        else:
            columns.append(pl.col(name))
    out = text.select(columns)
    faults += [
        f"row {i + 2}: asset_class {v!r} is not one of {', '.join(_CLASSES)}"
        for i, v in enumerate(out["asset_class"])
        if v is not None and v not in _CLASSES
    ]
    ordered = out.sort("symbol", "valid_from", nulls_last=False)
    before = pl.col("valid_to").fill_null(date.max).shift(1).over("symbol")
    clash = ordered.filter(pl.col("valid_from").fill_null(date.min) <= before)
    faults += [
        f"symbol {s!r}: two rows hold on the same day" for s in clash["symbol"].unique().sort()
    ]
    if faults:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  - {f}" for f in faults))
    return out
