"""The morning's mail of a run that failed: what failed, what stands, nothing new and no trade."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import small_root

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import failures
from wealthos_pipeline.reporting import produce
from wealthos_pipeline.utils.config import Settings, load_settings

AT = datetime(2024, 3, 9, 0, 15, tzinfo=UTC)  # still Friday the 8th in New York
FAULT = (
    "clean.prices: 1 blocking checks failed.\n"
    "error: clean.prices last_session_complete of date: 1 of 1, for example 0.31\n"
    "Nothing was written; the last complete run stays published."
)


@pytest.fixture
def published(tmp_path: Path, calendar: TradingCalendar) -> Settings:
    """A root with one complete run and its page."""
    root = small_root.build(tmp_path, calendar, runs=1)
    folder = tmp_path / "reports" / root.runs[-1].as_of.isoformat()
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<p>small</p>")
    (folder / "report_full.html").write_text("<p>the last complete page</p>")
    return root.settings.model_copy(update={"reports": tmp_path / "reports"})


def test_the_notice_names_the_faults_and_what_stands(published: Settings) -> None:
    path, sentence = produce.failed(
        published, job="daily", run_id="abc12345-0000", message=FAULT, at=AT
    )
    assert path == published.reports / "blocked" / "2024-03-08" / "report.eml"
    assert sentence == "not sent: WEALTHOS_MAIL__HOST is not set"
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert message["Subject"] == "WealthOS 2024-03-08: blocked"
    body = message.get_body(("plain",))
    assert body is not None
    text = " ".join(body.get_content().split())
    assert "last_session_complete of date: 1 of 1" in text
    assert "Its trades are not proposed again" in text
    assert "wealthos run --job daily" in text
    (attached,) = list(message.iter_attachments())
    assert "the last complete page" in attached.get_content()
    assert not list((published.reports / "latest").parent.glob("latest"))
    assert failures.read(published.root)["message"].to_list() == [FAULT]


def test_the_first_run_of_all_may_be_blocked_too(tmp_path: Path) -> None:
    settings = load_settings(root=tmp_path / "data", reports=tmp_path / "reports")
    path, _ = produce.failed(settings, job="daily", run_id="abc", message="vendor is down", at=AT)
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    assert "Nothing has been published yet" in body.get_content()
    assert list(message.iter_attachments()) == []


def test_a_lake_that_cannot_be_read_is_not_called_empty(published: Settings) -> None:
    log = sorted((published.root / "lake" / "meta" / "runs" / "_delta_log").glob("*.json"))[-1]
    log.write_text("not a log\n")
    path, _ = produce.failed(published, job="daily", run_id="abc", message=FAULT, at=AT)
    body = message_from_bytes(path.read_bytes(), policy=policy.default).get_body(("plain",))
    assert body is not None
    text = " ".join(body.get_content().split())
    assert "What was published before cannot be read" in text
    assert "meta.runs" in text
    assert "Nothing has been published yet" not in text
