"""One decision of one mandate: the problem is put together, solved, and written down as rows.

Backtest and live proposals share this: the same inputs give the same decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.portfolio import alpha as alphas
from wealthos_pipeline.portfolio import reasons
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import (
    SESSIONS_PER_YEAR,
    Floats,
    Group,
    Problem,
    Solution,
)
from wealthos_pipeline.portfolio.risk import RiskModel

TRADE_FLOOR = 1e-9
"""Changes of weight up to this are no trade."""

STALE = "no bar on the day, or a stale or doubtful one, so it cannot be traded"
LEFT = "no longer in the universe"
UNEXPLAINED = (
    "Which ones, and how far each would have to give, is worked out for live decisions only."
)


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known about instruments: sector and symbol by id; others by label, then id."""

    sector: dict[str, str]
    symbol: dict[str, str]
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of one purchase that are still held: shares, their cost a share, in the base currency."""

    instrument_id: str
    lot: str
    units: float
    cost: float
    acquired: date


@dataclass(frozen=True, eq=False)
class Situation:
    """Everything that a decision at the close of ``date`` may look at.

    members: names of the universe. traded: names with a price of the date that one could trade at. held: drifted weights
    (fractions of ``nav``) of what is held. close: traded price by name, for those with a bar.
    z: standardised predictions, where there are any. ic: None for objectives without alpha.
    """

    date: date
    nav: float
    members: tuple[str, ...]
    traded: frozenset[str]
    held: dict[str, float]
    close: dict[str, float]
    risk: RiskModel | None
    z: dict[str, float]
    ic: float | None
    labels: Labels
    note: str = ""
    volume: Mapping[str, float] = field(default_factory=dict)
    """Average daily dollar volume known at the date, in the base currency; absent where unknown."""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Score (standard deviations) by factor, then name: for bounds on exposures."""
    lots: tuple[Lot, ...] = ()
    returns: Callable[[Sequence[str]], Floats] | None = None
    """Simple total returns of the trailing sessions, oldest first (S × names, NaN where unknown), of the names asked for."""


@dataclass(frozen=True, eq=False)
class Decision:
    """A problem, its answer, and their rows for the three tables."""

    ids: tuple[str, ...]
    w0: Floats
    weights: Floats
    acts: bool
    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame


def labels(instruments: pl.DataFrame, day: date) -> Labels:
    """Sector and symbol of each instrument as of ``day``: its description valid then, or its first."""
    order = instruments.sort("instrument_id", "valid_from")
    sector: dict[str, str] = {}
    symbol: dict[str, str] = {}
    for name, sym, sec, since in order.select(
        "instrument_id", "symbol", "sector", "valid_from"
    ).iter_rows():
        if name in symbol and since > day:
            continue
        symbol[name] = sym
        sector.pop(name, None)
        if sec is not None:
            sector[name] = sec
    return Labels(sector, symbol)


def decide(mandate: Mandate, s: Situation, *, run_kind: str, explain: bool = True) -> Decision:
    """The decision; what cannot be solved holds what is held, with the reason in ``solves``.

    explain: False leaves out why limits contradict each other, unless that is plain to see: the
    analysis costs many times what a solve costs.
    """
    if not s.members:
        return held(mandate, s, run_kind, "the universe has no names on this date")
    if s.risk is None:
        return held(mandate, s, run_kind, "no risk model is known on this date")
    if not np.isfinite(s.nav) or s.nav <= 0:
        return held(mandate, s, run_kind, f"the net asset value is {s.nav}, expected above 0")
    if mandate.objective == "equal_weight":
        problem = _problem(mandate, s, s.risk)
        solution = Solution("rule", _one_over_n(problem, mandate), message="1/N of the universe.")
    else:
        problem = _problem(mandate, s, s.risk)
        if not problem.free.any():
            return held(mandate, s, run_kind, "no name of the universe can be chosen on this date")
        try:
            solution = optimise(problem, explain=explain)
            if solution.status == "infeasible" and not solution.conflicts:
                solution = replace(solution, message=UNEXPLAINED)
        except PortfolioError as error:
            solution = Solution("failed", problem.w0.copy(), message=str(error))
    return _written(mandate, s, problem, solution, run_kind)


