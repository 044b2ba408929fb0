"""Alerts that tables state themselves: own factors left out, fits whose data were restated."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.market_monitor.alerts import refused_factors, stale_fits, unserved

DAY = date(2024, 5, 6)
AT = datetime(2024, 5, 6, 22, tzinfo=UTC)


def test_one_warning_an_own_factor_that_is_left_out() -> None:
    rows = [
        {"factor": "fine", "admitted": True, "reason": None},
        {"factor": "peek", "admitted": False, "reason": "looks ahead: …"},
        {"factor": "bad.yaml", "admitted": False, "reason": "bad.yaml is not YAML"},
    ]
    more = {"definition": "", "table": "", "checked_at": AT}
    table = contract("factors.admissions")
    found = refused_factors(
        table.conform(pl.DataFrame([r | more for r in rows], schema=table.schema())), DAY
    )
    assert found.select("date", "alert", "subject", "severity").rows() == [
        (DAY, "factor_left_out", "bad.yaml", "warning"),
        (DAY, "factor_left_out", "peek", "warning"),
    ]
    assert found.filter(pl.col("subject") == "peek")["text"].item() == (
        "Your own peek is left out: looks ahead: …"
    )
    assert refused_factors(table.empty(), DAY).is_empty()


def fit(model: str, refit: date, stale: datetime | None) -> dict[str, object]:
    return {
        "model_id": f"{model}.{refit}", "model": model, "kind": "walk_forward", "refit_date": refit,
        "horizon": 20, "train_start": refit, "train_cutoff": refit, "rows": 1, "features": "[]",
        "params": "{}", "artefact": "", "artefact_hash": "", "stale_since": stale,
    }  # fmt: skip


def test_one_warning_a_model_with_stale_fits() -> None:
    rows = [
        fit("ridge", date(2023, 1, 3), None),
        fit("ridge", date(2024, 1, 2), AT),
        fit("ridge", date(2022, 1, 3), AT),
        fit("lightgbm", date(2024, 1, 2), None),
    ]
    table = contract("models.registry")
    registry = table.conform(pl.DataFrame(rows, schema=table.schema()))
    (row,) = stale_fits(registry, DAY).iter_rows(named=True)
    assert (row["subject"], row["value"]) == ("ridge", 2.0)
    assert row["text"].startswith("2 fits of ridge (2022-01-03 to 2024-01-02)")
    assert "2024-05-06" in row["text"]
    assert stale_fits(table.empty(), DAY).is_empty()


def test_who_should_serve_and_does_not_is_an_alert() -> None:
    found = unserved(
        ["lightgbm"], ["ridge", "lightgbm", "stacked"], {"alpha": "ridge", "b": "lightgbm", "c": None}, DAY
    )  # fmt: skip
    assert found.select("date", "alert", "subject", "severity").rows() == [
        (DAY, "no_prediction", "alpha", "critical"),
        (DAY, "no_prediction", "stacked", "warning"),
    ]
    assert found["text"][0].startswith("ridge, champion of alpha, has no live prediction for ")
    assert unserved(["ridge"], ["ridge"], {"alpha": "ridge"}, DAY).is_empty()
