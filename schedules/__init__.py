"""When: schedules on the exchange's calendar, and sensors."""

from __future__ import annotations

from schedules.sensors import landing_folder, record_failure
from schedules.sessions import after_close, first_session_of_week

SCHEDULES = (after_close, first_session_of_week)
SENSORS = (landing_folder, record_failure)

__all__ = ["SCHEDULES", "SENSORS"]
