"""The factor language done slowly: one obvious Python function for each operator, over calendar slots.

Sums, moments and regressions are exact (``fractions``) and rounded once, so that what they are compared
with is judged and not they. Nothing here is shared with the engine but the parsed tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.expression import Node

nan = math.nan
Window = list[float]
Values = dict[str, Window]
"""Name → one value a session from its listing to its last bar, NaN where there is none."""


@dataclass
class Market:
    """lo: session number of each name's first cell. bar: is there one? columns: of clean.prices."""

    lo: dict[str, int]
    bar: dict[str, list[bool]]
    columns: dict[str, Values]
    labels: dict[str, dict[str, list[str | None]]] = field(default_factory=dict)
    done: dict[Node, Values] = field(default_factory=dict)


def market_of(
    bars: pl.DataFrame, calendar: TradingCalendar, instruments: pl.DataFrame | None = None
) -> Market:
    """The cells of ``bars``; a name is listed at its first description, else at its first bar."""
    out = Market({}, {}, {c: {} for c in bars.columns if c not in ("date", "instrument_id")})
    days = calendar.sessions(bars["date"].min(), bars["date"].max())  # type: ignore[arg-type]
    for name in sorted(bars["instrument_id"].unique()):
        rows = {r["date"]: r for r in bars.filter(pl.col("instrument_id") == name).to_dicts()}
        listed = min(rows)
        if instruments is not None:
            of = instruments.filter(pl.col("instrument_id") == name)["valid_from"]
            listed = min(listed, *of) if len(of) else listed
        mine = [d for d in days if listed <= d <= max(rows)]
        out.lo[name] = calendar.slot(mine[0])
        out.bar[name] = [d in rows for d in mine]
        for column, values in out.columns.items():
            values[name] = [_number(rows[d][column]) if d in rows else nan for d in mine]
        if instruments is not None:
            for label in ("sector", "exchange", "currency", "symbol"):
                if label in instruments.columns:
                    out.labels.setdefault(label, {})[name] = [
                        _described(instruments, name, d, label) for d in mine
                    ]
    return out


def _number(v: float | None) -> float:
    return v if v is not None and math.isfinite(v) else nan


def _described(instruments: pl.DataFrame, name: str, day: date, label: str) -> str | None:
    rows = instruments.filter(pl.col("instrument_id") == name).sort("valid_from").to_dicts()
    valid = [r for r in rows if r["valid_from"] <= day] or rows[:1]
    return valid[-1][label] if valid else None


FIELD: dict[str, Callable[[dict[str, Values]], Values]] = {
    "close": lambda r: r["tr_index"],
    "raw_close": lambda r: r["close"],
    "raw_open": lambda r: r["open"],
    "dollar_volume": lambda r: r["dollar_volume"],
}


def value(node: Node, market: Market) -> Values:
    """What ``node`` is, for every cell of every name."""
    if node not in market.done:
        market.done[node] = _value(node, market)
    return market.done[node]


def _value(node: Node, market: Market) -> Values:
    if node.op == "Const":
        return {n: [float(node.params[0])] * len(b) for n, b in market.bar.items()}
    if node.op == "Field":
        return FIELD[str(node.params[0])](market.columns)
    if node.op == "Mask":
        return masked(value(node.args[0], market), str(node.params[0]), market)
    args = [value(a, market) for a in node.args if a.op != "Label"]
    group = next((str(a.params[0]) for a in node.args if a.op == "Label"), None)
    params = [float(p) for p in node.params]
    if node.op in ELEMENT:
        return {n: [_finite(ELEMENT[node.op], *c) for c in zip(*(a[n] for a in args), strict=True)]
                for n in market.bar}  # fmt: skip
    if node.op in ("Ref", "Delta"):
        return {n: shifted(node.op, args[0][n], int(params[0])) for n in market.bar}
    if node.op in SECTION or node.op == "Neutralize":
        return by_date(node.op, args, group, params, market)
    return {n: windowed(node.op, [a[n] for a in args], params) for n in market.bar}


