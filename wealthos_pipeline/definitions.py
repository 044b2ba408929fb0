"""The composition root: everything that Dagster knows."""

from __future__ import annotations

import dagster as dg

import assets
import jobs
import schedules
from assets._shared.resources import SessionResource

defs = dg.Definitions(
    assets=assets.definitions(),
    jobs=jobs.JOBS,
    schedules=schedules.SCHEDULES,
    sensors=schedules.SENSORS,
    resources={"session": SessionResource()},
    executor=dg.in_process_executor,
)
