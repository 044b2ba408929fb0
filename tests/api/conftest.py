"""A published root, and a client on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_root
from asgi_client import Client

from wealthos_pipeline.api import create_app
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils.config import load_settings


@pytest.fixture(scope="session")
def published(
    tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar
) -> small_root.SmallRoot:
    root = small_root.build(tmp_path_factory.mktemp("service"), calendar)
    page = root.settings.reports / root.runs[-1].as_of.isoformat() / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html><body>Morning</body></html>", "utf-8")
    (page.parent / "charts").mkdir()
    (page.parent / "charts" / "nav.png").write_bytes(b"\x89PNG")
    (page.parent / "charts" / "notes.txt").write_text("not a chart")
    return root


@pytest.fixture(scope="session")
def client(published: small_root.SmallRoot) -> Client:
    return Client(create_app(published.settings))


@pytest.fixture
def empty(tmp_path: Path) -> Client:
    """A service over a root where nothing was published."""
    settings = load_settings(root=tmp_path / "none", reports=tmp_path / "reports")
    return Client(create_app(settings))
