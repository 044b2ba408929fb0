"""A quant's files in a real root: in the graph, the lake, the catalog, SQL and the command at the next run.

The root is a copy of the sample's; of the graph only the stages run that own factors reach first.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets._shared.resources import open_session
from wealthos_pipeline.cli import main
from wealthos_pipeline.data.storage import manifest, warehouse
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2030, 1, 2, 12, tzinfo=UTC)

FILES = {
    "fine.yaml": "factors:\n  calm: {expression: 'Std($ret, 60)', direction: -1, title: Calm days}\n",
    "broken.yaml": "factors: {x: [",
    "functions.py": '''
import polars as pl
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

def tomorrow(frame):
    """The return of tomorrow: a backtest's dream."""
    close = pl.col("close")
    moved = close.shift(-1).over("instrument_id", order_by="date")
    return frame.select("date", "instrument_id", value=moved / close - 1)

def gap(frame):
    return frame.select("date", "instrument_id", value=pl.col("close").log())

FACTORS = [
    Factor(f.__name__, AssetClass.EQUITY, "desk", 1, f.__name__, "own", function=f, lookback=0)
    for f in (tomorrow, gap)
]
''',
}  # fmt: skip


@dataclass(frozen=True)
class After:
    root: Path
    folder: Path
    lake: Lake
    notes: str


def run(root: Path) -> str:
    """The stages of a run that own factors reach first, and publication; what was said."""
    from assets import factors as room
    from assets import record

    said: list[str] = []
    with open_session(load_settings(root=root), now=NOW) as session:
        reached = [s for s in room.stages(session.library) if {"factors.admissions"} & {
            *(c.name for c in s.contracts), *s.inputs}]  # fmt: skip
        for stage in (*reached, record.alerts, record.catalog):
            for event in stage.execute(session):
                if isinstance(event, dg.MaterializeResult):
                    said += [f"{k}: {v}" for k, v in (event.metadata or {}).items()]
        last = session.lake.scan("clean.prices").select(pl.col("date").max()).collect().item()
        made = session.run.publish(as_of=last, source="sample")
        warehouse.publish(session.lake, made)
    return "\n".join(said)


@pytest.fixture(scope="module")
def after(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    root = tmp_path_factory.mktemp("root") / "data"
    shutil.copytree(sample_root, root, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEALTHOS_FACTORS__OWN", str(folder))
        yield After(root, folder, Lake(root), run(root))


def test_a_family_is_an_asset_that_waits_for_admission(after: After) -> None:
    import assets

    graph = {key: made for made in assets.definitions() for key in made.keys}
    own, desk = (dg.AssetKey(["factors", f"equity_{n}"]) for n in ("own", "desk"))
    assert {own, desk} <= set(graph)
    assert dg.AssetKey(["factors", "admissions"]) in graph[own].asset_deps[own]
    scores = dg.AssetKey(["factors", "scores_equity"])
    assert own in graph[scores].asset_deps[scores]


def test_what_peeks_is_refused_and_the_rest_goes_on(after: After) -> None:
    admitted = dict(after.lake.read("factors.admissions").select("factor", "admitted").iter_rows())
    assert admitted == {"calm": True, "gap": True, "tomorrow": False, "broken.yaml": False}
    lake = Lake(after.root)
    with open_session(load_settings(root=after.root), now=NOW) as session:
        lake = session.lake
        desk = lake.read("factors.equity_desk")
        own = lake.read("factors.equity_own")
    assert desk["tomorrow"].null_count() == desk.height > 1000
    assert desk["gap"].null_count() == 0
    assert own["calm"].drop_nulls().len() > 1000
    assert "tomorrow: left out: looks ahead" in after.notes
    assert "broken.yaml: left out" in after.notes


def test_the_reason_is_in_the_catalog_and_among_the_alerts(after: After) -> None:
    rows = after.lake.read("meta.catalog").filter(pl.col("kind") == "factor")
    reasons = dict(rows.select("name", "reason_missing").iter_rows())
    assert reasons["tomorrow"].startswith("not admitted: looks ahead")
    assert reasons["calm"] is None
    alerts = after.lake.read("monitor.alerts").filter(pl.col("alert") == "factor_left_out")
    assert set(alerts["subject"]) == {"tomorrow", "broken.yaml"}


def test_sql_reads_them(after: After) -> None:
    got = warehouse.query(
        after.root,
        "select count(calm) as calm, count(gap) as gap, count(tomorrow) as tomorrow "
        "from factors.equity_own join factors.equity_desk using (date, instrument_id)",
    )
    calm, gap, tomorrow = got.row(0)
    assert calm > 1000
    assert gap > 1000
    assert tomorrow == 0


def test_the_command_lists_them(after: After, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "list", "--root", str(after.root), "--json"]) == 0
    out = capsys.readouterr()
    rows = {r["name"]: r for r in json.loads(out.out)}
    assert {"calm", "gap", "tomorrow"} <= set(rows)
    assert rows["tomorrow"]["reason_missing"].startswith("not admitted: looks ahead")
    assert "broken.yaml" in out.err
    assert main(["factors", "show", "tomorrow", "--root", str(after.root)]) == 0
    assert "looks ahead" in capsys.readouterr().out


def test_it_is_asked_once_and_again_when_the_file_changes(after: After) -> None:
    """A second run tries nothing; a corrected file is tried, and takes its place."""
    before = manifest.last(after.lake).tables
    said = run(after.root)
    now = manifest.last(Lake(after.root)).tables
    assert now["factors.admissions"] == before["factors.admissions"]
    assert now["factors.equity_desk"] == before["factors.equity_desk"]
    assert "tomorrow: left out" in said, "it is told every day"
    file = after.folder / "functions.py"
    file.write_text(
        file.read_text().replace("shift(-1)", "shift(1)").replace("lookback=0", "lookback=60")
    )
    run(after.root)
    lake = Lake(after.root)
    admitted = dict(lake.read("factors.admissions").select("factor", "admitted").iter_rows())
    assert admitted["tomorrow"] is True
    with open_session(load_settings(root=after.root), now=NOW) as session:
        assert session.lake.read("factors.equity_desk")["tomorrow"].drop_nulls().len() > 1000
