"""Where a report lies: folder, link, a past one aside, a full disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.reporting import export
from wealthos_pipeline.utils.places import latest_report

PNG = b"\x89PNG\r\n\x1a\nnot really"


@pytest.fixture
def rendered() -> export.Rendered:
    return export.Rendered(
        html='<p>mail <img src="cid:nav"></p>',
        text="plain −\n",
        images={"nav": PNG},
        interactive_html="<p>full</p>",
        date=date(2022, 12, 28),
        run_id="r1",
        status="complete",
        subject="WealthOS 2022-12-28: complete",
    )


def test_what_was_written_is_read_back(tmp_path: Path, rendered: export.Rendered) -> None:
    folder = export.write(rendered, tmp_path)
    assert folder == tmp_path / "2022-12-28"
    assert export.read(folder) == rendered
    assert export.read(tmp_path / "latest") == rendered


def test_the_page_on_disk_shows_its_charts(tmp_path: Path, rendered: export.Rendered) -> None:
    export.write(rendered, tmp_path)
    path = latest_report(tmp_path)
    assert path is not None
    assert 'src="charts/nav.png"' in path.read_text("utf-8")
    assert (path.parent / "charts" / "nav.png").read_bytes() == PNG


def test_the_link_moves_to_the_newest_and_old_charts_go(
    tmp_path: Path, rendered: export.Rendered
) -> None:
    export.write(rendered, tmp_path)
    later = dataclasses.replace(rendered, date=date(2022, 12, 29))
    export.write(later, tmp_path)
    assert (tmp_path / "latest").resolve() == (tmp_path / "2022-12-29").resolve()
    fewer = dataclasses.replace(later, images={}, html="<p>none</p>")
    export.write(fewer, tmp_path)
    assert list((tmp_path / "2022-12-29" / "charts").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2022-12-28", "2022-12-29", "latest"]


def test_a_report_of_a_past_day_stays_aside(tmp_path: Path, rendered: export.Rendered) -> None:
    export.write(rendered, tmp_path)
    past = dataclasses.replace(rendered, past=True, html="<p>then</p>")
    folder = export.write(past, tmp_path)
    assert folder == tmp_path / "asof" / "2022-12-28"
    assert export.read(tmp_path / "latest") == rendered


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, rendered: export.Rendered
) -> None:
    (tmp_path / "reports").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"report cannot be written to .*WEALTHOS_REPORTS"):
        export.write(rendered, tmp_path / "reports")


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_an_incomplete_report_is_not_read(
    tmp_path: Path, rendered: export.Rendered, damage: str
) -> None:
    folder = export.write(rendered, tmp_path)
    breaks: dict[str, Callable[[], object]] = {
        "missing": (folder / "charts" / "nav.png").unlink,
        "broken": lambda: (folder / "report.json").write_text("{"),
    }
    breaks[damage]()
    with pytest.raises(StorageError, match="complete report"):
        export.read(folder)
