"""The stages of statements, earnings and news: a walk over fetches ends where the full run does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pipeline import Driver, MemoryLake, settings
from properties import same_rows
from synthetic import SOURCE, RawMarket

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar

TABLES = ("clean.fundamentals", "clean.earnings", "clean.news")
FETCHES = [datetime(2018, 5, 2, 21, tzinfo=UTC) + timedelta(days=40 * k) for k in range(4)]


def given(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    terms = contract(table)
    return terms.conform(pl.DataFrame(rows, schema=terms.schema()))


@pytest.fixture(scope="module")
def vendor_rows() -> dict[str, pl.DataFrame]:
    """Of five symbols and one that nobody knows, from a source without bars ("other")."""
    statements, reports, stories = [], [], []
    for k, now in enumerate(FETCHES):
        for name in ("SYN00", "SYN03", "SYN07", "SYN11", "SYN20", "NOBODY"):
            base = {"source": "other", "symbol": name, "fetched_at": now}
            for q, end in enumerate((date(2017, 12, 31), date(2018, 3, 31), date(2018, 6, 30))):
                if k == 0 and q == 2:
                    continue
                statements.append({**base, "metric": "revenue", "period": "quarter", "period_end": end,
                                   "vintage": "", "value": float(q + (k == 2))})  # fmt: skip
                reports.append({**base, "period_end": end, "report_date": end + timedelta(days=25),
                                "hour": "after", "eps_estimate": 1.0 + k, "eps_actual": 1.0 if k > q - 1 else None})  # fmt: skip
            stories.append({**base, "news_id": f"{name}{k}", "headline": "h", "published_at": now - timedelta(hours=3)})  # fmt: skip
    return {
        "raw.fundamentals": given("raw.fundamentals", statements),
        "raw.earnings": given("raw.earnings", reports),
        "raw.news": given("raw.news", stories),
    }


def test_a_walk_over_fetches_equals_the_full_run(
    vendor_rows: dict[str, pl.DataFrame], synthetic_raw: RawMarket, calendar: TradingCalendar
) -> None:
    driver = Driver(settings(source={"name": SOURCE, "also": ("other",)}), calendar, until=TABLES)
    assert [s.name for s in driver.stages] == ["instruments", "fundamentals", "earnings", "news"]

    def put(lake: MemoryLake, now: datetime) -> None:
        for table, rows in vendor_rows.items():
            lake.store(table, rows.filter(pl.col("fetched_at") <= now))

    walked = driver.lake(synthetic_raw)
    for i, now in enumerate(FETCHES):
        walked.dirty = {}
        put(walked, now)
        for stage in driver.stages:
            if i == 0 or any(t in walked.dirty for t in stage.inputs):
                dirty = min(
                    (walked.dirty[t] for t in stage.inputs if t in walked.dirty), default=None
                )
                driver.step(walked, stage, now, dirty, full=i == 0)
        full = driver.lake(synthetic_raw)
        put(full, now)
        for stage in driver.stages:
            driver.step(full, stage, now, None)
        for table in TABLES:
            key = contract(table).key
            assert same_rows(walked.read(table), full.read(table), key, f"{now}: {table}") > 0
    made = walked.read("clean.fundamentals")
    assert set(made["source"]) == {"other"}
    assert made["instrument_id"].n_unique() == 5
    assert made["known_at"].max() <= FETCHES[-1]
