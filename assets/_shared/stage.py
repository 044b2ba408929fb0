"""The one way in which a stage becomes Dagster assets.

A stage names the tables that it makes and those that it reads, and is a function from a ``Work``
(what to read, from when on) to frames. The rest is the same for every stage and lives here: find
what is missing, read no more than that needs, validate, write, record what was consumed, describe.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg
import polars as pl

from assets._shared import checks
from assets._shared.describe import asset_key, preview, schema, sparkline
from assets._shared.resources import Session, SessionResource
from assets._shared.work import Work
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.errors import CheckError
from wealthos_pipeline.utils.code import room_hash
from wealthos_pipeline.utils.config import Settings
from wealthos_pipeline.utils.logging import get_logger

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Write

FRESH = dg.FreshnessPolicy.cron(
    deadline_cron="30 19 * * 1-5",
    lower_bound_delta=timedelta(hours=3, minutes=30),
    timezone="America/New_York",
)
"""Made between the close and 19:30 New York time on weekdays."""

CONTEXT = 5
"""Sessions before the first new one that checks of growth and completeness compare with."""

_LOG = get_logger("stage")


class Watch(Protocol):
    """What a stage's tables are looked at for when they are written; see ``assets._shared.watch``."""

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]: ...

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """Results for a table that got no new rows."""
        ...

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        """Results for the rows just written (dates ≥ ``work.start``)."""
        ...

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        """What the UI shows of the table, beside what every table shows."""
        ...


Frames = pl.DataFrame | Iterator[pl.DataFrame]
"""What a stage gives for a table: its rows, or blocks of them in order of date (not for checked tables)."""

Compute = Callable[[Work], Mapping[str, Frames]]
Due = Callable[[Session, date | None], date | None]


