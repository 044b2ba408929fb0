"""How well the supplied positions can be priced, and what became of those that were delisted.

A position whose last bar is some sessions old is listed and kept at that price. One that was delisted
with a stated return (``delistings``) has a terminal bar: holders were paid, and ``settled`` puts
the money in its place. Without a stated return nobody knows what holders got: it is listed with the
day of its last price.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.data.processors.holdings import CASH

PRICED, STALE, SETTLED, DELISTED, UNPRICED = "priced", "stale", "settled", "delisted", "unpriced"
WANTED = ("instrument_id", "date", "slot", "close", "split_index", "flags")
"""Columns of ``clean.prices`` that are read."""


def latest(holdings: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows of each mandate's last statement on or before ``day``."""
    rows = holdings.filter(pl.col("date") <= day)
    return rows.filter(pl.col("date") == pl.col("date").max().over("mandate"))


def priced(
    holdings: pl.DataFrame,
    prices: pl.DataFrame,
    gaps: pl.DataFrame,
    day: date,
    calendar: TradingCalendar,
    *,
    stale: int = 5,
) -> pl.DataFrame:
    """``clean.holdings_prices``: every position of each mandate's last statement, at the close of ``day``.

    prices: ``WANTED`` of the names held. gaps: ``clean.gaps``, whose kind ``delisting`` tells that a name has
    ended. stale: sessions beyond which a price is called stale, at the statement's date or on ``day``.
    """
    table = contract("clean.holdings_prices")
    rows = latest(holdings, day).filter(
        (pl.col("instrument_id") != CASH) & (pl.col("units") != 0.0)
    )
    bars = prices.filter(pl.col("date") <= day).sort("instrument_id", "date")
    ended = gaps.filter((pl.col("kind") == "delisting") & (pl.col("date") <= day))
    ends = dict(ended.sort("date").select("instrument_id", "date").iter_rows())
    out = []
    grouped = {n: g for (n,), g in bars.group_by("instrument_id", maintain_order=True)}
    for mandate, since, name, units in rows.select(
        "mandate", "date", "instrument_id", "units"
    ).iter_rows():
        own = grouped.get(name)
        then = own.filter(pl.col("date") <= since) if own is not None else None
        out.append(
            {
                "mandate": mandate, "date": day, "instrument_id": name, "statement": since,
                "known_at": calendar.known_at(day),
                **_state(name, since, units, own, then, ends.get(name), day, calendar, stale),
            }
        )  # fmt: skip
    return table.conform(pl.DataFrame(out, schema=table.schema()))


def _state(
    name: str,
    since: date,
    units: float,
    own: pl.DataFrame | None,
    then: pl.DataFrame | None,
    ended: date | None,
    day: date,
    calendar: TradingCalendar,
    stale: int,
) -> dict[str, object]:
    """Price, age and words of one position. ended: first session without a bar of a name that has ended."""
    if own is None:
        said = f"{name}: no price is known, so the portfolio cannot be valued"
        return {"units": units, "price": None, "price_date": None, "sessions_old": None,
                "sessions_old_then": None, "state": UNPRICED, "words": said}  # fmt: skip
    last = own.row(-1, named=True)
    terminal = bool(last["flags"] & int(Flag.TERMINAL))
    old = calendar.slot(day) - int(last["slot"])
    old_then = None
    split = 1.0
    if then is not None and then.height:
        old_then = calendar.slot(calendar.on_or_after(since)) - int(then["slot"][-1])
        split = float(last["split_index"]) / float(then["split_index"][-1])
    words: str | None = None
    if terminal:
        state = SETTLED
        value = units * split * float(last["close"])
        words = f"{name} was delisted; on {last['date']} holders were paid {value:,.2f}"
        if since >= last["date"]:
            words += f", before the statement of {since}: take it out if its cash has that money"
    elif ended is not None and last["date"] < ended:
        state = DELISTED
        words = f"{name} was delisted: no price since {last['date']}, and what holders got is not stated"
    elif old > stale:
        state, words = STALE, f"{name}: no price since {last['date']}, {old} sessions ago"
    elif old_then is not None and old_then > stale:
        state = STALE
        words = f"{name}: at the statement of {since} its last price was {old_then} sessions old"
    elif then is None or not then.height:
        state, words = STALE, f"{name}: its first price came after the statement of {since}"
    else:
        state = PRICED
    return {
        "units": units * split, "price": float(last["close"]), "price_date": last["date"],
        "sessions_old": old, "sessions_old_then": old_then, "state": state, "words": words,
    }  # fmt: skip


def settled(holdings: pl.DataFrame, checked: pl.DataFrame) -> pl.DataFrame:
    """``holdings`` with the money that holders were paid in the place of delisted names.

    checked: ``clean.holdings_prices``. Only the statements that it is about are changed.
    """
    paid = checked.filter(pl.col("state") == SETTLED)
    if not paid.height:
        return holdings
    keys = ["mandate", "date", "instrument_id"]
    gone = paid.select("mandate", pl.col("statement").alias("date"), "instrument_id")
    money = (
        paid.group_by("mandate", pl.col("statement").alias("date"), maintain_order=True)
        .agg((pl.col("units") * pl.col("price")).sum().alias("units"))
        .with_columns(pl.lit(CASH).alias("instrument_id"))
    )
    kept = holdings.join(gone, on=keys, how="anti")
    stamps = holdings.group_by("mandate", "date").agg(pl.col("known_at").first())
    both = pl.concat(
        [kept, money.join(stamps, on=["mandate", "date"]).select(holdings.columns)]
    ).sort(keys)
    return contract("clean.holdings").conform(
        both.group_by(keys, maintain_order=True).agg(
            pl.col("units").sum(), pl.col("known_at").first()
        )
    )


def warnings(checked: pl.DataFrame) -> Mapping[str, str]:
    """What a person should know of each mandate's positions, in words."""
    said = checked.filter(pl.col("words").is_not_null()).sort("mandate", "instrument_id")
    grouped = said.group_by("mandate", maintain_order=True).agg(pl.col("words").str.join(". "))
    return {m: f"{w}." for m, w in grouped.iter_rows()}
