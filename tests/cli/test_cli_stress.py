"""``wealthos portfolio stress``: tables, names, files of one's own, and what it says when it cannot."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from wealthos_pipeline.cli import portfolio_stress
from wealthos_pipeline.portfolio.books import Book
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.stress import WINDOWS, Market

DAY = date(2022, 12, 28)


@pytest.fixture
def situation(monkeypatch: pytest.MonkeyPatch) -> Market:
    """Six names, two factors, two portfolios."""
    ids = tuple(f"XNYS:{c}" for c in "ABCDEF")
    rng = np.random.default_rng(1)
    B = np.column_stack([np.full(6, 0.01), 0.003 * rng.normal(size=6)])
    model = RiskModel(DAY, ids, ("pc01", "pc02"), B, np.diag([1.0, 0.5]), np.full(6, 0.01))
    returns = dict(zip(ids, (-0.2, -0.3, 0.1, -0.25, -0.1, 0.05), strict=True))
    market = Market(
        model, {i: i[-1] for i in ids}, dict.fromkeys(ids, "Energy"), {WINDOWS[-1].name: returns}
    )
    books = [
        Book(name, "live", DAY, ids[:3], np.array([0.5, 0.3, 0.2]), 1e6)
        for name in ("core", "calm")
    ]
    monkeypatch.setattr(portfolio_stress, "_situation", lambda run: (market, books))
    return market


def test_every_portfolio_and_scenario_is_shown(wealthos, situation: Market) -> None:
    rows = wealthos("portfolio", "stress", "--json").json
    assert {r["mandate"] for r in rows} == {"core", "calm"}
    past = next(r for r in rows if r["kind"] == "historical")
    assert past["pnl"] == pytest.approx(-0.1 - 0.09 + 0.02)
    said = wealthos("portfolio", "stress", "core").out
    assert "Market −20 %" in said
    assert "calm" not in said


def test_one_scenario_is_shown_name_by_name(wealthos, situation: Market) -> None:
    name = WINDOWS[-1].name
    rows = wealthos("portfolio", "stress", "core", "--scenario", name, "--json").json
    assert [r["scenario"] for r in rows] == [name]
    assert rows[0]["names"][0] == {"symbol": "A", "weight": 0.5, "pnl": pytest.approx(-0.1)}
    assert "3 of 3 names had prices" in wealthos("portfolio", "stress", "--scenario", name).err + (
        wealthos("portfolio", "stress", "--scenario", name).out
    )


def test_a_file_is_tried_without_a_run(wealthos, situation: Market, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntitle: Mine\nsymbols: {A: -0.4}\n")
    rows = wealthos("portfolio", "stress", "core", "--file", file, "--json").json
    assert [(r["scenario"], r["pnl"]) for r in rows] == [("mine", pytest.approx(-0.2))]


def test_what_cannot_be_computed_is_refused_with_every_fault(
    call, situation: Market, root, tmp_path: Path
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("name: odd\ntitle: Odd\nsymbols: {ZZZ: -0.4}\nfactors: {pc09: 1}\n")
    said = call("portfolio", "stress", "--file", file, "--root", root.settings.root)
    assert said.code == 2
    assert "no symbol 'ZZZ'" in said.err
    assert "no risk factor 'pc09'; there are pc01, pc02" in said.err


def test_without_a_risk_model_it_says_what_to_do(call, root) -> None:
    said = call("portfolio", "stress", "--root", root.settings.root)
    assert said.code != 0
    assert "no risk model" in said.err
