"""A family's values are made in blocks of dates where they are more than ``factors.memory_mb``."""

from __future__ import annotations

import polars as pl
import pytest
from pipeline import Driver, settings
from synthetic import raw_market

from wealthos_pipeline.factors import dated


@pytest.mark.parametrize("table", ["factors.equity_momentum"])
def test_the_setting_bounds_what_a_stage_holds(table, calendar, tmp_path, monkeypatch) -> None:
    raw = raw_market(6)
    driver = Driver(settings(factors={"memory_mb": 1}), calendar, until=[table], folder=tmp_path)
    now = calendar.known_at(raw.prices["date"].max())
    whole = driver(raw, now).tables[table]
    monkeypatch.setattr(dated, "MEGABYTE", 1 << 14)
    held: list[int] = []
    compute = dated.engine.compute

    def counted(*given: object, **more: object) -> pl.DataFrame:
        out = compute(*given, **more)
        held.append(out.height)
        return out

    monkeypatch.setattr(dated.engine, "compute", counted)
    assert driver(raw, now).tables[table].equals(whole)
    assert len(held) > 3
    assert max(held) * 4 * (whole.width - 2) <= 1 << 14