@dataclass(frozen=True)
class Stage:
    """A stage as declared; ``assets()`` gives Dagster's view of it."""

    name: str
    group: str
    contracts: tuple[TableContract, ...]
    inputs: tuple[str, ...]
    compute: Compute
    definition: Callable[[Settings], Any]
    rooms: tuple[str, ...]
    reach: Callable[[Settings], int]
    kinds: frozenset[str]
    owner: str
    checked: tuple[str, ...]
    plots: Mapping[str, str]
    latest_only: Mapping[str, tuple[str, str] | None]
    always: bool
    snap: str
    whole: bool
    due: Due | None
    watch: Watch | None

    def execute(self, session: Session) -> Iterator[Any]:
        """Run the stage in ``session``; yields Dagster results."""
        started = time.perf_counter()
        try:
            yield from self._execute(session)
        except Exception as error:
            spent = time.perf_counter() - started
            note = str(error).splitlines()[0] if str(error) else type(error).__name__
            _LOG.error("failed", extra={"stage": self.name, "seconds": spent, "note": note})
            raise

    def _execute(self, session: Session) -> Iterator[Any]:
        from wealthos_pipeline.utils import validation

        started = time.perf_counter()
        extra: dict[str, Any] = {"stage": self.name}
        _LOG.info("started", extra=extra)
        body = [self.definition(session.settings), room_hash(*self.rooms)]
        plan = session.run.plan(
            self.name, inputs=self.inputs, definition=json.dumps(body, default=str, sort_keys=True)
        )
        forced = session.full or session.from_date is not None
        if plan.clean and not forced and not self.always and not self._is_due(session):
            session.run.done(plan)
            _LOG.info("unchanged", extra={**extra, "seconds": time.perf_counter() - started})
            for contract in self.contracts:
                yield from self._idle_checks(session, contract)
                yield dg.MaterializeResult(
                    asset_key(contract.name),
                    metadata={"state": "unchanged", **self._counts(session, contract.name)},
                )
            return
        work = Work(session, self._start(session, plan), same_code=self._same_code(session, body))
        frames = self._conformed(self.compute(work))
        for table in self.checked:
            frame = frames.get(table)
            if isinstance(frame, pl.DataFrame):
                contract = session.lake.contract(table)
                if plan.clean and work.read(table, back=0).equals(frame):
                    yield from self._idle_checks(session, contract)
                    continue
                before = work.start and session.calendar.offset(work.start, -1)
                judged = validation.validate(
                    contract,
                    frame,
                    run_id=session.run.run_id,
                    now=session.now,
                    context=work.read(table, back=CONTEXT, end=before) if before else None,
                    beside={t: session.lake.read(t) for t in validation.beside(contract)},
                    highest={"members_have_bars": session.settings.checks.members_missing},
                )
                session.checks.append(judged)
                yield from checks.results(contract, judged)
                blocking = validation.blocking_failures(judged)
                if blocking.height:
                    raise CheckError(
                        f"{table}: {blocking.height} blocking checks failed.\n"
                        f"{validation.in_words(blocking)}\n"
                        "Nothing was written; the last complete run stays published."
                    )
        rows = 0
        results = []
        for contract in self.contracts:
            frame = frames.get(contract.name)
            if frame is None:
                yield from self._idle_checks(session, contract)
                results.append(
                    dg.MaterializeResult(
                        asset_key(contract.name), metadata={"state": "nothing to write"}
                    )
                )
                continue
            write = self._write(session, contract, frame, work)
            rows += write.rows
            shown = frame if isinstance(frame, pl.DataFrame) else work.newest(contract.name)
            if self.watch is not None:
                yield from self.watch.results(work, contract, shown)
            results.append(
                dg.MaterializeResult(
                    asset_key(contract.name),
                    metadata=self._described(session, contract, shown, write, work),
                )
            )
        session.run.done(plan)
        note = "everything" if work.start is None else f"from {work.start}"
        note = "; ".join([note, *(said.split("\n")[0] for said in work.said)])
        _LOG.info(
            "finished",
            extra={**extra, "rows": rows, "seconds": time.perf_counter() - started, "note": note},
        )
        yield from results

    def _idle_checks(
        self, session: Session, contract: TableContract
    ) -> Iterator[dg.AssetCheckResult]:
        """Checks of a table that got no new rows: what they said last still stands."""
        if contract.name in self.checked:
            yield from checks.idle(contract, session.verdicts)
        if self.watch is not None:
            yield from self.watch.idle(session, contract)

    def _conformed(self, frames: Mapping[str, Frames]) -> dict[str, Frames]:
        contracts = {c.name: c for c in self.contracts}
        return {
            name: contracts[name].conform(made) if isinstance(made, pl.DataFrame) else made
            for name, made in frames.items()
        }

    def _start(self, session: Session, plan: Any) -> date | None:
        if plan.full or session.full or self.whole:
            return (
                None  # what was made by other code or settings does not stand before a date either
            )
        known = (plan.dirty_from, session.from_date)
        dirty = min((d for d in known if d is not None), default=None)
        due = None if self.due is None or dirty == date.min else self.due(session, dirty)
        dirty = min((d for d in (dirty, due) if d is not None), default=None)
        if dirty is None or dirty == date.min:
            return None
        start = session.calendar.offset(dirty, -self.reach(session.settings))
        if self.snap == "month":
            first = self._unsettled(session, start).replace(day=1)
            start = (
                first if session.calendar.is_session(first) else session.calendar.offset(first, 1)
            )
        return start

    def _same_code(self, session: Session, body: list[Any]) -> bool:
        """Whether the last run made the tables by this code, whatever the settings; not in a full run."""
        before = session.run.previous and session.run.previous.consumed.get(self.name)
        if not before or session.full or session.from_date is not None:
            return False
        return bool(json.loads(before.definition)[-1] == body[-1])

    def _is_due(self, session: Session) -> bool:
        """Whether rows have to be made again although no input changed: what the passing of time alone
        tells is looked for between this run and the one before, so a run must not skip it."""
        return self.due is not None and self.due(session, None) is not None

    def _unsettled(self, session: Session, start: date) -> date:
        """``start``, or the last stored date before it where that is no last session of its month: the
        rows of what was the latest session then."""
        table, calendar = self.contracts[0], session.calendar
        day = table.date_column
        if day is None:
            return start
        older = session.lake.scan(table.name, end=calendar.offset(start, -1))
        last = older.select(pl.col(day).max()).collect().item()
        return start if last is None or calendar.offset(last, 1).month != last.month else last

    def _write(self, session: Session, contract: TableContract, frame: Frames, work: Work) -> Write:
        lake, start = session.lake, work.start
        if not isinstance(frame, pl.DataFrame):
            return lake.replace(contract.name, frame, start=start)
        if contract.append_only:
            return lake.append(contract.name, frame)
        if contract.restatable:
            earlier = work.hindsight.get(contract.name)
            return lake.restate(contract.name, frame, now=session.now, start=start, earlier=earlier)
        if contract.name in self.latest_only:
            frame, start = self._without_stale(session, contract, frame, start)
        return lake.replace(contract.name, frame, start=start if contract.date_column else None)

    def _without_stale(
        self, session: Session, contract: TableContract, frame: pl.DataFrame, start: date | None
    ) -> tuple[pl.DataFrame, date | None]:
        """Rows of a kind that exist for the latest date only: drop those of earlier dates."""
        kind = self.latest_only[contract.name]
        day = contract.date_column
        if kind is None or start is None or day is None:
            return frame, None
        column, value = kind
        old = session.lake.scan(contract.name, end=session.calendar.offset(start, -1))
        stale = old.filter(pl.col(column) == value).select(pl.col(day).min()).collect().item()
        if stale is None:
            return frame, start
        kept = session.lake.read(contract.name, start=stale, end=session.calendar.offset(start, -1))
        kept = kept.filter(pl.col(column) != value)
        return contract.conform(pl.concat([kept, frame])), stale

    def _counts(self, session: Session, table: str) -> dict[str, Any]:
        rows = session.lake.scan(table).select(pl.len()).collect().item()
        return {"dagster/row_count": rows}

    def _described(
        self,
        session: Session,
        contract: TableContract,
        frame: pl.DataFrame,
        write: Write,
        work: Work,
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "state": "changed" if write.changed else "same content",
            "computed": "everything" if work.start is None else f"from {work.start}",
            "rows computed": write.rows,
            "lake version": write.version,
            "content hash": write.content_hash,
            **self._counts(session, contract.name),
            **work.notes.get(contract.name, {}),
        }
        if self.watch is not None:
            body |= self.watch.metadata(work, contract, frame)
        if frame.height:
            body["last rows"] = dg.MetadataValue.md(preview(frame))
        column = self.plots.get(contract.name)
        if column and frame.height and contract.date_column:
            by_date = (
                frame.group_by(contract.date_column)
                .agg(pl.col(column).mean())
                .sort(contract.date_column)
            )
            days = by_date[contract.date_column]
            line = sparkline(by_date[column].cast(pl.Float64).to_list())
            body[f"plot of {column}"] = dg.MetadataValue.md(f"`{line}`\n\n{days[0]} … {days[-1]}")
        return body

    def asset(self) -> dg.AssetsDefinition:
        """The Dagster definition: one asset a table."""
        doc = (self.compute.__doc__ or "").strip()
        own = {c.name for c in self.contracts}
        deps = [asset_key(t) for t in self.inputs if t not in own]

        @dg.multi_asset(
            name=self.name.replace(".", "_"),
            specs=[
                dg.AssetSpec(
                    asset_key(c.name),
                    deps=deps,
                    description=f"{c.description}\n\n{doc}",
                    group_name=self.group,
                    kinds=set(self.kinds),
                    owners=[self.owner],
                    metadata={"dagster/column_schema": schema(c), "dagster/table_name": c.name},
                    freshness_policy=FRESH,
                )
                for c in self.contracts
            ],
            check_specs=[
                spec for c in self.contracts if c.name in self.checked for spec in checks.specs(c)
            ]
            + [spec for c in self.contracts if self.watch for spec in self.watch.specs(c)],
        )
        def run_stage(session: SessionResource) -> Iterator[Any]:
            yield from self.execute(session.current)

        return run_stage


