"""From a mandate and a situation to numbers: the problem of one decision.

What the words of a mandate mean is written in ``core.mandate``; here they become bounds, costs and
limits of a ``Problem``. What the situation does not know (a name's volume, a score) is said in
``Problem.notes`` and never invented.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import USES_ALPHA, Mandate, Override
from wealthos_pipeline.portfolio import alpha as alphas
from wealthos_pipeline.portfolio.problem import Bools, Exposure, Floats, Group, Problem, TradeCap
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.situation import Situation
from wealthos_pipeline.portfolio.words import percent

STALE = "no bar on the day, or a stale or doubtful one, so it cannot be traded"
LEFT = "no longer in the universe"
BENCHMARK_ONLY = "in the benchmark and not in the universe, so it counts in active risk only"
NO_SHARE = "its sector has no share of the risk budget"


def problem(mandate: Mandate, s: Situation, risk: RiskModel) -> Problem:
    """The mandate's problem in this situation.

    PortfolioError lists every word of the mandate that the situation gives no meaning to: a factor that
    is neither in the risk model nor among the scores, a label that nobody has.
    """
    rule = mandate.objective == "equal_weight"
    weights, notes = _benchmark(mandate, s)
    members = {m for m in s.members if m in s.traded and (rule or m in risk.index)}
    held = {i for i, w in s.held.items() if w != 0.0}
    ids = tuple(sorted(members | held | set(weights)))
    n = len(ids)
    B, d, known = risk.align(ids)
    w0 = np.array([s.held.get(i, 0.0) for i in ids], dtype=np.float64)
    traded = np.array([i in s.traded for i in ids], dtype=np.bool_)
    universe = set(s.members)
    inside = np.array([i in universe for i in ids], dtype=np.bool_)
    benchmark = np.where(inside, 1.0 / max(len(universe), 1), 0.0)
    if weights:
        benchmark = np.array([weights.get(i, 0.0) for i in ids], dtype=np.float64)

    floor = mandate.min_weight
    if floor is None:
        floor = 0.0 if mandate.long_only else -mandate.max_weight
    lower, upper = np.full(n, floor), np.full(n, mandate.max_weight)
    if not rule:
        # a member that the risk model does not know may be kept or reduced, not increased
        young = inside & ~known
        lower = np.where(young, np.minimum(np.maximum(w0, lower), 0.0), lower)
        upper = np.where(young, np.maximum(np.minimum(w0, upper), 0.0), upper)
    fixed, why = np.full(n, np.nan), [""] * n
    for i in range(n):
        if not inside[i] and w0[i] == 0.0:
            fixed[i], why[i] = 0.0, BENCHMARK_ONLY
        elif not traded[i]:
            fixed[i], why[i] = w0[i], STALE
        elif not inside[i]:
            fixed[i], why[i] = 0.0, LEFT
    notes += _overrides(mandate.overrides, s, ids, w0, traded, lower, upper, fixed, why)
    share = _risk_share(mandate, s, ids, fixed, why)

    score = np.array([s.z.get(i, np.nan) for i in ids], dtype=np.float64)
    use = s.ic if mandate.objective in USES_ALPHA and s.ic is not None else 0.0
    alpha = alphas.expected_returns(np.where(known, score, np.nan), d, use, mandate.horizon_days)

    volume = np.array([s.volume.get(i, np.nan) for i in ids], dtype=np.float64)
    volume = np.where(volume > 0, volume, np.nan)
    total = np.sqrt(((B @ risk.F) * B).sum(axis=1) + d**2)
    impact = _impact(mandate, volume, total, s.nav, notes)
    first = not np.abs(w0).any()
    faults: list[str] = []
    if mandate.long_only and floor < 0:
        faults.append(
            f"min_weight is {floor:g} in a long-only mandate; expected 0 or more, or long_only: false"
        )
    exposures = _exposures(mandate, s, risk, ids, B, d, benchmark, faults, notes)
    groups = _groups(mandate, s, ids, faults)
    if faults:
        raise PortfolioError(f"the mandate {mandate.name} cannot be read: " + "; ".join(faults))
    scenarios = None
    if mandate.objective in ("cvar", "hrp", "herc", "nco"):
        scenarios = _scenarios(mandate, s, ids)
    lot = None
    if mandate.lots:
        lot = np.array([mandate.lot_size * s.close.get(i, 0.0) / s.nav for i in ids])
    tax = None
    if mandate.tax is not None and not s.lots and not first:
        notes.append("The lots of what is held are not known, so no tax is charged.")
    if mandate.tax is not None and s.lots:
        from wealthos_pipeline.portfolio import tax as taxes

        tax = taxes.lots_at(s.date, s.lots, s.close, s.nav, mandate.tax, ids)
    p = Problem(
        ids=ids,
        w0=w0,
        benchmark=benchmark,
        alpha=alpha,
        B=B,
        F=risk.F,
        d=d,
        cost=np.full(n, mandate.costs.one_way),
        lower=lower,
        upper=upper,
        fixed=fixed,
        fixed_why=tuple(why),
        budget=mandate.budget - mandate.cash_buffer,
        risk_aversion=mandate.risk_aversion,
        horizon=mandate.horizon_days,
        holding_period=mandate.holding_period_days,
        max_turnover=_turnover(mandate, w0, fixed),
        max_volatility=mandate.max_volatility,
        groups=groups,
        objective_kind=mandate.objective,
        impact=impact,
        impact_exponent=mandate.costs.impact_exponent,
        borrow=None if mandate.long_only else np.full(n, mandate.costs.borrow_bp / 1e4),
        max_gross=mandate.max_gross,
        max_short=mandate.max_short,
        max_tracking_error=mandate.max_tracking_error,
        exposures=exposures,
        trade_caps=_trade_caps(mandate, volume, s.nav, first, notes),
        min_holding=mandate.min_holding,
        min_trade=mandate.min_trade,
        max_names=mandate.max_names,
        min_names=mandate.min_names,
        lot=lot,
        tax=tax,
        risk_share=share,
        scenarios=scenarios,
        cvar_level=mandate.cvar_level,
        soften=mandate.soften,
        notes=tuple(notes),
    )
    if mandate.objective == "black_litterman":
        from wealthos_pipeline.portfolio import black_litterman

        symbols = tuple(s.labels.symbol.get(i, i) for i in ids)
        return black_litterman.posterior(p, mandate.views, symbols)
    return p


def one_over_n(p: Problem) -> Floats:
    """Equal weights of the free names; what is frozen keeps its weight."""
    free = p.free
    w = np.where(free, 0.0, p.fixed)
    n = int(free.sum())
    if n:
        w[free] = (p.budget - float(w.sum())) / n
    return w


def _benchmark(mandate: Mandate, s: Situation) -> tuple[dict[str, float], list[str]]:
    """The benchmark's weights by id, where the mandate names them; they are scaled to sum to 1."""
    if isinstance(mandate.benchmark, str):
        return {}, []
    by_symbol = {symbol: i for i, symbol in s.labels.symbol.items()}
    known = {by_symbol[x]: w for x, w in sorted(mandate.benchmark.items()) if x in by_symbol}
    lost = sorted(x for x in mandate.benchmark if x not in by_symbol)
    total = sum(known.values())
    if not known or not total > 0:
        raise PortfolioError(
            f"the mandate {mandate.name} cannot be read: none of its benchmark's names is known "
            f"({', '.join(lost[:10])}); expected symbols of clean.instruments"
        )
    notes = []
    if lost:
        share = sum(mandate.benchmark[x] for x in lost) / sum(mandate.benchmark.values())
        notes.append(
            f"The benchmark names {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''}, "
            f"{percent(share)} of it, are not known; the others were scaled to 100 %."
        )
    return {i: w / total for i, w in known.items()}, notes


