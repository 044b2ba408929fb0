"""The order list of a decision: rounded, checked against every limit, ready to be sent or with what stands against it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.portfolio import compliance, rounding
from wealthos_pipeline.portfolio.problem import Floats, Problem
from wealthos_pipeline.portfolio.situation import Situation

READY, NOTHING, BREACH, REFUSED = "ready", "nothing", "breach", "refused"
SENDABLE = ("optimal", "softened")
"""Statuses of decisions that become orders."""


@dataclass(frozen=True, eq=False)
class OrderList:
    """Rows of ``portfolio.compliance``, ``portfolio.orders`` and ``portfolio.order_lists`` of one mandate."""

    compliance: pl.DataFrame
    orders: pl.DataFrame
    summary: pl.DataFrame


def order_id(mandate: str, day: date, instrument: str) -> str:
    """Sixteen hexadecimal digits: the same for the same mandate, decision date and instrument."""
    text = f"{mandate}|{day.isoformat()}|{instrument}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refused(mandate: str, day: date, decision: str, message: str | None) -> OrderList:
    """No orders, and why."""
    return OrderList(
        contract("portfolio.compliance").empty(),
        contract("portfolio.orders").empty(),
        _summary({"mandate": mandate, "date": day, "decision": decision, "message": message}),
    )


def make(
    mandate: Mandate,
    s: Situation,
    p: Problem,
    weights: Floats,
    *,
    decision: str,
    reasons: Mapping[str, str],
    message: str | None = None,
    volume: Mapping[str, float] | None = None,
    note: str | None = None,
) -> OrderList:
    """The order list of a decision that was solved.

    weights: n target weights of ``p``. decision: its status. reasons: why it trades, by name.
    message: what the decision says, where it is no reason for orders. volume: average daily dollar
    volume by name, where the situation has none. note: what a person should know of the holdings.
    """
    keys = {"mandate": mandate.name, "run_kind": "live", "date": s.date}
    if decision not in SENDABLE:
        rows = compliance.check(p, p.w0, "held")
        none = refused(mandate.name, s.date, decision, message)
        return OrderList(_keyed(rows, keys, "portfolio.compliance"), none.orders, none.summary)
    price = np.array([s.close.get(i, np.nan) for i in p.ids], dtype=np.float64)
    lot = mandate.lot_size if mandate.lots else 1
    r = rounding.to_lots(p, weights, s.nav, price, lot)
    target = compliance.check(p, weights, "target")
    given = (
        dict(target.filter(~pl.col("passed")).select("limit", "excess").iter_rows())
        if decision == "softened"
        else {}
    )
    step = np.where(r.unrounded != 0, np.nan_to_num(lot * price / s.nav), 0.0)
    paid = float(r.cost.sum()) / s.nav
    final = compliance.check(p, r.weights, "orders", lots=step, given_way=given, paid=paid)
    checked = pl.concat([compliance.check(p, p.w0, "held"), target, final])
    body = _rows(mandate, s, p, weights, r, reasons, s.volume or volume or {})
    sent = body.filter(pl.col("shares") > 0)
    missed = compliance.failed(final)
    sides = {
        side: float(sent.filter(pl.col("side") == side)["value"].sum()) for side in ("buy", "sell")
    }
    state = BREACH if missed and sent.height else READY if sent.height else NOTHING
    said = [f"After rounding {_count_of(missed)} missed: {'; '.join(missed)}."] if missed else []
    summary = {
        "mandate": mandate.name, "date": s.date, "state": state, "decision": decision, "nav": s.nav,
        "cash_before": r.cash_before, "cash_after": r.cash_after, "cash_target": r.cash_target,
        "sells": sides["sell"], "buys": sides["buy"], "cost": float(sent["cost"].sum()),
        "orders": sent.height, "dropped": body.height - sent.height, "breaches": len(missed),
        "message": " ".join([*said, *([note] if note else [])]) or None,
    }  # fmt: skip
    return OrderList(_keyed(checked, keys, "portfolio.compliance"), body, _summary(summary))


def _count_of(missed: Sequence[str]) -> str:
    """``1 limit is``, ``2 limits are``."""
    return "1 limit is" if len(missed) == 1 else f"{len(missed)} limits are"


def _rows(
    mandate: Mandate,
    s: Situation,
    p: Problem,
    weights: Floats,
    r: rounding.Rounded,
    reasons: Mapping[str, str],
    traded_value: Mapping[str, float],
) -> pl.DataFrame:
    """One row a name that the decision trades; sells first, the largest first."""
    traded = np.flatnonzero(r.unrounded)
    value = np.abs(r.shares * np.nan_to_num(r.price))
    ordered = sorted(traded, key=lambda i: (r.unrounded[i] > 0, -value[i], p.ids[i]))
    rows = []
    for place, i in enumerate(ordered, 1):
        name, volume = p.ids[i], traded_value.get(p.ids[i])
        reason = reasons.get(name, "")
        rows.append(
            {
                "mandate": mandate.name, "date": s.date,
                "order_id": order_id(mandate.name, s.date, name), "instrument_id": name,
                "sequence": place, "side": "buy" if r.unrounded[i] > 0 else "sell",
                "shares": float(abs(r.shares[i])), "unrounded_shares": float(abs(r.unrounded[i])),
                "held_shares": float(r.held[i]), "price": float(r.price[i]), "value": float(value[i]),
                "cost": float(r.cost[i]), "weight_before": float(p.w0[i]),
                "target_weight": float(weights[i]), "weight_after": float(r.weights[i]),
                "participation": float(value[i]) / volume if volume else None,
                "reason": "; ".join(x for x in (reason, _left_out(r, int(i))) if x),
            }
        )  # fmt: skip
    table = contract("portfolio.orders")
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def _left_out(r: rounding.Rounded, i: int) -> str:
    return "" if r.shares[i] else "left out: rounding to whole lots, money or the smallest trade"


def fractional(rows: pl.DataFrame) -> pl.DataFrame:
    """Orders without rounding: shares, value, cost and weight of each as it was decided."""
    share = pl.col("unrounded_shares") / pl.col("shares")
    whole = pl.col("shares") > 0
    return rows.with_columns(
        pl.col("unrounded_shares").alias("shares"),
        (pl.col("unrounded_shares") * pl.col("price")).alias("value"),
        pl.when(whole).then(pl.col("cost") * share).alias("cost"),
        pl.col("target_weight").alias("weight_after"),
        pl.when(whole).then(pl.col("participation") * share).alias("participation"),
        pl.col("reason").str.replace(r"(; )?left out: .*$", ""),
    ).filter(pl.col("shares") > 0)


def issued(
    orders: pl.DataFrame, record: pl.DataFrame, *, run_id: str, issued_at: datetime
) -> pl.DataFrame:
    """Rows of ``record.orders`` that this run adds: orders that are new or changed, and with 0 shares those
    that an earlier run issued for the same decision and this one does not.

    orders: ``portfolio.orders``. record: ``record.orders``.
    """
    table = contract("record.orders")
    last = last_issued(record)
    same = [c for c in orders.columns if c not in ("reason", "sequence")]
    stamp = [pl.lit(run_id).alias("run_id"), pl.lit(issued_at).alias("issued_at")]
    sent = orders.filter(pl.col("shares") > 0)
    new = sent.join(last, on=same, how="anti", nulls_equal=True)
    decided = orders.select("mandate", "date").unique()
    gone = (
        last.join(decided, on=["mandate", "date"], how="semi")
        .filter(pl.col("shares") > 0)
        .join(sent, on="order_id", how="anti")
        .with_columns(
            pl.lit(0.0).alias("shares"), pl.lit(0.0).alias("value"), pl.lit(0.0).alias("cost"),
            pl.lit("withdrawn: the decision was made again without it").alias("reason"),
        )
    )  # fmt: skip
    parts = [new, gone.select(orders.columns)]
    return table.conform(pl.concat(parts).with_columns(*stamp).select(table.column_names))


def last_issued(record: pl.DataFrame) -> pl.DataFrame:
    """The last version of every order of ``record.orders``."""
    ordered = record.sort("order_id", "issued_at", "run_id")
    return ordered.unique("order_id", keep="last", maintain_order=True)


def empty_lists() -> dict[str, pl.DataFrame]:
    """The three tables without rows."""
    names = ("compliance", "orders", "order_lists")
    return {name: contract(f"portfolio.{name}").empty() for name in names}


def joined(lists: Sequence[OrderList]) -> dict[str, pl.DataFrame]:
    """The three tables of several mandates."""
    out = empty_lists()
    return {
        "compliance": pl.concat([out["compliance"], *(x.compliance for x in lists)]),
        "orders": pl.concat([out["orders"], *(x.orders for x in lists)]),
        "order_lists": pl.concat([out["order_lists"], *(x.summary for x in lists)]),
    }


def _summary(row: Mapping[str, object]) -> pl.DataFrame:
    table = contract("portfolio.order_lists")
    none = {"sells": 0.0, "buys": 0.0, "cost": 0.0, "orders": 0, "dropped": 0, "breaches": 0}
    body = {**dict.fromkeys(table.column_names), **none, "state": REFUSED, **row}
    return table.conform(pl.DataFrame([body], schema=table.schema()))


def _keyed(rows: pl.DataFrame, keys: Mapping[str, object], table: str) -> pl.DataFrame:
    columns = [pl.lit(value).alias(name) for name, value in keys.items()]
    terms = contract(table)
    return terms.conform(rows.with_columns(columns).select(terms.column_names))


__all__ = [
    "BREACH", "NOTHING", "READY", "REFUSED", "SENDABLE", "OrderList", "empty_lists", "fractional",
    "issued", "joined", "last_issued", "make", "order_id", "refused",
]  # fmt: skip
