"""Which fits there are, which dates each predicts, and which dates each may train on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import polars as pl

from wealthos_pipeline.ml import labels, validation

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.utils.config import ModelSettings

Kind = Literal["walk_forward", "live"]


@dataclass(frozen=True, slots=True)
class Job:
    """One refit date of one kind, and the dates that it predicts."""

    kind: Kind
    refit: date
    dates: tuple[date, ...]


def jobs(
    known: pl.Series,
    calendar: TradingCalendar,
    settings: ModelSettings,
    *,
    end: date,
    start: date | None,
) -> list[Job]:
    """Refit dates that serve a date in [start, end], in order; the live one last.

    known: the dates that have scores, up to ``end``, ascending.
    """
    if known.is_empty():
        return []
    refits = validation.refit_dates(calendar, known[0], end, settings.refit_history)
    out: list[Job] = []
    for i, refit in enumerate(refits):
        dates = known.filter(known >= max(refit, start or refit))
        if i + 1 < len(refits):
            dates = dates.filter(dates < refits[i + 1])
        if len(dates):
            out.append(Job("walk_forward", refit, tuple(dates)))
    if start is None or start <= end:
        live = validation.live_refit(calendar, end, settings.refit_live)
        out.append(Job("live", live, tuple(known.filter(known == end))))
    return out


def window(calendar: TradingCalendar, spec: ModelSpec, refit: date) -> validation.Window:
    """What the fit of ``spec`` at ``refit`` may see; an expanding window begins with the calendar."""
    length = spec.train_sessions if spec.window == "rolling" else calendar.slot(refit)
    return validation.window(calendar, refit, spec.horizon, length)


def lookback(models: Iterable[ModelSpec], settings: ModelSettings) -> int | None:
    """Sessions before ``start`` that the frames must reach back to; None: all there are.

    The active fit may be one refit period old; its window is ``train_sessions`` long and ends
    ``horizon + 2`` sessions before it. A window that expands needs everything, a label scaled by
    volatility the returns before its first date.
    """
    periods = validation.PERIOD_SESSIONS
    period = max(periods[settings.refit_history], periods[settings.refit_live])
    reach = [settings.train_sessions + settings.horizon + 2 + period]
    for spec in models:
        if spec.window == "expanding":
            return None
        before = labels.VOLATILITY_SESSIONS + 1 if spec.label == "volatility_scaled" else 0
        reach.append(spec.train_sessions + spec.horizon + 2 + period + before)
    return max(reach)