# --- one cell ------------------------------------------------------------------------------------


def missing(*values: float) -> bool:
    return any(math.isnan(v) for v in values)


def true(x: float) -> bool:
    return not math.isnan(x) and x != 0


ELEMENT: dict[str, Callable[..., float]] = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: x / y if y else nan,
    "Neg": lambda x: -x,
    "Abs": abs,
    "Sign": lambda x: x if missing(x) else float((x > 0) - (x < 0)),
    "Log": lambda x: math.log(x) if x > 0 else nan,
    "Power": lambda x, y: nan if missing(x, y) else x**y,
    "Greater": lambda x, y: nan if missing(x, y) else max(x, y),
    "Less": lambda x, y: nan if missing(x, y) else min(x, y),
    "Gt": lambda x, y: float(x > y),
    "Ge": lambda x, y: float(x >= y),
    "Lt": lambda x, y: float(x < y),
    "Le": lambda x, y: float(x <= y),
    "Eq": lambda x, y: float(x == y),
    "Ne": lambda x, y: float(not missing(x, y) and x != y),
    "And": lambda x, y: float(true(x) and true(y)),
    "Or": lambda x, y: float(true(x) or true(y)),
    "Not": lambda x: float(not true(x)),
    "If": lambda x, y, z: nan if missing(x) else (y if x != 0 else z),
}


def _finite(f: Callable[..., float], *args: float) -> float:
    try:
        out = f(*args)
    except (OverflowError, ZeroDivisionError):
        return nan
    return out if isinstance(out, float) and math.isfinite(out) else nan


def shifted(op: str, x: Window, n: int) -> Window:
    """n sessions ago; n = 0: the first value that there was."""
    out = []
    for t in range(len(x)):
        past = x[t - n] if t >= n > 0 else nan
        if n == 0:
            past = next((v for v in x[: t + 1] if not missing(v)), nan)
        out.append(past if op == "Ref" else x[t] - past)
    return out


# --- windows -------------------------------------------------------------------------------------


def windowed(op: str, xs: list[Window], params: list[float]) -> Window:
    """One value a cell; the window of n = 0 begins at the first cell."""
    n, least, extra = params[0], int(params[-1]), params[1:-1]
    out = []
    for t in range(len(xs[0])):
        width = t + 1 if n == 0 else ema_length(n) if op == "EMA" else int(n)
        windows = [x[max(0, t - width + 1) : t + 1] for x in xs]
        if op == "EMA":
            extra = [1 - 2 / (t + 2) if n == 0 else keep(n)]
        enough = sum(not missing(*c) for c in zip(*windows, strict=True)) >= least
        out.append(WINDOW[op](*windows, *extra) if enough or op == "Count" else nan)
    return out


def keep(span: float) -> float:
    return 1 - (2 / (span + 1) if span >= 1 else span)


def ema_length(span: float) -> int:
    k = keep(span)
    return 1 if k == 0 else math.ceil(math.log(2**-24) / math.log(k))


def exact(window: Window) -> list[Fraction]:
    return [Fraction(v) for v in window if not missing(v)]


def moment(v: list[Fraction], k: int) -> Fraction:
    mean = sum(v) / len(v)
    return sum((a - mean) ** k for a in v) / len(v)


def root(v: Fraction) -> float:
    return math.sqrt(v)


def skew(window: Window) -> float:
    v = exact(window)
    n, m2 = len(v), moment(v, 2)
    if not m2:
        return nan
    return math.sqrt(n * (n - 1)) / (n - 2) * float(moment(v, 3)) / float(m2) ** 1.5


def kurt(window: Window) -> float:
    v = exact(window)
    n, m2 = len(v), moment(v, 2)
    if not m2:
        return nan
    g = moment(v, 4) / m2**2 - 3
    return float(Fraction(n - 1, (n - 2) * (n - 3)) * ((n + 1) * g + 6))


def pairs(x: Window, y: Window) -> list[tuple[Fraction, Fraction]]:
    return [(Fraction(a), Fraction(b)) for a, b in zip(x, y, strict=True) if not missing(a, b)]


