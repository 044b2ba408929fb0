"""The card of a model: it says what the tables say, and says so where they say nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import registry
from wealthos_pipeline.ml.predictors.ridge import FittedRidge
from wealthos_pipeline.reporting import model_card, model_page

DAYS = 300


def _fit(kind: str, day: date) -> dict[str, Any]:
    text = FittedRidge(("up", "down"), (0.5, -0.25)).to_text()
    return {
        "model_id": f"ridge.{kind}.{day}", "model": "ridge", "kind": kind, "refit_date": day, "horizon": 20,
        "train_start": date(2001, 1, 2), "train_cutoff": day - timedelta(days=40), "rows": 1200,
        "features": '["up", "down"]', "params": '{"alpha": 10.0, "target": "rank"}', "artefact": text,
        "artefact_hash": registry.artefact_hash(text), "data_hash": "00ff",
    }  # fmt: skip


def _conformed(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows with what they leave out as null, or 0 where null is not allowed."""
    terms = contract(table)
    zero = {"f64": 0.0, "i32": 0, "i64": 0, "str": "", "bool": False, "date": date(2010, 1, 4)}
    known = TradingCalendar().known_at(date(2010, 1, 4))
    full = [
        {
            c.name: r.get(c.name, None if c.nullable else zero.get(c.dtype, known))
            for c in terms.columns
        }
        for r in rows
    ]
    return terms.conform(pl.DataFrame(full, schema=terms.schema()))


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(5)
    days = TradingCalendar().sessions(date(2010, 1, 4), date(2012, 6, 1))[:DAYS]
    ics = 0.02 + 0.1 * rng.standard_normal(DAYS)
    daily = 0.0002 + 0.01 * rng.standard_normal((3, DAYS))
    books = (("ridge", "long_short"), ("ridge", "long_only"), ("equal_weight", "equal_weight"))
    return {
        "models.registry": _conformed(
            "models.registry", [_fit("walk_forward", date(2010, 1, 4)), _fit("live", date(2011, 3, 7))]
        ),
        "models.evaluation": _conformed(
            "models.evaluation",
            [{"model": "ridge", "horizon": 20, "date": d, "n": 20, "rank_ic": float(v)} for d, v in zip(days, ics, strict=True)],
        ),
        "models.returns": _conformed(
            "models.returns",
            [
                {"model": m, "horizon": 20, "book": b, "date": d, "gross": float(v) + 0.0001, "cost": 0.0001, "net": float(v),
                 "turnover": 0.05, "names": 8}
                for (m, b), row in zip(books, daily, strict=True) for d, v in zip(days, row, strict=True)
            ],
        ),
        "models.summary": _conformed(
            "models.summary",
            [{"model": "ridge", "horizon": 20, "dates": DAYS, "mean_rank_ic": 0.02, "t": 0.7, "p_value": 0.48, "decided_by": "bootstrap",
              "detectable_ic": 0.06, "sharpe_gross": 0.4, "sharpe_net": -0.1, "dsr": 0.12, "trials": 213, "effective_trials": 18.2,
              "pbo": 0.55, "turnover": 6.0, "long_only_net_return": 0.08, "excess_over_equal_weight": -0.01,
              "calibration_slope": 0.001, "verdict": "no evidence of skill: t 0.7"}],
        ),
        "models.decay": _conformed(
            "models.decay",
            [{"model": "ridge", "horizon": 20, "lag": k, "dates": DAYS, "mean_rank_ic": 0.01, "t": 0.5, "p_value": 0.6} for k in (1, 5, 20)],
        ),
        "models.calibration": _conformed(
            "models.calibration",
            [{"model": "ridge", "horizon": 20, "bin": b, "n": 100, "mean_prediction": b / 10, "mean_outcome": b / 1000, "se": 0.001}
             for b in range(1, 11)],
        ),
        "models.importance": _conformed(
            "models.importance",
            [{"model": "ridge", "model_id": "x", "refit_date": date(2010, 1, 4), "method": m, "feature": f, "value": v, "se": 0.001, "rank": 1}
             for m in ("permutation", "gain", "shap") for f, v in (("up", 0.02), ("down", 0.01))],
        ),
        "models.drift": _conformed("models.drift", [{"model": "ridge", "date": date(2011, 3, 1), "subject": "prediction", "psi": 0.31}]),
        "models.live": contract("models.live").empty(),
        "meta.catalog": _conformed(
            "meta.catalog",
            [{"kind": "source", "name": "sample", "title": "Twenty stocks"},
             {"kind": "bias", "name": "survivorship", "title": "All twenty survived", "detail": "chosen in hindsight"}],
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def read(tables: dict[str, pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    return lambda table, **_: tables[table]


SPEC = ModelSpec(
    name="ridge", title="Ridge on all scores", family="ridge", note="The plain answer."
)


def test_a_model_without_a_fit_is_an_error_that_names_those_with_one(read) -> None:
    with pytest.raises(ModelError, match="no fit of model 'oracle' in this run; there are: ridge"):
        model_card.gather(read, "oracle")


def test_the_lines_say_what_it_is_how_it_did_and_what_they_do_not_say(read) -> None:
    lines = model_card.facts(model_card.gather(read, "ridge", spec=SPEC))
    said = {(r["section"], r["item"]): r for r in lines.iter_rows(named=True)}
    assert said["model", "title"]["value"] == "Ridge on all scores"
    assert said["parameters", "alpha"]["number"] == 10.0
    assert said["data", "features"]["value"] == "up, down"
    assert said["data", "newest fit"]["value"] == "ridge.live.2011-03-07"
    assert said["result", "verdict"]["value"].startswith("no evidence")
    assert said["result", "deflated Sharpe ratio"]["value"] == "12\u00a0%"
    assert "0.060" in said["limits", "Power"]["value"]
    assert said["limits", "All twenty survived"]["value"] == "chosen in hindsight"
    assert lines["place"].to_list() == list(range(lines.height))


def test_the_page_shows_every_part_and_the_same_bytes_each_time(read) -> None:
    card = model_card.gather(read, "ridge", spec=SPEC, run=(("run", "run-1"),))
    html = model_page.render(card)
    for words in (
        "No evidence of skill: t 0.7", "−0.10", "213 trials", "Is it still itself?", "0.310",
        "No prediction that was issued has a known outcome yet", "run-1", "All twenty survived",
        "shuffled within each date", "1/N of the same names",
    ):  # fmt: skip
        assert words in html, words
    assert html.count("data:image/png") == 6
    assert "http://" not in html
    assert "https://" not in html
    assert html == model_page.render(card)


def test_a_model_of_which_nothing_is_known_yet_has_a_card_that_says_so(tables) -> None:
    bare = {k: v.clear() if k not in ("models.registry", "meta.catalog") else v for k, v in tables.items()}  # fmt: skip
    html = model_page.render(model_card.gather(lambda table, **_: bare[table], "ridge"))
    assert "No outcome of its predictions is known yet." in html
    assert "data:image/png" not in html
