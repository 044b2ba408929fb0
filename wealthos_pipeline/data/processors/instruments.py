"""Identity: which instrument a vendor's symbol means on a date.

An ``instrument_id`` is text, ``<exchange>:<symbol>`` as of its first load, allocated once and never
reused. It does not depend on how much history is loaded. Symbols are attributes with validity: where a
symbol changed or was reused is told from what the vendor gives (``identity``), and
``data/inputs/instruments.csv`` overrules that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import identity, inputs
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.code import content_hash

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

_DESCRIPTION = ("name", "asset_class", "sector", "exchange", "currency", "isin", "figi")
_OVERRULED = ("name", "asset_class", "sector", "exchange", "currency")
_CLASSES = ("equity", "fixed_income", "cross_asset")


def clean(
    raw_instruments: pl.DataFrame,
    raw_prices_keys: pl.DataFrame,
    previous: pl.DataFrame | None = None,
    overrides: pl.DataFrame | None = None,
    *,
    calendar: TradingCalendar | None = None,
    prefer: str | None = None,
) -> pl.DataFrame:
    """``clean.instruments``: every symbol that has a bar, with identity and validity.

    raw_instruments: all versions. A later version that describes a symbol otherwise begins a new
        validity on the session after its fetch; the past keeps what it was computed with. One that
        describes somebody else, and one that goes on under another symbol: see ``identity``.
    raw_prices_keys: ``source, symbol`` with ``date`` or ``first_date``: rows of bars, all of them for
        the symbols in ``identity.doubtful``, at least the first and the last for others.
    previous: the registry so far; its instruments stay, even those that the source forgot, unless their
        symbol turned out to mean another instrument.
    overrides: see ``read_overrides``. A symbol named there means only what is said there.
    prefer: source that counts where several describe an instrument; the one that is asked. Where it does
        not describe it, the source that came to the lake last counts.
    Sectors are snapshots: ``static`` is true wherever there is one.
    """
    calendar = calendar or TradingCalendar()
    table = contract("clean.instruments")
    days = _days(raw_prices_keys)
    by_symbol = {} if overrides is None else overrides.partition_by("symbol", as_dict=True)
    described = raw_instruments.sort("source", "symbol", "fetched_at").partition_by(
        ["source", "symbol"], as_dict=True, maintain_order=True
    )
    rows: list[dict[str, Any]] = []
    found: list[identity.Holder] = []
    for (source, symbol), versions in described.items():
        bars = days.get((str(source), str(symbol)))
        if bars is None:
            continue
        told = versions.to_dicts()
        meanings = by_symbol.get((symbol,))
        if meanings is None:
            found += identity.holders(str(source), str(symbol), told, bars, calendar)
        else:
            spans = _described(told, calendar.on_or_after(bars[0]), calendar)
            rows += _overridden(meanings, spans, calendar)
    identity.link(found, calendar)
    for holder in found:
        rows += _held(holder, calendar)
    rows = _of_one_source(rows, raw_instruments, prefer)
    plain = [h.instrument_id for h in found if h.number == 1 and not h.closed and h.first is None]
    known = _merge(pl.DataFrame(rows, schema=table.schema()), previous, plain)
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


def bar_dates(bars: pl.LazyFrame, raw_instruments: pl.DataFrame) -> pl.DataFrame:
    """``source, symbol, date``: what ``clean`` needs of the bars in ``raw.prices``: every date of the
    symbols that may be renamed or reused, the first and the last of the others."""
    by = ["source", "symbol"]
    ends = bars.group_by(by).agg(pl.col("date").min(), pl.col("date").max().alias("_last"))
    known = ends.collect().sort(by)
    open_ = identity.doubtful(raw_instruments, known)
    last = known.select(*by, pl.col("_last").alias("date"))
    parts = [known.select(*by, "date"), last]
    if open_.height:
        parts.append(bars.join(open_.lazy(), on=by, how="semi").select(*by, "date").collect())
    return pl.concat(parts).unique().sort(*by, "date")


def overrides_hash(path: Path) -> str:
    """16 hex digits over what ``path`` says; "" where it is not there."""
    rows = read_overrides(path)
    return content_hash(rows.write_csv().encode()) if rows.height else ""


def _days(keys: pl.DataFrame) -> dict[tuple[str, str], list[date]]:
    """Dates of the bars of each source and symbol, ascending, each once."""
    day = "first_date" if "first_date" in keys.columns else "date"
    grouped = keys.group_by("source", "symbol").agg(pl.col(day).unique().sort().alias("days"))
    return {(s, n): d for s, n, d in grouped.select("source", "symbol", "days").iter_rows()}


def _described(
    versions: Sequence[identity.Version], begin: date, calendar: TradingCalendar
) -> list[dict[str, Any]]:
    """One row per description that differs from the one before."""
    spans: list[dict[str, Any]] = []
    for row in versions:
        body = {n: row.get(n) for n in _DESCRIPTION}
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


def _held(holder: identity.Holder, calendar: TradingCalendar) -> list[dict[str, Any]]:
    """The rows of one holder of a symbol: its descriptions, as long as it held it."""
    spans = _described(holder.versions, calendar.on_or_after(holder.days[0]), calendar)
    if holder.closed:
        last = holder.days[-1]
        spans = [s for s in spans if s["valid_from"] <= last]
        spans[-1]["valid_to"] = last
    if holder.known is not None:
        for span in spans:
            span["known_at"] = max(span["known_at"] or holder.known, holder.known)
            span["known_at"] = max(span["known_at"], calendar.known_at(span["valid_from"]))
    return [{**s, "instrument_id": holder.instrument_id} for s in spans]


def _overridden(
    meanings: pl.DataFrame, spans: list[dict[str, Any]], calendar: TradingCalendar
) -> list[dict[str, Any]]:
    """What ``instruments.csv`` says a symbol means, each with the descriptions of its time."""
    begin = spans[0]["valid_from"]
    out = []
    for row in meanings.sort("valid_from", nulls_last=False).iter_rows(named=True):
        start = begin if row["valid_from"] is None else calendar.on_or_after(row["valid_from"])
        inside = [
            s
            for s in spans
            if row["valid_to"] is None or s["valid_from"] <= row["valid_to"]
            if s["valid_to"] is None or s["valid_to"] >= start
        ]
        for i, span in enumerate(inside or spans[:1]):
            ends = [
                d for d in (span["valid_to"] if inside else None, row["valid_to"]) if d is not None
            ]
            out.append(
                {
                    **span,
                    **{n: row[n] for n in _OVERRULED if row.get(n) is not None},
                    "instrument_id": row["instrument_id"],
                    "valid_from": start if i == 0 else span["valid_from"],
                    "valid_to": min(ends, default=None),
                    "known_at": None if i == 0 else span["known_at"],
                }
            )
    return out


def _of_one_source(
    rows: list[dict[str, Any]], raw_instruments: pl.DataFrame, prefer: str | None
) -> list[dict[str, Any]]:
    """Of several sources that describe an instrument or a symbol: ``prefer``, else the one that came
    last."""
    arrived = dict(raw_instruments.group_by("source").agg(pl.col("fetched_at").min()).iter_rows())
    newest: dict[tuple[str, object], object] = {}
    for row in sorted(
        rows, key=lambda r: (r["source"] == prefer, arrived[r["source"]], str(r["source"]))
    ):
        for name in ("instrument_id", "symbol"):
            newest[name, row[name]] = row["source"]
    return [
        r for r in rows if all(newest[n, r[n]] == r["source"] for n in ("instrument_id", "symbol"))
    ]


def _merge(rows: pl.DataFrame, previous: pl.DataFrame | None, plain: Sequence[str]) -> pl.DataFrame:
    """``rows`` with the first validity of known instruments kept (of those that hold one symbol and
    always did), and forgotten ones appended."""
    if previous is None or not previous.height:
        return rows
    begun = previous.group_by("instrument_id").agg(pl.col("valid_from").min().alias("_begun"))
    by_id = rows.group_by("instrument_id").agg(pl.col("valid_from").min().alias("_first"))
    several = rows.group_by("source", "symbol").agg(pl.col("instrument_id").n_unique().alias("n"))
    reused = several.filter(pl.col("n") > 1).join(rows, on=["source", "symbol"])["instrument_id"]
    alone = pl.col("instrument_id").is_in(sorted(set(plain) - set(reused)))
    rows = (
        rows.join(begun, on="instrument_id", how="left", maintain_order="left")
        .join(by_id, on="instrument_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(alone & (pl.col("valid_from") == pl.col("_first")))
            .then(pl.min_horizontal("valid_from", "_begun"))
            .otherwise("valid_from")
            .alias("valid_from")
        )
        .drop("_begun", "_first")
    )
    forgotten = previous.join(rows.select("instrument_id"), on="instrument_id", how="anti").join(
        rows.select("source", "symbol"), on=["source", "symbol"], how="anti"
    )
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
    return identified(frame, instruments).drop("identified_at", "renamed")


def identified(frame: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """``identify``, with ``identified_at`` and ``renamed``.

    identified_at: the instant from which it could be told what the symbol means on the date; null
        where the symbol never meant anything else.
    renamed: where no instrument has the symbol on the date because the one that it belongs to had
        another symbol then: that instrument.
    """
    by = ["source", "symbol"]
    spans = instruments.select(*by, "instrument_id", "valid_from", "valid_to", "known_at")
    pairs = spans.select(*by, "instrument_id").unique()
    dated = pairs.filter(
        pl.struct(by).is_duplicated() | pl.col("instrument_id").is_duplicated()
    ).select(by)
    one = pairs.join(dated, on=by, how="anti")
    out = frame.join(one, on=by, how="left", maintain_order="left")
    many = spans.join(dated.unique(), on=by, how="semi")
    if not many.height:
        never = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
        nobody = pl.lit(None, dtype=pl.String)
        return out.with_columns(never.alias("identified_at"), nobody.alias("renamed"))
    holds = (pl.col("date") >= pl.col("valid_from")) & (
        pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to"))
    )
    rows = frame.select(*by, "date").with_row_index("_row").join(dated.unique(), on=by, how="semi")
    hits = (
        rows.join(many, on=by, how="inner")
        .filter(holds)
        .select(
            "_row", pl.col("instrument_id").alias("_id"), pl.col("known_at").alias("identified_at")
        )
        .sort("_row", "_id")
        .unique("_row", keep="first", maintain_order=True)
    )
    other = many.select("instrument_id", "valid_from", "valid_to", pl.col("symbol").alias("_other"))
    elsewhere = (
        rows.join(hits.select("_row"), on="_row", how="anti")
        .join(pairs, on=by, how="inner")
        .join(other, on="instrument_id", how="inner")
        .filter(holds & (pl.col("_other") != pl.col("symbol")))
        .group_by("_row")
        .agg(pl.col("instrument_id").min().alias("renamed"))
    )
    return (
        out.with_row_index("_row")
        .join(hits, on="_row", how="left", maintain_order="left")
        .join(elsewhere, on="_row", how="left", maintain_order="left")
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
    classes, inverted intervals, intervals of one symbol that overlap.
    """
    text = inputs.read(path, OVERRIDES, [("symbol",), ("instrument_id",)])
    faults = [
        f"row {i}: {name} is empty"
        for name in ("symbol", "instrument_id")
        for i in (text[name].is_null().arg_true() + 2).to_list()
    ]
    out = inputs.typed(text, OVERRIDES, faults)
    faults += [
        f"row {i + 2}: asset_class {v!r} is not one of {', '.join(_CLASSES)}"
        for i, v in enumerate(out["asset_class"])
        if v is not None and v not in _CLASSES
    ]
    inverted = out.select((pl.col("valid_to") < pl.col("valid_from")).fill_null(value=False))
    faults += [
        f"row {i + 2}: valid_to {out['valid_to'][i]} is before valid_from {out['valid_from'][i]}"
        for i in inverted.to_series().arg_true().to_list()
    ]
    ordered = out.sort("symbol", "valid_from", nulls_last=False)
    before = pl.col("valid_to").fill_null(date.max).shift(1).over("symbol")
    clash = ordered.filter(pl.col("valid_from").fill_null(date.min) <= before)
    faults += [
        f"symbol {s!r}: two rows hold on the same day" for s in clash["symbol"].unique().sort()
    ]
    inputs.refuse(path, faults)
    return out
