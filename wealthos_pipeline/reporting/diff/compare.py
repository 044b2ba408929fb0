"""Two runs side by side: the facts that differ, and every issued number that moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from wealthos_pipeline.core.errors import ConfigError, WealthOSError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.manifest import Manifest, Snapshot, history
from wealthos_pipeline.factors import Library
from wealthos_pipeline.reporting.diff import predictions, targets
from wealthos_pipeline.reporting.diff.facts import Facts, Fit, collect
from wealthos_pipeline.reporting.diff.moves import Move, Numbers, frame, split, unexplained
from wealthos_pipeline.reporting.diff.predictions import Context, Walk
from wealthos_pipeline.utils.config import Settings


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from run ``a`` to run ``b``. ``notes`` say what could not be told apart."""

    a: Manifest
    b: Manifest
    facts: Facts
    moves: tuple[Move, ...]
    notes: tuple[str, ...]

    def frame(self) -> pl.DataFrame:
        """The moves as rows, see ``moves.frame``."""
        return frame(self.moves)


def compare(
    lake: Lake,
    a: Manifest,
    b: Manifest,
    *,
    settings: Settings,
    calendar: TradingCalendar,
    library: Library,
    mandates: Sequence[Mandate] = (),
) -> Diff:
    """Explain the change from run ``a`` to the later run ``b``.

    settings, library, mandates: those of now; where code or settings changed after ``b``, the work
    of that lands in "code or configuration" of the explanation too, and a note says so.
    ConfigError if ``b`` is the earlier one.
    """
    if (b.finished_at, b.run_id) < (a.finished_at, a.run_id):
        raise ConfigError(f"run {b.run_id} was before run {a.run_id}; name the earlier one first.")
    first, second = Snapshot(lake, a), Snapshot(lake, b)
    facts = collect(first, second)
    context = Context(calendar, library, settings.models, settings.factors)
    notes: list[str] = []
    record = lake.read("record.issued")
    order = [m.run_id for m in history(lake)]
    moves: list[Move] = []
    walked = _predictions(first, second, facts, context, record, order, moves, notes)
    _targets(first, second, facts, context, settings, mandates, walked, record, order, moves, notes)
    from wealthos_pipeline.utils.code import code_version

    if code_version() != b.code_version:
        notes.append(
            f"run {b.run_id} was made by code {b.code_version}, this is {code_version()}: numbers "
            "are computed again with the code of now"
        )
    return Diff(a, b, facts, tuple(moves), tuple(notes))


def issued(
    record: pl.DataFrame, order: Sequence[str], run_id: str, kind: str, name: str
) -> dict[str, dict[str, float]]:
    """Owner → instrument → number as it stood after ``run_id``.

    A run in which nothing changed issues nothing again; the issue before it stands.
    """
    upto = order[: order.index(run_id) + 1] if run_id in order else [run_id]
    rows = record.filter((pl.col("kind") == kind) & (pl.col("name") == name))
    have = set(rows["run_id"].unique())
    last = next((r for r in reversed(upto) if r in have), None)
    out: dict[str, dict[str, float]] = {}
    for owner, instrument, value in (
        rows.filter(pl.col("run_id") == last)
        .drop_nulls("value")
        .select("mandate", "instrument_id", "value")
        .iter_rows()
    ):
        out.setdefault(owner, {})[instrument] = value
    return out


def _predictions(
    a: Snapshot,
    b: Snapshot,
    facts: Facts,
    context: Context,
    record: pl.DataFrame,
    order: Sequence[str],
    moves: list[Move],
    notes: list[str],
) -> dict[str, Walk]:
    before = issued(record, order, a.manifest.run_id, "prediction", "z")
    after = issued(record, order, b.manifest.run_id, "prediction", "z")
    walked: dict[str, Walk] = {}
    fits = {f.model: f for f in facts.fits}
    inputs = None
    for model in sorted({*before, *after}):
        old, new = before.get(model, {}), after.get(model, {})
        fit = fits.get(model, Fit(model, None, None))
        fit_a = predictions.fit_of(a, fit.before)
        fit_b = predictions.fit_of(b, fit.after)
        if fit_a is None or fit_b is None:
            which = a.manifest.run_id if fit_a is None else b.manifest.run_id
            notes.append(f"{model}: run {which} has no live fit; its change is not explained")
            moves += unexplained("prediction", model, old, new)
            walked[model] = Walk.unknown(old, new)
            continue
        if inputs is None:
            inputs = predictions.prepare(a, b, facts, context)
        walk = predictions.walk(fit_a, fit_b, inputs, a, b, facts, context)
        walked[model] = walk
        moves += split("prediction", model, old, walk.start, walk.start_cause, walk.steps, new)
    return walked


def _targets(
    a: Snapshot,
    b: Snapshot,
    facts: Facts,
    context: Context,
    settings: Settings,
    mandates: Sequence[Mandate],
    models: dict[str, Walk],
    record: pl.DataFrame,
    order: Sequence[str],
    moves: list[Move],
    notes: list[str],
) -> None:
    before = issued(record, order, a.manifest.run_id, "target", "weight")
    after = issued(record, order, b.manifest.run_id, "target", "weight")
    owners = sorted({*before, *after})
    known = {m.name: m for m in mandates}
    walkable = [known[o] for o in owners if o in known and o in before and o in after]
    try:
        walks = targets.walks(walkable, a, b, facts, models, context, settings.portfolio)
    except WealthOSError as error:
        notes.append(f"targets could not be computed again: {error}")
        walks = {}
    for owner in owners:
        old, new = before.get(owner, {}), after.get(owner, {})
        walk = walks.get(owner)
        if walk is None:
            if owner not in known:
                notes.append(f"{owner}: the mandate is not written any more")
            elif owner not in before or owner not in after:
                notes.append(f"{owner}: only one of the runs has targets for it")
            moves += unexplained("target", owner, old, new)
            continue
        moves += _names(old, new, walk, owner)


def _names(old: Numbers, new: Numbers, walk: Walk, owner: str) -> list[Move]:
    return split("target", owner, old, walk.start, walk.start_cause, walk.steps, new)
