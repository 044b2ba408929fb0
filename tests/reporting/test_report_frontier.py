"""The frontier of the report: no point of it can be beaten, and the decision's own numbers stand beside it."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.reporting import frontiers

IDS = ("a", "b", "c", "d")
MODEL = RiskModel(
    date(2022, 12, 28), IDS, ("pc01",), np.array([[0.01], [0.012], [0.008], [0.015]]), np.eye(1),
    np.array([0.01, 0.02, 0.008, 0.02]),
)  # fmt: skip
MANDATE = Mandate(name="m", title="M", max_weight=0.6)


def targets(alpha: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "instrument_id": IDS, "weight_before": [0.25] * 4, "weight": [0.4, 0.3, 0.2, 0.1],
            "weight_benchmark": [0.25] * 4, "alpha": alpha,
        }
    )  # fmt: skip


def test_no_portfolio_lies_above_the_frontier() -> None:
    rows, why = frontiers.points(targets([0.01, 0.02, 0.0, 0.03]), MODEL, MANDATE)
    assert why == ""
    line = rows.filter(pl.col("kind") == "frontier").sort("volatility")
    assert line.height == frontiers.POINTS
    assert line["expected"].is_sorted()
    alpha = np.array([0.01, 0.02, 0.0, 0.03])
    cov = MODEL.B @ MODEL.F @ MODEL.B.T + np.diag(MODEL.d**2)
    w = np.random.default_rng(1).dirichlet(np.ones(4), 4000)
    w = w[(w <= 0.6).all(axis=1)]
    risk = np.sqrt(np.einsum("ti,ij,tj->t", w, cov, w) * 252)
    best = np.interp(risk, line["volatility"], line["expected"])
    assert (w @ alpha * 252 / 20 <= best + 2e-3).all()
    target = rows.filter(pl.col("kind") == "target").row(0, named=True)
    own = np.array([0.4, 0.3, 0.2, 0.1])
    assert target["volatility"] == pytest.approx(np.sqrt(own @ cov @ own * 252), rel=1e-12)
    assert target["expected"] == pytest.approx(own @ alpha * 252 / 20)
    assert rows.filter(pl.col("kind") == "name").height == 4


def test_without_views_or_a_model_it_is_left_out_in_words() -> None:
    assert frontiers.points(targets([0.0] * 4), MODEL, MANDATE)[1] == frontiers.NO_VIEWS
    assert frontiers.points(targets([0.01, 0.0, 0.0, 0.0]), None, MANDATE)[1] == frontiers.NO_RISK
    tight = MANDATE.model_copy(update={"max_weight": 0.1})
    rows, why = frontiers.points(targets([0.01, 0.0, 0.0, 0.0]), MODEL, tight)
    assert rows.is_empty()
    assert "contradict" in why
