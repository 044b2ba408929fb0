"""What is held now, as far as it is known: the last statement and what was executed since."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.data.processors.holdings import CASH

COLUMNS = {
    "instrument_id": pl.String(), "stated": pl.Float64(), "traded": pl.Float64(), "units": pl.Float64(),
    "price": pl.Float64(), "price_date": pl.Date(), "value": pl.Float64(), "weight": pl.Float64(),
}  # fmt: skip


def implied(
    holdings: pl.DataFrame, fills: pl.DataFrame, prices: pl.DataFrame, day: date
) -> tuple[date | None, pl.DataFrame]:
    """The statement's date (None without one), and what it and the fills since give at the close of ``day``.

    holdings, fills: rows of one mandate. prices: ``instrument_id, date, close, split_index`` of the names, from the
    statement on. Columns: stated (units of the statement, in shares of ``day``), traded (executed since),
    units, price, value, weight; cash is a row. Names without a price have no value and no weight.
    """
    rows = holdings.filter(pl.col("date") <= day)
    since = rows["date"].max()
    if not isinstance(since, date):
        return None, pl.DataFrame(schema=COLUMNS)
    units = dict(rows.filter(pl.col("date") == since).select("instrument_id", "units").iter_rows())
    done = fills.filter((pl.col("session") > since) & (pl.col("session") <= day))
    bars = prices.filter(pl.col("date") <= day).sort("instrument_id", "date")
    splits = {
        name: list(own.select("date", "split_index").iter_rows())
        for (name,), own in bars.group_by("instrument_id", maintain_order=True)
    }
    last = {n: (d, c) for n, d, c in bars.select("instrument_id", "date", "close").iter_rows()}
    traded: dict[str, float] = {}
    cash = 0.0
    for name, side, session, shares, price, fees in (
        done.sort("time", "fill_id")
        .select("instrument_id", "side", "session", "shares", "price", "fees")
        .iter_rows()
    ):
        sign = 1.0 if side == "buy" else -1.0
        now = _ratio(splits.get(name, []), session)
        traded[name] = traded.get(name, 0.0) + sign * shares * now
        cash -= sign * shares * price + fees
    out = []
    for name in sorted({*units, *traded} - {CASH}):
        stated = units.get(name, 0.0) * _ratio(splits.get(name, []), since)
        both = stated + traded.get(name, 0.0)
        when, price = last.get(name, (None, None))
        out.append(
            (
                name,
                stated,
                traded.get(name, 0.0),
                both,
                price,
                when,
                None if price is None else both * price,
            )
        )
    money = units.get(CASH, 0.0)
    out.append((CASH, money, cash, money + cash, 1.0, day, money + cash))
    schema = {k: v for k, v in COLUMNS.items() if k != "weight"}
    frame = pl.DataFrame(out, schema=schema, orient="row")
    return since, frame.with_columns((pl.col("value") / pl.col("value").sum()).alias("weight"))


def _ratio(splits: list[tuple[date, float]], since: date) -> float:
    """New shares a share of ``since`` today; 1 where that is not known."""
    then = [index for day, index in splits if day <= since]
    if not then:
        return 1.0
    return splits[-1][1] / then[-1]
