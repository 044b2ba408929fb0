"""What the words of a mandate mean in one decision: a small situation, put together by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.mandate import Costs, GroupBound, Mandate, Override
from wealthos_pipeline.portfolio import decision
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.situation import Labels, Situation

DAY = date(2024, 3, 1)
N = 8
IDS = tuple(f"n{i}" for i in range(N))


def situation(**changes: Any) -> Situation:
    """Eight names of two sectors, all held alike, with scores and volumes."""
    rng = np.random.default_rng(5)
    risk = RiskModel(
        date=DAY,
        ids=IDS,
        factors=("f0", "f1"),
        B=rng.normal(0.01, 0.004, (N, 2)),
        F=np.array([[1.0, 0.2], [0.2, 0.5]]),
        d=rng.uniform(0.01, 0.02, N),
    )
    given: dict[str, Any] = {
        "date": DAY,
        "nav": 1e7,
        "members": IDS,
        "traded": frozenset(IDS),
        "held": dict.fromkeys(IDS, 1.0 / N),
        "close": {x: 10.0 + i for i, x in enumerate(IDS)},
        "risk": risk,
        "z": dict(zip(IDS, rng.normal(size=N).tolist(), strict=True)),
        "ic": 0.05,
        "labels": Labels(
            {x: "Old" if i < 4 else "New" for i, x in enumerate(IDS)}, {x: x.upper() for x in IDS}
        ),
        "volume": dict(zip(IDS, (1e6 * (1 + np.arange(N))).tolist(), strict=True)),
        **changes,
    }
    return Situation(**given)


def mandate(**changes: Any) -> Mandate:
    given = {"name": "own", "title": "t", "max_weight": 0.4, "risk_aversion": 2.0, **changes}
    return Mandate(**given)


def test_what_gave_way_is_named_with_the_value_that_held() -> None:
    groups = (GroupBound(name="new", sector="New", min_weight=0.8),)
    m = mandate(groups=groups, max_turnover=0.1, soften=("turnover",))
    found = decision.decide(m, situation(), run_kind="live")
    assert found.solves["status"].item() == "softened"
    assert "Turnover of at most 10 % became 30 %." in found.solves["message"].item()
    binding = found.binding.filter(pl.col("limit") == "turnover")
    assert binding["value"].item() == pytest.approx(0.3)
    assert binding["words"].item() == "Turnover of at most 30 %"
    said = " ".join(found.trades["reason"])
    assert "turnover cap of 30 % (it gave way, from 10 %)" in said
    assert "cap of 10 %" not in said