def _overrides(
    overrides: Iterable[Override],
    s: Situation,
    ids: tuple[str, ...],
    w0: Floats,
    traded: Bools,
    lower: Floats,
    upper: Floats,
    fixed: Floats,
    why: list[str],
) -> list[str]:
    """Puts what people decided into the bounds; what had no effect is said."""
    notes = []
    by_symbol = {s.labels.symbol.get(name, name): i for i, name in enumerate(ids)}
    for o in overrides:
        if s.date > o.expires:
            notes.append(f"The override of {o.symbol} by {o.owner} expired on {o.expires}.")
            continue
        i = by_symbol.get(o.symbol)
        if i is None:
            notes.append(
                f"The override of {o.symbol} by {o.owner} has no effect: it is neither held nor in "
                "the universe."
            )
            continue
        said = f"{o.owner}, until {o.expires}: {o.reason}"
        if not traded[i]:
            if o.action == "force":
                notes.append(f"{o.symbol} cannot be traded, so it is not forced ({said}).")
        elif o.action == "do_not_trade":
            fixed[i], why[i] = w0[i], f"do not trade ({said})"
        elif o.action == "force":
            fixed[i], why[i] = float(o.weight or 0.0), f"forced ({said})"
        else:
            lower[i] = max(lower[i], min(w0[i], 0.0))
            upper[i] = min(upper[i], max(w0[i], 0.0))
            lower[i] = min(
                lower[i], upper[i]
            )  # a least weight does not make a frozen name be bought
    return notes


