"""The asset checks of how models did: what they pass, and what makes them fail."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace

import polars as pl
import pytest

from assets import model_evaluation
from wealthos_pipeline import factors
from wealthos_pipeline.core.data import contract

NOW = datetime(2020, 1, 2, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def watches() -> dict[str, object]:
    """Table → what looks at it."""
    library = factors.load(("core",), None)
    return {c.name: s.watch for s in model_evaluation.stages(library) for c in s.contracts}


def results(watches, table: str, row: dict[str, object]) -> dict[str, bool]:
    """Check → whether it passed for one row of ``table``; what is left out is null."""
    terms = contract(table)
    frame = pl.DataFrame([{c: row.get(c) for c in terms.column_names}], schema=terms.schema())
    session = SimpleNamespace(run=SimpleNamespace(run_id="r"), settings=None, now=NOW, checks=[])
    found = watches[table].results(SimpleNamespace(session=session), terms, frame)
    out = {r.check_name: r.passed for r in found}
    assert {c["check"].item(): c["success"].item() for c in session.checks} == out
    assert set(out) == {s.name for s in watches[table].specs(terms)}
    return out


KEY = {"model": "m", "horizon": 20, "date": date(2019, 5, 6), "known_at": NOW}


@pytest.mark.parametrize(("ic", "passed"), [(0.3, True), (None, True), (-1.01, False)])
def test_correlations_must_be_correlations(watches, ic, passed) -> None:
    row = KEY | {"n": 20, "ic": 0.1, "rank_ic": ic}
    assert results(watches, "models.evaluation", row) == {"ic_in_range": passed}
    row = KEY | {"n": 20, "lag": 5, "rank_ic": ic}
    assert results(watches, "models.evaluation_lags", row) == {"ic_in_range": passed}


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({}, set()),
        ({"net": 0.0101}, {"net_is_gross_less_cost"}),
        ({"cost": -0.001, "net": 0.011}, {"net_is_gross_less_cost"}),
        ({"long": 1.2}, {"weights_as_stated"}),
        ({"short": 0.1}, {"weights_as_stated"}),
        ({"book": "long_short", "short": 0.9}, set()),
        ({"book": "long_short", "short": 0.2}, {"weights_as_stated"}),
    ],
)
def test_books_must_add_up(watches, changed, failed) -> None:
    row = KEY | {
        "book": "long_only", "gross": 0.01, "cost": 0.001, "net": 0.009, "turnover": 0.5, "names": 4,
        "long": 1.0, "short": 0.0,
    }  # fmt: skip
    found = results(watches, "models.returns", row | changed)
    assert {name for name, passed in found.items() if not passed} == failed


@pytest.mark.parametrize(
    ("changed", "passed"),
    [
        ({}, True),
        ({"mean_rank_ic": 0.05}, False),
        ({"sharpe_net": 1.3}, False),
        ({"mean_rank_ic": 0.05, "t": None}, True),  # a few dates: anything can be seen
    ],
)
def test_results_too_good_to_be_true_are_told(watches, changed, passed) -> None:
    row = KEY | {
        "dates": 500,
        "mean_rank_ic": 0.02,
        "t": 2.2,
        "sharpe_net": 0.4,
        "trials": 9,
        "verdict": "",
    }
    assert results(watches, "models.summary", row | changed) == {"not_too_good_to_be_true": passed}


def test_horizons_reach_as_far_as_the_longest_outcome(watches) -> None:
    from wealthos_pipeline.utils.config import load_settings

    stage = model_evaluation.evaluation
    assert stage.reach(load_settings()) == 62
    assert stage.reach(load_settings(models={"horizon": 120})) == 122


def test_only_families_that_predict_probabilities_are_judged_as_such(tmp_path) -> None:
    """A ridge on the label 0 or 1 has scores about 0, whose Brier score would be that of no forecast."""
    from wealthos_pipeline.utils.config import load_settings

    for family in ("ridge", "direction"):
        text = f"name: of_{family}\nfamily: {family}\nlabel: direction\n"
        (tmp_path / f"{family}.yaml").write_text(text)
    names = ["of_ridge", "of_direction"]
    settings = load_settings(models={"specs": str(tmp_path), "names": names})
    assert [j[:2] for j in model_evaluation._judged(settings)] == [
        ("of_ridge", False), ("of_direction", True),
    ]  # fmt: skip
