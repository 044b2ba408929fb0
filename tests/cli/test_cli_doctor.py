"""The doctor says where each setting came from and never tells a secret."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from small_root import SmallRoot

from wealthos_pipeline.utils import doctor
from wealthos_pipeline.utils.config import load_settings


def test_every_layer_is_named(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wealthos.toml").write_text(
        "[models]\nhorizon = 10\n\n[time]\nknown_lag_minutes = 5\n"
    )
    monkeypatch.setenv("WEALTHOS_TIME__KNOWN_LAG_MINUTES", "7")
    monkeypatch.setenv("WEALTHOS_SOURCE", '{"currency": "EUR"}')
    said = call("doctor", "--json", "--root", tmp_path / "data").json
    found = {o["name"]: (o["value"], o["origin"]) for o in said["settings"]}
    assert found["models.horizon"] == ("10", "wealthos.toml")
    assert found["time.known_lag_minutes"][0] == "7"
    assert found["time.known_lag_minutes"][1].startswith("environment")
    assert found["source.currency"][1].startswith("environment")
    assert found["root"][1] == "flag"
    assert found["models.seed"] == ("7", "default")


def test_secrets_are_masked(call, nowhere: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEALTHOS_MAIL__PASSWORD", "hunter2")
    for words in (["doctor"], ["doctor", "--json"]):
        said = call(*words, "--root", nowhere)
        assert "hunter2" not in said.out + said.err
        assert doctor.MASK in said.out


def test_every_setting_is_listed_once() -> None:
    names = [o.name for o in doctor.origins({}, load_settings())]
    assert len(names) == len(set(names))
    assert {"root", "mail.password", "portfolio.var_sessions"} <= set(names)


def test_a_published_root_is_healthy(wealthos) -> None:
    body = wealthos("doctor", "--json").json
    checks = {c["name"]: c["status"] for c in body["checks"]}
    assert body["healthy"]
    assert (checks["lake"], checks["lock"], checks["warehouse"]) == ("ok", "ok", "ok")


def test_a_held_lock_is_named_and_a_dead_holder_is_not(wealthos, root: SmallRoot) -> None:
    path = root.settings.root / ".lock"
    body = {"run_id": "r9", "pid": os.getpid(), "host": socket.gethostname(), "user": "someone"}
    try:
        path.write_text(json.dumps(body))
        lock = next(c for c in wealthos("doctor", "--json").json["checks"] if c["name"] == "lock")
        assert lock["status"] == "warn"
        assert "r9" in lock["found"]
        path.write_text(json.dumps(body | {"pid": 2**22 + 12345}))
        lock = next(c for c in wealthos("doctor", "--json").json["checks"] if c["name"] == "lock")
        assert lock["status"] == "ok"
    finally:
        path.write_text("")


def test_what_must_be_put_right_fails(monkeypatch, call, nowhere: Path) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    said = call("doctor", "--no-settings", "--root", nowhere)
    assert said.code == 1
    assert "libgomp1" in said.out


def test_low_disk_warns(monkeypatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 1_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    check = doctor.disk(tmp_path / "not" / "there")
    assert check.status == "warn"
    assert check.advice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert doctor.writable(tmp_path / "data").status == "fail"
