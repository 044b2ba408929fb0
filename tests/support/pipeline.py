"""The graph's own stages over tables in memory: from raw rows to targets, without Delta or Dagster runs.

It drives the functions that the assets run (``assets/``), with their own declarations of inputs and
reach, so what is proved here is what runs. Tampering with a table as a stage hands it over plants a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
from properties import Result
from synthetic import RawMarket

from wealthos_pipeline.core.data import TableContract, contract
from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import Settings, load_settings

RAW = ("raw.prices", "raw.series", "raw.instruments", "raw.membership")

Tamper = Callable[[pl.DataFrame, "MemoryLake", datetime], pl.DataFrame]
"""Frame of a table as made, the tables before it, the run's clock → the frame to store instead."""


@dataclass
class MemoryLake:
    """The reading side of ``Lake``, and replacing by date, over frames in memory."""

    calendar: TradingCalendar
    own: dict[str, TableContract] = field(default_factory=dict)
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    dirty: dict[str, date] = field(default_factory=dict)
    """Table → first date that its last writing changed; tables that did not change are not here."""

    def contract(self, table: str) -> TableContract:
        return self.own[table] if table in self.own else contract(table)

    def tables(self) -> list[str]:
        return sorted(self.frames)

    def version(self, table: str) -> int | None:
        return 0 if table in self.frames else None

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pl.DataFrame:
        terms = self.contract(table)
        frame = self.frames.get(table, terms.empty())
        if start is not None and terms.date_column:
            frame = frame.filter(pl.col(terms.date_column) >= start)
        if end is not None and terms.date_column:
            frame = frame.filter(pl.col(terms.date_column) <= end)
        return frame if columns is None else frame.select(columns)

    def scan(self, table: str, **more: Any) -> pl.LazyFrame:
        return self.read(table, **more).lazy()

    def store(self, table: str, frame: pl.DataFrame, start: date | None = None) -> None:
        """Rows from ``start`` on become exactly ``frame`` (None: the whole table)."""
        terms = self.contract(table)
        if start is not None and terms.date_column is not None and table in self.frames:
            if (early := frame.filter(pl.col(terms.date_column) < start)).height:
                raise ContractError(f"{table}: {early.height} rows lie before {start}")
            kept = self.frames[table].filter(pl.col(terms.date_column) < start)
            frame = pl.concat([kept, frame])
        before = self.read(table)
        after = self.frames[table] = terms.conform(frame)
        new, old = (a.join(b, on=a.columns, how="anti", nulls_equal=True)
                    for a, b in ((after, before), (before, after)))  # fmt: skip
        if new.height or old.height:
            day = terms.date_column
            dates = pl.concat([new[day], old[day]]).drop_nulls() if day else pl.Series([None])
            self.dirty[table] = dates.min() or date.min  # type: ignore[assignment]


def settings(mandates: Path | None = None, **more: Any) -> Settings:
    """Short windows, small models: enough to exercise everything on 900 sessions."""
    parts: dict[str, dict[str, Any]] = {
        "models": {"train_sessions": 400, "min_train_sessions": 200, "lightgbm_trees": 8},
        "portfolio": {"risk_sessions": 120, "risk_half_life": 60, "risk_factors": 4,
                      "var_sessions": 120, "ic_sessions": 250, "mandates": mandates},
        "factors": {"horizons": (5,)},
        "machine": {"threads": 1},
    }  # fmt: skip
    for name, part in more.items():
        parts[name] = {**parts.get(name, {}), **part}
    return load_settings(**parts)


def stages(library: Any) -> list[Any]:
    """Every stage that computes, in the order of the day; ingestion and publication left out."""
    from assets import (
        attribution,
        clean,
        factors,
        holdings,
        model_evaluation,
        model_search,
        models,
        monitor,
        performance,
        portfolio,
        risk,
        states,
    )

    return [
        *clean.STAGES,
        *factors.stages(library),
        *models.stages(library),
        *model_evaluation.stages(library),
        *model_search.stages(library),
        *risk.STAGES,
        *portfolio.stages(library),
        *holdings.computed(library),
        *performance.STAGES,
        *attribution.STAGES,
        *monitor.STAGES,
        *states.STAGES,
    ]


