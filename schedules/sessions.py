"""Schedules that know the exchange's holidays."""

from __future__ import annotations

import dagster as dg

from jobs import daily, retrain
from wealthos_pipeline.utils.config import load_settings

TIMEZONE = "America/New_York"


def _session_of(context: dg.ScheduleEvaluationContext) -> tuple[bool, bool, str]:
    """Whether the tick's day is a session, whether it is the week's first, and the day."""
    from zoneinfo import ZoneInfo

    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    day = context.scheduled_execution_time.astimezone(ZoneInfo(TIMEZONE)).date()
    calendar = TradingCalendar(load_settings().source.exchange)
    first = day in calendar.firsts(calendar.offset(day, -6), day, "week")
    return calendar.is_session(day), first, day.isoformat()


@dg.schedule(
    job=daily,
    cron_schedule="30 18 * * 1-5",
    execution_timezone=TIMEZONE,
    description="After the close of every session but the week's first; holidays are skipped.",
)
def after_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    session, first, day = _session_of(context)
    if not session:
        return dg.SkipReason(f"{day} is not a session of the exchange")
    if first:
        return dg.SkipReason(f"{day} is the week's first session: the retraining job runs instead")
    return dg.RunRequest(run_key=f"daily-{day}", tags={"wealthos/session": day})


@dg.schedule(
    job=retrain,
    cron_schedule="30 18 * * 1-5",
    execution_timezone=TIMEZONE,
    description="After the close of the week's first session: the day, with the live models refitted.",
)
def first_session_of_week(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    session, first, day = _session_of(context)
    if not (session and first):
        return dg.SkipReason(f"{day} is not the first session of its week")
    return dg.RunRequest(run_key=f"retrain-{day}", tags={"wealthos/session": day})
