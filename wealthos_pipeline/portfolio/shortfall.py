"""Implementation shortfall: what a decision lost on its way to the market.

Perold, "The Implementation Shortfall: Paper versus Reality", Journal of Portfolio Management 14(3), 1988.
The paper portfolio trades the whole order at the decision's price for nothing; the difference to what
was done is split, for X shares ordered (+ to buy, − to sell), x_j executed at p_j, decision price P_d, arrival
price P_a and last price P_e:

- delay:       ``Σ x_j (P_a − P_d)``
- execution:   ``Σ x_j (p_j − P_a)``, spread and impact
- fees
- opportunity: ``(X − Σ x_j) (P_e − P_d)``

Their sum is the paper's gain less the real one. Arrival is the open of the session after the decision; where that is
not known, delay is null and execution is measured from the decision's price. Shares and prices are in
those of the decision's day: splits since are undone, and dividends with an ex-date since are added to
every later price, as the paper portfolio would have got them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar

WINDOW = 5
"""Sessions after its decision in which an order is worked; what is not done then is not done."""
DONE = 1e-6
"""Shares short of the order at which it counts as filled."""


@dataclass(frozen=True)
class _Bar:
    """One session in shares of the decision's day: open and close with the dividends since."""

    session: date
    ratio: float
    dividends: float
    open: float | None
    close: float | None


def shortfall(
    orders: pl.DataFrame,
    fills: pl.DataFrame,
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    end: date,
) -> pl.DataFrame:
    """``portfolio.shortfall``: every order with a fill in its list, at each close until it is done.

    orders: the last version of each of ``record.orders``. fills: ``clean.fills``. prices: ``instrument_id, date, open,
    close, dividend, split_index`` of the names, from the first decision on. An order is done when it is filled, and at
    ``WINDOW`` sessions after its decision or the session of the mandate's next list, whichever is first. Lists
    without any fill give no rows: nobody knows whether they were sent.
    """
    table = contract("portfolio.shortfall")
    worked = fills.select("mandate", "date").unique()
    lists = orders.filter(pl.col("shares") > 0)
    days = {
        m: sorted(rows["date"].unique().to_list())
        for (m,), rows in lists.group_by("mandate", maintain_order=True)
    }
    bars = {
        n: g
        for (n,), g in prices.sort("instrument_id", "date").group_by(
            "instrument_id", maintain_order=True
        )
    }
    done: dict[str, list[dict[str, object]]] = {}
    for row in fills.sort("time", "fill_id").iter_rows(named=True):
        done.setdefault(str(row["order_id"]), []).append(row)
    out: list[dict[str, object]] = []
    chosen = lists.join(worked, on=["mandate", "date"], how="semi").sort(
        "mandate", "date", "order_id"
    )
    for order in chosen.iter_rows(named=True):
        later = [d for d in days[order["mandate"]] if d > order["date"]]
        last = calendar.offset(order["date"], WINDOW)
        last = min([last, *later[:1]])
        own = bars.get(order["instrument_id"], prices.clear())
        out += _order(order, done.get(order["order_id"], []), own, calendar, last, end)
    return table.conform(pl.DataFrame(out, schema=table.schema()))  # fmt: skip


def _order(
    order: dict[str, object],
    fills: list[dict[str, object]],
    own: pl.DataFrame,
    calendar: TradingCalendar,
    last: date,
    end: date,
) -> Iterator[dict[str, object]]:
    """The rows of one order, one a session after its decision."""
    decided, side = _date(order["date"]), str(order["side"])
    sign = 1.0 if side == "buy" else -1.0
    ordered, price = _float(order["shares"]), _float(order["price"])
    known = {b.session: b for b in _bars(own, decided)}
    ratio, dividends, close = 1.0, 0.0, price
    arrival: float | None = None
    filled = paid = fees = slip = 0.0
    session, first = calendar.offset(decided, 1), True
    while session <= min(last, end):
        bar = known.get(session)
        if bar is not None:
            ratio, dividends = bar.ratio, bar.dividends
            close = bar.close if bar.close is not None else close
            if first:
                arrival = bar.open
        for f in fills:
            if f["session"] != session:
                continue
            shares, at = _float(f["shares"]) / ratio, _float(f["price"]) * ratio + dividends
            filled += shares
            paid += shares * _float(f["price"]) * ratio
            slip += shares * (at - price)
            fees += _float(f["fees"])
        delay = None if arrival is None else sign * filled * (arrival - price)
        execution = sign * slip - (delay or 0.0)
        opportunity = sign * (ordered - filled) * (close - price)
        complete = ordered - filled <= DONE
        if complete:
            opportunity = 0.0
        yield {
            "mandate": order["mandate"], "date": decided, "until": session,
            "order_id": order["order_id"], "instrument_id": order["instrument_id"], "side": side,
            "ordered": ordered, "filled": filled, "decision_price": price, "arrival_price": arrival,
            "average_price": paid / filled if filled else None, "last_price": close,
            "delay": delay, "execution": execution, "fees": fees, "opportunity": opportunity,
            "total": (delay or 0.0) + execution + fees + opportunity, "modelled": order["cost"],
            "done": complete or session == last, "known_at": calendar.known_at(session),
        }  # fmt: skip
        if complete:
            return
        session, first = calendar.offset(session, 1), False


def _bars(own: pl.DataFrame, decided: date) -> Iterator[_Bar]:
    """Bars after the decision, in shares of its day."""
    base: float | None = None
    paid = 0.0
    for day, opened, close, dividend, split in own.select(
        "date", "open", "close", "dividend", "split_index"
    ).iter_rows():
        if day <= decided:
            base = split
            continue
        ratio = split / base if base else 1.0
        paid += (dividend or 0.0) * ratio
        yield _Bar(
            day,
            ratio,
            paid,
            None if opened is None else opened * ratio + paid,
            None if close is None else close * ratio + paid,
        )


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """Totals by order list, from each order's last row of ``portfolio.shortfall``: for people and the report.

    Columns: mandate, date, until, orders, filled (share of the ordered value), value (ordered, currency), delay, execution,
    fees, opportunity, total, modelled, ``total_bp`` and ``modelled_bp`` (of the ordered value), done. delay counts 0 where
    it is not known; execution has it then.
    """
    last = rows.sort("until").unique("order_id", keep="last", maintain_order=True)
    value = pl.col("ordered") * pl.col("decision_price")
    money = ("delay", "execution", "fees", "opportunity", "total", "modelled")
    grouped = (
        last.sort("mandate", "date", "order_id")
        .group_by("mandate", "date", maintain_order=True)
        .agg(
            pl.col("until").max(),
            pl.len().cast(pl.Int32).alias("orders"),
            ((pl.col("filled") * pl.col("decision_price")).sum() / value.sum()).alias("filled"),
            value.sum().alias("value"),
            *(pl.col(name).fill_null(0.0).sum() for name in money),
            pl.col("done").all(),
        )
    )
    return grouped.with_columns(
        (1e4 * pl.col("total") / pl.col("value")).alias("total_bp"),
        (1e4 * pl.col("modelled") / pl.col("value")).alias("modelled_bp"),
    )


def _float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]


def _date(x: object) -> date:
    if not isinstance(x, date):
        raise TypeError(f"{x!r} is not a date")
    return x
