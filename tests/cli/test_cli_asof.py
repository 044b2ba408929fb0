"""A past day's report is made from what was known on it: later data have no way in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import small_root
import synthetic

from wealthos_pipeline.cli import asof
from wealthos_pipeline.cli.execution import Executed
from wealthos_pipeline.cli.progress import StageDisplay
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import Settings, load_settings

T = datetime(2018, 6, 1, 20, 30, tzinfo=UTC)


def filled(
    root: Path, raw: synthetic.RawMarket, calendar: TradingCalendar, until: datetime
) -> Lake:
    """A lake with everything fetched up to ``until``."""
    lake = Lake(root, calendar=calendar)
    for name in ("prices", "series", "instruments", "membership"):
        rows: pl.DataFrame = getattr(raw, name)
        lake.append(f"raw.{name}", rows.filter(pl.col("fetched_at") <= until))
    return lake


def test_what_is_copied_does_not_depend_on_later_data(
    tmp_path: Path, synthetic_raw: synthetic.RawMarket, calendar: TradingCalendar
) -> None:
    then = filled(tmp_path / "then", synthetic_raw, calendar, datetime(2018, 7, 2, tzinfo=UTC))
    later = filled(tmp_path / "later", synthetic_raw, calendar, datetime(2030, 1, 1, tzinfo=UTC))
    assert then.read("raw.prices").height < later.read("raw.prices").height
    hashes = []
    for lake, name in ((then, "a"), (later, "b")):
        target = Lake(tmp_path / name, calendar=calendar)
        copied = asof.copy_known(lake, target, T, calendar)
        assert copied["raw.prices"] > 1000
        hashes.append({t: target.content_hash(t) for t in target.tables()})
    assert hashes[0] == hashes[1]
    dates = Lake(tmp_path / "b", calendar=calendar).read("raw.prices")["date"]
    assert dates.max() == T.date()


def test_the_graph_runs_on_a_scratch_root_at_that_evening(
    tmp_path: Path,
    synthetic_raw: synthetic.RawMarket,
    calendar: TradingCalendar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEALTHOS_MAIL__HOST", "mail.example")
    settings = load_settings(root=tmp_path / "data", reports=tmp_path / "reports")
    lake = filled(settings.root, synthetic_raw, calendar, datetime(2030, 1, 1, tzinfo=UTC))
    before = {t: lake.version(t) for t in lake.tables()}
    asked = []

    def execute(
        job: str,
        then: Settings,
        overrides: dict,
        display: StageDisplay,
        *,
        now: datetime,
        run_id: str,
    ) -> Executed:
        asked.append((job, now, Path(then.root), then.mail.host, run_id))
        page = Path(then.reports) / now.date().isoformat() / "report.html"
        page.parent.mkdir(parents=True)
        page.write_text("as it looked")
        return Executed(job, "x", ())

    monkeypatch.setattr("wealthos_pipeline.cli.execution.execute", execute)
    path = asof.rebuild(settings, T.date(), quiet=True)
    asof.rebuild(settings, T.date(), quiet=True)
    (job, now, root, host, run_id), again = asked
    assert host is None, "a page of the past is sent to nobody"
    assert run_id == again[-1], "the same page has the same run id"
    assert (job, now) == ("from_raw", calendar.known_at(T.date()))
    assert root != settings.root
    assert path == tmp_path / "reports" / "asof" / "2018-06-01" / "report.html"
    assert path.read_text() == "as it looked"
    assert {t: lake.version(t) for t in lake.tables()} == before


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2018-06-02", "the last one before it was 2018-06-01"),
        ("2015-12-31", "the data begin on 2016-01-04"),
        ("June", "not a date"),
    ],
)
def test_a_day_that_cannot_be_rebuilt_is_refused(
    call,
    tmp_path: Path,
    synthetic_raw: synthetic.RawMarket,
    calendar: TradingCalendar,
    day: str,
    words: str,
) -> None:
    filled(tmp_path / "data", synthetic_raw, calendar, datetime(2018, 1, 5, tzinfo=UTC))
    said = call("report", "--as-of", day, "--root", tmp_path / "data")
    assert said.code == 2
    assert words in said.err


def test_a_rebuilt_day_keeps_what_the_last_run_was_told(
    tmp_path: Path, calendar: TradingCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_root.build(tmp_path, calendar, sessions=25)
    told = {"source": {"name": "files", "path": "panel.csv"}, "time": {"start": "2019-01-02"}}
    monkeypatch.setattr(asof, "given", lambda where, run_id: told if run_id == "run-0" else {})
    monkeypatch.setenv("WEALTHOS_SOURCE__CURRENCY", "EUR")
    found = asof.remembered(load_settings(root=root.settings.root), root.lake)
    assert found["source"] == {"name": "files", "path": "panel.csv", "currency": "EUR"}
    assert found["time"] == {"start": "2019-01-02"}
    assert "mail" not in found
