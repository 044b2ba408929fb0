"""The alert about who should serve and does not reads what the run stored."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import polars as pl

from assets import record
from wealthos_pipeline.utils.config import load_settings

DAY = date(2024, 1, 5)


def test_a_champion_with_a_walk_forward_row_alone_does_not_serve() -> None:
    said = pl.DataFrame({"model": ["ridge", "lightgbm"], "kind": ["walk_forward", "live"]})
    words = pl.DataFrame({"slot": ["alpha"], "date": [date(2023, 1, 3)], "champion": ["ridge"]})
    tables = {"models.predictions": said, "models.champions": words}
    lake = SimpleNamespace(read=lambda table, **_: tables[table])
    settings = load_settings(models={"names": ("ridge", "lightgbm")})
    work = SimpleNamespace(session=SimpleNamespace(lake=lake), settings=settings, end=DAY)
    found = record._unserved(work)
    assert found.select("subject", "severity").rows() == [("alpha", "critical")]
    tables["models.predictions"] = said.with_columns(kind=pl.lit("live"))
    assert record._unserved(work).is_empty()
    stage = next(s for s in record.STAGES if s.name == "alerts")
    assert set(tables) <= set(stage.inputs), "a change of either makes the alerts again"
