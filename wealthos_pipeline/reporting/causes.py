"""The morning's comparison: this run against the run before, every move split into its causes.

The report shows what ``wealthos diff previous last`` computes. A comparison that cannot be made says
why on the page; it never keeps the page from being made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.reporting.report import Causes, Explained
from wealthos_pipeline.reporting.words import NONE, count, day, short_run
from wealthos_pipeline.utils.config import Settings

if TYPE_CHECKING:
    from wealthos_pipeline.core.portfolio import Mandate
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.data.storage.manifest import Manifest, Snapshot
    from wealthos_pipeline.factors import Library
    from wealthos_pipeline.reporting.diff import Diff, Facts
    from wealthos_pipeline.reporting.diff.moves import Move

LOG = logging.getLogger(__name__)

MOST = 5
"""Names listed in one fact, moves kept of one owner."""

LEAST = {"target": 0.0005, "prediction": 0.005}
"""A smaller move is none on a page: 0.05 % of net asset value, 0.005 standard deviations."""


def explain(
    snapshot: Snapshot,
    *,
    settings: Settings,
    calendar: TradingCalendar,
    library: Library,
    mandates: Sequence[Mandate],
) -> Causes | None:
    """The causes of what changed since the manifest before that of ``snapshot``; None on a first run.

    Whatever goes wrong on the way is logged and stands in ``why``.
    """
    try:
        before = previous(snapshot)
        if before is None:
            return None
        now = snapshot.manifest
        against = f"the run before ({short_run(before.run_id)}, data as of {day(before.as_of)})"
        if same(before, now):
            fact = "Data, configuration and code are those of the run before: nothing could change."
            return Causes(against, facts=(fact,), same=True)
    except Exception as error:
        LOG.exception("the run before cannot be found")
        return Causes("the run before", why=_reason(error))
    try:
        from wealthos_pipeline.reporting.diff import compare

        found = compare(
            snapshot.lake,
            before,
            now,
            settings=settings,
            calendar=calendar,
            library=library,
            mandates=mandates,
        )
        instruments = snapshot.read("clean.instruments", columns=["instrument_id", "symbol"])
        return told(found, against, dict(instruments.iter_rows()))
    except Exception as error:
        LOG.exception("the comparison with run %s failed", before.run_id)
        return Causes(against, why=_reason(error))


def previous(snapshot: Snapshot) -> Manifest | None:
    """The last manifest of an earlier session: what the reader saw before, however often today's
    run was repeated. Where there is none, the manifest just before."""
    from wealthos_pipeline.data.storage.manifest import history

    earlier: list[Manifest] = []
    for manifest in history(snapshot.lake):
        if manifest.run_id == snapshot.manifest.run_id:
            break
        earlier.append(manifest)
    days_before = [m for m in earlier if m.as_of < snapshot.manifest.as_of]
    return next(iter(reversed(days_before or earlier)), None)


def same(a: Manifest, b: Manifest) -> bool:
    """Whether nothing that decides a number differs: tables, configuration, code, packages."""

    def tables(m: Manifest) -> dict[str, int]:
        return {t: v for t, v in m.tables.items() if not t.startswith(("meta.", "record."))}

    return (
        tables(a) == tables(b)
        and a.config_hash == b.config_hash
        and a.code_version == b.code_version
        and a.lock_hash == b.lock_hash
    )


def told(found: Diff, against: str, symbols: dict[str, str]) -> Causes:
    """A comparison as a page tells it."""
    moves: list[Explained] = []
    turnover: dict[str, float] = {}
    residual: dict[str, float] = {}
    owners = sorted({(m.kind, m.owner) for m in found.moves})
    for kind, owner in owners:
        mine = [m for m in found.moves if (m.kind, m.owner) == (kind, owner)]
        if kind == "target":
            turnover[owner] = sum(abs(m.change) for m in mine) / 2
        residual[kind] = max([residual.get(kind, 0.0), *(abs(m.residual) for m in mine)])
        large = [m for m in mine if abs(m.change) >= LEAST[kind]]
        large.sort(key=lambda m: (-abs(m.change), m.instrument_id))
        moves += [_explained(m) for m in large[:MOST]]
    return Causes(
        against,
        facts=facts(found, symbols),
        moves=tuple(moves),
        turnover=turnover,
        residual=residual,
        notes=found.notes,
    )


def _explained(m: Move) -> Explained:
    return Explained(
        m.kind,
        m.owner,
        m.instrument_id,
        m.before or 0.0,
        m.after or 0.0,
        tuple(m.parts.items()),
        m.residual,
    )


def facts(found: Diff, symbols: dict[str, str]) -> tuple[str, ...]:
    """One line each: bars, configuration, code, models, holdings."""
    f, out = found.facts, []
    out.append(_bars(found, symbols))
    if found.a.source != found.b.source:
        out.append(f"Source: {found.a.source} → {found.b.source}.")
    other = [t for t in f.past_changed if t != "clean.prices"]
    if other:
        out.append(f"Changed in the past: {', '.join(other)}.")
    changed = [f"{s.name} {_value(s.before)} → {_value(s.after)}" for s in f.settings]
    out.append(
        f"Configuration: {_some(changed, '; ')}." if changed else "Configuration: no key changed."
    )
    if f.code is not None or f.stages:
        code = f"{f.code[0]} → {f.code[1]}" if f.code else "the same"
        work = f"stages defined anew: {_some(list(f.stages))}" if f.stages else "no stage changed"
        out.append(f"Code: {code}; {work}.")
    if f.packages is not None:
        out.append("Packages: another lock file.")
    if f.fits:
        out.append(_fits(f))
    if f.holdings:
        out.append(f"Holdings: {count(len(f.holdings), 'supplied position')} differ.")
    return tuple(out)


def _bars(found: Diff, symbols: dict[str, str]) -> str:
    b = found.facts.bars
    new = count(b.new, "new bar")
    if b.sessions:
        sessions = count(b.sessions, "new session")
        new += f" on {sessions} ({day(found.a.as_of)} → {day(found.b.as_of)})"
    restated = count(b.restated, "restated bar")
    if b.instruments:
        restated += f" ({_some([symbols.get(i, i) for i in b.instruments])})"
    gone = f", {count(b.vanished, 'bar')} gone" if b.vanished else ""
    return f"Prices: {new}, {restated}{gone}."


def _fits(f: Facts) -> str:
    refitted = [x.model for x in f.fits if x.changed]
    kept = [x.model for x in f.fits if not x.changed]
    parts = [f"{', '.join(refitted)} refitted"] if refitted else []
    if kept:
        parts.append(f"{', '.join(kept)} unchanged since the run before")
    return f"Models: {'; '.join(parts)}."


def _some(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return separator.join(names[:MOST]) + more


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return ", ".join(map(str, value)) or NONE if isinstance(value, list | tuple) else str(value)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
