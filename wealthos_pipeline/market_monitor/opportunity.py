"""Names ranked by what the models say, each with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor.evidence import Mean, mean_with_overlap, plain_title, signed

STRONG = 0.5
"""A factor speaks for or against a name from half a cross-sectional standard deviation on."""


def rank(
    predictions: pl.DataFrame,
    scores: pl.DataFrame,
    *,
    calendar: TradingCalendar,
    evaluation: pl.DataFrame | None = None,
    factors: Iterable[Factor] = (),
    instruments: pl.DataFrame | None = None,
    dates: Sequence[date] | None = None,
) -> pl.DataFrame:
    """Every name with a prediction, best first (``monitor.opportunities``).

    predictions: ``models.predictions``; on a date with live predictions those count, else the
        walk-forward ones. The score is the plain mean of ``z`` over the models that have one.
    scores: ``factors.scores_equity``: ``date, instrument_id`` and a column a factor.
    evaluation: ``models.evaluation``; only rows known at the close of the date are used. A model
        whose rank IC cannot be told from 0 is said to be so in every note.
    factors: definitions with title and direction; without them no factor is cited.
    dates: to rank; None: the last date of ``predictions``.
    """
    out = contract("monitor.opportunities")
    usable = predictions.drop_nulls("z")
    if usable.is_empty():
        return out.empty()
    days = [usable.select(pl.col("date").max()).item()] if dates is None else list(dates)
    defined = {f.name: f for f in factors}
    symbols = _symbols(instruments)
    parts = []
    for day in days:
        today = usable.filter(pl.col("date") == day)
        live = today.filter(pl.col("kind") == "live")
        today = live if live.height else today
        if today.is_empty():
            continue
        closing = _evidence(evaluation, day, calendar, today["model"].unique().sort().to_list())
        speaks = _speaks(scores.filter(pl.col("date") == day), defined)
        rows = _ranked(today, speaks, closing, symbols)
        parts.append(pl.DataFrame(rows).with_columns(pl.lit(day).alias("date")))
    if not parts:
        return out.empty()
    return out.conform(pl.concat(parts).select(out.column_names))


def _ranked(
    today: pl.DataFrame,
    speaks: dict[str, str],
    closing: str,
    symbols: dict[str, str],
) -> list[dict[str, object]]:
    said: dict[str, list[tuple[str, float]]] = {}
    for model, name, z in (
        today.sort("instrument_id", "model").select("model", "instrument_id", "z").iter_rows()
    ):
        said.setdefault(name, []).append((model, z))
    score = {name: sum(z for _, z in pairs) / len(pairs) for name, pairs in said.items()}
    order = sorted(score, key=lambda name: (-score[name], name))
    rows: list[dict[str, object]] = []
    for place, name in enumerate(order, 1):
        pairs = said[name]
        words = [speaks.get(name, "No factor score on the date.")]
        if min(z for _, z in pairs) < 0 < max(z for _, z in pairs):
            views = ", ".join(f"{model} {signed(z, 1)}" for model, z in pairs)
            words.append(f"The models disagree ({views}).")
        words.append(closing)
        rows.append(
            {
                "rank": place,
                "instrument_id": name,
                "score": score[name],
                "note": f"{symbols.get(name, name)}: " + " ".join(words),
            }
        )
    return rows


def _speaks(scores: pl.DataFrame, defined: dict[str, Factor]) -> dict[str, str]:
    """By instrument: which factors speak for and against, strongest first, at most two each."""
    names = [c for c in scores.columns if c in defined]
    if not names or scores.is_empty():
        return {}
    signs = np.array([defined[n].direction for n in names], dtype=np.float64)
    table = scores.select(names).cast(pl.Float64).to_numpy() * signs
    table = np.where(np.isnan(table), 0.0, table)
    out: dict[str, str] = {}
    for name, row in zip(scores["instrument_id"], table, strict=True):
        order = np.argsort(-row, kind="stable")
        good = [
            f"{plain_title(defined[names[i]].title)} {signed(row[i], 1)}"
            for i in order[:2]
            if row[i] >= STRONG
        ]
        bad = [
            f"{plain_title(defined[names[i]].title)} {signed(row[i], 1)}"
            for i in order[::-1][:2]
            if row[i] <= -STRONG
        ]
        out[name] = (
            f"For: {'; '.join(good) or 'nothing stands out'}. "
            f"Against: {'; '.join(bad) or 'nothing stands out'}."
        )
    return out


def _evidence(
    evaluation: pl.DataFrame | None, day: date, calendar: TradingCalendar, models: list[str]
) -> str:
    if evaluation is None or evaluation.is_empty():
        return "No model has been scored out of sample yet."
    rows = evaluation.filter(pl.col("known_at") <= calendar.known_at(day)).sort("date")
    parts = []
    for model in models:
        mine = rows.filter(pl.col("model") == model)
        if mine.is_empty():
            parts.append(f"{model}: not yet scored out of sample")
            continue
        ic = mean_with_overlap(mine["rank_ic"].cast(pl.Float64).to_numpy(), int(mine["horizon"][0]))
        parts.append(_short(model, ic))
    return "Evidence: " + "; ".join(parts) + "."


def _short(model: str, ic: Mean) -> str:
    if ic.mean is None:
        return f"{model}: no rank IC known"
    words = f"{model}: rank IC {signed(ic.mean, 3)}"
    if ic.detectable is None or ic.t is None:
        return f"{words}, too few dates to judge"
    if ic.distinguishable:
        return f"{words}, t {signed(ic.t, 1)}"
    return f"{words} is not distinguishable from 0 (smallest detectable {ic.detectable:.3f})"


def _symbols(instruments: pl.DataFrame | None) -> dict[str, str]:
    if instruments is None or instruments.is_empty():
        return {}
    last = instruments.sort("instrument_id", "valid_from")
    return dict(last.select("instrument_id", "symbol").iter_rows())
