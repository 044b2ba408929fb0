"""What counts as a trial, that it counts once, and what ratios are deflated by."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets._shared.work import Work
from assets.trials import trials as trials_stage
from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.ml import trials
from wealthos_pipeline.stats.trials import effective_trials
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2030, 1, 2, 12, tzinfo=UTC)
RIDGE = ModelSpec(name="ridge", family="ridge", horizon=20, params={"alpha": 10.0})
MANDATE = Mandate(name="core", title="Core", objective="min_variance")


def factor(name: str = "fast", expression: str = "Mean($close, 20) / $close") -> Factor:
    return Factor(name, AssetClass.EQUITY, "own", 1, "title", "", expression=expression)


def days(n: int) -> list[date]:
    return [date(2020, 1, 1) + timedelta(days=i) for i in range(n)]


def performance(names: list[str], n: int = 300, horizon: int = 5) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    shared = rng.standard_normal(n)
    return pl.concat(
        pl.DataFrame(
            {
                "factor": [name] * n,
                "universe": ["members"] * n,
                "horizon": pl.Series([horizon] * n, dtype=pl.Int32),
                "date": days(n),
                "rank_ic": 0.1 * rng.standard_normal(n),
                "spread": 0.01 * (shared + rng.standard_normal(n)),
            }
        )
        for name in names
    )


def test_names_titles_signs_and_blanks_make_no_other_trial() -> None:
    assert trials.model_id(RIDGE) == trials.model_id(
        RIDGE.model_copy(update={"name": "other", "title": "x", "note": "y"})
    )
    assert trials.factor_id(factor()) == trials.factor_id(
        replace(factor("slow", "Mean($close,20)/$close"), direction=-1)
    )
    assert trials.mandate_id(MANDATE) == trials.mandate_id(
        MANDATE.model_copy(update={"name": "x", "title": "x", "note": "x", "live": False})
    )


def test_what_changes_a_result_is_another_trial() -> None:
    assert trials.model_id(RIDGE) != trials.model_id(RIDGE.model_copy(update={"horizon": 5}))
    assert trials.factor_id(factor()) != trials.factor_id(factor("fast", "Mean($close, 21)"))
    cheap = MANDATE.model_copy(update={"max_weight": 0.2})
    assert trials.mandate_id(MANDATE) != trials.mandate_id(cheap)


def test_a_model_is_seen_by_its_net_long_short_book_else_by_its_spread() -> None:
    rng = np.random.default_rng(2)
    net, spread = 0.01 * rng.standard_normal(100), 0.02 * rng.standard_normal(80)
    returns = pl.DataFrame(
        {"model": "ridge", "horizon": 20, "book": "long_short", "date": days(100), "net": net}
    )
    evaluation = pl.DataFrame(
        {
            "model": "ridge", "horizon": 20, "date": days(80), "rank_ic": np.linspace(-0.1, 0.2, 80),
            "spread": spread,
        }
    )  # fmt: skip
    (row,) = trials.of_models([RIDGE], returns, evaluation).to_dicts()
    assert row["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1))
    assert row["rank_ic"] == pytest.approx(0.05)
    assert (row["observations"], row["data"]) == (100, "2020-01-01..2020-04-09")
    (row,) = trials.of_models([RIDGE], None, evaluation).to_dicts()
    assert row["sharpe"] == pytest.approx(spread.mean() / spread.std(ddof=1) / math.sqrt(20))
    (row,) = trials.of_models([RIDGE]).to_dicts()
    assert row["sharpe"] is row["rank_ic"] is row["data"] is None


def test_a_factor_is_seen_by_its_shortest_horizon_and_in_its_direction() -> None:
    rows = pl.concat([performance(["fast"], horizon=20), performance(["fast"])])
    against = replace(factor(), direction=-1)
    (row,) = trials.of_factors([against], rows).to_dicts()
    short = rows.filter(pl.col("horizon") == 5)
    x = short["spread"].to_numpy()
    assert row["horizon"] == 5
    assert row["sharpe"] == pytest.approx(x.mean() / x.std(ddof=1) / math.sqrt(5))
    assert row["rank_ic"] == pytest.approx(-short["rank_ic"].mean())
    (row,) = trials.of_factors([factor("unknown", "$open")], rows).to_dicts()
    assert row["sharpe"] is row["horizon"] is None


def test_a_search_counts_what_it_tried_beyond_the_model_and_no_more_when_repeated() -> None:
    first = trials.of_search(RIDGE, 5)
    assert first.height == 4
    assert set(first["trial"]) < set(trials.of_search(RIDGE, 8)["trial"])
    assert trials.of_search(RIDGE, 1).is_empty()


def test_counts_are_of_what_a_result_was_picked_among() -> None:
    found = [
        trials.of_models([RIDGE]),
        trials.of_search(RIDGE, 4),
        trials.of_factors([factor(), factor("again"), factor("other", "$open")]),
        trials.of_backtests([MANDATE]),
    ]
    rows = trials.new(found, [], run_id="a", now=NOW)
    assert rows["kind"].value_counts().sort("kind").rows() == [
        ("backtest", 1), ("factor", 2), ("model", 1), ("search", 3),
    ]  # fmt: skip
    assert trials.counted(rows, "model") == trials.counted(rows, "factor") == 6
    assert trials.counted(rows, "portfolio") == 5
    assert trials.counted(rows.clear(), "model") == 1
    assert trials.new(found, rows["trial"], run_id="b", now=NOW).is_empty()
    assert trials.new([], [], run_id="b", now=NOW).equals(contract("record.trials").empty())


def test_deflation_adds_up_blocks_and_counts_the_rest_one_each() -> None:
    names = ["a", "b", "c"]
    block = trials.spreads(performance(names), 5)
    books = trials.Block(np.random.default_rng(3).standard_normal((200, 2)))
    library = [factor(n, f"${n}") for n in "abcdefg"]
    rows = trials.new(
        [trials.of_factors(library), trials.of_models([RIDGE])], [], run_id="a", now=NOW
    )
    found = trials.deflation(rows, "model", [books, block])
    own = effective_trials(books.returns) + effective_trials(block.returns[::5])
    assert found.raw == 8
    assert found.effective == pytest.approx(own + 3)
    assert own < 5
    ratios = [x.mean() / x.std(ddof=1) for x in books.returns.T]
    ratios += [x.mean() / x.std(ddof=1) / math.sqrt(5) for x in block.returns.T]
    assert np.var(ratios, ddof=1) <= found.variance < 2 * np.var(ratios, ddof=1)
    bare = trials.deflation(rows, "model", [])
    assert (bare.raw, bare.effective, bare.variance) == (8, 8.0, 0.0)


def test_a_short_record_is_counted_and_does_not_say_how_far_apart_ratios_lie() -> None:
    """Forty days of noise have a ratio ten times as large as that of sixteen years; one such trial would
    deflate all others to nothing."""
    rng = np.random.default_rng(4)
    long = rng.standard_normal((4000, 6))
    late = np.full((4000, 1), np.nan)
    late[-40:, 0] = rng.standard_normal(40) + 0.5
    rows = trials.new([], [], run_id="a", now=NOW)
    without = trials.deflation(rows, "model", [trials.Block(long)])
    found = trials.deflation(rows, "model", [trials.Block(np.hstack([long, late]))])
    assert found.variance == without.variance
    assert found.variance < 3 / 4000
    assert (found.raw, without.raw) == (7, 6)
    assert found.effective > without.effective + 0.5
    other = trials.deflation(rows, "model", [trials.Block(long), trials.Block(late)])
    assert (other.raw, other.variance) == (7, without.variance)


def test_the_stage_records_a_trial_once_and_takes_over_those_of_commands(tmp_path: Path) -> None:
    mandates = tmp_path / "mandates"
    mandates.mkdir()
    (mandates / "core.yaml").write_text("name: core\ntitle: Core\nobjective: min_variance\n")
    settings = load_settings(
        root=tmp_path, portfolio={"mandates": mandates}, factors={"sets": ("core",)}
    )
    lake = Lake(tmp_path)
    library = factors.load(("core",), strict=False)
    tried = trials.new(
        [trials.of_factors([factor("typed", "$close / $open")])], [], run_id="command", now=NOW
    )
    lake.append("raw.trials", tried)
    session: Any = SimpleNamespace(
        lake=lake, settings=settings, library=library, run=SimpleNamespace(run_id="run"), now=NOW
    )

    def step() -> pl.DataFrame:
        made = trials_stage.compute(Work(session, None))
        rows = made.get("record.trials")
        if rows is None:
            return contract("record.trials").empty()
        assert isinstance(rows, pl.DataFrame)
        lake.append("record.trials", rows)
        return rows

    first = step()
    assert set(first["kind"]) == {"model", "factor", "backtest"}
    assert first.filter(pl.col("run_id") == "command")["name"].to_list() == ["typed"]
    distinct = {trials.factor_id(f) for f in library.factors.values()}
    assert first.filter(pl.col("kind") == "factor").height == len(distinct) + 1
    assert step().is_empty()
    (mandates / "other.yaml").write_text("name: other\ntitle: O\nobjective: hrp\n")
    assert step()["name"].to_list() == ["other"]
    assert lake.read("record.trials")["trial"].is_unique().all()
