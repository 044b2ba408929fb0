"""Qlib's expressions over one instrument, slowly: Python reads the text, NumPy every window afresh.

Nothing of the engine is used, its parser neither. Arrays hold one value a session, NaN without a bar; a
window is the last n sessions, fewer after the first bar; what is not finite is missing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np


class Values:
    """An array under ``+ − × ÷ > <``, in which a comparison with a missing value is false."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


def _arithmetic(f: Callable, turned: bool = False) -> Callable:
    def method(left: Values, right: Values | float) -> Values:
        a, b = _array(left), _array(right)
        with np.errstate(all="ignore"):
            out = np.asarray(f(b, a) if turned else f(a, b), float)
        return Values(np.where(np.isfinite(out), out, np.nan))

    return method


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Values, f"__{_name}__", _arithmetic(getattr(operator, _name)))
    setattr(Values, f"__r{_name}__", _arithmetic(getattr(operator, _name), turned=True))
for _name in ("gt", "lt"):
    setattr(Values, f"__{_name}__", _arithmetic(getattr(operator, _name)))


def _array(x: Values | float) -> np.ndarray | float:
    return x.x if isinstance(x, Values) else x


def _window(f: Callable[..., float], least: int = 1) -> Callable[..., Values]:
    def rolled(v: Values, n: int, *more: float) -> Values:
        out = np.full(len(v.x), np.nan)
        for t in range(len(out)):
            w = v.x[max(0, t - n + 1) : t + 1]
            if np.isfinite(w).sum() >= least:
                out[t] = f(w, *more)
        return Values(out)

    return rolled


def _line(w: np.ndarray) -> tuple[float, float]:
    """Slope and today's value of the line through the observations of a window."""
    at = np.flatnonzero(np.isfinite(w))
    slope, level = np.polynomial.polynomial.polyfit(at, w[at], 1)[::-1]
    return slope, level + slope * (len(w) - 1)


def _rsquare(w: np.ndarray) -> float:
    at = np.flatnonzero(np.isfinite(w))
    return _correlated(at.astype(float), w[at]) ** 2


def _correlated(a: np.ndarray, b: np.ndarray) -> float:
    there = np.isfinite(a) & np.isfinite(b)
    a, b = a[there], b[there]
    if len(a) < 2 or a.min() == a.max() or b.min() == b.max():
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def _rank(w: np.ndarray) -> float:
    below, same, n = (w < w[-1]).sum(), (w == w[-1]).sum(), np.isfinite(w).sum()
    return (below + (same + 1) / 2) / n if np.isfinite(w[-1]) else np.nan


def _corr(a: Values, b: Values, n: int) -> Values:
    ends = [(max(0, t - n + 1), t + 1) for t in range(len(a.x))]
    return Values(np.array([_correlated(a.x[i:j], b.x[i:j]) for i, j in ends]))


def _ref(v: Values, n: int) -> Values:
    return Values(np.concatenate([np.full(n, np.nan), v.x])[: len(v.x)])


def _log(v: Values) -> Values:
    return Values(np.log(v.x, out=np.full(len(v.x), np.nan), where=v.x > 0))


OPERATORS = {
    "Ref": _ref, "Log": _log, "Corr": _corr, "Abs": lambda v: Values(np.abs(v.x)),
    "Greater": _arithmetic(np.maximum), "Less": _arithmetic(np.minimum),
    "Mean": _window(np.nanmean), "Sum": _window(np.nansum), "Max": _window(np.nanmax),
    "Min": _window(np.nanmin), "Std": _window(lambda w: np.nanstd(w, ddof=1), 2),
    "IdxMax": _window(lambda w: np.nanargmax(w) + 1), "Rank": _window(_rank),
    "IdxMin": _window(lambda w: np.nanargmin(w) + 1), "Quantile": _window(np.nanquantile),
    "Slope": _window(lambda w: _line(w)[0], 2), "Rsquare": _window(_rsquare, 2),
    "Resi": _window(lambda w: w[-1] - _line(w)[1], 2),
}  # fmt: skip


def evaluate(expression: str, fields: dict[str, np.ndarray]) -> np.ndarray:
    """``expression`` for every session; fields: name without ``$`` → values."""
    words = {f"field_{name}": Values(np.asarray(x, float)) for name, x in fields.items()}
    return np.asarray(eval(expression.replace("$", "field_"), {**OPERATORS, **words}).x)
