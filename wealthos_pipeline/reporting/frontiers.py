"""The efficient frontier beside a decision, from what the decision left in tables."""

from __future__ import annotations

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import SESSIONS_PER_YEAR
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.portfolio.risk import RiskModel

POINTS = 15
NO_VIEWS = "the decision uses no expected returns, so there is no frontier to draw"
NO_RISK = "the risk model of the decision's date is not known, so no frontier is drawn"
SCHEMA = {"kind": pl.String, "label": pl.String, "volatility": pl.Float64, "expected": pl.Float64}


def points(
    targets: pl.DataFrame, model: RiskModel | None, mandate: Mandate | None
) -> tuple[pl.DataFrame, str]:
    """``kind, label, volatility, expected`` (annualised, before costs), and why there are none.

    targets: ``portfolio.targets`` rows of one decision. The frontier obeys the mandate's budget and box (long-only,
    ``max_weight``) and no other limit; kinds: frontier, target, held, benchmark and each name.
    """
    empty = pl.DataFrame(schema=SCHEMA)
    rows = targets.sort("instrument_id")
    if rows.is_empty() or mandate is None:
        return empty, NO_VIEWS
    alpha = rows["alpha"].fill_null(0.0).fill_nan(0.0).to_numpy()
    if float(np.ptp(alpha)) <= 1e-9:
        return empty, NO_VIEWS
    if model is None:
        return empty, NO_RISK
    from wealthos_pipeline.portfolio import frontier
    from wealthos_pipeline.portfolio.problem import Problem

    ids = tuple(rows["instrument_id"])
    n = len(ids)
    B, d, _ = model.align(ids)
    floor = mandate.min_weight
    if floor is None:
        floor = 0.0 if mandate.long_only else -mandate.max_weight
    p = Problem(
        ids=ids,
        w0=rows["weight_before"].to_numpy(),
        benchmark=rows["weight_benchmark"].to_numpy(),
        alpha=alpha,
        B=B,
        F=model.F,
        d=d,
        cost=np.zeros(n),
        lower=np.full(n, floor),
        upper=np.full(n, mandate.max_weight),
        fixed=np.full(n, np.nan),
        fixed_why=("",) * n,
        budget=mandate.budget - mandate.cash_buffer,
        horizon=mandate.horizon_days,
    )
    try:
        line = frontier.trace(p, POINTS).weights
    except PortfolioError as error:
        return empty, str(error)
    shown = [
        *(("frontier", "frontier", w) for w in line),
        ("target", "target", rows["weight"].to_numpy()),
        ("held", "held", p.w0),
        ("benchmark", "1/N", p.benchmark),
        *(("name", name, np.eye(n)[i]) for i, name in enumerate(ids)),
    ]
    year = SESSIONS_PER_YEAR / p.horizon
    return (
        pl.DataFrame(
            [(kind, label, p.volatility(w), float(alpha @ w) * year) for kind, label, w in shown],
            schema=SCHEMA,
            orient="row",
        ),
        "",
    )