def needed(all_stages: Sequence[Any], targets: Sequence[str]) -> list[Any]:
    """The stages that ``targets`` depend on, themselves included, in order."""
    wanted = set(targets)
    chosen = []
    for stage in reversed(all_stages):
        if wanted & {c.name for c in stage.contracts}:
            chosen.append(stage)
            wanted |= set(stage.inputs)
    return chosen[::-1]


class Driver:
    """A pipeline (see ``properties.Pipeline``) made of the real stages.

    until: stop when these tables are made; None makes all. tamper: table → what is done to it.
    folder: own factors. keeps_fits: whether restated rows leave fits as they are and mark them; without,
    they are made again, and a day's update equals the full run in every table.
    """

    def __init__(
        self,
        config: Settings,
        calendar: TradingCalendar,
        *,
        until: Sequence[str] | None = None,
        tamper: Mapping[str, Tamper] | None = None,
        folder: Path | None = None,
        keeps_fits: bool = False,
    ) -> None:
        from wealthos_pipeline import factors

        self.settings = config
        self.calendar = calendar
        self.library = factors.load(config.factors.sets, folder or config.factors.own)
        self.keeps_fits = keeps_fits
        self.stages = stages(self.library)
        if until is not None:
            self.stages = needed(self.stages, until)
        self.tamper = dict(tamper or {})
        made = {c.name for s in self.stages for c in s.contracts}
        if missing := set(self.tamper) - made:
            raise ContractError(f"cannot tamper with {sorted(missing)}: no stage makes them")

    def __call__(self, raw: RawMarket, now: datetime) -> Result:
        lake = self.lake(raw)
        for stage in self.stages:
            self.step(lake, stage, now, None)
        return self.result(lake)

    def lake(self, raw: RawMarket) -> MemoryLake:
        """A lake that holds the raw rows and knows the factor tables."""
        from wealthos_pipeline import factors

        families = [f.contract for f in self.library.families()]
        own = {c.name: c for c in (*families, *factors.scores_contracts(self.library))}
        lake = MemoryLake(self.calendar, own)
        lake.frames |= {t: getattr(raw, t.removeprefix("raw.")) for t in RAW}
        return lake

    def advance(self, lake: MemoryLake, raw: RawMarket, now: datetime) -> Result:
        """A later run on ``lake``: each stage computes from the first date that its inputs changed."""
        lake.dirty = {}
        for table in RAW:
            lake.store(table, getattr(raw, table.removeprefix("raw.")))
        for stage in self.stages:
            dirty = [lake.dirty[t] for t in stage.inputs if t in lake.dirty]
            if dirty or stage.always:
                self.step(lake, stage, now, min(dirty) if dirty else None, full=False)
        return self.result(lake)

    def step(
        self, lake: MemoryLake, stage: Any, now: datetime, dirty: date | None, *, full: bool = True
    ) -> None:
        """Execute one stage as the graph would: its own start, its own way of writing."""
        from assets._shared.work import Work

        session = SimpleNamespace(
            settings=self.settings, lake=lake, calendar=self.calendar, library=self.library, now=now,
            run=SimpleNamespace(run_id="memory"), full=full, from_date=None, checks=[],
            live=True, failed_factors={}, keeps_fits=self.keeps_fits and not full,
        )  # fmt: skip
        start = stage._start(session, SimpleNamespace(full=full, dirty_from=dirty, clean=False))
        for table, made in stage._conformed(stage.compute(Work(session, start))).items():
            terms = lake.contract(table)
            whole = made if isinstance(made, pl.DataFrame) else pl.concat(list(made))
            rows, since = whole, start
            if table in stage.latest_only:
                rows, since = stage._without_stale(session, terms, whole, start)
            if table in self.tamper:
                rows = self.tamper[table](rows, lake, now)
            lake.store(table, rows, since if terms.date_column else None)

    def result(self, lake: MemoryLake) -> Result:
        made = [c.name for s in self.stages for c in s.contracts]
        return Result({t: lake.read(t) for t in made}, {t: lake.contract(t) for t in made})
