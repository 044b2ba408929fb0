"""Problems of one decision for tests of the optimiser: seeded, small, with everything in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wealthos_pipeline.portfolio.problem import Exposure, Group, Problem, TradeCap

Floats = np.ndarray


def risk(n: int, k: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """B, F, d of daily returns of some 15 to 30 % a year."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(n, k)) * 0.004
    B[:, 0] = rng.uniform(0.005, 0.015, size=n)
    G = rng.normal(size=(k, k)) * 0.2
    return B, np.eye(k) + G @ G.T, rng.uniform(0.006, 0.025, size=n)


def rich(n: int = 40, seed: int = 0, **changes: Any) -> Problem:
    """Alpha, costs, sectors, a turnover cap, drifted holdings, one frozen and one leaving name."""
    rng = np.random.default_rng(seed)
    B, F, d = risk(n, 6, seed)
    w0 = np.where(rng.uniform(size=n) < 0.4, rng.uniform(size=n), 0.0)
    w0 /= w0.sum()
    sector = np.arange(n) % 5
    fixed, why = np.full(n, np.nan), [""] * n
    held = np.flatnonzero(w0)
    fixed[held[0]], why[held[0]] = w0[held[0]], "no bar on the day"
    fixed[held[1]], why[held[1]] = 0.0, "no longer in the universe"
    given: dict[str, Any] = {
        "alpha": rng.normal(size=n) * 0.004,
        "w0": w0,
        "cost": 5e-4,
        "upper": 0.12,
        "groups": tuple(
            Group(f"sector {s}", "sector_cap", sector == s, None, 0.3) for s in range(5)
        ),
        "max_turnover": 0.3,
        "fixed": fixed,
        "fixed_why": tuple(why),
        **changes,
    }
    return Problem.simple(B, F, d, **given)


def scenarios(p: Problem, sessions: int = 80, seed: int = 0) -> Floats:
    """Fat-tailed returns of one session that the risk model fits, S × n."""
    rng = np.random.default_rng(seed + 1000)
    k, n = len(p.F), len(p.ids)
    common = rng.normal(size=(sessions, k)) @ np.linalg.cholesky(p.F).T @ p.B.T
    return common + rng.standard_t(5, size=(sessions, n)) * p.d


def exposures(n: int, seed: int = 0, beta: float = 1.0) -> tuple[Exposure, ...]:
    """A factor near the benchmark's, and a beta of at most ``beta``."""
    rng = np.random.default_rng(seed + 2000)
    return (
        Exposure("momentum", "exposures", rng.normal(size=n), -0.05, 0.05, True),
        Exposure("beta", "beta", rng.uniform(0.5, 1.5, n), None, beta),
    )


WHOLE_BOOK: dict[str, Any] = {"max_turnover": None, "lower": -0.1}


def kinds(seed: int) -> dict[str, Problem]:
    """A problem for each objective and each shape of limit, some binding and some not."""
    n = 20

    def p(**changes: Any) -> Problem:
        return rich(n, seed, **{"upper": 0.25, "max_turnover": None, **changes})

    short = {"lower": -0.1, "borrow": np.full(n, 0.05), "max_gross": 1.3, "max_short": 0.1}
    tail = {"objective_kind": "cvar"}
    q = p(**tail)
    return {
        "mean variance": p(),
        "turnover": p(max_turnover=0.6),
        "minimum variance": p(objective_kind="min_variance"),
        "tracking error as objective": p(objective_kind="tracking_error"),
        "tracking error as limit": p(max_tracking_error=0.08),
        "volatility": p(max_volatility=0.16),
        "long-short": p(**short),
        "exposures": p(exposures=exposures(n, seed)),
        "active group": p(groups=(Group("low", "group", np.arange(n) < 6, -0.02, 0.02, True),)),
        "trade caps": p(trade_caps=(TradeCap("adv", "x", np.full(n, 0.15)),)),
        "square-root impact": p(impact=np.full(n, 0.03)),
        "impact 0.6": p(impact=np.full(n, 0.03), impact_exponent=0.6),
        "long-short with impact": p(**short, impact=np.full(n, 0.03)),
        "maximum Sharpe": p(objective_kind="max_sharpe"),
        "maximum Sharpe, long-short": p(objective_kind="max_sharpe", **short),
        "risk budget": p(objective_kind="risk_budget", max_turnover=0.8),
        "cvar": replace(q, scenarios=scenarios(q, seed=seed)),
    }