def regression(x: Window, y: Window, what: str) -> float:
    """x on y: slope, residual of today, r2, corr, cov, deviation of the residuals."""
    kept = pairs(x, y)
    n = len(kept)
    mx, my = sum(a for a, _ in kept) / n, sum(b for _, b in kept) / n
    xx = sum((a - mx) ** 2 for a, _ in kept)
    yy = sum((b - my) ** 2 for _, b in kept)
    xy = sum((a - mx) * (b - my) for a, b in kept)
    if what == "cov":
        return float(xy / (n - 1))
    if not yy or (what in ("corr", "r2") and not xx):
        return nan
    if what == "corr":
        return float(xy) / math.sqrt(xx * yy)
    if what == "r2":
        return float(xy * xy / (xx * yy))
    if what == "slope":
        return float(xy / yy)
    if what == "deviation":
        return root((xx - xy * xy / yy) / (n - 2))
    if missing(x[-1], y[-1]):
        return nan
    return float(Fraction(x[-1]) - mx - xy / yy * (Fraction(y[-1]) - my))


def on_time(window: Window, what: str) -> float:
    return regression(window, [float(k) for k in range(len(window))], what)


def quantile(window: Window, q: float) -> float:
    v = sorted(a for a in window if not missing(a))
    place = q * (len(v) - 1)
    low = math.floor(place)
    high = min(low + 1, len(v) - 1)
    return v[low] + (v[high] - v[low]) * (place - low)


def rank(window: Window) -> float:
    v, now = [a for a in window if not missing(a)], window[-1]
    if missing(now):
        return nan
    return (sum(a < now for a in v) + (sum(a == now for a in v) + 1) / 2) / len(v)


def mad(window: Window) -> float:
    v = exact(window)
    mean = sum(v) / len(v)
    return float(sum(abs(a - mean) for a in v) / len(v))


def weighted(window: Window, weights: list[Fraction]) -> float:
    kept = [(w, Fraction(v)) for w, v in zip(weights, window, strict=True) if not missing(v)]
    return float(sum(w * v for w, v in kept) / sum(w for w, _ in kept))


def decayed(window: Window, k: float) -> float:
    """Weights k^age in floats: today's is 1."""
    kept = [(k ** (len(window) - 1 - j), v) for j, v in enumerate(window) if not missing(v)]
    return math.fsum(w * v for w, v in kept) / math.fsum(w for w, _ in kept)


def there(window: Window) -> Window:
    return [v for v in window if not missing(v)]


WINDOW: dict[str, Callable[..., float]] = {
    "Sum": lambda w: float(sum(exact(w))),
    "Mean": lambda w: float(sum(exact(w)) / len(exact(w))),
    "Count": lambda w: float(len(there(w))),
    "Var": lambda w: float(moment(exact(w), 2) * len(exact(w)) / (len(exact(w)) - 1)),
    "Std": lambda w: root(moment(exact(w), 2) * len(exact(w)) / (len(exact(w)) - 1)),
    "Skew": skew,
    "Kurt": kurt,
    "Max": lambda w: max(there(w)),
    "Min": lambda w: min(there(w)),
    "IdxMax": lambda w: w.index(max(there(w))) + 1.0,
    "IdxMin": lambda w: w.index(min(there(w))) + 1.0,
    "Quantile": quantile,
    "Med": lambda w: quantile(w, 0.5),
    "Mad": mad,
    "Rank": rank,
    "WMA": lambda w: weighted(w, [Fraction(k + 1) for k in range(len(w))]),
    "EMA": decayed,
    "Slope": lambda w: on_time(w, "slope"),
    "Rsquare": lambda w: on_time(w, "r2"),
    "Resi": lambda w: on_time(w, "residual"),
    "Corr": lambda x, y: regression(x, y, "corr"),
    "Cov": lambda x, y: regression(x, y, "cov"),
    "Beta": lambda x, y: regression(x, y, "slope"),
    "BetaResi": lambda x, y: regression(x, y, "residual"),
    "BetaStd": lambda x, y: regression(x, y, "deviation"),
}


