"""One decision of one mandate: the problem is put together, solved, and written down as rows.

Backtest and live proposals share this: the same inputs give the same decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import USES_ALPHA, Mandate
from wealthos_pipeline.portfolio import limits, reasons
from wealthos_pipeline.portfolio.formulation import LEFT, STALE, one_over_n, problem
from wealthos_pipeline.portfolio.optimization import optimise
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats, Problem, Solution
from wealthos_pipeline.portfolio.situation import Labels, Lot, Situation, labels

__all__ = [
    "ACTS", "LEFT", "STALE", "TRADE_FLOOR", "Decision", "Labels", "Lot", "Situation", "decide", "held", "labels",
    "problem",
]  # fmt: skip

TRADE_FLOOR = 1e-9
"""Changes of weight up to this are no trade."""

ACTS = ("optimal", "softened", "rule")
"""Statuses that lead to trades."""
PRICELESS = 1e-9
"""Prices of limits up to this are the solver's noise."""
UNEXPLAINED = (
    "Which ones, and how far each would have to give, is worked out for live decisions only."
)


@dataclass(frozen=True, eq=False)
class Decision:
    """A problem, its answer, and their rows for the four tables. seconds: wall time of the solve."""

    ids: tuple[str, ...]
    w0: Floats
    weights: Floats
    acts: bool
    targets: pl.DataFrame
    solves: pl.DataFrame
    trades: pl.DataFrame
    binding: pl.DataFrame
    seconds: float | None = None


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
    if run_kind != "live":
        # what a person decided about a name today was not known then; the ledger trades whole lots
        mandate = mandate.model_copy(update={"overrides": (), "lots": False})
    try:
        p = problem(mandate, s, s.risk)
        if mandate.objective == "equal_weight":
            solution = Solution("rule", one_over_n(p), message="1/N of the universe.")
        elif not p.free.any():
            return held(mandate, s, run_kind, "no name of the universe can be chosen on this date")
        else:
            solution = optimise(p, explain=explain)
    except PortfolioError as error:
        return held(mandate, s, run_kind, f"No target could be computed: {error}", "failed")
    if solution.status == "infeasible" and not solution.conflicts:
        solution = replace(solution, message=UNEXPLAINED)
    return _written(mandate, s, p, solution, run_kind)


def held(
    mandate: Mandate, s: Situation, run_kind: str, message: str, status: str = "held"
) -> Decision:
    """A decision without a solve: nothing is traded, and ``message`` says why."""
    empty = _empty()
    row = _solve_row(mandate, s, run_kind, status, message)
    none = np.empty(0)
    return Decision((), none, none, False, empty["targets"], row, empty["trades"], empty["binding"])


def _written(
    mandate: Mandate, s: Situation, p: Problem, solution: Solution, run_kind: str
) -> Decision:
    acts = solution.status in ACTS
    solved = solution.status in ("optimal", "softened")
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
    empty = _empty()
    lead = {
        "infeasible": "The limits contradict each other, and nothing is traded. ",
        "failed": "No target could be computed, and nothing is traded: ",
    }.get(solution.status, "")
    stale = [p.ids[i] for i in range(len(p.ids)) if p.fixed_why[i] == STALE]
    frozen = f"Frozen, with {STALE}: {', '.join(stale)}." if stale and acts else ""
    said = (lead.strip(), solution.message, *solution.given_way, frozen, *p.notes, s.note)
    message = " ".join(x for x in said if x)
    solves = _solve_row(
        mandate,
        s,
        run_kind,
        solution.status,
        message or None,
        objective=solution.objective if solved else None,
        violation=solution.violation if solved else None,
        gap=solution.gap if solved else None,
        solver=solution.solver or None,
        iterations=solution.iterations if solution.solver else None,
        volatility=p.volatility(w),
        turnover=p.turnover(w) if acts else 0.0,
    )
    mine = _loosened(p) if solution.status == "softened" else p
    trades = _trades(s, mine, solution, keys, p) if acts else empty["trades"]
    seconds = solution.seconds if np.isfinite(solution.seconds) else None
    binding = empty["binding"] if run_kind == "backtest" else _binding(mine, solution, keys)
    return Decision(p.ids, p.w0, w, acts, targets, solves, trades, binding, seconds)


def _binding(p: Problem, solution: Solution, keys: dict[str, Any]) -> pl.DataFrame:
    rows = [
        (x.key, x.kind, x.words, x.value, price)
        for x in limits.of(p)
        if (price := solution.multipliers.get(x.key, 0.0)) > PRICELESS
    ]
    columns = ["limit", "kind", "words", "value", "price"]
    table = contract("portfolio.binding")
    schema = {name: table.schema()[name] for name in columns}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(_keyed(keys))
    return frame.select(table.column_names)


def _loosened(p: Problem) -> Problem:
    """The problem with what gave way: its values are the ones that the answer met."""
    from wealthos_pipeline.portfolio import softening

    found = softening.least(p)
    return p if found is None else found.problem


def _trades(
    s: Situation, p: Problem, solution: Solution, keys: dict[str, Any], before: Problem
) -> pl.DataFrame:
    """Rows of ``portfolio.trades``; before: the problem as the mandate has it, p where nothing gave way."""
    change = solution.weights - p.w0
    rows = np.flatnonzero(np.abs(change) > TRADE_FLOOR)
    words = reasons.of_trades(p, solution.weights, solution.parts, rows, before)
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
    **numbers: float | str | None,
) -> pl.DataFrame:
    row = {
        "mandate": mandate.name,
        "run_kind": run_kind,
        "date": s.date,
        "status": status,
        "objective_kind": mandate.objective,
        "solver": None,
        "iterations": None,
        "objective": None,
        "violation": None,
        "gap": None,
        "volatility": None,
        "turnover": None,
        "ic": s.ic if mandate.objective in USES_ALPHA else None,
        "message": message,
        **numbers,
    }
    return pl.DataFrame([row], schema=contract("portfolio.solves").schema())


@cache
def _empty() -> dict[str, pl.DataFrame]:
    return {
        name: contract(f"portfolio.{name}").empty() for name in ("targets", "trades", "binding")
    }


def _keyed(keys: dict[str, Any]) -> list[pl.Expr]:
    return [pl.lit(value).alias(name) for name, value in keys.items()]
