"""Bars by hand, and the accounts of a path of weights kept by a plain loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar

FIRST = date(2016, 1, 4)


@dataclass(frozen=True)
class Bar:
    """One bar; ``open`` 0: none known; ``volume`` in shares."""

    close: float
    dividend: float = 0.0
    split: float = 1.0
    volume: float | None = None
    open: float | None = None


def bars(calendar: TradingCalendar, names: dict[str, list[Bar | float | None]]) -> pl.DataFrame:
    """``clean.prices`` columns of sessions from ``FIRST`` on; a number is a bar with this close."""
    longest = max(len(b) for b in names.values())
    days = calendar.sessions(FIRST, calendar.offset(FIRST, longest - 1))
    rows = []
    for name, given in sorted(names.items()):
        tr, split, before = 1.0, 1.0, None
        for k, told in enumerate(given):
            if told is None:
                continue
            bar = told if isinstance(told, Bar) else Bar(float(told))
            if before is not None:
                tr *= (bar.close + bar.dividend) * bar.split / before
                split *= bar.split
            before = bar.close
            rows.append(
                {
                    "instrument_id": name, "date": days[k], "slot": calendar.slot(days[k]),
                    "open": bar.open, "close": bar.close, "dividend": bar.dividend or None,
                    "split_ratio": bar.split, "split_index": split, "tr_index": tr,
                    "dollar_volume": None if bar.volume is None else bar.volume * bar.close, "flags": 0,
                }
            )  # fmt: skip
    types = {"open": pl.Float64, "dividend": pl.Float64, "dollar_volume": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=types)


@dataclass
class Plain:
    """What the loop finds, in whole 1/10,000: by session."""

    nav: list[int] = field(default_factory=list)
    cash: list[int] = field(default_factory=list)
    cost: list[int] = field(default_factory=list)
    shares: list[dict[str, float]] = field(default_factory=list)


def plain(
    prices: pl.DataFrame,
    weights: dict[date, dict[str, float]],
    *,
    initial: float,
    commission: float,
    spread: float,
    borrow: float = 0.0,
    rate: float = 0.0,
    participation: float | None = None,
    dead_after: int = 10,
) -> Plain:
    """The accounts of ``weights`` (decided at closes, filled at the next): dictionaries and Python integers.

    commission, spread: decimals of the value; borrow, rate: decimals a session.
    """
    days = sorted(prices["date"].unique())
    book = {
        day: {r["instrument_id"]: r for r in part.iter_rows(named=True)}
        for (day,), part in prices.partition_by("date", as_dict=True).items()
    }
    names = sorted(prices["instrument_id"].unique())
    out, shares, value = Plain(), {}, {}
    price: dict[str, float] = {}
    age: dict[str, int] = {}
    cash = round(initial * 10_000)
    order: dict[str, float] | None = None
    floor, opened = 0, min(weights)
    for day in days:
        today = book[day]
        for name in names:
            age[name] = 0 if name in today else age.get(name, 0) + 1
        price |= {name: bar["close"] for name, bar in today.items()}
        if day < opened:
            continue
        cost, start = 0, cash
        for name in names:
            if name not in today:
                continue
            k, paid = today[name]["split_ratio"], today[name]["dividend"] or 0.0
            if name in shares and k != 1.0:
                sold = order is not None and order.get(name) == -shares[name]
                shares[name] += shares[name] * k - shares[name]
                if sold and order is not None:
                    order[name] = -shares[name]
            if order is not None and name in order and k != 1.0:
                full = name in shares and order[name] == -shares[name]
                order[name] *= 1.0 if full else k
            if name in shares and paid:
                cash += round(shares[name] * paid * 10_000)
        if day > opened:
            for name in names:
                if value.get(name, 0) < 0:
                    fee = round(value[name] * borrow)
                    cash, cost = cash + fee, cost - fee
            cash += round(start * rate)
        if order is not None:
            fills = {}
            for name in names:
                q = order.get(name, 0.0)
                if q and name in today:
                    if participation is not None:
                        most = participation * today[name]["dollar_volume"] / price[name]
                        q = math.copysign(min(abs(q), most), q)
                    fills[name] = q

            def fees(size: float) -> int:
                return round(size * commission * 10_000) + round(size * spread * 10_000)

            for name, q in fills.items():
                if q < 0:
                    paid = fees(abs(q * price[name]))
                    cash += round(-q * price[name] * 10_000) - paid
                    cost += paid
                    shares[name] = shares.get(name, 0.0) + q
            buys = {n: q for n, q in fills.items() if q > 0}
            spent = sum(round(q * price[n] * 10_000) + fees(q * price[n]) for n, q in buys.items())
            scale = 1.0
            if spent > cash - floor:
                scale = max(float(cash - floor - 2 * len(buys)), 0.0) / float(spent)
            for name, whole in buys.items():
                q = whole * scale
                if q == 0.0:
                    continue
                paid = fees(q * price[name])
                cash -= round(q * price[name] * 10_000) + paid
                cost += paid
                shares[name] = shares.get(name, 0.0) + q
            order = None
        shares = {n: s for n, s in shares.items() if s != 0.0}
        for name in list(shares):
            if age[name] >= dead_after:
                cash += round(shares.pop(name) * price[name] * 10_000)
        value = {n: round(s * price[n] * 10_000) for n, s in shares.items()}
        nav = cash + sum(value.values())
        out.nav.append(nav)
        out.cash.append(cash)
        out.cost.append(cost)
        out.shares.append(dict(shares))
        if day in weights and nav > 0:
            order, worth, total = {}, nav / 10_000, 0.0
            for name in names:
                if name not in price:
                    continue
                w = weights[day].get(name, 0.0)
                total += w
                if abs(w - value.get(name, 0) / nav) > 1e-9:
                    goal = w * worth / price[name] if w else 0.0
                    order[name] = goal - shares.get(name, 0.0)
            owed = min(0.0, 1.0 - total) * worth
            floor = int(np.rint(owed * 10_000)) if abs(owed) > 1e-6 * worth else 0
    return out
