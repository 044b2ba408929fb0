"""The structured interior-point method against cvxpy, and against the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest

from wealthos_pipeline.portfolio import structured
from wealthos_pipeline.portfolio.structured import Found, Plain


def problem(seed: int, n: int = 40, k: int = 5) -> Plain:
    """Random names, some held, some beyond their box, some that must not move, some without a cost."""
    r = np.random.default_rng(seed)
    lower = np.where(r.random(n) < 0.3, -0.05, 0.0)
    upper = np.full(n, 0.15)
    w0 = np.where(r.random(n) < 0.5, r.random(n), 0.0)
    w0 = w0 / w0.sum()
    w0[0], w0[1] = 0.3, -0.2  # above and below its box
    lower[2] = upper[2] = 0.02  # fixed
    w0[3] = upper[3]
    sectors = np.arange(n) % 4
    G = np.array([sectors == s for s in range(4)], dtype=float)
    cost = np.where(r.random(n) < 0.8, 0.002, 0.0)
    return Plain(
        D=0.5 + r.random(n),
        R=r.normal(size=(n, k)) * 0.3,
        factor=2.0,
        c=0.05 * r.normal(size=n),
        cost=cost,
        w0=w0,
        lower=lower,
        upper=upper,
        A=np.vstack([np.ones(n), r.normal(size=n)]) if seed % 2 else np.ones((1, n)),
        b=np.array([1.0, 0.05]) if seed % 2 else np.array([1.0]),
        G=np.vstack([G, -G]),
        g=np.concatenate([np.full(4, 0.3), np.full(4, -0.2)]),
        turned=r.random(n) < 0.9,
        turnover=0.45 if seed % 3 == 0 else None,
    )


def value(p: Plain, x: np.ndarray) -> float:
    f = p.R.T @ x
    risk = 0.5 * float((p.D * x) @ x + p.factor * (f @ f))
    return risk + float(p.c @ x + p.cost @ np.abs(x - p.w0))


def gap(p: Plain, found: Found) -> tuple[float, float]:
    """Largest residual of stationarity; and of complementarity, all multipliers being ≥ 0."""
    x = found.x
    gradient = p.D * x + p.factor * (p.R @ (p.R.T @ x)) + p.c
    rest = gradient + p.A.T @ found.equal + p.G.T @ found.under
    rest = rest + found.upper - found.lower + found.force
    full = p.cost + found.turnover * p.turned
    slack = [
        found.under * (p.g - p.G @ x),
        found.upper * (p.upper - x),
        found.lower * (x - p.lower),
        full * np.abs(x - p.w0) - found.force * (x - p.w0),
    ]
    if p.turnover is not None:
        moved = float(np.abs(x - p.w0)[p.turned].sum())
        slack.append(np.array([found.turnover * (2.0 * p.turnover - moved)]))
    multipliers = np.concatenate([found.under, found.upper, found.lower, [found.turnover]])
    assert multipliers.min() > -1e-12
    assert (np.abs(found.force) <= full + 1e-12).all()
    return float(np.abs(rest).max()), float(np.abs(np.concatenate(slack)).max())


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_a_general_solver_and_proves_itself(seed: int) -> None:
    import cvxpy as cp

    p = problem(seed)
    found = structured.solve(p)
    assert found is not None
    stationarity, complementarity = gap(p, found)
    assert stationarity < 1e-8
    assert complementarity < 1e-8

    x = cp.Variable(len(p.c))
    risk = 0.5 * cp.sum(cp.multiply(p.D, x**2)) + 0.5 * p.factor * cp.sum_squares(p.R.T @ x)
    moved = cp.abs(x - p.w0)
    limits = [x >= p.lower, x <= p.upper, p.A @ x == p.b, p.G @ x <= p.g]
    if p.turnover is not None:
        limits.append(p.turned.astype(float) @ moved <= 2 * p.turnover)
    whole = cp.Problem(cp.Minimize(risk + p.c @ x + p.cost @ moved), limits)
    whole.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert value(p, found.x) == pytest.approx(whole.value, abs=1e-9)
    assert found.x == pytest.approx(x.value, abs=1e-5)
    assert np.abs(p.A @ found.x - p.b).max() < 1e-9
    assert (p.G @ found.x - p.g).max() < 1e-9


def test_a_problem_without_an_answer_gives_none() -> None:
    p = problem(2)
    impossible = Plain(**{**vars(p), "g": np.concatenate([np.full(4, 0.1), np.full(4, -0.05)])})
    assert structured.solve(impossible) is None


def test_one_name_and_no_factors() -> None:
    one = np.ones(1)
    p = Plain(
        D=one,
        R=np.empty((1, 0)),
        factor=1.0,
        c=-one,
        cost=0.1 * one,
        w0=np.zeros(1),
        lower=np.zeros(1),
        upper=2.0 * one,
        A=np.empty((0, 1)),
        b=np.empty(0),
        G=np.empty((0, 1)),
        g=np.empty(0),
        turned=np.array([True]),
        turnover=None,
    )
    found = structured.solve(p)
    assert found is not None
    # x − 1 + 0.1 = 0
    assert found.x[0] == pytest.approx(0.9, abs=1e-9)
    assert found.force[0] == pytest.approx(0.1)


def test_the_same_numbers_give_the_same_bits() -> None:
    found, again = structured.solve(problem(4)), structured.solve(problem(4))
    assert found is not None
    assert again is not None
    assert (found.x == again.x).all()
