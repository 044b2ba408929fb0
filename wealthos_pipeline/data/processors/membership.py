"""Who belonged to a universe when. Names that left keep their interval: a universe of the past is
made of those who were members then."""

from __future__ import annotations

import logging
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.data.processors.instruments import normalised
from wealthos_pipeline.utils.logging import get_logger


def assumed_known_at(frame: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """``frame`` (``start``) with ``known_at``: the open of the first session in."""
    days = frame["start"].unique().drop_nulls()
    opens = pl.DataFrame(
        {"start": days, "known_at": [calendar.open_at(d) for d in days]},
        schema={"start": pl.Date, "known_at": pl.Datetime("us", "UTC")},
    )
    return frame.join(opens, on="start", how="left", maintain_order="left")


def judged(raw_membership: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The intervals of one delivery that can be used, and the others as rows of ``raw.rejected``.

    raw_membership: rows of ``raw.membership`` of one fetch. An interval that ends before it starts is
    refused; of two of one source, universe and name (in any spelling) that hold on one day, the one
    that begins later (with one beginning: that ends first).
    """
    kept, inverted, overlapping = _split(raw_membership)
    rejected = pl.concat(
        [inverted.with_columns(_rule=pl.lit("inverted_membership")),
         overlapping.with_columns(_rule=pl.lit("overlapping_membership"))],
        how="diagonal",
    )  # fmt: skip
    table = contract("raw.rejected")
    if not rejected.height:
        return raw_membership, table.empty()
    _log().warning(
        "%d intervals of membership end before they start or overlap: not used, see quarantine",
        rejected.height,
    )
    rows = rejected.select(
        pl.lit("raw.membership").alias("table"),
        "source",
        "symbol",
        pl.col("start").alias("date"),
        "fetched_at",
        pl.col("_rule").alias("rule"),
        pl.format("{}: {} to {}", "universe", "start", pl.col("end").cast(pl.String).fill_null("now"))
        .alias("detail"),
        pl.col("fetched_at").alias("known_at"),
    ).unique(table.key, keep="first", maintain_order=True)  # fmt: skip
    return kept, table.conform(rows)


def faults(symbol: pl.Series, start: pl.Series, end: pl.Series, first: int) -> list[str]:
    """What is wrong with the intervals of a file, one sentence a fault, with row numbers.

    end: last day in; null while in. first: number of the first row as people count it. The same
    interval written twice is no fault, one of no day (the day before ``start``) neither.
    """
    rows = pl.DataFrame({"symbol": symbol, "start": start, "end": end}).with_row_index("row", first)
    known = rows.drop_nulls(["symbol", "start"])
    words = pl.format("row {}: {} {} through {}", "row", "symbol", "start",
                      pl.col("end").cast(pl.String).fill_null("now"))  # fmt: skip
    out = []
    gap = (pl.col("start") - pl.col("end")).dt.total_days()
    for row in known.filter(gap > 1).select(words).to_series():
        out.append(f"the end is before the start: {row}")
    there = known.filter((gap < 1) | pl.col("end").is_null()).unique(
        ["symbol", "start", "end"], keep="first", maintain_order=True
    )
    ordered = there.with_columns(_name=normalised(pl.col("symbol")), _words=words).sort(
        "_name", "start", "row"
    )
    clash = ordered.with_columns(
        _last=pl.col("end").fill_null(date.max).cum_max().shift(1).over("_name"),
        _before=pl.col("_words").shift(1).over("_name"),
    ).filter(pl.col("_last") >= pl.col("start"))
    for row, before in clash.select("_words", "_before").iter_rows():
        out.append(f"two intervals of one name overlap: {before}, and {row}")
    return out


def _split(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Usable, inverted and overlapping intervals, by source, universe and normalised symbol."""
    backwards = (pl.col("end") < pl.col("start")).fill_null(value=False)
    by = ["source", "universe", "_name"]
    ends = pl.col("end").fill_null(date.max)
    ordered = (
        rows.filter(~backwards)
        .with_columns(normalised(pl.col("symbol")).alias("_name"), ends.alias("_end"))
        .sort(*by, "start", "_end", "symbol", descending=[False] * 4 + [True, False])
        .with_columns(pl.col("_end").cum_max().shift(1).over(by).alias("_last"))
        .with_columns((pl.col("_last") >= pl.col("start")).fill_null(value=False).alias("_clash"))
    )
    if ordered.select((pl.col("_clash").cast(pl.Int32).sum().over(by) > 1).any()).item():
        ordered = _one_by_one(ordered, by)
    good = ordered.filter(~pl.col("_clash")).select(rows.columns)
    return good, rows.filter(backwards), ordered.filter(pl.col("_clash")).select(rows.columns)


def _one_by_one(ordered: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """``_clash`` against intervals that are themselves used only."""
    clash, last, name = [], date.min, None
    for *here, start, end in ordered.select(*by, "start", "_end").iter_rows():
        if here != name:
            last, name = date.min, here
        clash.append(start <= last)
        if start > last:
            last = end
    return ordered.with_columns(pl.Series("_clash", clash, dtype=pl.Boolean))


def clean(
    raw_membership: pl.DataFrame, instruments: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """``clean.membership``: intervals of instruments that have bars, in sessions.

    raw_membership: all versions; intervals that the newest delivery of their universe lacks stay with
        ``withdrawn_at``: they stood until then. Of intervals of one name that overlap the first counts (``judged`` refuses others
        when they come).
    Symbols are matched by spelling first and by ``normalised`` spelling then, of several holders of a
    symbol that of the interval's first day; symbols without an instrument have no row (``unmatched``
    counts them). An interval that contains no session has none either. Intervals of several symbols of
    one instrument that overlap are one. The start is known at its open, an end on its day; where it was
    told later, the days between are an interval of their own that was withdrawn then.
    """
    table = contract("clean.membership")
    stamped = raw.with_known_at(raw_membership, calendar, "raw.membership").with_columns(
        pl.col("known_at").alias("withdrawn_at"),
        # versions of an interval differ by its end, which is taken as known on its day
        pl.col("known_at").min().over(raw.identity(contract("raw.membership"))),
    )
    latest = raw.latest(stamped, contract("raw.membership"))
    gone = pl.col("withdrawn").fill_null(value=False)
    newest = latest.filter(~gone).with_columns(withdrawn_at=None)
    kept, inverted, overlapping = _split(newest)
    for lost, words in ((inverted, "end before they start"), (overlapping, "overlap others")):
        if lost.height:
            names = ", ".join(lost["symbol"].unique().sort().head(5))
            _log().warning(
                "%d intervals of membership %s: not used (%s)", lost.height, words, names
            )
    standing = _united(_in_sessions(kept, instruments, calendar))
    withdrawn = _in_sessions(_split(latest.filter(gone))[0], instruments, calendar)
    tails = _in_sessions(_cut_late(stamped, calendar), instruments, calendar)
    withdrawn = pl.concat([tails, withdrawn])
    key = list(table.key)
    withdrawn = withdrawn.join(standing, on=key, how="anti").sort(*key, "withdrawn_at")
    once = withdrawn.unique(key, keep="last", maintain_order=True)
    return table.conform(pl.concat([standing, once]))


def _cut_late(stamped: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame:
    """Days after an end that was told when it had passed: until then they were taken for days in. As
    intervals from the day after the end on, withdrawn by the delivery that told it.

    stamped: all versions with ``withdrawn_at``, the instant from which each was known.
    """
    key = raw.identity(contract("raw.membership"))
    end, ever = pl.col("end"), pl.lit(date.max)
    rows = stamped.filter(~pl.col("withdrawn").fill_null(value=False)).sort(*key, raw.STAMP)
    rows = rows.with_columns(
        end.fill_null(ever).shift(1).over(key).alias("_before"),
        (end + pl.duration(days=1)).alias("start"),
    ).filter((end < pl.col("_before")) & (end < pl.col("withdrawn_at").dt.date()))
    before = pl.when(pl.col("_before") < ever).then("_before")
    return (
        assumed_known_at(rows.drop("known_at"), calendar)
        .with_columns(before.alias("end"))
        .filter(pl.col("known_at") < pl.col("withdrawn_at"))
        .select(stamped.columns)
    )


def _in_sessions(
    members: pl.DataFrame, instruments: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """Intervals of ``clean.membership`` that contain a session, of symbols that have an instrument."""
    rows = [
        {
            **row,
            "valid_from": calendar.on_or_after(row["start"]),
            "valid_to": None if row["end"] is None else calendar.date_of(calendar.slot(row["end"])),
        }
        for row in _matched(members, instruments).iter_rows(named=True)
        if row["instrument_id"] is not None
    ]
    schema = contract("clean.membership").schema()
    return pl.DataFrame(
        [{n: r[n] for n in schema} for r in rows], schema=schema, orient="row"
    ).filter(pl.col("valid_to").is_null() | (pl.col("valid_to") >= pl.col("valid_from")))


def _united(frame: pl.DataFrame) -> pl.DataFrame:
    """Intervals of one universe and instrument that share a day as one: from the first start to the
    last end, with source and ``known_at`` of the first."""
    by = ["universe", "instrument_id"]
    ends = pl.col("valid_to").fill_null(date.max).alias("_end")
    ordered = frame.with_columns(ends).sort(*by, "valid_from", "known_at", "_end", "source")
    apart = pl.col("_end").cum_max().shift(1).over(by) < pl.col("valid_from")
    grouped = ordered.with_columns(apart.fill_null(value=True).cum_sum().over(by).alias("_span"))
    out = grouped.group_by(*by, "_span", maintain_order=True).agg(
        *(pl.col(n).first() for n in ("valid_from", "source", "withdrawn_at", "known_at")),
        pl.col("_end").max(),
    )
    open_ = pl.col("_end") == date.max
    return out.with_columns(pl.when(~open_).then("_end").alias("valid_to")).select(frame.columns)


def unmatched(raw_membership: pl.DataFrame, instruments: pl.DataFrame) -> list[str]:
    """Member symbols that no instrument has: their returns are missing (survivorship)."""
    lost = _matched(raw_membership, instruments).filter(pl.col("instrument_id").is_null())
    return lost["symbol"].unique().sort().to_list()


def _matched(members: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """``members`` with ``instrument_id``: who had the symbol on the first day of the interval, else
    the next to have it, else the last that had."""
    spans = instruments.with_columns(_name=normalised(pl.col("symbol")))
    rows = members.with_row_index("_row").with_columns(_name=normalised(pl.col("symbol")))
    exact = _holder(rows, spans, "symbol")
    loose = _holder(rows, spans, "_name")
    return (
        rows.join(exact, on="_row", how="left", maintain_order="left")
        .join(loose.rename({"instrument_id": "_id"}), on="_row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("instrument_id", "_id").alias("instrument_id"))
        .drop("_name", "_id", "_row")
    )


def _holder(rows: pl.DataFrame, spans: pl.DataFrame, by: str) -> pl.DataFrame:
    held = spans.select(by, "instrument_id", "valid_from", "valid_to")
    found = rows.select("_row", by, "start").join(held, on=by, how="inner")
    begun = pl.col("valid_from") <= pl.col("start")
    over = (pl.col("valid_to") < pl.col("start")).fill_null(value=False)
    rank = pl.when(begun & ~over).then(0).when(~begun).then(1).otherwise(2)
    away = (pl.col("valid_from") - pl.col("start")).dt.total_days().abs()
    return (
        found.with_columns(rank.alias("_rank"), away.alias("_away"))
        .sort("_row", "_rank", "_away", "instrument_id")
        .unique("_row", keep="first", maintain_order=True)
        .select("_row", "instrument_id")
    )


def _log() -> logging.Logger:
    return get_logger("membership")


def universe(prices: pl.DataFrame, membership: pl.DataFrame, name: str = "default") -> pl.DataFrame:
    """``date, instrument_id``: the rows of ``prices`` that were in universe ``name`` on their date.

    Everything when the universe has no membership rows. Intervals that the source took back are not
    counted; for what stood at an instant read ``membership`` as of it. A terminal bar of a delisting
    is never in it, where ``prices`` has ``flags``.
    """
    rows = traded(prices).select("date", "instrument_id").sort("date", "instrument_id")
    if "withdrawn_at" in membership.columns:
        membership = membership.filter(pl.col("withdrawn_at").is_null())
    spans = membership.filter(pl.col("universe") == name).select(
        "instrument_id", "valid_from", "valid_to"
    )
    if not spans.height:
        return rows
    return (
        rows.join(spans, on="instrument_id", how="inner")
        .filter(
            (pl.col("date") >= pl.col("valid_from"))
            & (pl.col("valid_to").is_null() | (pl.col("date") <= pl.col("valid_to")))
        )
        .select("date", "instrument_id")
        .unique()
        .sort("date", "instrument_id")
    )


def traded(prices: pl.DataFrame) -> pl.DataFrame:
    """``prices`` without the terminal bars of delistings; all of it where there are no ``flags``."""
    if "flags" not in prices.columns:
        return prices
    return prices.filter((pl.col("flags") & int(Flag.TERMINAL)) == 0)
