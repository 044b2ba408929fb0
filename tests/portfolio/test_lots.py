"""Decisions in whole share lots: allowed, as good as can be, and what is left over is said."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.portfolio import checks, compliance, integer, limits
from wealthos_pipeline.portfolio.problem import Problem


def _market(lot: float | None) -> Problem:
    rng = np.random.default_rng(8)
    n = 15
    B = rng.standard_normal((n, 2))
    d = rng.uniform(0.01, 0.02, n)
    alpha = 0.3 * d * rng.standard_normal(n)
    w0 = np.zeros(n)
    p = Problem.simple(B, np.diag([1e-4, 2e-5]), d, alpha=alpha, w0=w0, cost=0.0005, upper=0.25)
    return p if lot is None else replace(p, lot=lot * rng.uniform(0.5, 1.5, n))


def test_decided_lots_are_whole_hold_every_limit_and_say_what_stays_in_cash() -> None:
    p = replace(_market(0.02), max_names=6, min_holding=0.05)
    found = integer.solve(p)
    assert found.status == "optimal"
    assert p.lot is not None
    held = found.weights > 0
    lots = found.weights[held] / p.lot[held]
    assert np.abs(lots - np.round(lots)).max() < 1e-9
    assert found.weights.max() <= 0.25 + 1e-12
    assert found.weights[held].min() >= 0.05 - 1e-12
    assert held.sum() <= 6
    assert 0.0 <= 1.0 - found.weights.sum() <= limits.leftover(p)
    assert "stays in cash because shares come in lots" in found.message


def test_decided_lots_agree_with_counting_every_combination() -> None:
    base = _market(0.02)
    keep = np.arange(4)
    lot = np.array([0.11, 0.13, 0.09, 0.17])
    p = replace(
        base, ids=base.ids[:4], w0=np.zeros(4), benchmark=np.full(4, 0.25), alpha=base.alpha[keep],
        B=base.B[keep], d=base.d[keep], cost=base.cost[keep], lower=np.zeros(4), upper=np.full(4, 0.6),
        fixed=np.full(4, np.nan), fixed_why=("",) * 4, lot=lot,
    )  # fmt: skip
    best = -np.inf
    for lots in itertools.product(*(range(int(0.6 / x + 1e-9) + 1) for x in lot)):
        w = np.array(lots) * lot
        if 1.0 - lot.max() - 1e-12 <= w.sum() <= 1.0 + 1e-12:
            best = max(best, p.objective(w))
    found = integer.solve(p)
    assert found.objective <= best + 1e-12
    assert found.objective + found.gap >= best - 1e-12
    assert found.gap <= 1.01 * integer.GAP * abs(best)


def test_lots_larger_than_the_cap_leave_a_name_alone_and_an_impossible_one_is_named() -> None:
    p = _market(0.02)
    assert p.lot is not None
    lot = p.lot.copy()
    lot[0] = 0.4
    assert integer.solve(replace(p, lot=lot)).weights[0] == 0.0
    lower = p.lower.copy()
    lower[0] = 0.1
    found = integer.solve(replace(p, lot=lot, lower=lower))
    assert found.status == "infeasible"
    assert "x000, of which 0 is held, comes in lots of 0.4" in found.message


def test_odd_shares_are_kept_or_sold_off() -> None:
    p = _market(0.02)
    w0 = np.zeros(15)
    w0[:3] = 0.333, 0.333, 0.334
    upper = np.full(15, 0.34)
    upper[0] = 0.0
    found = integer.solve(replace(p, w0=w0, upper=upper))
    assert found.status == "optimal"
    assert found.weights[0] == 0.0
    assert integer.violation(replace(p, w0=w0, upper=upper), found.weights) <= 1e-8


def test_a_free_name_without_a_price_is_not_traded() -> None:
    p = _market(0.02)
    assert p.lot is not None
    lot, w0 = p.lot.copy(), np.zeros(15)
    lot[4], w0[4], w0[5] = 0.0, 0.123, 0.877
    found = integer.solve(replace(p, lot=lot, w0=w0, upper=np.full(15, 0.9)))
    assert found.status == "optimal"
    assert found.weights[4] == 0.123


def test_what_lots_leave_in_cash_misses_no_limit_anywhere() -> None:
    p = _market(0.02)
    found = integer.solve(p)
    cash = 1.0 - float(found.weights.sum())
    assert 1e-6 < cash <= limits.leftover(p)
    assert limits.violation(p, found.weights) <= 1e-8
    rows = compliance.check(p, found.weights, "target")
    assert rows["passed"].all()
    poor = found.weights.copy()
    poor[np.argmax(poor)] -= limits.leftover(p)
    assert limits.violation(p, poor) == pytest.approx(cash)
    assert limits.violation(replace(p, lot=None), found.weights) == pytest.approx(cash)


def test_the_check_of_sums_knows_lots() -> None:
    keys = {"mandate": "own", "run_kind": "live", "date": date(2024, 1, 2)}

    def said(weight: float, *, lots: bool) -> list[str]:
        mandate = Mandate(name="own", title="t", max_weight=0.2, lots=lots)
        targets = pl.DataFrame([{**keys, "weight": weight}])
        return checks.weights_sum(targets, pl.DataFrame([{**keys, "status": "optimal"}]), [mandate])

    assert said(0.98, lots=True) == []
    assert len(said(0.98, lots=False)) == 1
    assert len(said(0.75, lots=True)) == len(said(1.001, lots=True)) == 1
