"""Why a trade is made, in words, from the decomposition of marginal utility."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wealthos_pipeline.portfolio import limits, marginal, tax
from wealthos_pipeline.portfolio.limits import Absolute, Linear, Norm
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Parts, Problem
from wealthos_pipeline.portfolio.words import number, percent

NEGLIGIBLE = 1e-6
"""Differences of marginal utility (returns over the horizon) below this are not worth a word."""
VISIBLE_RETURN = 5e-5
"""Smaller differences of expected return would be written as 0 %."""
VISIBLE_RATIO = 5e-3
"""Marginal risks nearer to each other would be written as 1.00 ×."""
ON = 1e-9
"""A weight this near to a bound is at it."""

_RULES = {
    "hrp": "hierarchical risk parity",
    "herc": "hierarchical equal risk contribution",
    "nco": "nested clusters optimisation",
}
"""What rules other than 1/N are called."""

_RISK = {
    (True, True): "lowers risk",
    (True, False): "adds risk",
    (False, True): "lowers risk",
    (False, False): "gives up a diversifier",
}
"""What a trade does to risk, by (bought, helps)."""


def of_trades(
    p: Problem,
    w: Floats,
    parts: Parts | None,
    rows: Iterable[int],
    before: Problem | None = None,
) -> list[str]:
    """One text a name of ``rows``: the verb, what drives it, what speaks against it, what limits it.

    before: where limits gave way, the problem as the mandate has it: they are named with their old values.

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
    kind = _bound_alike(p, None if first else parts)
    gave = {} if before is None else _gave_way(before, p)
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
        out.append(_words(p, i, w, first, alpha_gain, risk_gain, relative, parts, gave))
    return out


def _price_of_volatility(p: Problem, w: Floats, parts: Parts | None) -> float:
    """What a binding cap on volatility adds to γh, per unit of marginal risk."""
    part = None if parts is None else parts.binding.get("volatility")
    if part is None:
        return 0.0
    sigma = np.where(p.free, p.covariance_times(w), 0.0)
    return -float(part @ sigma) / max(float(sigma @ sigma), 1e-300)


def _bound_alike(p: Problem, parts: Parts | None) -> NDArray[np.int64]:
    """A number for each name: equal where the same bounds on groups bind."""
    kind = np.zeros(len(p.ids), dtype=np.int64)
    groups = {g.name for g in p.groups}
    if parts is not None:
        for name, part in parts.binding.items():
            if name.rpartition(" at its ")[0] in groups:
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
    gave: dict[str, str],
) -> str:
    delta = float(w[i] - p.w0[i])
    move = f"{percent(p.w0[i])} → {percent(w[i])}"
    if delta == 0:
        return f"hold {percent(w[i])}: {_why_fixed(p, i)}" if not p.free[i] else f"hold {move}"
    verb = _verb(float(p.w0[i]), float(w[i]))
    if not p.free[i]:
        return f"{verb} {move}: {_why_fixed(p, i)}"
    if parts is None:
        name = _RULES.get(p.objective_kind, "1/N")
        rule = f"first purchase at {name}" if first else f"back to {name} after drift or new data"
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
    said += _limits(p, i, w, parts, gave)
    said += _beside(p, i, w)
    prefix = "first purchase; " if first else ""
    return f"{verb} {move}: {prefix}{'; '.join(said)}"


def _verb(before: float, after: float) -> str:
    """What the trade is called: buy, sell, short, cover, or two of them where it crosses 0."""
    if after > before:
        if before >= 0:
            return "buy"
        return "cover" if after <= 0 else "cover and buy"
    if before <= 0:
        return "short"
    return "sell" if after >= 0 else "sell and short"


def _beside(p: Problem, i: int, w: Floats) -> list[str]:
    """Impact, borrow, tax and whole numbers, where they say something about this trade."""
    out = []
    delta, now = float(w[i] - p.w0[i]), float(w[i])
    if p.impact is not None:
        steep = float(p.impact[i]) * (1 + p.impact_exponent) * abs(delta) ** p.impact_exponent
        if steep > max(float(p.cost[i]), VISIBLE_RETURN):
            out.append(f"the next unit would cost {percent(steep)} in market impact")
    if p.borrow is not None and now < 0 and p.borrow[i] > 0:
        out.append(f"borrowing costs {percent(float(p.borrow[i]))} a year")
    if p.tax is not None and delta < 0:
        lots = p.tax
        mine = lots.row == i
        used = tax.sold(p, w)[mine]
        gain = float(used @ lots.gain[mine])
        due = float(used @ (lots.gain[mine] * lots.rate[mine]))
        if abs(gain) >= VISIBLE_RETURN:
            what = "gain" if gain > 0 else "loss"
            worth = f", tax {percent(due)}" if due > 0 else f", worth {percent(-due)} in tax"
            out.append(
                f"realises a {what} of {percent(abs(gain))} of net asset value"
                + (worth if abs(due) >= VISIBLE_RETURN else "")
            )
    if p.min_holding is not None and abs(abs(now) - p.min_holding) <= ON:
        out.append(f"at the smallest holding of {percent(p.min_holding)}")
    if p.min_trade is not None and abs(abs(delta) - p.min_trade) <= ON:
        out.append(f"the smallest trade that is allowed is {percent(p.min_trade)}")
    if p.lot is not None and np.isfinite(p.lot[i]) and p.lot[i] >= VISIBLE_RETURN:
        out.append(f"in whole lots of {percent(float(p.lot[i]))}")
    return out


