"""Deciding again on published data: optimise, whatif, frontier, explain."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_root

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.portfolio import risk

BALANCED = """
name: balanced
title: Balanced
model: ridge
max_weight: 0.3
costs: {commission_bp: 1, half_spread_bp: 4}
"""
STUCK = """
name: stuck
title: Cannot be met
objective: min_variance
max_weight: 0.3
max_volatility: 0.05
"""


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Path:
    """A small root whose last run has a risk model, so that a decision can be made on it."""
    folder = tmp_path_factory.mktemp("decided")
    root = small_root.build(folder, calendar)
    day = root.days[-1]
    rng = np.random.default_rng(4)
    names = small_root.IDS
    model = risk.RiskModel(
        date=day,
        ids=names,
        factors=("pc01", "pc02"),
        B=rng.normal(size=(len(names), 2)) * 0.004 + np.array([0.01, 0.0]),
        F=np.eye(2),
        d=rng.uniform(0.008, 0.02, len(names)),
    )
    exposures, factors = risk.to_frames([model])
    now = calendar.known_at(day) + timedelta(hours=2)
    with Run.open(root.lake, root.settings, now=now, run_id="run-with-risk") as run:
        root.lake.replace("portfolio.risk_exposures", exposures)
        root.lake.replace("portfolio.risk_factors", factors)
        run.publish(as_of=day, source="sample", finished_at=now + timedelta(minutes=1))
    mandates = folder / "mandates"
    mandates.mkdir()
    (mandates / "balanced.yaml").write_text(BALANCED)
    (mandates / "stuck.yaml").write_text(STUCK)
    return folder


@pytest.fixture
def ask(call, decided: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEALTHOS_PORTFOLIO__MANDATES", str(decided / "mandates"))

    def run(*words: object):
        return call("portfolio", *words, "--root", decided / "data")

    return run


def test_optimise_gives_weights_trades_and_a_certificate(ask) -> None:
    body = ask("optimise", "balanced", "--json").json
    assert body["status"] == "optimal"
    proof = body["certificate"]
    assert proof["violation"] <= 1e-8
    assert proof["run_id"] == "run-with-risk"
    assert proof["inputs"]["portfolio.risk_factors"] is not None
    assert sum(r["weight"] for r in body["weights"]) == pytest.approx(1.0)
    assert max(r["weight"] for r in body["weights"]) <= 0.3 + 1e-9
    assert all(t["reason"].startswith(t["side"]) for t in body["trades"])
    assert {t["symbol"] for t in body["trades"]} <= set(small_root.SYMBOLS)
    said = ask("optimise", "Balanced")
    assert said.code == 0
    for words in ("optimal", "violation", "Weights", "Trades", "first purchase"):
        assert words in said.out


def test_optimise_with_another_value_and_with_a_file(ask, decided: Path, tmp_path: Path) -> None:
    body = ask("optimise", "balanced", "--set", "max_weight=0.2", "--json").json
    assert max(r["weight"] for r in body["weights"]) <= 0.2 + 1e-9
    path = tmp_path / "mine.yaml"
    path.write_text(BALANCED.replace("0.3", "0.2"))
    again = ask("optimise", "--mandate-file", path, "--json").json
    assert [r["weight"] for r in again["weights"]] == [r["weight"] for r in body["weights"]]


def test_a_mandate_that_cannot_be_met_says_why_and_ends_with_a_code(ask) -> None:
    said = ask("optimise", "stuck")
    assert said.code == 3
    assert "Volatility of at most 5 % a year; least change that is enough: " in said.out
    assert "Weights must sum to 100 %" in said.out
    body = ask("optimise", "stuck", "--json").json
    kinds = {x["kind"]: x for x in body["conflict"]["limits"]}
    assert set(kinds) == {"volatility", "budget"}
    enough = kinds["volatility"]["needed"]
    met = ask("optimise", "stuck", "--set", f"max_volatility={enough + 1e-4}", "--json")
    assert (met.code, met.json["status"]) == (0, "optimal")
    short = ask("optimise", "stuck", "--set", f"max_volatility={enough - 1e-3}", "--json")
    assert short.code == 3


def test_a_softened_answer_says_what_gave_way(ask) -> None:
    said = ask("optimise", "stuck", "--set", "soften=[volatility]")
    assert said.code == 0
    assert "softened" in said.out
    assert "Volatility of at most 5 % a year became " in said.out


def test_a_limit_with_a_colon_in_it_is_named_once_and_by_symbols(ask) -> None:
    first, second = small_root.SYMBOLS[:2]
    group = f"groups=[{{name: both, symbols: [{first}, {second}], min_weight: 0.55}}]"
    forced = (
        f"overrides=[{{symbol: {small_root.SYMBOLS[2]}, action: force, weight: 0.2, owner: A. Person, "
        "reason: asked for, expires: 2099-01-01}]"
    )
    words = ("optimise", "balanced", "--set", group, "--set", forced)
    said, body = ask(*words), ask(*words, "--json").json
    limits = {x["limit"] for x in body["limits"]}
    assert "Group both: at least 55 %" in limits
    assert all(x["words"].startswith(f"{x['limit']}: ") for x in body["limits"])
    assert not any(i in x for x in limits for i in small_root.IDS)
    assert said.out.count("at least 55 %") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("optimise", "balancd"), "Did you mean balanced?"),
        (("optimise",), "name a mandate or give --mandate-file"),
        (("optimise", "balanced", "--set", "max_wieght=1"), "Did you mean max_weight"),
        (("optimise", "balanced", "--set", "max_weight"), "is not key=value"),
        (("optimise", "balanced", "--set", "max_weight=-1"), "max_weight: Input should be greater"),
        (("optimise", "--mandate-file", "gone.yaml"), "is not there"),
        (("whatif", "balanced", "--loosen", "uper"), "Did you mean upper?"),
        (("frontier", "balancd"), "Did you mean balanced?"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_next_step(ask, words, expected) -> None:
    said = ask(*words)
    assert said.code == 2
    assert expected in said.err


def test_research_rows_lie_aside_and_live_tables_stay(ask, decided: Path) -> None:
    before = sorted((decided / "data" / "lake").rglob("*.parquet"))
    body = ask("optimise", "balanced", "--write-research", "--json").json
    frames = {Path(f).stem: pl.read_parquet(f) for f in body["files"]}
    assert set(frames) == {"targets", "solves", "trades", "binding"}
    assert frames["targets"]["run_kind"].unique().to_list() == ["research"]
    assert frames["targets"]["weight"].sum() == pytest.approx(1.0)
    assert sorted((decided / "data" / "lake").rglob("*.parquet")) == before


def test_whatif_compares_nothing_with_the_proposal(ask) -> None:
    body = ask("whatif", "balanced", "--json").json
    rows = {r["measure"]: r for r in body["answers"]["nothing"]["measures"]}
    assert rows["invested"]["before"] == 0.0
    assert rows["invested"]["after"] == pytest.approx(1.0)
    assert body["prices"]
    said = ask("whatif", "balanced")
    assert "if nothing were done" in said.out
    assert "What binds, dearest first" in said.out


def test_whatif_solves_again_at_another_value(ask) -> None:
    body = ask(
        "whatif", "balanced", "--set", "max_weight=0.4", "--loosen", "max_weight", "--json"
    ).json
    assert set(body["answers"]) == {"set", "loosen upper"}
    for answer in body["answers"].values():
        change = next(r for r in answer["measures"] if r["measure"] == "objective")["change"]
        assert change >= -1e-12
    both = ask("whatif", "balanced", "--set", "upper=0.4", "--json").json["answers"]["set"]
    assert both["measures"] == body["answers"]["set"]["measures"], "by field and by the limit's key"


def test_the_frontier_rises_and_is_drawn(ask, tmp_path: Path) -> None:
    png, page = tmp_path / "f.png", tmp_path / "f.html"
    body = ask("frontier", "balanced", "--points", 6, "--png", png, "--html", page, "--json").json
    risks = [r["volatility"] for r in body["curves"]["gross"]]
    assert risks == sorted(risks)
    assert all(sum(r["weights"].values()) == pytest.approx(1) for r in body["curves"]["net"])
    assert {m["name"] for m in body["marks"]} >= {"target", "benchmark", "1/N"}
    assert png.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert "Plotly.newPlot" in text
    assert 'src="http' not in text
    assert "efficient frontier, after costs" in ask("frontier", "balanced", "--points", 4).out


def test_explain_says_what_pulls_at_a_name(ask) -> None:
    body = ask("explain", "xom", "--mandate", "balanced", "--json").json["decision"]
    assert body["symbol"] == "XOM"
    assert {"alpha", "risk"} <= set(body["contributions"])
    assert sum(body["contributions"].values()) == pytest.approx(0.0, abs=1e-6)
    said = ask("explain", "XOM", "--mandate", "balanced")
    assert "what pulls" in said.out
    assert "expected return" in said.out


def test_a_root_without_a_risk_model_says_what_to_do(wealthos, decided: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEALTHOS_PORTFOLIO__MANDATES", str(decided / "mandates"))
    said = wealthos("portfolio", "optimise", "balanced")
    assert said.code != 0
    assert "no risk model" in said.err
    assert "run" in said.err
