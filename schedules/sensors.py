"""Sensors: a file in the landing folder starts the day; a failed run leaves an alert."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import dagster as dg

from jobs import daily
from wealthos_pipeline.utils.config import load_settings


@dg.sensor(
    job=daily,
    minimum_interval_seconds=30,
    description="Starts the graph on new panel files in <root>/landing (Parquet or CSV).",
)
def landing_folder(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    from wealthos_pipeline.data.sources import landing

    folder = load_settings().root / "landing"
    files = landing.ready(folder)
    seen = set(json.loads(context.cursor)) if context.cursor else set()
    names = [f"{file.name}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files]
    fresh = [name for name in names if name not in seen]
    if not fresh:
        return dg.SkipReason(f"nothing new in {folder.name}/")
    overrides = {"source": {"name": "files", "path": str(folder)}}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key="|".join(fresh),
                run_config={
                    "resources": {"session": {"config": {"overrides_json": json.dumps(overrides)}}}
                },
                tags={"wealthos/landing": str(len(fresh))},
            )
        ],
        cursor=json.dumps(sorted(names)),
    )


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    description="Writes a failed run down for the next report, and sends the notice of a blocked day.",
)
def record_failure(context: dg.RunFailureSensorContext) -> None:
    from wealthos_pipeline.data.storage import failures
    from wealthos_pipeline.reporting import produce

    settings, run_id = load_settings(), context.dagster_run.run_id
    if run_id in set(failures.read(settings.root)["run_id"]):
        return  # the command told of it itself
    produce.failed(
        settings,
        job=context.dagster_run.job_name,
        run_id=run_id,
        message=_cause(context.failure_event),
        at=datetime.now(UTC),
    )


def _cause(event: dg.DagsterEvent) -> str:
    """What the first failed step said, in its own words."""
    data: object = event.event_specific_data
    error = getattr(getattr(data, "first_step_failure_event", None), "step_failure_data", None)
    inner = getattr(error, "error", None) or getattr(data, "error", None)
    while getattr(inner, "cause", None) is not None:
        inner = inner.cause
    text = getattr(inner, "message", None) or event.message or "failed without a message"
    return str(text).strip()
