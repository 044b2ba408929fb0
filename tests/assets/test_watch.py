"""Three checks a factor family: what Dagster and ``meta.checks`` are told, and what stands when idle."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets._shared.watch import FactorWatch
from wealthos_pipeline.core.data import Column, wide_contract
from wealthos_pipeline.core.data import contract as declared
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.factors.health import CHECKS

LAST = date(2019, 6, 28)
FAMILY = wide_contract(
    "factors.equity_watched",
    "Watched.",
    [Column(n, "f32", n, nullable=True) for n in ("good", "bad")],
)


def values(calendar: TradingCalendar) -> pl.DataFrame:
    """Two steady factors of 60 names; ``bad`` has its sign turned on the last date."""
    days = calendar.sessions(calendar.offset(LAST, -80), LAST)
    rng = np.random.default_rng(5)
    level = rng.normal(size=60)
    parts = []
    for day in days:
        level = level + 0.02 * rng.normal(size=60)
        sign = -1.0 if day == LAST else 1.0
        ids = [f"n{i:02}" for i in range(60)]
        parts.append(
            pl.DataFrame({"date": day, "instrument_id": ids, "good": level, "bad": sign * level})
        )
    return FAMILY.conform(pl.concat(parts).with_columns(pl.col("good", "bad").cast(pl.Float32)))


@pytest.fixture
def work(tmp_path: Path, calendar: TradingCalendar) -> Any:
    """A stage's work on the last date, after its rows were written."""
    lake = Lake(tmp_path, calendar=calendar)
    lake.register(FAMILY)
    lake.replace(FAMILY.name, values(calendar))
    ic = pl.DataFrame(
        {
            "factor": ["good", "good"], "universe": ["members"] * 2, "horizon": [20, 20],
            "date": [date(2019, 3, 1), date(2019, 4, 1)], "n": [60, 60], "rank_ic": [0.02, 0.04],
            "known_at": [datetime(2019, 5, 31, tzinfo=UTC)] * 2,
        }
    )  # fmt: skip
    performance = declared("factors.performance")
    lake.replace(performance.name, performance.conform(ic))
    session = SimpleNamespace(
        lake=lake, calendar=calendar, run=SimpleNamespace(run_id="r"), checks=[], verdicts={},
        now=datetime(2019, 6, 29, tzinfo=UTC),
    )  # fmt: skip
    return SimpleNamespace(session=session, start=LAST)


def test_a_flip_warns_and_is_kept_by_factor(work: Any) -> None:
    watch = FactorWatch()
    results = {r.check_name: r for r in watch.results(work, FAMILY, FAMILY.empty())}
    assert set(results) == set(CHECKS) == {s.name for s in watch.specs(FAMILY)}
    assert {n for n, r in results.items() if not r.passed} == {"sign_flip"}
    assert results["sign_flip"].severity == dg.AssetCheckSeverity.WARN
    assert "rank correlation -1.00" in str(results["sign_flip"].metadata["bad"].value)
    (rows,) = work.session.checks
    kept = {(r["check"], r["column"]): r["success"] for r in rows.to_dicts()}
    assert kept == {("coverage", ""): True, ("distribution", ""): True, ("sign_flip", "bad"): False}
    assert rows.schema == declared("meta.checks").schema()


def test_the_ui_shows_coverage_and_rank_ic_by_factor(work: Any) -> None:
    told = FactorWatch().metadata(work, FAMILY, FAMILY.empty())["health by factor"].value
    good, bad = (
        next(x for x in told.splitlines() if x.startswith(f"| {n}")) for n in ("good", "bad")
    )
    assert "| 2019-06-28 | 100% | 100% |" in good
    assert "+0.030 over 2 months" in good
    assert "not known yet" in bad


def test_an_idle_family_says_what_it_said_last(work: Any) -> None:
    work.session.verdicts = {(FAMILY.name, "sign_flip", "bad"): False}
    results = {r.check_name: r.passed for r in FactorWatch().idle(work.session, FAMILY)}
    assert results == {"coverage": True, "distribution": True, "sign_flip": False}


def test_an_empty_family_has_nothing_to_find(tmp_path: Path, calendar, work: Any) -> None:
    lake = Lake(tmp_path / "empty", calendar=calendar)
    lake.register(FAMILY)
    lake.replace(FAMILY.name, FAMILY.empty())
    work.session.lake = lake
    assert all(r.passed for r in FactorWatch().results(work, FAMILY, FAMILY.empty()))
