"""Portfolios of the seeded market: what must add up does, as all comes from the same returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from fake_market import SECTORS, Frames

from wealthos_pipeline.core.data import contract


def portfolios(
    rng: np.random.Generator,
    days: pl.DataFrame,
    ids: list[str],
    names: Sequence[str],
    ret: np.ndarray,
) -> Frames:
    dates = days["date"].to_list()
    n, m = ret.shape
    start = 252
    equal = np.full(m, 1 / m)
    sector = [SECTORS[i % len(SECTORS)] for i in range(m)]
    vol = ret.std(axis=0)
    books = {
        "core_equity": np.clip(equal * np.exp(0.8 * rng.standard_normal(m)), 0, 0.15),
        "minimum_variance": vol**-2.0,
        "equal_weight": equal,
    }
    books = {k: w / w.sum() for k, w in books.items()}
    rebalances = [t for t in range(start, n) if dates[t].month != dates[t - 1].month]
    out: dict[str, list[pl.DataFrame]] = {}

    def add(table: str, frame: pl.DataFrame | dict[str, object]) -> None:
        out.setdefault(table, []).append(pl.DataFrame(frame) if isinstance(frame, dict) else frame)

    cov = np.cov(ret[-504:].T)
    for name, w in books.items():
        gross = ret[start:] @ w
        cost = np.zeros(n - start)
        turn = np.zeros(n - start)
        for t in rebalances:
            turn[t - start] = 0.08
            cost[t - start] = 0.08 * 2 * 0.0005
        net = gross - cost
        nav = 1e7 * np.cumprod(1 + net)
        run = {"mandate": name, "run_kind": "backtest"}
        add("portfolio.nav", {
            **run, "date": dates[start:], "nav": nav, "return_net": net, "return_gross": gross,
            "cost": cost * nav, "turnover": turn, "cash": 0.0, "names": m,
        })  # fmt: skip
        ewma = np.empty(n - start)
        v = gross[:60].var()
        for i, r in enumerate(gross):
            v = 0.94 * v + 0.06 * r * r
            ewma[i] = np.sqrt(v)
        add("portfolio.risk", {
            **run, "date": dates[start:], "volatility": ewma * np.sqrt(252), "var_95": 1.65 * ewma,
            "var_99": 2.5 * ewma, "cvar_95": 2.2 * ewma, "cvar_99": 3.1 * ewma,
        })  # fmt: skip
        nxt = gross[1:]
        add("portfolio.risk_outcomes", {
            **run, "date": dates[start:-1], "pnl_next": nxt,
            "exception_95": -nxt > 1.65 * ewma[:-1], "exception_99": -nxt > 2.5 * ewma[:-1],
            "known_at": days["known_at"][start + 1 :],
        })  # fmt: skip
        share = w * (cov @ w) / (w @ cov @ w)
        for kind, decisions in (("backtest", rebalances), ("live", [n - 1])):
            for t in decisions:
                drift = w * np.exp(0.05 * rng.standard_normal(m))
                drift /= drift.sum()
                run = {"mandate": name, "run_kind": kind, "date": dates[t]}
                add("portfolio.targets", {
                    **run, "instrument_id": ids, "weight_before": drift, "weight": w,
                    "weight_benchmark": 1 / m, "alpha": 0.001 * rng.standard_normal(m),
                    "volatility": vol * np.sqrt(252), "risk_contribution": share,
                })  # fmt: skip
                add("portfolio.solves", {
                    **run, "status": "optimal", "objective_kind": "mean_variance",
                    "solver": "clarabel 0.11.1", "iterations": 12, "objective": 0.01,
                    "violation": 1e-9, "gap": 1e-9,
                    "volatility": 0.15, "turnover": float(np.abs(w - drift).sum() / 2),
                    "ic": 0.006, "message": None,
                })  # fmt: skip
                if name == "equal_weight" or t < n - 70:
                    continue
                value = 1e7 * (w - drift)
                add("portfolio.trades", {
                    **run, "instrument_id": ids, "side": np.where(value > 0, "buy", "sell"),
                    "weight_before": drift, "weight": w, "value": value, "units": value / 40,
                    "cost": np.abs(value) * 0.0005, "alpha_part": 0.001, "risk_part": -0.0004,
                    "cost_part": -0.0005, "constraint_part": 0.0,
                    "reason": [f"expects +0.4 % over 20 sessions; lowers risk & adds <{s}>" for s in names],
                })  # fmt: skip
        if name == "equal_weight":
            continue
        for t in range(n - 300, n):
            active = float(net[t - start] - 0)
            bench = float(ret[t] @ equal - (0.08 * 2 * 0.0005 if t in rebalances else 0.0))
            rows: list[tuple[str, str, float]] = []
            total = 0.0
            for s in SECTORS:
                k = np.array([x == s for x in sector])
                wp, wb = w[k].sum(), equal[k].sum()
                rb = ret[t][k] @ equal[k] / wb
                rp = ret[t][k] @ w[k] / wp
                for effect, value in (
                    ("allocation", (wp - wb) * (rb - ret[t] @ equal)),
                    ("selection", wb * (rp - rb)),
                    ("interaction", (wp - wb) * (rp - rb)),
                ):
                    rows.append((effect, s, float(value)))
                    total += float(value)
            charged = -(float(cost[t - start]) - (0.08 * 2 * 0.0005 if t in rebalances else 0.0))
            rows.append(("cost", "", charged))
            rows.append(("residual", "", active - bench - total - charged))
            add("portfolio.attribution", {
                "mandate": name, "run_kind": "backtest", "date": dates[t],
                "scheme": "sector", "benchmark": "equal_weight",
                "effect": [r[0] for r in rows], "group": [r[1] for r in rows],
                "value": [r[2] for r in rows],
            })  # fmt: skip
    for kind, t in (("backtest", rebalances[-1]), ("live", n - 1)):
        add("portfolio.solves", {
            "mandate": "impossible", "run_kind": kind, "date": dates[t], "status": "infeasible",
            "objective_kind": "min_variance", "solver": None, "iterations": None, "objective": None,
            "violation": None, "gap": None, "volatility": None, "turnover": None,
            "ic": None,
            "message": "Volatility must stay at or below 1 %, but the calmest portfolio has 12.4 %; "
            "least change that is enough: 12.4 %.\nWeights must sum to 100 %; least change that is "
            "enough: a budget of 8.1 %.",
        })  # fmt: skip
    return {
        table: contract(table).conform(
            pl.concat(
                [
                    p.cast({k: v for k, v in contract(table).schema().items() if k in p.columns})
                    for p in parts
                ]
            )
        )
        for table, parts in out.items()
    }