def _risk_share(
    mandate: Mandate, s: Situation, ids: tuple[str, ...], fixed: Floats, why: list[str]
) -> Floats | None:
    """Shares of risk by name; a name whose sector has none is not held."""
    if mandate.objective != "risk_budget":
        return None
    free = np.isnan(fixed)
    share = np.zeros(len(ids))
    if not mandate.risk_budget:
        share[free] = 1.0
    else:
        sector = np.array([s.labels.sector.get(i, "") for i in ids])
        for name, part in sorted(mandate.risk_budget.items()):
            mine = free & (sector == name)
            if mine.any():
                share[mine] = part / int(mine.sum())
        for i in np.flatnonzero(free & (share == 0.0)):
            fixed[i], why[i] = 0.0, NO_SHARE
    total = float(share.sum())
    return share / total if total > 0 else share


def _impact(
    mandate: Mandate, volume: Floats, volatility: Floats, nav: float, notes: list[str]
) -> Floats | None:
    """Coefficient of ``|Δ|^(1 + exponent)`` by name; None where none is charged."""
    if not mandate.costs.impact:
        return None
    if not np.isfinite(volume).any():
        notes.append("No dollar volume is known, so no market impact is charged.")
        return None
    least = float(np.nanmin(volume))
    thin = np.where(np.isfinite(volume), volume, least)
    return mandate.costs.impact * volatility * (nav / thin) ** mandate.costs.impact_exponent


def _trade_caps(
    mandate: Mandate, volume: Floats, nav: float, first: bool, notes: list[str]
) -> tuple[TradeCap, ...]:
    """Caps on the trade of each name; none on the first purchase, which has to invest all of the budget."""
    out: list[TradeCap] = []
    if first:
        asked = {
            "max_turnover_name": mandate.max_turnover_name,
            "max_participation": mandate.max_participation,
        }
        if said := " and ".join(name for name, cap in asked.items() if cap is not None):
            notes.append(f"Nothing is held yet, and the first purchase is not limited by {said}.")
        return ()
    if mandate.max_turnover_name is not None:
        cap = mandate.max_turnover_name
        words = f"No name changes by more than {percent(cap)}"
        out.append(TradeCap("turnover_name", words, np.full(len(volume), cap)))
    if mandate.max_participation is not None:
        known = np.isfinite(volume)
        words = f"Trades of at most {percent(mandate.max_participation)} of a day's dollar volume"
        caps = np.where(known, mandate.max_participation * volume / nav, np.inf)
        out.append(TradeCap("adv", words, caps))
        if not known.all():
            notes.append(
                f"The dollar volume of {int((~known).sum())} names is not known, so the limit on "
                "participation does not bind them."
            )
    return tuple(out)


def _turnover(mandate: Mandate, w0: Floats, fixed: Floats) -> float | None:
    """The cap on the free names' trades; None where nothing is held yet.

    Money that must be invested whatever the cap says (the proceeds of what left the universe, what
    was delisted, drift of the cash) needs half of it as one-way turnover: that much is added.
    """
    if mandate.max_turnover is None or not np.abs(w0).any():
        return None
    stays = float(np.where(np.isnan(fixed), w0, fixed).sum())
    return mandate.max_turnover + 0.5 * abs(mandate.budget - mandate.cash_buffer - stays)