def _problem(mandate: Mandate, s: Situation, risk: RiskModel) -> Problem:
    """The mandate's problem in this situation. See ``Mandate`` for what its words mean."""
    everything = mandate.objective == "equal_weight"
    members = {m for m in s.members if m in s.traded and (everything or m in risk.index)}
    ids = tuple(sorted(members | {i for i, w in s.held.items() if w != 0.0}))
    n = len(ids)
    B, d, known = risk.align(ids)
    w0 = np.array([s.held.get(i, 0.0) for i in ids], dtype=np.float64)
    traded = np.array([i in s.traded for i in ids], dtype=np.bool_)
    universe = set(s.members)
    inside = np.array([i in universe for i in ids], dtype=np.bool_)

    floor = mandate.min_weight
    if floor is None:
        floor = 0.0 if mandate.long_only else -mandate.max_weight
    lower, upper = np.full(n, floor), np.full(n, mandate.max_weight)
    if not everything:
        # a member that the risk model does not know may be kept or reduced, not increased
        young = inside & ~known
        lower = np.where(young, np.minimum(np.minimum(w0, 0.0), lower), lower)
        upper = np.where(young, np.clip(w0, lower, upper), upper)
    fixed, why = np.full(n, np.nan), [""] * n
    for i in range(n):
        if not traded[i]:
            fixed[i], why[i] = w0[i], STALE
        elif not inside[i]:
            fixed[i], why[i] = 0.0, LEFT

    score = np.array([s.z.get(i, np.nan) for i in ids], dtype=np.float64)
    use = s.ic if mandate.objective == "mean_variance" and s.ic is not None else 0.0
    score = np.where(known, score, np.nan)
    alpha = alphas.expected_returns(score, d, use, mandate.horizon_days)

    return Problem(
        ids=ids,
        w0=w0,
        benchmark=np.where(inside, 1.0 / max(len(universe), 1), 0.0),
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
        groups=_groups(mandate, s.labels, ids),
    )


def _turnover(mandate: Mandate, w0: Floats, fixed: Floats) -> float | None:
    """The cap on the free names' trades; None where nothing is held yet.

    Money that must be invested whatever the cap says (the proceeds of what left the universe, what
    was delisted, drift of the cash) needs half of it as one-way turnover: that much is added.
    """
    if mandate.max_turnover is None or not np.abs(w0).any():
        return None
    stays = float(np.where(np.isnan(fixed), w0, fixed).sum())
    return mandate.max_turnover + 0.5 * abs(mandate.budget - mandate.cash_buffer - stays)


def _groups(mandate: Mandate, names: Labels, ids: tuple[str, ...]) -> tuple[Group, ...]:
    sectors = [names.sector.get(i, "") for i in ids]
    symbols = [names.symbol.get(i, i) for i in ids]
    out = []
    if mandate.sector_max_weight is not None:
        for sector in sorted(set(sectors) - {""}):
            member = np.array([x == sector for x in sectors], dtype=np.bool_)
            cap = mandate.sector_max_weight
            out.append(Group(f"sector {sector}", "sector_cap", member, None, cap))
    for g in mandate.groups:
        chosen = set(g.symbols)
        member = np.array(
            [
                (g.sector is not None and sec == g.sector) or sym in chosen
                for sec, sym in zip(sectors, symbols, strict=True)
            ],
            dtype=np.bool_,
        )
        out.append(Group(f"group {g.name}", "group", member, g.min_weight, g.max_weight))
    return tuple(out)


def _one_over_n(p: Problem, mandate: Mandate) -> Floats:
    """Equal weights of the free names; what is frozen keeps its weight."""
    free = p.free
    w = np.where(free, 0.0, p.fixed)
    n = int(free.sum())
    if n:
        w[free] = (p.budget - float(w.sum())) / n
    return w


def held(mandate: Mandate, s: Situation, run_kind: str, message: str) -> Decision:
    """A decision without a solve: nothing is traded, and ``message`` says why."""
    empty = _frames(mandate, s, run_kind)
    row = _solve_row(mandate, s, run_kind, "held", message)
    none = np.empty(0)
    return Decision((), none, none, False, empty["targets"], row, empty["trades"])


