"""Why a trade is made, in words, from the decomposition of marginal utility."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio.words import percent
from wealthos_pipeline.portfolio.problem import Floats, Parts, Problem

NEGLIGIBLE = 1e-6
"""Differences of marginal utility (returns over the horizon) below this are not worth a word."""
VISIBLE_RETURN = 5e-5
"""Smaller differences of expected return would be written as 0 %."""
VISIBLE_RATIO = 5e-3
"""Marginal risks nearer to each other would be written as 1.00 ×."""
NOT_GROUPS = ("budget", "upper", "lower", "turnover", "volatility")
"""Constraints that are not bounds on a sum of weights of some names."""

_RISK = {
    (True, True): "lowers risk",
    (True, False): "adds risk",
    (False, True): "lowers risk",
    (False, False): "gives up a diversifier",
}
"""What a trade does to risk, by (bought, helps)."""


def of_trades(p: Problem, w: Floats, parts: Parts | None, rows: Iterable[int]) -> list[str]:
    """One text a name of ``rows``: the verb, what drives it, what speaks against it, what limits it.

    Drivers compare a name with the alternatives: expected return and marginal risk of *comparable
    names*, half-way between the weights held and the target. Those are the other names of the answer
    that are not at a limit of their own and are bound by the same sectors and groups, so that money
    could go from one to the other; where there is none, all others not at a limit. A first purchase
    is compared with the average name of 1/N. ``parts`` None (a rule such as 1/N) gives the distance
    to the rule's weight only.
    """
    first = not np.abs(p.w0).any()
    middle = p.benchmark if first and p.benchmark.any() else 0.5 * (p.w0 + w)
    sigma = p.covariance_times(middle)
    price = p.risk_aversion * p.horizon + _price_of_volatility(p, w, parts)
    loose = p.free & (w > p.lower + 1e-9) & (w < p.upper - 1e-9) & (middle != 0.0)
    if first or not loose.any():
        loose = np.ones(len(w), dtype=np.bool_)
    kind = _bound_alike(len(w), None if first else parts)
    out = []
    for i in map(int, rows):
        others = loose if first else loose & (np.arange(len(w)) != i)
        alike = others & (kind == kind[i])
        shares = np.where(alike if alike.any() else others, np.abs(middle), 0.0)
        shares = shares / total if (total := float(shares.sum())) > 0 else shares
        average = float(shares @ sigma)
        relative = float(sigma[i]) / average if average > 0 else 1.0
        alpha_gain = float(p.alpha[i]) - float(shares @ p.alpha) if total > 0 else 0.0
        risk_gain = -price * (float(sigma[i]) - average) if total > 0 else 0.0
        out.append(_words(p, i, w, first, alpha_gain, risk_gain, relative, parts))
    return out


def _price_of_volatility(p: Problem, w: Floats, parts: Parts | None) -> float:
    """What a binding cap on volatility adds to γh, per unit of marginal risk."""
    part = None if parts is None else parts.binding.get("volatility")
    if part is None:
        return 0.0
    sigma = np.where(p.free, p.covariance_times(w), 0.0)
    return -float(part @ sigma) / max(float(sigma @ sigma), 1e-300)


def _bound_alike(n: int, parts: Parts | None) -> NDArray[np.int64]:
    """A number for each name: equal where the same bounds on groups bind."""
    kind = np.zeros(n, dtype=np.int64)
    if parts is not None:
        for name, part in parts.binding.items():
            if name not in NOT_GROUPS:
                kind = np.unique(2 * kind + (np.abs(part) > NEGLIGIBLE), return_inverse=True)[1]
    return kind


def _words(
    p: Problem,
    i: int,
    w: Floats,
    first: bool,
    alpha_gain: float,
    risk_gain: float,
    relative: float,
    parts: Parts | None,
) -> str:
    delta = float(w[i] - p.w0[i])
    move = f"{percent(p.w0[i])} → {percent(w[i])}"
    if delta == 0:
        return f"hold {percent(w[i])}: {_why_fixed(p, i)}" if not p.free[i] else f"hold {move}"
    verb = "buy" if delta > 0 else "sell"
    if not p.free[i]:
        return f"{verb} {move}: {_why_fixed(p, i)}"
    if parts is None:
        rule = "first purchase at 1/N" if first else "back to 1/N after drift or a changed universe"
        return f"{verb} {move}: {rule}"

    others = "the average name" if first else "comparable names"
    sign = 1.0 if delta > 0 else -1.0
    for_it: list[tuple[float, str]] = []
    against: list[tuple[float, str]] = []
    gain = sign * alpha_gain
    if abs(gain) >= VISIBLE_RETURN:
        text = f"expects {_signed(p.alpha[i])} over {p.horizon} sessions, {_signed(alpha_gain)} against {others}"
        (for_it if gain > 0 else against).append((abs(gain), text))
    gain = sign * risk_gain
    if abs(gain) > NEGLIGIBLE and abs(relative - 1.0) >= VISIBLE_RATIO:
        text = f"{_RISK[delta > 0, gain > 0]}: {_times(relative)} the marginal risk of {others}"
        (for_it if gain > 0 else against).append((abs(gain), text))
    said = [] if _forced(p, i, w) else [text for _, text in sorted(for_it, key=lambda x: -x[0])]
    if not said:
        said = [_otherwise(p, i, delta, first)]
    if against:
        said.append("although it " + "; ".join(text for _, text in sorted(against, reverse=True)))
    said += _limits(p, i, w, parts)
    prefix = "first purchase; " if first else ""
    return f"{verb} {move}: {prefix}{'; '.join(said)}"


def _why_fixed(p: Problem, i: int) -> str:
    return p.fixed_why[i] or "not free to change"


def _forced(p: Problem, i: int, w: Floats) -> bool:
    """The name is outside its box and goes no farther than into it: nothing else drives the trade."""
    above = p.w0[i] > p.upper[i] and w[i] >= p.upper[i] - 1e-9
    below = p.w0[i] < p.lower[i] and w[i] <= p.lower[i] + 1e-9
    return bool(above or below)


def _otherwise(p: Problem, i: int, delta: float, first: bool) -> str:
    """What to say where neither expected return nor risk speaks for the trade by itself."""
    if delta < 0:
        return (
            "above its largest weight"
            if p.w0[i] > p.upper[i]
            else "makes room for better uses of the money"
        )
    if p.w0[i] < p.lower[i]:
        return "below its smallest weight"
    if first:
        return "diversifies what is bought beside it"
    idle = p.budget - float(p.w0.sum()) > 1e-6
    return "puts free money to work" if idle else "takes the place of what is sold"


def _limits(p: Problem, i: int, w: Floats, parts: Parts) -> list[str]:
    """Constraints that bind this name, in words."""
    out = []
    for name, part in parts.binding.items():
        if abs(part[i]) <= NEGLIGIBLE or name == "budget":
            continue
        if name == "upper":
            if w[i] >= p.upper[i] - 1e-9:
                out.append(f"capped at {percent(p.upper[i])}")
        elif name == "lower":
            if w[i] <= p.lower[i] + 1e-9 and p.lower[i] != 0.0:
                out.append(f"kept at its smallest weight {percent(p.lower[i])}")
        elif name == "turnover":
            out.append(f"limited by the turnover cap of {percent(p.max_turnover or 0.0)}")
        elif name == "volatility":
            out.append(f"limited by the volatility cap of {percent(p.max_volatility or 0.0)}")
        else:
            out.append(name)
    return out


def _signed(x: float) -> str:
    text = percent(x)
    return text if x < 0 or text == "0 %" else f"+{text}"


def _times(x: float) -> str:
    return f"{x:.2f} ×".replace("-", "−")