def stage(
    *tables: TableContract,
    group: str,
    inputs: Sequence[str] = (),
    definition: Callable[[Settings], Any] = lambda settings: None,
    rooms: Sequence[str] = (),
    reach: Callable[[Settings], int] = lambda settings: 0,
    kinds: Sequence[str] = ("polars", "deltalake"),
    owner: str = "team:research",
    checked: Sequence[str] = (),
    plots: Mapping[str, str] | None = None,
    latest_only: Mapping[str, tuple[str, str] | None] | None = None,
    always: bool = False,
    snap: str = "",
    whole: bool = False,
    due: Due | None = None,
    watch: Watch | None = None,
    name: str | None = None,
) -> Callable[[Compute], Stage]:
    """Declare a stage.

    inputs: tables that it reads. definition: what of the settings changes its numbers.
    rooms: parts of the library that make its numbers (what they import is followed). reach: sessions before the first
    dirty date that can still change. checked: tables validated before they are written.
    plots: table → column averaged by date for a sparkline. latest_only: table → (column, value)
    whose rows exist for the latest date only (None: the whole table). snap: the first date to
    compute is moved back to the first session of its month. always: run even if no input changed.
    whole: the tables are small and any row of the inputs can change any of theirs: never in part.
    due: gives, for the first date that differs in an input, the first date of a row that has to be
    made again for another reason, such as the passing of time. watch: further asset checks and
    metadata of the tables.
    """

    def declare(compute: Compute) -> Stage:
        return Stage(
            name or compute.__name__,
            group,
            tables,
            tuple(inputs),
            compute,
            definition,
            ("core/data.py", "core/factor.py", "core/portfolio.py", *rooms),
            reach,
            frozenset(kinds),
            owner,
            tuple(checked),
            plots or {},
            latest_only or {},
            always,
            snap,
            whole,
            due,
            watch,
        )

    return declare
