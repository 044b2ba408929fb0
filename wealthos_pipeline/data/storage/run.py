"""A writer's session: lock, check, recover, plan, publish.

A run that died left tables that no manifest names. The next session rolls them back to the last
manifest before it starts; raw tables keep what was fetched, because raw rows are never edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from wealthos_pipeline.core.errors import ConfigError, StorageError
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage import migrations
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.lock import lock
from wealthos_pipeline.data.storage.manifest import RUNS, Consumed, Manifest
from wealthos_pipeline.utils.code import code_version, lock_hash
from wealthos_pipeline.utils.config import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage has to do.

    clean: nothing it depends on has changed; its tables stand.
    full: everything is to be computed; ``dirty_from`` is then None.
    dirty_from: first date that may differ.
    inputs, definition: what the stage consumes, for ``Run.done``.
    """

    stage: str
    clean: bool
    full: bool
    dirty_from: date | None
    inputs: Mapping[str, int | None]
    definition: str


class Run:
    """One run. Made by ``Run.open``; complete with ``publish``, or it never happened.

    previous: the last complete run, None on the first.
    recovered: tables that were rolled back because a run before this one did not end.
    """

    def __init__(
        self,
        lake: Lake,
        settings: Settings,
        *,
        now: datetime,
        run_id: str,
        previous: Manifest | None,
        recovered: Sequence[str] = (),
    ) -> None:
        self.lake = lake
        self.settings = settings
        self.now = now
        self.run_id = run_id
        self.previous = previous
        self.recovered = tuple(recovered)
        self._consumed: dict[str, Consumed] = dict(previous.consumed) if previous else {}

    @classmethod
    @contextmanager
    def open(
        cls, lake: Lake, settings: Settings, *, now: datetime, run_id: str | None = None
    ) -> Iterator[Run]:
        """Take the lock, refuse a lake of another layout, undo what an unfinished run wrote.

        now: aware instant; also names the run if ``run_id`` is not given.
        Raises LockedError, NewerLakeError, StorageError; ConfigError when the clock's settings are
        not those that the root was begun with.
        """
        if now.tzinfo is None:
            raise StorageError(f"now={now} has no time zone; pass an aware instant")
        now = now.astimezone(UTC)
        name = run_id or f"{now:%Y%m%dT%H%M%S}Z"
        with lock(lake.root, name):
            migrations.check(lake.root)
            taken = set(lake.read(RUNS, columns=["run_id"])["run_id"].to_list())
            if run_id is not None and run_id in taken:
                raise StorageError(f"run {run_id!r} exists already; give the new run another name")
            unique, n = name, 2
            while unique in taken:
                unique, n = f"{name}-{n}", n + 1
            previous = manifests.last_or_none(lake)
            _same_clock(settings, previous)
            recovered = recover(lake, previous)
            yield cls(
                lake, settings, now=now, run_id=unique, previous=previous, recovered=recovered
            )

    def plan(self, stage: str, *, inputs: Sequence[str], definition: str = "") -> Plan:
        """Compare the inputs and the definition with what ``stage`` consumed in the last run."""
        versions = {table: self.lake.version(table) for table in inputs}
        before = self.previous.consumed.get(stage) if self.previous else None
        if before is None or before.definition != definition or set(before.inputs) != set(versions):
            return Plan(stage, False, True, None, versions, definition)
        dirty = [self.lake.dirty_from(table, before.inputs[table]) for table in versions]
        first = min((d for d in dirty if d is not None), default=None)
        if first is None:
            return Plan(stage, True, False, None, versions, definition)
        if first == date.min:
            return Plan(stage, False, True, None, versions, definition)
        return Plan(stage, False, False, first, versions, definition)

    @property
    def redefined(self) -> bool:
        """Whether a stage that is done was made by other code or settings than in the last run."""
        before = dict(self.previous.consumed) if self.previous else {}
        return any(
            made.definition != before[stage].definition
            for stage, made in self._consumed.items()
            if stage in before
        )

    def done(self, plan: Plan) -> None:
        """The stage has consumed what ``plan`` says."""
        self._consumed[plan.stage] = Consumed(dict(plan.inputs), plan.definition)

    def publish(self, *, as_of: date, source: str, finished_at: datetime | None = None) -> Manifest:
        """Append the run's row to ``meta.runs``: from here on the run is what readers see.

        Tables that nothing declares any more (a family of factors whose file is gone) are not of the
        run, and what was consumed for them is forgotten; earlier runs still have them.

        finished_at: aware instant; the run's ``now`` if not given. It is moved behind the previous
        run's, so that the order of runs never depends on a clock that was set or stood still.
        """
        lake = self.lake
        finished = (finished_at or self.now).astimezone(UTC)
        if self.previous:
            finished = max(finished, self.previous.finished_at + timedelta(microseconds=1))
        tables = {
            name: version
            for name in lake.tables()
            if name != RUNS and lake.declares(name) and (version := lake.version(name)) is not None
        }
        manifest = Manifest(
            run_id=self.run_id,
            started_at=self.now,
            finished_at=finished,
            as_of=as_of,
            source=source,
            tables=tables,
            consumed={k: c for k, c in self._consumed.items() if "." not in k or k in tables},
            code_version=code_version(),
            config_hash=self.settings.config_hash,
            config=self.settings.public(),
            lock_hash=lock_hash(),
            lake_version=migrations.LAKE_VERSION,
        )
        lake.flush()
        lake.append(RUNS, manifest.row())
        lake.flush()
        return manifest


def _same_clock(settings: Settings, previous: Manifest | None) -> None:
    """What was known when is stamped once; a root cannot change the rule half way."""
    if previous is None:
        return
    now = settings.public()
    for part, name in (("source", "exchange"), ("time", "known_lag_minutes")):
        before = previous.config.get(part, {}).get(name, now[part][name])
        if before != now[part][name]:
            raise ConfigError(
                f"{part}.{name} is {now[part][name]}, but this root was begun with {before}, and its "
                "rows are stamped by that. Set it back, or choose a new root with --root."
            )


def recover(lake: Lake, previous: Manifest | None) -> list[str]:
    """Roll every table but raw ones and ``meta.runs`` back to ``previous``; what changed."""
    versions: dict[str, int | None] = {
        name: previous.tables.get(name) if previous else None
        for name in lake.tables()
        if name != RUNS and not name.startswith("raw.")
    }
    return lake.restore(versions)
