"""The real graph, run by the real command on the sample: what a run leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets._shared.resources import open_session
from wealthos_pipeline.core.errors import ConfigError, LockedError
from wealthos_pipeline.data.storage import manifest, warehouse
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def copy(sample_root: Path, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "data"
    shutil.copytree(sample_root, root, symlinks=True)
    return root


def test_every_stage_left_rows_or_a_reason(sample_root: Path) -> None:
    lake = Lake(sample_root)
    published = manifest.last(lake)
    empty = {t for t in published.tables if lake.scan(t).select(pl.len()).collect().item() == 0}
    # the sample has no membership, no yield curve, no statements and no news, its bars have no gaps, and
    # nobody supplied holdings or fills, wrote own factors or gave bad rows; no dividends in its last days; nothing
    # that was issued has an outcome yet
    assert empty <= {
        "raw.membership", "raw.rejected", "clean.membership", "clean.holdings", "clean.quarantine",
        "factors.fixed_income_curve", "meta.failures", "clean.gaps", "clean.adjustments",
        "factors.admissions", "clean.lots", "clean.holdings_prices", "clean.fills", "portfolio.shortfall",
        "portfolio.calendar", "models.live",
        *(f"{layer}.{t}" for layer in ("raw", "clean") for t in ("fundamentals", "macro", "news", "earnings")),
    }  # fmt: skip
    missing = lake.read("meta.catalog").filter(pl.col("reason_missing").is_not_null())
    assert {"volume", "yield_curve"} & set(missing["name"]) or missing.height > 3


def test_the_run_logged_each_stage_as_json(sample_root: Path) -> None:
    run = manifest.last(Lake(sample_root)).run_id
    lines = (sample_root / "logs" / f"{run}.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    assert {s["run_id"] for s in said} == {run}
    started = {s["stage"] for s in said if s["message"] == "started"}
    finished = {s["stage"] for s in said if s["message"] in ("finished", "unchanged")}
    assert started == finished
    assert {"ingest", "prices", "predictions", "portfolios", "manifest", "report"} <= finished


def test_the_run_is_in_dagsters_history_with_its_checks(
    sample_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wealthos_pipeline.cli.execution import history

    monkeypatch.setenv("DAGSTER_HOME", "")  # put back what ``history`` sets
    run = manifest.last(Lake(sample_root)).run_id
    with history(sample_root) as instance:
        stored = instance.get_run_by_id(run)
        assert stored is not None
        assert stored.status == dg.DagsterRunStatus.SUCCESS
        kinds = [
            r.event_log_entry.dagster_event_type for r in instance.get_records_for_run(run).records
        ]
    assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION) >= 40
    assert kinds.count(dg.DagsterEventType.ASSET_CHECK_EVALUATION) >= 50


def test_the_message_has_text_html_and_pictures(sample_root: Path) -> None:
    (eml,) = (sample_root.parent / "reports").glob("20*/report.eml")
    message = message_from_bytes(eml.read_bytes(), policy=policy.default)
    types = [part.get_content_type() for part in message.walk()]
    assert {"text/plain", "text/html", "image/png"} <= set(types)
    html = message.get_body(("html",))
    assert html is not None
    text = html.get_content()
    assert "hindsight" in text
    assert "data:" not in text


def test_a_second_run_makes_no_new_version_outside_meta(
    copy: Path, tmp_path: Path, run_again: Callable[[Path, Path], str]
) -> None:
    before = manifest.last(Lake(copy))
    run_again(copy, tmp_path / "reports")
    after = manifest.last(Lake(copy))
    assert after.run_id != before.run_id
    changed = {t for t, v in after.tables.items() if before.tables.get(t) != v}
    assert {t for t in changed if not t.startswith("meta.")} == set()
    checks = Lake(copy).read("meta.checks").drop("run_id")
    assert checks.height == 2 * checks.unique().height  # what the first run said still stands


def test_sql_answers_from_the_last_complete_run_while_another_writes(copy: Path) -> None:
    settings = load_settings(root=copy)
    asked = "select count(*) as n, max(nav) as top from portfolio.nav"
    before = warehouse.query(copy, asked)
    with open_session(settings, now=NOW) as session:
        frame = session.lake.read("portfolio.nav").with_columns(pl.col("nav") * 2)
        session.lake.replace("portfolio.nav", frame)
        during = warehouse.query(copy, asked)
        published = manifest.Snapshot(session.lake, manifest.last(session.lake))
        assert published.read("portfolio.nav")["nav"].max() == before["top"][0]
    assert during.equals(before)


def test_two_runs_at_once_the_second_says_who_holds_the_lock(copy: Path) -> None:
    settings = load_settings(root=copy)
    with (
        open_session(settings, now=NOW, run_id="the-first"),
        pytest.raises(LockedError, match="the-first"),
        open_session(settings, now=NOW),
    ):
        pass
    with open_session(settings, now=NOW):
        pass


def test_an_unfinished_run_leaves_nothing_behind(copy: Path) -> None:
    settings = load_settings(root=copy)
    before = Lake(copy).content_hash("portfolio.nav")
    with open_session(settings, now=NOW) as session:
        frame = session.lake.read("portfolio.nav").with_columns(pl.col("nav") * 2)
        session.lake.replace("portfolio.nav", frame)
    with open_session(settings, now=NOW) as session:
        assert session.lake.content_hash("portfolio.nav") == before


def test_a_mandate_that_cannot_be_read_is_refused_before_anything_is_computed(
    sample_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mandates"
    folder.mkdir()
    (folder / "wrong.yaml").write_text("name: wrong\ntitle: Wrong\nmax_wieght: 0.1\n")
    settings = load_settings(root=sample_root, portfolio={"mandates": folder})
    with (
        pytest.raises(ConfigError, match="max_wieght"),
        open_session(settings, now=NOW),
    ):
        pass