def _groups(
    mandate: Mandate, s: Situation, ids: tuple[str, ...], faults: list[str]
) -> tuple[Group, ...]:
    sectors = [s.labels.sector.get(i, "") for i in ids]
    symbols = [s.labels.symbol.get(i, i) for i in ids]
    out = []
    called = [g.name for g in mandate.groups]
    for name in sorted({x for x in called if called.count(x) > 1}):
        faults.append(
            f"{called.count(name)} groups are called {name!r}; give each a name of its own"
        )
    if mandate.sector_max_weight is not None:
        for sector in sorted(set(sectors) - {""}):
            member = np.array([x == sector for x in sectors], dtype=np.bool_)
            cap = mandate.sector_max_weight
            out.append(Group(f"sector {sector}", "sector_cap", member, None, cap))
    for g in mandate.groups:
        if g.label is not None and g.value is None:
            faults.append(
                f"group {g.name}: a label {g.label!r} without the value that its names have"
            )
            continue
        if g.label is not None:
            own = sectors_of(s, g.label)
            if own is None:
                there = ", ".join(["sector", *sorted(s.labels.others)])
                faults.append(f"group {g.name}: no label {g.label!r}; there are {there}")
                continue
            chosen = [own.get(i) == g.value for i in ids]
        elif g.sector is not None:
            chosen = [x == g.sector for x in sectors]
        else:
            chosen = [x in g.symbols for x in symbols]
        member = np.array(chosen, dtype=np.bool_)
        out.append(Group(f"group {g.name}", "group", member, g.min_weight, g.max_weight, g.active))
    return tuple(out)


def sectors_of(s: Situation, label: str) -> dict[str, str] | None:
    """Values of a label by id; None where nobody has it."""
    if label == "sector":
        return s.labels.sector
    own = s.labels.others.get(label)
    return None if own is None else dict(own)


def _exposures(
    mandate: Mandate,
    s: Situation,
    risk: RiskModel,
    ids: tuple[str, ...],
    B: Floats,
    d: Floats,
    benchmark: Floats,
    faults: list[str],
    notes: list[str],
) -> tuple[Exposure, ...]:
    out: list[Exposure] = []
    for e in mandate.exposures:
        if e.factor in s.scores:
            own = s.scores[e.factor]
            scores = np.array([own.get(i, np.nan) for i in ids], dtype=np.float64)
            loadings = np.nan_to_num(scores, nan=0.0)
            if unknown := int(np.isnan(scores).sum()):
                notes.append(
                    f"The score {e.factor} of {unknown} names is not known; they count as average."
                )
        elif e.factor in risk.factors:
            loadings = B[:, risk.factors.index(e.factor)].copy()
        else:
            there = ", ".join(sorted({*s.scores, *risk.factors})[:12])
            faults.append(f"exposures: no factor {e.factor!r}; there are {there}, …")
            continue
        # one factor may have bounds of the weights and of what they differ from the benchmark
        before = sum(x.name.partition(", bound ")[0] == e.factor for x in out)
        name = f"{e.factor}, bound {before + 1}" if before else e.factor
        out.append(Exposure(name, "exposures", loadings, e.min_exposure, e.max_exposure, e.active))
    if mandate.min_beta is not None or mandate.max_beta is not None:
        sigma_b = B @ (risk.F @ (B.T @ benchmark)) + d**2 * benchmark
        variance = float(benchmark @ sigma_b)
        if variance > 0:
            beta = sigma_b / variance
            out.append(Exposure("beta", "beta", beta, mandate.min_beta, mandate.max_beta))
        else:
            faults.append("beta: the benchmark has no variance, so there is none")
    return tuple(out)


def _scenarios(mandate: Mandate, s: Situation, ids: tuple[str, ...]) -> Floats:
    """Trailing returns, S × n. A gap takes the mean return of the other names in that session."""
    if s.returns is None:
        raise PortfolioError(
            f"the objective {mandate.objective} of {mandate.name} needs past returns, and none were given"
        )
    past = s.returns(ids)
    seen = np.isfinite(past)
    count = seen.sum(axis=1)
    mean = np.where(seen, past, 0.0).sum(axis=1) / np.maximum(count, 1)
    out: Floats = np.where(seen, past, mean[:, None])[count > 0]
    return out
