"""Resources: the settings of a run, and the session that holds its lock and its lake."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from wealthos_pipeline.utils.config import Settings, load_settings
from wealthos_pipeline.utils.logging import logged

if TYPE_CHECKING:
    from wealthos_pipeline.core.mandate import Mandate
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.sources import Source
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.data.storage.manifest import Manifest
    from wealthos_pipeline.data.storage.run import Run
    from wealthos_pipeline.factors import Library
    from wealthos_pipeline.ml.policy import Policy


@dataclass
class Session:
    """What every stage of one run shares. Lives as long as the run; holds the root's lock."""

    settings: Settings
    run: Run
    lake: Lake
    calendar: TradingCalendar
    library: Library
    now: datetime
    full: bool = False
    from_date: date | None = None
    checks: list[pl.DataFrame] = field(default_factory=list)
    manifest: Manifest | None = None
    failed_factors: dict[str, str] = field(default_factory=dict)
    opened: float = field(default_factory=time.monotonic)

    @property
    def keeps_fits(self) -> bool:
        """Whether fits stand when rows that they were trained on are restated: unless everything is
        computed again, or was made by other code or definitions than in the run before."""
        return not (self.full or self.from_date is not None or self.run.redefined)

    @property
    def clock(self) -> datetime:
        """The run's ``now`` plus the time that has passed since it began."""
        return self.now + timedelta(seconds=time.monotonic() - self.opened)

    @cached_property
    def verdicts(self) -> dict[tuple[str, str, str], bool]:
        """What every check said in the run before: (table, check, column) → passed."""
        previous = self.run.previous
        rows = self.lake.read("meta.checks").filter(
            pl.col("run_id") == (previous.run_id if previous else "")
        )
        return {
            (t, c, n): passed
            for t, c, n, passed in rows.select("table", "check", "column", "success").iter_rows()
        }

    @cached_property
    def live(self) -> bool:
        """Whether the source should have every session (see ``SourceInfo.live``)."""
        return self.source.info().live

    @cached_property
    def source(self) -> Source:
        from wealthos_pipeline.data import sources

        return sources.get(self.settings)


class SessionResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the root for writing: takes the lock, recovers from a crash, registers contracts.

    overrides_json: settings on top of the usual layers, as nested JSON. now: ISO instant that
    replaces the clock. full: recompute everything. from_date: recompute from that session on.
    """

    overrides_json: str = "{}"
    now: str = ""
    full: bool = False
    from_date: str = ""

    _session: Session | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[SessionResource]:
        now = datetime.fromisoformat(self.now) if self.now else datetime.now(UTC)
        with open_session(
            load_settings(**json.loads(self.overrides_json)),
            now=now if now.tzinfo else now.replace(tzinfo=UTC),
            run_id=context.run.run_id if context.run else None,
            full=self.full,
            from_date=date.fromisoformat(self.from_date) if self.from_date else None,
        ) as session:
            self._session = session
            yield self

    @property
    def current(self) -> Session:
        """The open session."""
        if self._session is None:
            raise RuntimeError("the session is open only while a run executes")
        return self._session


@contextmanager
def open_session(
    settings: Settings, *, now: datetime, run_id: str | None = None, **more: Any
) -> Iterator[Session]:
    """A writer's session under ``settings.root``; LockedError if another run holds it."""
    from wealthos_pipeline import factors
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.data.storage.run import Run
    from wealthos_pipeline.utils.threads import limit_threads

    limit_threads(settings.cores)
    calendar = TradingCalendar(settings.source.exchange, settings.time.known_lag_minutes)
    lake = Lake(settings.root, block_mb=settings.machine.block_mb, calendar=calendar)
    library = factors.load(settings.factors.sets, settings.factors.own, strict=False)
    lake.register(*(f.contract for f in library.families()), *factors.scores_contracts(library))
    written(settings)
    with (
        Run.open(lake, settings, now=now, run_id=run_id) as run,
        logged(Path(settings.root) / "logs", run.run_id),
    ):
        yield Session(settings, run, lake, calendar, library, now, **more)


def written(settings: Settings) -> None:
    """Read what people wrote before anything is computed: mandates, models, the promotion policy, and whether
    they fit together. ConfigError lists the faults of all of them."""
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.ml import policy, serving, specs
    from wealthos_pipeline.portfolio import mandates
    from wealthos_pipeline.utils.config import inputs_dir

    faults: list[str] = []
    asked: Sequence[Mandate] = ()
    rules: Policy | None = None
    with _noting(faults):
        asked = mandates.load(settings.portfolio.mandates or inputs_dir() / "mandates")
    with _noting(faults):
        models = sorted(specs.available(settings.models))
        with _noting(faults):
            specs.load(settings.models)
        rules = policy.load(settings.models, models)
    if rules is not None:
        followed = serving.slots([m.model for m in asked])
        lost = [m for m, slot in followed.items() if slot not in rules.slots]
        if lost:
            faults.append(
                f"mandates follow {', '.join(lost)}, but the promotion policy has only the slots "
                f"{', '.join(rules.slots)}; correct `model` in the mandate, or add the slot"
            )
    if faults:
        raise ConfigError("\n".join(faults))


@contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    from wealthos_pipeline.core.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        faults.append(str(error))
