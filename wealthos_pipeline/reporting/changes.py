"""What changed: this run's issued numbers against those of the run before (DESIGN §6)."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.reporting.lens import Lens
from wealthos_pipeline.reporting.report import Changes, Move

MOVES = 5
"""Moves shown a mandate or model."""

_FIRST = "This is the first run on record: there is nothing to compare with yet."


def since(
    lens: Lens, *, run_id: str, as_of: date | None, config: str
) -> tuple[frozenset[tuple[str, str]] | None, Changes]:
    """(alerts of the time before as (rule, subject), what changed); None on a first run.

    Compared are the record of ``run_id`` (the current tables where it has none yet) and that of
    the last run issued for an earlier session (else just before it). Where the record knows no earlier run but the backtest does, the
    session before is compared through the backtest's decisions.
    """
    record = lens.issued(
        "run_id", "kind", "mandate", "instrument_id", "date", "name", "value", "issued_at"
    )
    runs = (
        record.group_by("run_id")
        .agg(pl.col("issued_at").max(), pl.col("date").max())
        .sort("issued_at", "run_id")
    )
    mine = runs.filter(pl.col("run_id") == run_id)
    earlier = runs.filter(pl.col("run_id") != run_id)
    if mine.height:
        earlier = earlier.filter(pl.col("issued_at") < mine["issued_at"][0])
    if earlier.is_empty():
        return _session(lens)
    days_before = earlier if as_of is None else earlier.filter(pl.col("date") < as_of)
    last = (days_before if days_before.height else earlier).row(-1, named=True)
    old = record.filter(pl.col("run_id") == last["run_id"])
    new = record.filter(pl.col("run_id") == run_id)
    target_now = _pick(new, "target", "weight") if mine.height else _targets(lens)
    prediction_now = _pick(new, "prediction", "z") if mine.height else _predictions(lens)
    targets = _moves(_pick(old, "target", "weight"), target_now, fill=0.0)
    alerts = old.filter(pl.col("kind") == "alert")
    gone = frozenset((r["name"], r["instrument_id"]) for r in alerts.iter_rows(named=True))
    still = new.filter(pl.col("kind") == "alert")
    now = {(r["name"], r["instrument_id"]) for r in still.iter_rows(named=True)}
    return gone, Changes(
        against=f"run {last['run_id']}, data of {last['date']}",
        why="",
        facts=_facts(lens, last["run_id"], last["date"], as_of, config),
        targets=_largest(targets),
        predictions=_largest(_moves(_pick(old, "prediction", "z"), prediction_now, fill=None)),
        turnover=_turnover(targets),
        alerts_gone=len(gone - now) if mine.height else 0,
    )


def _session(lens: Lens) -> tuple[None, Changes]:
    """Without a record: the backtest's last two decisions, the last two walk-forward dates."""
    decided = lens(
        "portfolio.targets", "mandate", "run_kind", "date", "instrument_id", "weight", sessions=160
    ).filter(pl.col("run_kind") == "backtest")
    said = lens(
        "models.predictions", "model", "kind", "date", "instrument_id", "z", sessions=5
    ).filter(pl.col("kind") == "walk_forward")
    targets: dict[tuple[str, str], tuple[float, float]] = {}
    for mandate in decided["mandate"].unique().sort():
        rows = decided.filter(pl.col("mandate") == mandate)
        days = rows["date"].unique().sort()
        if len(days) < 2 or mandate == "equal_weight":
            continue
        pair = [_dict(rows.filter(pl.col("date") == d), "mandate", "weight") for d in days.tail(2)]
        targets.update(_moves(pair[0], pair[1], fill=0.0))
    days = said["date"].unique().sort()
    if len(days) < 2:
        return None, Changes(None, _FIRST)
    pair = [_dict(said.filter(pl.col("date") == d), "model", "z") for d in days.tail(2)]
    return None, Changes(
        against=f"the session before, {days[-2]}",
        why=f"{_FIRST} Instead: the walk-forward predictions of {days[-2]} against {days[-1]}, and "
        "the backtest's last two decisions.",
        targets=_largest(targets),
        predictions=_largest(_moves(pair[0], pair[1], fill=None)),
        turnover=_turnover(targets),
    )


def _facts(
    lens: Lens, run_id: str, before: date, as_of: date | None, config: str
) -> tuple[str, ...]:
    facts = []
    if as_of is not None:
        new = len(lens.calendar.sessions(before, as_of)) - 1
        facts.append(
            f"{new} new session{'s' if new != 1 else ''} of prices: {before} to {as_of}."
            if new > 0
            else f"No new session: both speak of {as_of}."
        )
    runs = lens.read("meta.runs", start=None, columns=["run_id", "config_hash"])
    runs = runs.filter(pl.col("run_id") == run_id)
    if runs.height:
        same = runs["config_hash"][0] == config
        facts.append("The configuration is the same." if same else "The configuration changed.")
    return tuple(facts)


def _pick(record: pl.DataFrame, kind: str, name: str) -> dict[tuple[str, str], float]:
    rows = record.filter((pl.col("kind") == kind) & (pl.col("name") == name))
    return _dict(rows, "mandate", "value")


def _dict(rows: pl.DataFrame, owner: str, value: str) -> dict[tuple[str, str], float]:
    rows = rows.drop_nulls(value).sort(owner, "instrument_id")
    return {(o, i): v for o, i, v in rows.select(owner, "instrument_id", value).iter_rows()}


def _targets(lens: Lens) -> dict[tuple[str, str], float]:
    rows = lens(
        "portfolio.targets", "mandate", "run_kind", "date", "instrument_id", "weight", sessions=0
    )
    return _dict(rows.filter(pl.col("run_kind") == "live"), "mandate", "weight")


def _predictions(lens: Lens) -> dict[tuple[str, str], float]:
    rows = lens("models.predictions", "model", "kind", "date", "instrument_id", "z", sessions=0)
    return _dict(rows.filter(pl.col("kind") == "live"), "model", "z")


def _moves(
    old: dict[tuple[str, str], float], new: dict[tuple[str, str], float], *, fill: float | None
) -> dict[tuple[str, str], tuple[float, float]]:
    """(before, after) of owners that are in both; a name in one only counts as ``fill``, if any."""
    owners = {o for o, _ in old} & {o for o, _ in new}
    keys = (old.keys() | new.keys()) if fill is not None else (old.keys() & new.keys())
    out = {}
    for key in sorted(keys):
        if key[0] in owners:
            before, after = old.get(key, fill), new.get(key, fill)
            assert before is not None
            assert after is not None
            out[key] = (before, after)
    return out


def _largest(moves: dict[tuple[str, str], tuple[float, float]]) -> tuple[Move, ...]:
    """The largest moves of each owner, in absolute terms; what rounds to nothing is left out."""
    out: list[Move] = []
    for owner in sorted({o for o, _ in moves}):
        mine = [Move(o, i, a, b) for (o, i), (a, b) in moves.items() if o == owner]
        mine = [m for m in mine if abs(m.change) >= 0.0005]
        mine.sort(key=lambda m: (-abs(m.change), m.instrument))
        out += mine[:MOVES]
    return tuple(out)


def _turnover(moves: dict[tuple[str, str], tuple[float, float]]) -> dict[str, float]:
    """One-way: half the sum of absolute changes, by owner."""
    out: dict[str, float] = {}
    for (owner, _), (before, after) in moves.items():
        out[owner] = out.get(owner, 0.0) + abs(after - before) / 2
    return out
