"""Schedules follow the exchange's calendar; sensors react to files and failures."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from schedules.sensors import landing_folder, record_failure
from schedules.sessions import after_close, first_session_of_week
from wealthos_pipeline.data.storage import failures
from wealthos_pipeline.market_monitor.alerts import failed_runs


def _tick(schedule: dg.ScheduleDefinition, day: str) -> dg.RunRequest | dg.SkipReason:
    when = datetime.fromisoformat(f"{day}T22:30:00").replace(tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=when) as context:
        result = schedule.evaluate_tick(context)
    if result.run_requests:
        return result.run_requests[0]
    return dg.SkipReason(result.skip_message)


@pytest.mark.parametrize(
    ("day", "daily", "retrain"),
    [
        ("2022-11-21", False, True),  # Monday: the week's first session
        ("2022-11-22", True, False),  # Tuesday
        ("2022-11-24", False, False),  # Thanksgiving
        ("2022-11-25", True, False),  # half day
        ("2022-07-05", False, True),  # Tuesday after a Monday holiday
    ],
)
def test_one_job_a_session_and_none_on_holidays(day: str, daily: bool, retrain: bool) -> None:
    assert isinstance(_tick(after_close, day), dg.RunRequest) is daily
    assert isinstance(_tick(first_session_of_week, day), dg.RunRequest) is retrain


def test_schedules_carry_the_exchanges_time_zone() -> None:
    for schedule in (after_close, first_session_of_week):
        assert schedule.execution_timezone == "America/New_York"


def test_a_landed_file_starts_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEALTHOS_ROOT", str(tmp_path))
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "panel.csv").write_text("date,symbol,close\n2024-01-02,A,1.0\n")
    with dg.DagsterInstance.ephemeral() as instance:
        first = landing_folder(dg.build_sensor_context(instance=instance))
        assert isinstance(first, dg.SensorResult)
        assert first.run_requests is not None
        (request,) = first.run_requests
        config = request.run_config["resources"]["session"]["config"]["overrides_json"]
        assert json.loads(config)["source"]["name"] == "files"
        again = landing_folder(dg.build_sensor_context(instance=instance, cursor=first.cursor))
        assert isinstance(again, dg.SkipReason)


def test_no_landing_folder_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEALTHOS_ROOT", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(landing_folder(dg.build_sensor_context(instance=instance)), dg.SkipReason)


def test_a_failed_run_is_written_down_once_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEALTHOS_ROOT", str(tmp_path))
    monkeypatch.setenv("WEALTHOS_REPORTS", str(tmp_path / "reports"))

    @dg.op
    def breaks() -> None:
        raise dg.Failure("the vendor is down")

    @dg.job
    def daily() -> None:
        breaks()

    with dg.DagsterInstance.ephemeral() as instance:
        result = daily.execute_in_process(instance=instance, raise_on_error=False)
        event = next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE")
        for _ in range(2):
            context = dg.build_run_status_sensor_context(
                sensor_name="record_failure",
                dagster_event=event,
                dagster_instance=instance,
                dagster_run=result.dagster_run,
            ).for_run_failure()
            record_failure(context)
    frame = failures.read(tmp_path)
    assert frame.height == 1
    assert frame["job"][0] == "daily"
    assert "the vendor is down" in frame["message"][0]
    (notice,) = (tmp_path / "reports" / "blocked").glob("*/report.eml")
    assert "the vendor is down" in notice.read_text()
    alert = failed_runs(frame, date(2024, 1, 2)).row(0, named=True)
    assert alert["severity"] == "critical"
    assert "daily" in alert["text"]
