"""Which version of a raw bar may be used: the rules that look at one row.

What they say in words is in ``rules``; what they reject goes to ``clean.quarantine``.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import quarantine, raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.effective import RATE

ENDED = ("ended", "told_at")
"""Columns of a stated delisting: its last session, and when that was told."""
FIELDS = ["open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio"]
"""What a vendor says of a bar."""
EMPTY = (
    pl.all_horizontal(pl.col(FIELDS[:6]).is_null())
    & (pl.col("dividend").fill_null(0.0) == 0)
    & (pl.col("split_ratio").fill_null(1.0) == 1)
)
"""A day without a bar, as vendors with events list it too."""


def judge(frame: pl.DataFrame, symbols: pl.Series, now: datetime) -> pl.DataFrame:
    """``frame`` with ``rule``: name of the first rule that a version breaks; null when it may be used.

    frame: versions with ``instrument_id, known_at, close_at, slot``, the columns of ``quarantine.freed``,
    and ``ENDED`` where a delisting is stated. symbols: those that have an instrument.
    """
    now = now.astimezone(UTC)
    close, adj = pl.col("close"), pl.col("adj_close")
    split, dividend = pl.col("split_ratio"), pl.col("dividend")
    nobody = pl.col("instrument_id").is_null()
    sources = frame["source"].unique()
    found = {
        "renamed_symbol_overlap": nobody & pl.col("renamed").is_not_null(),
        "other_source": nobody & pl.col("symbol").is_in(symbols.implode()) & (len(sources) > 1),
        "unknown_instrument": nobody,
        "not_a_session": pl.col("slot").is_null(),
        "future_date": (pl.col("fetched_at") < pl.col("close_at")) | (pl.col("known_at") > now),
        "no_close": close.is_null() | close.is_nan(),
        "not_finite": close.is_infinite() | adj.is_infinite() | adj.is_nan(),
        "non_positive_price": (close <= 0) | (adj <= 0),
        "bad_split": (split <= 0) | ~split.is_finite(),
        "bad_dividend": (dividend < 0)
        | ~dividend.is_finite()
        | ((dividend >= close) & split.is_null()),  # with events: judged on its ex-day
    }
    if RATE in frame.columns:
        found["no_fx"] = pl.col(RATE).is_null()
    if "ended" in frame.columns:
        found["after_delisting"] = pl.col("date") > pl.col("ended")
    # a date after the run is in the future first of all, whether a session or not
    late = pl.when(pl.col("date") > now.date()).then(pl.lit("future_date"))
    free = {name: pl.col(quarantine.freed(name)).is_null() for name in quarantine.RELEASABLE}
    rule = pl.coalesce(
        late,
        *(
            pl.when(broken & free.get(name, True)).then(pl.lit(name))
            for name, broken in found.items()
        ),
    )
    return frame.with_columns(rule.alias("rule"))


def rejected(
    bad: pl.DataFrame, raw_prices: pl.DataFrame, calendar: TradingCalendar
) -> pl.DataFrame:
    """Rows of ``clean.quarantine``: ``bad`` (raw rows with their ``rule``), each known when its version,
    or what condemned it (``told_at``), was known."""
    if not bad.height:
        return contract("clean.quarantine").empty()
    key = ["source", "symbol", "date", "fetched_at"]
    bad = bad.with_columns(
        pl.lit(None, dtype=d).alias(n)
        for n, d in (("detail", pl.String()), ("told_at", pl.Datetime("us", "UTC")))
        if n not in bad.columns
    )
    versions = raw_prices.join(
        bad.select("source", "symbol").unique(), on=["source", "symbol"], how="semi"
    )
    known = raw.with_known_at(versions, calendar).select(*key, "known_at")
    detail = pl.format(
        "close {}, adj_close {}, split {}, dividend {}",
        *(
            pl.col(n).cast(pl.String).fill_null("none")
            for n in ("close", "adj_close", "split_ratio", "dividend")
        ),
    )
    return quarantine.collect(
        bad.drop("known_at")
        .join(known, on=key, how="left", maintain_order="left")
        .with_columns(
            pl.lit("raw.prices").alias("table"),
            pl.coalesce("detail", detail).alias("detail"),
            pl.max_horizontal("known_at", "told_at").alias("known_at"),
        )
    )
