"""What differs between two runs before any number is explained: tables, settings, bars, fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from wealthos_pipeline.data.storage.manifest import Manifest, Snapshot

VALUES = ("open", "high", "low", "close", "volume", "dividend", "split_ratio")
"""Columns of ``clean.prices`` that were given; the chained indices follow from them."""

PAST = ("clean.prices", "clean.series", "clean.instruments", "clean.membership")
"""Tables whose rows up to a date decide the features of that date."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """A table whose version differs; None where it did not exist. ``dirty_from`` is the first date
    that differs, None where that is not known any more."""

    table: str
    before: int | None
    after: int | None
    dirty_from: date | None


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that differs, by its dotted name; None where it did not exist."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars that run B has and A has not, those with other values, those that are gone."""

    new: int
    restated: int
    vanished: int
    sessions: int
    instruments: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.new or self.restated or self.vanished)


@dataclass(frozen=True, slots=True)
class Fit:
    """The live fit of a model in each run; None where it had none."""

    model: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that differs.

    stages: stages whose code or settings changed. past_changed: tables of ``PAST`` that differ up
    to A's last date. holdings: (mandate, instrument) whose supplied units differ.
    """

    tables: tuple[TableChange, ...]
    settings: tuple[Setting, ...]
    stages: tuple[str, ...]
    code: tuple[str, str] | None
    packages: tuple[str, str] | None
    bars: Bars
    past_changed: tuple[str, ...]
    fits: tuple[Fit, ...]
    holdings: tuple[tuple[str, str], ...]


def collect(a: Snapshot, b: Snapshot) -> Facts:
    """The differences between the runs of two snapshots of one lake."""
    ma, mb = a.manifest, b.manifest
    return Facts(
        tables=tables(a, b),
        settings=settings(ma.config, mb.config),
        stages=stages(ma, mb),
        code=None if ma.code_version == mb.code_version else (ma.code_version, mb.code_version),
        packages=None if ma.lock_hash == mb.lock_hash else (ma.lock_hash, mb.lock_hash),
        bars=bars(a, b),
        past_changed=tuple(t for t in PAST if not same_past(a, b, t, ma.as_of)),
        fits=fits(a, b),
        holdings=holdings(a, b),
    )


def tables(a: Snapshot, b: Snapshot) -> tuple[TableChange, ...]:
    """Tables whose versions differ."""
    out = []
    for name in sorted({*a.tables(), *b.tables()}):
        before, after = a.version(name), b.version(name)
        if before == after:
            continue
        out.append(TableChange(name, before, after, _dirty(b, name, before)))
    return tuple(out)


def settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Leaves that differ, by dotted name."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return tuple(
        Setting(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def stages(a: Manifest, b: Manifest) -> tuple[str, ...]:
    """Stages whose definition (code and settings) differs, or that one of the runs has not."""
    out = []
    for name in sorted({*a.consumed, *b.consumed}):
        old, new = a.consumed.get(name), b.consumed.get(name)
        if old is None or new is None or old.definition != new.definition:
            out.append(name)
    return tuple(out)


def bars(a: Snapshot, b: Snapshot) -> Bars:
    """Count of bars that are new, restated or gone; the instruments of the restated ones."""
    table = "clean.prices"
    if a.version(table) == b.version(table):
        return Bars(0, 0, 0, 0)
    start = _dirty(b, table, a.version(table))
    key = ["instrument_id", "date"]
    old = a.read(table, columns=[*key, *VALUES], start=start)
    new = b.read(table, columns=[*key, *VALUES], start=start)
    both = old.join(new, on=key, suffix="_new")
    differ = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_new")) for c in VALUES)
    restated = both.filter(differ)
    fresh = new.join(old, on=key, how="anti")
    return Bars(
        new=fresh.height,
        restated=restated.height,
        vanished=old.join(new, on=key, how="anti").height,
        sessions=fresh.filter(pl.col("date") > a.manifest.as_of)["date"].n_unique(),
        instruments=tuple(restated["instrument_id"].unique().sort()),
    )


def same_past(a: Snapshot, b: Snapshot, table: str, until: date) -> bool:
    """Whether the rows of ``table`` dated at or before ``until`` are the same in both runs."""
    if a.version(table) == b.version(table):
        return True
    start = _dirty(b, table, a.version(table))
    if start is not None and start > until:
        return True
    # known_at and source say where a row came from, not what it says
    columns = [
        c for c in a.contract(table).column_names if c not in ("known_at", "basis", "source")
    ]
    old = a.read(table, start=start, end=until, columns=columns)
    return old.equals(b.read(table, start=start, end=until, columns=columns))


def fits(a: Snapshot, b: Snapshot) -> tuple[Fit, ...]:
    """The live fit of every model in each run."""
    old, new = live_fits(a), live_fits(b)
    return tuple(Fit(m, old.get(m), new.get(m)) for m in sorted({*old, *new}))


def live_fits(run: Snapshot) -> dict[str, str]:
    """Model → fit that made the run's live predictions."""
    rows = run.scan("models.predictions", start=run.manifest.as_of, end=run.manifest.as_of)
    live = rows.filter(pl.col("kind") == "live").select("model", "model_id").unique().collect()
    return dict(live.sort("model", "model_id").iter_rows())


def holdings(a: Snapshot, b: Snapshot) -> tuple[tuple[str, str], ...]:
    """(mandate, instrument) whose latest supplied units differ."""
    old, new = _held(a), _held(b)
    return tuple(k for k in sorted({*old, *new}) if old.get(k) != new.get(k))


def _held(run: Snapshot) -> dict[tuple[str, str], float]:
    rows = run.read("clean.holdings", end=run.manifest.as_of)
    last = rows.filter(pl.col("date") == pl.col("date").max().over("mandate"))
    return {(m, i): u for m, i, u in last.select("mandate", "instrument_id", "units").iter_rows()}


def _dirty(b: Snapshot, table: str, since: int | None) -> date | None:
    """First date that can differ; None where everything must be compared."""
    if since is None:
        return None
    first = b.lake.dirty_from(table, since, until=b.version(table))
    return None if first is None or first == date.min else first


def _leaves(body: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in body.items():
        name = f"{path}.{key}" if path else key
        out += _leaves(value, name) if isinstance(value, Mapping) else [(name, value)]
    return out