def _written(
    mandate: Mandate, s: Situation, p: Problem, solution: Solution, run_kind: str
) -> Decision:
    acts = solution.status in ("optimal", "rule")
    w = solution.weights
    sigma_w = p.covariance_times(w)
    variance = float(w @ sigma_w)
    own = np.sqrt((((p.B @ p.F) * p.B).sum(axis=1) + p.d**2) * SESSIONS_PER_YEAR)
    share = w * sigma_w / variance if variance > 0 else np.zeros(len(w))
    keys = {"mandate": mandate.name, "run_kind": run_kind, "date": s.date}
    targets = pl.DataFrame(
        {
            "instrument_id": list(p.ids),
            "weight_before": p.w0,
            "weight": w,
            "weight_benchmark": p.benchmark,
            "alpha": p.alpha,
            "volatility": own,
            "risk_contribution": share,
        },
        schema_overrides={"instrument_id": pl.String},
    ).with_columns(_keyed(keys))
    lead = {
        "infeasible": "The limits contradict each other, and nothing is traded. ",
        "failed": "No target could be computed, and nothing is traded: ",
    }.get(solution.status, "")
    stale = [p.ids[i] for i in range(len(p.ids)) if p.fixed_why[i] == STALE]
    frozen = f"Frozen, with {STALE}: {', '.join(stale)}." if stale and acts else ""
    message = " ".join(x for x in (lead.strip(), solution.message, frozen, s.note) if x)
    solves = _solve_row(
        mandate,
        s,
        run_kind,
        solution.status,
        message or None,
        objective=solution.objective if solution.status == "optimal" else None,
        violation=solution.violation if solution.status == "optimal" else None,
        gap=solution.gap if solution.status == "optimal" else None,
        volatility=p.volatility(w),
        turnover=p.turnover(w) if acts else 0.0,
    )
    trades = _trades(s, p, solution, keys) if acts else _frames(mandate, s, run_kind)["trades"]
    return Decision(p.ids, p.w0, w, acts, targets, solves, trades)


def _trades(s: Situation, p: Problem, solution: Solution, keys: dict[str, Any]) -> pl.DataFrame:
    change = solution.weights - p.w0
    rows = np.flatnonzero(np.abs(change) > TRADE_FLOOR)
    words = reasons.of_trades(p, solution.weights, solution.parts, rows)
    value = change[rows] * s.nav
    price = np.array([s.close[p.ids[i]] for i in rows], dtype=np.float64)
    parts = solution.parts
    zero = np.zeros(len(rows))
    return pl.DataFrame(
        {
            "instrument_id": [p.ids[i] for i in rows],
            "side": ["buy" if change[i] > 0 else "sell" for i in rows],
            "weight_before": p.w0[rows],
            "weight": solution.weights[rows],
            "value": value,
            "units": value / price,
            "cost": np.abs(value) * p.cost[rows],
            "alpha_part": parts.alpha[rows] if parts else zero,
            "risk_part": parts.risk[rows] if parts else zero,
            "cost_part": parts.cost[rows] if parts else zero,
            "constraint_part": parts.constraint[rows] if parts else zero,
            "reason": words,
        },
        schema_overrides={"instrument_id": pl.String, "side": pl.String, "reason": pl.String},
    ).with_columns(_keyed(keys))


def _solve_row(
    mandate: Mandate,
    s: Situation,
    run_kind: str,
    status: str,
    message: str | None,
    **numbers: float | None,
) -> pl.DataFrame:
    from wealthos_pipeline.core.data import contract

    row = {
        "mandate": mandate.name,
        "run_kind": run_kind,
        "date": s.date,
        "status": status,
        "objective": None,
        "violation": None,
        "gap": None,
        "volatility": None,
        "turnover": None,
        "ic": s.ic if mandate.objective == "mean_variance" else None,
        "message": message,
        **numbers,
    }
    return pl.DataFrame([row], schema=contract("portfolio.solves").schema())


def _frames(mandate: Mandate, s: Situation, run_kind: str) -> dict[str, pl.DataFrame]:
    from wealthos_pipeline.core.data import contract

    return {name: contract(f"portfolio.{name}").empty() for name in ("targets", "trades")}


def _keyed(keys: dict[str, Any]) -> list[pl.Expr]:
    return [pl.lit(value).alias(name) for name, value in keys.items()]