def of_untraded(p: Problem, w: Floats, parts: Parts | None, rows: Iterable[int]) -> list[str]:
    """Why names of ``rows`` whose weight stays are left alone, one text each."""
    return [_untraded(p, i, w, parts) for i in map(int, rows)]


def _untraded(p: Problem, i: int, w: Floats, parts: Parts | None) -> str:
    now = float(w[i])
    at = f"hold {percent(now)}" if now != 0.0 else "not held"
    if not p.free[i]:
        return f"{at}: {_why_fixed(p, i)}"
    if parts is None:
        return f"{at}: the rule asks for no trade"
    pull = float(parts.alpha[i] + parts.risk[i] + parts.constraint[i])
    fee = p.kappa * float(p.cost[i])
    if now >= p.upper[i] - ON and now != 0.0:
        return f"{at}: capped at {percent(p.upper[i])}"
    held_at = _limits(p, i, w, parts)
    floor = now <= p.lower[i] + ON
    price = float(parts.binding["lower"][i]) if "lower" in parts.binding else 0.0
    if floor and price > NEGLIGIBLE:
        kept = "nothing speaks for holding it" if now == 0.0 else "it would be reduced if it could"
        short = f"{kept}: a unit of it would lose {_small(price)} over {p.horizon} sessions"
        return "; ".join([f"{at}: {short}, cost included", *held_at])
    if fee > NEGLIGIBLE and abs(pull) <= fee * (1 + 1e-6) + NEGLIGIBLE:
        verb = _verb(now, now + 1.0 if pull > 0 else now - 1.0)
        text = f"{at}: to {verb} would gain {_small(abs(pull))} a unit and cost {_small(fee)}"
        return "; ".join([text, *held_at])
    if p.min_trade is not None:
        return f"{at}: a trade of at least {percent(p.min_trade)} would not pay"
    return "; ".join([f"{at}: at its best weight", *held_at])


def _small(x: float) -> str:
    """A rate in basis points, to two figures: percent would round it away."""
    return f"{1e4 * x:.2g} bp"


def contributions(p: Problem, w: Floats, parts: Parts) -> dict[str, Floats]:
    """Marginal utility by source (n each, returns over the horizon), which sums to about 0 for free names.

    alpha, risk, ``commission and spread``, market impact, borrow, tax and whatever else is in the cost (a trade
    that is not made uses up only a part of its cost), then each limit that binds, in words.
    """
    delta = w - p.w0
    zero = np.zeros(len(w))
    power = zero
    if p.impact is not None:
        steep = p.impact * (1 + p.impact_exponent) * np.abs(delta) ** p.impact_exponent
        power = -p.kappa * steep * np.sign(delta)
    borrow = zero
    if p.borrow is not None:
        borrow = np.where(w < 0, p.borrow * (p.horizon / SESSIONS_PER_YEAR), 0.0)
    linear = np.where(delta != 0, -p.kappa * p.cost * np.sign(delta), parts.cost - power - borrow)
    rest = parts.cost - linear - power - borrow
    taxes = np.where(np.abs(rest) > NEGLIGIBLE, rest, 0.0)
    named = {
        "alpha": parts.alpha,
        "risk": parts.risk,
        "commission and spread": linear,
        "market impact": power,
        "borrow": borrow,
        "tax": taxes,
        **dict(sorted(parts.binding.items())),
    }
    fixed = np.where(p.free, 0.0, parts.constraint)
    named["fixed"] = fixed
    return {name: part for name, part in named.items() if name in ("alpha", "risk") or part.any()}


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


def _limits(
    p: Problem, i: int, w: Floats, parts: Parts, gave: dict[str, str] | None = None
) -> list[str]:
    """Constraints that bind this name, in words; gave: what to add to those that gave way, by name."""
    out = []
    for name, part in parts.binding.items():
        if abs(part[i]) <= NEGLIGIBLE or name == "budget":
            continue
        said = name
        if name == "upper":
            if w[i] < p.upper[i] - 1e-9:
                continue
            said = f"capped at {percent(p.upper[i])}"
        elif name == "lower":
            if w[i] > p.lower[i] + 1e-9 or p.lower[i] == 0.0:
                continue
            said = f"kept at its smallest weight {percent(p.lower[i])}"
        elif name == "turnover":
            said = f"limited by the turnover cap of {percent(p.max_turnover or 0.0)}"
        elif name == "volatility":
            said = f"limited by the volatility cap of {percent(p.max_volatility or 0.0)}"
        out.append(said + (gave or {}).get(name, ""))
    return out


def _gave_way(before: Problem, now: Problem) -> dict[str, str]:
    """What to add to the name of a limit that gave way, by the names that ``Parts.binding`` has."""
    old = {limit.key: limit for limit in limits.of(before)}
    out: dict[str, str] = {}
    for limit in limits.of(now):
        was = old.get(limit.key)
        if was is None or not isinstance(limit.shape, Linear | Absolute | Norm):
            continue
        assert isinstance(was.shape, Linear | Absolute | Norm)
        if np.array_equal(limit.shape.right, was.shape.right):
            continue
        since = "" if was.value is None else f", from {number(was.value, was.unit)}"
        text = f" (it gave way{since})"
        out |= dict.fromkeys(marginal.names(now, limit), text)
    return out


def _signed(x: float) -> str:
    text = percent(x)
    return text if x < 0 or text == "0 %" else f"+{text}"


def _times(x: float) -> str:
    return f"{x:.2f} ×".replace("-", "−")
