"""Runs a job of the graph in this process, on the same instance that the UI shows."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.cli.progress import StageDisplay
from wealthos_pipeline.core.errors import ConfigError, StorageError, WealthOSError

if TYPE_CHECKING:
    import dagster as dg

    from wealthos_pipeline.utils.config import Settings

_DAGSTER_YAML = """\
# Written by `wealthos`. Runs, events and schedules of this root are kept in this folder.
telemetry:
  enabled: false
nux:
  # no form asking for an e-mail address over the first page
  enabled: false
compute_logs:
  # stages log to files with the run's id; capturing the terminal would cost two processes a step
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
_STORAGE = """\
storage:
  # the files of Dagster's own storage, opened once a process and not once an event
  custom:
    module: wealthos_pipeline.cli.history
    class: History
    config:
      base_dir:
        env: DAGSTER_HOME
"""

TAGS = {"wealthos/started_by": "command line"}
"""What tells a run of this command from one of the UI."""


@dataclass(frozen=True)
class Executed:
    """One job that came to its end."""

    job: str
    dagster_run_id: str
    stages: tuple[str, ...]


def dagster_home(root: Path) -> Path:
    """``<root>/.dagster``, made with its configuration where it is missing or as first written."""
    home = Path(root).resolve() / ".dagster"
    try:
        home.mkdir(parents=True, exist_ok=True)
        config = home / "dagster.yaml"
        if not config.exists() or config.read_text(encoding="utf-8") == _DAGSTER_YAML:
            part = home / f"dagster.yaml.{os.getpid()}"
            part.write_text(_DAGSTER_YAML + _STORAGE, encoding="utf-8")
            part.replace(config)
    except OSError as error:
        raise StorageError(
            f"{home} cannot be written: {error.strerror}. Free some space, or choose a root "
            "that you may write to with --root."
        ) from error
    return home


def history(root: Path) -> dg.DagsterInstance:
    """What Dagster knows of ``root``: runs, events, schedules. Points ``DAGSTER_HOME`` at it."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(dagster_home(root))
    return dg.DagsterInstance.get()


def session_config(
    overrides: Mapping[str, Any],
    *,
    now: datetime | None = None,
    full: bool = False,
    from_date: date | None = None,
) -> dict[str, Any]:
    """Configuration of the ``session`` resource: what the command line says over other layers."""
    body: dict[str, Any] = {"overrides_json": json.dumps(overrides, sort_keys=True, default=str)}
    if now is not None:
        body["now"] = now.isoformat()
    if full:
        body["full"] = True
    if from_date is not None:
        body["from_date"] = from_date.isoformat()
    return body


def execute(
    job: str,
    settings: Settings,
    overrides: Mapping[str, Any],
    display: StageDisplay,
    *,
    now: datetime | None = None,
    full: bool = False,
    from_date: date | None = None,
    run_id: str | None = None,
) -> Executed:
    """Execute ``job`` to its end; whatever a stage raised is raised here as it was.

    ``overrides`` are nested settings; ``root`` and ``reports`` are pinned to absolute paths, so
    that the graph writes where this command was told to.
    """
    dagster_home(Path(settings.root))
    display.say("loading the graph")
    import warnings

    import dagster as dg

    # what is still in beta there is our business, not that of a person who runs the day
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    from wealthos_pipeline.definitions import defs

    try:
        definition = defs.resolve_job_def(job)
    except dg.DagsterInvariantViolationError:
        names = sorted(j.name for j in defs.resolve_all_job_defs() if not j.name.startswith("__"))
        raise ConfigError(f"no job called {job!r}; there are: {', '.join(names)}") from None
    pinned = dict(overrides) | {
        "root": str(Path(settings.root).resolve()),
        "reports": str(Path(settings.reports).resolve()),
    }
    run_config: dict[str, Any] = {
        "resources": {
            "session": {"config": session_config(pinned, now=now, full=full, from_date=from_date)}
        },
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    display.say("starting", stages=len(definition.nodes))
    run_id = run_id or str(uuid.uuid4())
    with history(Path(settings.root)) as instance:
        close_dead_runs(instance, Path(settings.root))
        try:
            definition.execute_in_process(
                run_config=run_config,
                instance=instance,
                run_id=run_id,
                tags=TAGS,
                raise_on_error=True,
            )
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        except dg.DagsterError as error:
            raise original(error) from error
    return Executed(job, run_id, tuple(display.done))


def given(root: Path, run_id: str) -> dict[str, Any]:
    """What was said on top of the settings when ``run_id`` was started: nested, without the places
    that were pinned. Empty where the history does not know the run."""
    if not (Path(root) / ".dagster" / "dagster.yaml").exists():
        return {}
    with history(root) as instance:
        run = instance.get_run_by_id(run_id)
    resources: Any = {} if run is None else run.run_config.get("resources", {})
    body: dict[str, Any] = json.loads(
        resources.get("session", {}).get("config", {}).get("overrides_json", "{}")
    )
    return {k: v for k, v in body.items() if k not in ("root", "reports", "mail")}


def close_dead_runs(instance: dg.DagsterInstance, root: Path) -> None:
    """Mark runs of this command as failed whose process is gone: killed, or the machine went down.

    One root has one writer, so a run that is shown as under way and does not hold the lock is dead.
    """
    import dagster as dg

    from wealthos_pipeline.cli.holder import writing

    under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags=TAGS)
    alive = writing(root)
    for run in instance.get_runs(filters=under_way):
        if run.run_id != alive:
            instance.report_run_failed(run, "the process was killed before the run had ended")


def original(error: BaseException) -> BaseException:
    """The library's own error that Dagster wrapped, or ``error`` where there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, WealthOSError):
            return seen
        inner = getattr(seen, "user_exception", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return error