# --- all names of a date -------------------------------------------------------------------------


def by_date(
    op: str, args: list[Values], group: str | None, params: list[float], market: Market
) -> Values:
    """Names with a bar on the session, by session."""
    out: Values = {n: [nan] * len(b) for n, b in market.bar.items()}
    last = max(market.lo[n] + len(b) for n, b in market.bar.items())
    for slot in range(min(market.lo.values()), last):
        at = {n: slot - lo for n, lo in market.lo.items() if 0 <= slot - lo < len(market.bar[n])}
        x = {n: args[0][n][t] if market.bar[n][t] else nan for n, t in at.items()}
        label = {n: market.labels[group][n][t] if group and market.bar[n][t] else None
                 for n, t in at.items()}  # fmt: skip
        if op == "Neutralize":
            y = {n: [a[n][t] for a in args[1:]] for n, t in at.items()}
            found = neutral(x, y, label)
        elif group:
            found = {}
            for word in {w for w in label.values() if w is not None}:
                found |= section(op, {n: x[n] for n in at if label[n] == word}, params)
        else:
            found = section(op, x, params)
        for n, v in found.items():
            out[n][at[n]] = v
    return out


SECTION = ("CSRank", "CSZScore", "CSDemean", "CSMean", "CSWinsorize")


def section(op: str, x: dict[str, float], params: list[float]) -> dict[str, float]:
    """One section; the mean goes to every name."""
    v = [a for a in x.values() if not missing(a)]
    if not v:
        return {}
    if op == "CSMean":
        return {n: math.fsum(v) / len(v) for n in x}
    kept = {n: a for n, a in x.items() if not missing(a)}
    if op == "CSRank":
        return {n: (sum(b < a for b in v) + (sum(b == a for b in v) + 1) / 2) / len(v)
                for n, a in kept.items()}  # fmt: skip
    if op == "CSDemean":
        return {n: a - math.fsum(v) / len(v) for n, a in kept.items()}
    if op == "CSZScore":
        spread = moment(exact(v), 2) * len(v) / max(len(v) - 1, 1)
        return {n: (a - math.fsum(v) / len(v)) / root(spread) if spread else nan
                for n, a in kept.items()}  # fmt: skip
    middle = quantile(v, 0.5)
    width = params[0] * quantile([abs(a - middle) for a in v], 0.5)
    return {n: min(max(a, middle - width), middle + width) if width else a
            for n, a in kept.items()}  # fmt: skip


def neutral(
    x: dict[str, float], y: dict[str, list[float]], label: dict[str, str | None]
) -> dict[str, float]:
    """NumPy's least squares on explicit dummies and regressors."""
    names = [n for n in x if not missing(x[n], *y[n])]
    words = [label[n] for n in names]
    words = [w if w is not None and words.count(w) >= 3 else "other" for w in words]
    kinds = sorted(set(words))
    design = np.array([[float(w == k) for k in kinds] + y[n]
                       for n, w in zip(names, words, strict=True)])  # fmt: skip
    if not names or len(names) <= np.linalg.matrix_rank(design, tol=1e-9):
        return {}
    target = np.array([x[n] for n in names])
    fitted = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return dict(zip(names, (target - fitted).tolist(), strict=True))


def masked(x: Values, name: str, market: Market) -> Values:
    """The same session of the instrument that has that identity, or the symbol on the date; a session
    without its bar has nothing."""
    meant: dict[int, float] = {}
    for n, values in x.items():
        for t, v in enumerate(values):
            symbol = market.labels["symbol"][n][t] if "symbol" in market.labels else None
            if market.bar[n][t] and (n == name or (name not in x and symbol == name)):
                meant[market.lo[n] + t] = v
    return {n: [meant.get(market.lo[n] + t, nan) for t in range(len(b))]
            for n, b in market.bar.items()}  # fmt: skip
