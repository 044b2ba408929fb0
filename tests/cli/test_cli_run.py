"""``wealthos run``: the job, its configuration and its errors, with a small graph in place of the
real one (which has its own tests)."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
import small_root

from wealthos_pipeline.cli.execution import dagster_home, given, history, original
from wealthos_pipeline.core.errors import CheckError, LockedError, WealthOSError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import load_settings

GIVEN: dict[str, object] = {}
"""What the session was configured with."""


class Session(dg.ConfigurableResource):  # type: ignore[type-arg]
    overrides_json: str = "{}"
    now: str = ""
    full: bool = False
    from_date: str = ""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Session]:
        GIVEN.update(
            overrides=json.loads(self.overrides_json), now=self.now, full=self.full,
            from_date=self.from_date, run_id=context.run.run_id if context.run else None,
        )  # fmt: skip
        if GIVEN.get("locked"):
            raise LockedError("the root is being written by run r1. Wait.")
        yield self


@dg.asset
def prices(session: Session) -> None:
    log = logging.getLogger("wealthos.stage")
    log.info("started", extra={"stage": "prices"})
    if GIVEN.get("fails"):
        raise CheckError("clean.prices: 3 blocking checks failed. Nothing was written.")
    if GIVEN.get("interrupted"):
        raise KeyboardInterrupt
    settings = load_settings(**json.loads(session.overrides_json))
    calendar = TradingCalendar()
    small_root.build(Path(settings.root).parent, calendar, sessions=25)
    log.info("finished", extra={"stage": "prices", "rows": 150, "seconds": 0.5})


@pytest.fixture(autouse=True)
def graph(monkeypatch: pytest.MonkeyPatch) -> None:
    GIVEN.clear()
    module = ModuleType("wealthos_pipeline.definitions")
    module.defs = dg.Definitions(  # type: ignore[attr-defined]
        assets=[prices],
        jobs=[dg.define_asset_job("daily", selection="*")],
        resources={"session": Session()},
        executor=dg.in_process_executor,
    )
    monkeypatch.setitem(sys.modules, "wealthos_pipeline.definitions", module)
    monkeypatch.setenv("DAGSTER_HOME", "")


def test_a_run_ends_with_what_was_made_and_what_to_type_next(call, tmp_path: Path) -> None:
    root = tmp_path / "data"
    said = call("run", "--root", root)
    assert said.code == 0, said.err
    assert "✓ prices" in said.err
    assert "150 rows" in said.err
    for words in ("150 bars of 6 instruments", "wealthos.duckdb", "wealthos report --open"):
        assert words in said.out
    assert "mandate impossible: the weights cannot add up to 1" in said.out
    assert "1 raw row in quarantine" in said.out
    assert f"--root {root}" in said.out


def test_flags_reach_the_session(call, tmp_path: Path) -> None:
    panel = tmp_path / "panel.csv"
    panel.write_text("date,A\n")
    said = call(
        "run", "--path", panel, "--start", "2010-01-04", "--now", "2020-03-02T21:45:00+00:00",
        "--full", "--from", "2019-12-02", "--root", tmp_path / "data", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    overrides = GIVEN["overrides"]
    assert isinstance(overrides, dict)
    assert overrides["source"] == {"name": "files", "path": str(panel)}
    assert overrides["time"] == {"start": "2010-01-04"}
    assert overrides["root"] == str(tmp_path / "data")
    assert (GIVEN["now"], GIVEN["full"]) == ("2020-03-02T21:45:00+00:00", True)
    assert GIVEN["from_date"] == "2019-12-02"
    assert said.json["run_id"] == "run-0"
    assert said.json["places"]["warehouse"].endswith("wealthos.duckdb")
    told = given(tmp_path / "data", str(GIVEN["run_id"]))
    assert told == {
        "source": {"name": "files", "path": str(panel)},
        "time": {"start": "2010-01-04"},
    }
    assert given(tmp_path / "data", "another") == {}
    assert given(tmp_path, "nowhere") == {}


def test_the_run_is_in_the_history_of_the_ui(call, tmp_path: Path) -> None:
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

    root = tmp_path / "data"
    assert call("run", "--root", root, "--json").code == 0
    with history(root) as instance:
        (run,) = instance.get_runs()
    first = str(GIVEN["run_id"])
    assert (run.run_id, run.job_name) == (first, "daily")
    assert run.status == dg.DagsterRunStatus.SUCCESS
    # Dagster's own storage reads the same files
    plain = DagsterSqliteStorage.from_local(str(root / ".dagster"))
    kinds = [e.dagster_event_type for e in plain.event_log_storage.get_logs_for_run(first)]
    assert kinds[0] == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assert kinds[-1] == dg.DagsterEventType.RUN_SUCCESS
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION) == 1
    key = dg.AssetKey("prices")
    event = plain.event_log_storage.get_latest_materialization_events([key])[key]
    assert event is not None
    assert event.run_id == first
    # a root of an earlier version: its configuration is brought up to date, its runs stay
    config = root / ".dagster" / "dagster.yaml"
    text = config.read_text()
    config.write_text(text[: text.index("storage:")])
    GIVEN["fails"] = True
    assert call("run", "--root", root, "--json").code == CheckError.exit_code
    assert config.read_text() == text
    with history(root) as instance:
        assert {r.run_id for r in instance.get_runs()} == {first, GIVEN["run_id"]}
        assert len(instance.all_logs(first)) == len(kinds)


def test_a_process_keeps_few_databases_open_and_none_that_is_gone(tmp_path: Path) -> None:
    from wealthos_pipeline.cli.history import OPEN, Events

    events = Events(str(tmp_path))
    runs = [f"run-{i}" for i in range(OPEN + 3)]
    for run in runs:
        assert events.get_logs_for_run(run) == []
    names = {f.readlink().name for f in Path("/proc/self/fd").iterdir() if f.is_symlink()}
    assert {n for n in names if n.startswith("run-") and n.endswith(".db")} == {
        f"{run}.db" for run in runs[-OPEN:]
    }
    (tmp_path / f"{runs[-1]}.db").unlink()
    assert events.get_logs_for_run(runs[-1]) == []
    assert (tmp_path / f"{runs[-1]}.db").exists()
    events.dispose()


def test_runs_whose_process_is_gone_are_closed(tmp_path: Path) -> None:
    from wealthos_pipeline.cli.execution import TAGS, close_dead_runs

    root = tmp_path / "data"
    with dg.DagsterInstance.ephemeral() as instance:
        job = sys.modules["wealthos_pipeline.definitions"].defs.resolve_job_def("daily")
        dead, alive, of_the_ui = (
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
            for tags in (TAGS, TAGS, {})
        )
        root.mkdir()
        holder = {"run_id": alive.run_id, "pid": os.getpid(), "host": "h", "user": "u"}
        (root / ".lock").write_text(json.dumps(holder))
        close_dead_runs(instance, root)
        found = [instance.get_run_by_id(r.run_id) for r in (dead, alive, of_the_ui)]
        states = [r.status for r in found if r is not None]
    started = dg.DagsterRunStatus.STARTED
    assert states == [dg.DagsterRunStatus.FAILURE, started, started]


@pytest.mark.parametrize(
    ("fault", "error"), [("fails", CheckError), ("locked", LockedError)], ids=["asset", "resource"]
)
def test_an_error_in_the_graph_comes_out_as_it_was(
    call, tmp_path: Path, fault: str, error: type[WealthOSError]
) -> None:
    GIVEN[fault] = True
    said = call("run", "--root", tmp_path / "data")
    assert said.code == error.exit_code
    assert said.err.count("error ") == 1
    assert "Traceback" not in said.err
    assert said.out == ""


def test_an_interrupted_run_is_130(call, tmp_path: Path) -> None:
    GIVEN["interrupted"] = True
    said = call("run", "--root", tmp_path / "data")
    assert said.code == 130
    assert "untouched" in said.err


def test_an_unknown_job_lists_the_jobs(call, tmp_path: Path) -> None:
    said = call("run", "--job", "dayly", "--root", tmp_path / "data")
    assert said.code == 2
    assert "daily" in said.err


def test_bad_input_is_refused_before_anything_is_loaded(call, tmp_path: Path) -> None:
    root = tmp_path / "data"
    missing = call("run", "--path", tmp_path / "no.csv", "--rates", "no-rates", "--root", root)
    assert missing.code == 2
    assert "--path" in missing.err
    assert "--rates" in missing.err
    assert "needs a panel" in call("run", "--source", "files", "--root", root).err
    assert "not a date" in call("run", "--start", "soon", "--root", root).err
    assert "not a date or an instant" in call("run", "--now", "soon", "--root", root).err
    assert "--from" in call("run", "--job", "backfill", "--root", root).err
    assert not root.exists()


def test_time_does_not_go_backwards_in_a_root(wealthos) -> None:
    said = wealthos("run", "--now", "2020-01-31")
    assert said.code == 2
    assert "wealthos report --as-of 2020-01-31" in said.err


def test_a_root_that_is_being_written_turns_a_run_away_before_the_graph_knows(
    call, tmp_path: Path
) -> None:
    from wealthos_pipeline.data.storage.lock import lock

    with lock(tmp_path, "the-first"):
        said = call("run", "--root", tmp_path)
    assert said.code == LockedError.exit_code
    assert "the-first" in said.err
    assert not (tmp_path / ".dagster").exists()


def test_the_home_of_dagster_is_not_overwritten(tmp_path: Path) -> None:
    config = dagster_home(tmp_path) / "dagster.yaml"
    config.write_text("telemetry: {enabled: false}\n# mine\n")
    assert "# mine" in (dagster_home(tmp_path) / "dagster.yaml").read_text()


def test_the_ui_neither_reports_home_nor_asks_for_an_address(tmp_path: Path) -> None:
    with history(tmp_path) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled


def test_the_cause_is_found_below_wrappers() -> None:
    inner = LockedError("held")
    outer = RuntimeError("wrapped")
    outer.__cause__ = inner
    assert original(outer) is inner
    plain = ValueError("no library error here")
    assert original(plain) is plain


def test_the_ui_is_a_web_server_and_a_daemon_on_the_same_graph() -> None:
    from wealthos_pipeline.cli.ui import ui_commands

    web, daemon = ui_commands("127.0.0.1", 3001)
    for words in (web, daemon):
        assert words[words.index("-m", 2) + 1] == "wealthos_pipeline.definitions"
    assert web[-4:] == ["-h", "127.0.0.1", "-p", "3001"]


def test_when_one_of_two_processes_ends_the_other_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import subprocess

    from wealthos_pipeline.cli.ui import supervise

    started: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, **more)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    ends = [sys.executable, "-c", "raise SystemExit(3)"]
    waits = [sys.executable, "-c", "import signal; signal.pause()"]
    assert supervise([waits, ends], dict(os.environ)) == 3
    assert [p.poll() is not None for p in started] == [True, True]
    ends_us = [
        sys.executable,
        "-c",
        f"import os, signal; os.kill({os.getpid()}, 15); signal.pause()",
    ]
    assert supervise([waits, ends_us], dict(os.environ)) == 0
    assert [p.poll() is not None for p in started] == [True] * 4


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_port_in_use_is_named(call, tmp_path: Path, command: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = call(command, "--port", port, "--root", tmp_path)
    assert said.code == 2
    assert f"--port {port + 1}" in said.err
