"""The compiled ledger: shares, cash and events of one portfolio, session after session.

Money is int64 in ``TICK`` of the base currency (1/10,000). Every amount is rounded once, half to even,
where it arises: a fill's value, each of its costs, a dividend, a fee, the value of a position at a
close. So cash is a sum of integers, and so is net asset value. Shares are Float64 and are never rounded,
save to lots where they are asked for.

Order of a session: splits and dividends of what was held at the close before; borrow fees on the value
of shorts at the close before; interest; sales; purchases; what has died becomes cash; the close.

``advance`` goes on from the state in its arrays, so it can be stopped after any session. Signatures are
explicit: importing the module compiles it, or loads it from the cache on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

TICKS = 10_000.0
LARGEST = 2.0**51

KINDS = (
    "deposit", "split", "dividend", "borrow", "interest", "sell", "buy", "commission", "spread", "impact",
    "unfilled", "delisting",
)  # fmt: skip
"""Kinds of events, by code."""
DEPOSIT, SPLIT, DIVIDEND, BORROW, INTEREST, SELL, BUY = 0, 1, 2, 3, 4, 5, 6
COMMISSION, SPREAD, IMPACT, UNFILLED, DELISTING = 7, 8, 9, 10, 11

WHY = (
    "",
    "no price to trade at in the session",
    "more than the share of the session's volume that may be filled",
    "not enough cash",
    "no price at the decision",
)
"""Why something was not filled, by code."""
NO_PRICE, VOLUME, CASH_SHORT, UNPRICED = 1, 2, 3, 4
WORST = 10
"""Events of one name in a session at most (besides two of no name): split, dividend, borrow, two of what was
not filled, the trade and its three costs, delisting."""
SCALED = 0.99
"""Purchases that lack of cash makes smaller than this share of the order are events; less is what
their costs take."""

# scalars of the rules, one Float64 each
COMMISSION_RATE, SPREAD_RATE, IMPACT_RATE, EXPONENT, BORROW_RATE, PARTICIPATION, LOT, DEAD, FLOOR = (
    0, 1, 2, 3, 4, 5, 6, 7, 8,
)  # fmt: skip
RULES = 9
# integers of the state
CASH, NAV, PENDING, OWED, OPENED = 0, 1, 2, 3, 4
STATE = 5
# columns of the results
R_NAV, R_CASH, R_COST, R_NAMES, R_CHANGED = 0, 1, 2, 3, 4
RESULTS = 5

_F, _F2 = "float64[::1]", "float64[:, ::1]"
_I, _I2 = "int64[::1]", "int64[:, ::1]"
_SIGNATURE = (
    f"int64(int64, int64, {_F2}, int32[:, ::1], {_F2}, {_F2}, {_F2}, {_F2}, {_F}, {_F}, {_F}, {_I}, {_I}, {_F}, "
    f"{_F}, {_F}, {_I}, {_F2}, {_F2}, {_F2}, int64, {_I2}, {_F}, {_F2}, int32[::1], int8[::1], int32[::1], {_F}, "
    f"{_F}, {_I}, int8[::1], {_I})"
)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for ``signature`` at import time, or load what an earlier process compiled."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = njit(signature, cache=True, nogil=True, error_model="numpy")(
            function
        )
        return made

    return wrap


@_compiled("float64(float64, float64)")
def _money(units: float, price: float) -> float:
    """Ticks of ``units`` at ``price``, half to even; a float, so that the caller can bound it."""
    return float(np.rint(units * price * TICKS))


@_compiled("int64(float64[::1], float64, float64, float64, float64, int64[::1])")
def _charges(
    rules: np.ndarray, value: float, units: float, sigma: float, volume: float, out: np.ndarray
) -> int:
    """Commission, spread and impact of a fill worth ``value`` into ``out``; their sum. All in ticks."""
    size = abs(value)
    out[0] = np.int64(np.rint(size * rules[COMMISSION_RATE] * TICKS))
    out[1] = np.int64(np.rint(size * rules[SPREAD_RATE] * TICKS))
    out[2] = 0
    if rules[IMPACT_RATE] > 0.0 and sigma > 0.0 and volume > 0.0:
        rate = rules[IMPACT_RATE] * sigma * (size / volume) ** rules[EXPONENT]
        out[2] = np.int64(np.rint(size * rate * TICKS))
    return out[0] + out[1] + out[2]


@_compiled("float64(float64, float64)")
def _in_lots(units: float, lot: float) -> float:
    """``units`` in whole lots, towards 0; a rounding error below a lot is forgiven."""
    return float(np.sign(units) * np.floor(abs(units) / lot + 1e-9) * lot)


@_compiled(
    "int64(int64, int64, int64, int64, int64, float64, float64, int64, int64, int32[::1], int8[::1], int32[::1], "
    "float64[::1], float64[::1], int64[::1], int8[::1])"
)
def _write(
    at: int, row: int, kind: int, name: int, why: int, units: float, price: float, amount: int, keep: int,
    e_row: np.ndarray, e_kind: np.ndarray, e_name: np.ndarray, e_units: np.ndarray, e_price: np.ndarray,
    e_amount: np.ndarray, e_why: np.ndarray,
) -> int:  # fmt: skip
    if keep == 0:
        return at
    e_row[at], e_kind[at], e_name[at], e_why[at] = row, kind, name, why
    e_units[at], e_price[at], e_amount[at] = units, price, amount
    return at + 1


@_compiled(_SIGNATURE)
def advance(
    start: int, stop: int,
    price: np.ndarray, age: np.ndarray, ratio: np.ndarray, income: np.ndarray, fill: np.ndarray,
    traded_volume: np.ndarray, rates: np.ndarray, rules: np.ndarray,
    shares: np.ndarray, value: np.ndarray, state: np.ndarray, order: np.ndarray,
    sigma: np.ndarray, volume: np.ndarray,
    decided: np.ndarray, weights: np.ndarray, sigmas: np.ndarray, volumes: np.ndarray,
    base: int, results: np.ndarray, turnover: np.ndarray, kept: np.ndarray,
    e_row: np.ndarray, e_kind: np.ndarray, e_name: np.ndarray, e_units: np.ndarray, e_price: np.ndarray,
    e_amount: np.ndarray, e_why: np.ndarray, written: np.ndarray,
) -> int:  # fmt: skip
    """Sessions [start, stop); returns the session that it stopped before (no room for its events), or
    ``−1 − row`` where money is 2^51 ticks or more, 225 billion of the base currency: as Float64 it does not give every
    integer back then.

    price, age: T × N last closes and their ages (0: a bar). ratio: shares a share on the bar. income: cash a
    share (after the split). fill: price at which orders fill, NaN where there is none. ratio, income and
    traded_volume may be 0 × 0: none. rates: interest a session, T or 0. rules: ``RULES`` scalars.
    shares, value (ticks), state, order, sigma, volume: N; changed in place; sigma and volume are those known
    at the decision of the pending order.
    decided: T or 0; row of ``weights`` decided at a close, or −1; weights NaN: leave it. sigmas, volumes: D × N.
    results, turnover, kept: rows from ``base`` on; kept (shares) may be 0 × 0. e_*: events, with no rows
    where they are not kept. written: how many there are.
    """
    n = shares.shape[0]
    acts, limited, paid_rates = ratio.shape[0] > 0, traded_volume.shape[0] > 0, rates.shape[0] > 0
    keep = 1 if e_row.shape[0] > 0 else 0
    worst = WORST * n + 2
    fees = np.zeros(3, dtype=np.int64)
    units = np.zeros(n)
    at = written[0]
    for r in range(start, stop):
        if keep and at + worst > e_row.shape[0]:
            written[0] = at
            return r
        cash = state[CASH]
        cost = np.int64(0)
        changed = 0
        opening = state[OPENED] == r
        if acts:
            for i in range(n):
                if shares[i] == 0.0 and order[i] == 0.0:
                    continue
                k = ratio[r, i]
                if k != 1.0:
                    closing = order[i] == -shares[i]
                    gone = shares[i] * k - shares[i]
                    fraction = 0.0
                    if rules[LOT] > 0.0:
                        left = shares[i] + gone
                        whole = np.trunc(left + np.sign(left) * 1e-9)
                        if abs(left - whole) > 1e-9:
                            fraction = left - whole
                            gone = whole - shares[i]
                    amount = np.int64(_money(fraction, price[r, i]))
                    if shares[i] != 0.0:
                        at = _write(at, r, SPLIT, i, 0, gone, np.nan if fraction == 0.0 else price[r, i], amount, keep,
                                    e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                        shares[i] += gone
                        cash += amount
                        changed = 1
                    order[i] = -shares[i] if closing else order[i] * k
                if shares[i] != 0.0 and income[r, i] != 0.0:
                    amount = np.int64(_money(shares[i], income[r, i]))
                    if amount != 0:
                        at = _write(at, r, DIVIDEND, i, 0, shares[i], income[r, i], amount, keep,
                                    e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                        cash += amount
        if rules[BORROW_RATE] > 0.0 and not opening:
            for i in range(n):
                if value[i] < 0:
                    amount = np.int64(np.rint(value[i] * rules[BORROW_RATE]))
                    if amount != 0:
                        at = _write(at, r, BORROW, i, 0, shares[i], np.nan, amount, keep,
                                    e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                        cash += amount
                        cost -= amount
        if paid_rates and not opening and rates[r] != 0.0:
            amount = np.int64(np.rint(state[CASH] * rates[r]))
            if amount != 0:
                at = _write(at, r, INTEREST, -1, 0, np.nan, np.nan, amount, keep,
                            e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                cash += amount
        turnover[r - base] = 0.0
        if state[PENDING] == 1:
            before = float(cash)
            for i in range(n):
                if shares[i] != 0.0:
                    before += _money(shares[i], price[r, i])
            # what can be filled
            lot = rules[LOT]
            for i in range(n):
                q = order[i]
                if q == 0.0:
                    units[i] = 0.0
                    continue
                p = fill[r, i]
                if not np.isfinite(p) or not np.isfinite(q):
                    at = _write(at, r, UNFILLED, i, NO_PRICE if np.isfinite(q) else UNPRICED, q, p, 0, keep,
                                e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                    units[i] = 0.0
                    continue
                if limited:
                    v = traded_volume[r, i]
                    if not np.isfinite(v):
                        v = volume[i]
                    most = rules[PARTICIPATION] * v / p
                    if np.isfinite(v) and abs(q) > most:
                        at = _write(at, r, UNFILLED, i, VOLUME, q - np.sign(q) * most, p, 0, keep,
                                    e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                        q = np.sign(q) * most
                if lot > 0.0 and q != -shares[i]:
                    q = _in_lots(q, lot)
                units[i] = q
            traded = 0.0
            for i in range(n):
                q = units[i]
                if q < 0.0:
                    p = fill[r, i]
                    amount = np.int64(_money(-q, p))
                    total = _charges(rules, q * p, q, sigma[i], volume[i], fees)
                    at = _write(at, r, SELL, i, 0, q, p, amount, keep,
                                e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                    for k in range(3):
                        if fees[k] != 0:
                            at = _write(at, r, COMMISSION + k, i, 0, np.nan, np.nan, -fees[k], keep,
                                        e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                    cash += amount - total
                    cost += total
                    traded += float(amount)
                    shares[i] = shares[i] + q
                    changed = 1
            spent = np.int64(0)
            count = 0
            for i in range(n):
                if units[i] > 0.0:
                    p = fill[r, i]
                    spent += np.int64(_money(units[i], p))
                    spent += _charges(rules, units[i] * p, units[i], sigma[i], volume[i], fees)
                    count += 1
            room = cash - state[OWED]
            scale = 1.0
            if spent > room:
                # two ticks a purchase for the rounding of its four amounts
                scale = max(float(room - 2 * count), 0.0) / float(spent)
            for i in range(n):
                q = units[i]
                if q > 0.0:
                    p = fill[r, i]
                    if scale < 1.0:
                        q = q * scale
                        if lot > 0.0:
                            q = _in_lots(q, lot)
                        if scale < SCALED:
                            at = _write(at, r, UNFILLED, i, CASH_SHORT, units[i] - q, p, 0, keep,
                                        e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                        if q == 0.0:
                            continue
                    amount = np.int64(_money(q, p))
                    total = _charges(rules, q * p, q, sigma[i], volume[i], fees)
                    at = _write(at, r, BUY, i, 0, q, p, -amount, keep,
                                e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                    for k in range(3):
                        if fees[k] != 0:
                            at = _write(at, r, COMMISSION + k, i, 0, np.nan, np.nan, -fees[k], keep,
                                        e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                    cash -= amount + total
                    cost += total
                    traded += float(amount)
                    shares[i] = shares[i] + q
                    changed = 1
            if before > 0.0:
                turnover[r - base] = 0.5 * traded / before
            state[PENDING] = 0
            for i in range(n):
                order[i] = 0.0
        nav = float(cash)
        names = 0
        for i in range(n):
            if shares[i] == 0.0:
                value[i] = 0
                continue
            worth = _money(shares[i], price[r, i])
            if not abs(worth) < LARGEST:
                return -1 - r
            if age[r, i] >= rules[DEAD]:
                amount = np.int64(worth)
                at = _write(at, r, DELISTING, i, 0, -shares[i], price[r, i], amount, keep,
                            e_row, e_kind, e_name, e_units, e_price, e_amount, e_why)  # fmt: skip
                cash += amount
                nav += worth
                shares[i] = 0.0
                value[i] = 0
                changed = 1
                continue
            value[i] = np.int64(worth)
            nav += worth
            names += 1
        if not (abs(nav) < LARGEST and abs(float(cash)) < LARGEST):
            return -1 - r
        state[CASH] = cash
        state[NAV] = np.int64(nav)
        row = r - base
        results[row, R_NAV] = state[NAV]
        results[row, R_CASH] = cash
        results[row, R_COST] = cost
        results[row, R_NAMES] = names
        results[row, R_CHANGED] = changed
        if kept.shape[0] > 0 and changed:
            for i in range(n):
                kept[row, i] = shares[i]
        if decided.shape[0] > 0 and decided[r] >= 0 and state[NAV] > 0:
            d = decided[r]
            worth = state[NAV] / TICKS
            whole = 0.0
            for i in range(n):
                w = weights[d, i]
                held = value[i] / state[NAV]
                if np.isnan(w):
                    whole += held
                    continue
                whole += w
                sigma[i], volume[i] = np.nan, np.nan
                if sigmas.shape[0] > 0:
                    sigma[i], volume[i] = sigmas[d, i], volumes[d, i]
                if abs(w - held) > rules[FLOOR]:
                    goal = 0.0 if w == 0.0 else w * worth / price[r, i]
                    order[i] = goal - shares[i]
            owed = min(0.0, 1.0 - whole) * worth
            state[OWED] = np.int64(np.rint(owed * TICKS)) if abs(owed) > 1e-6 * worth else 0
            state[PENDING] = 1
    written[0] = at
    return stop
