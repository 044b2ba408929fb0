"""The DuckDB file that analysts open."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.data import contract, load
from wealthos_pipeline.core.errors import NoManifestError, StorageError
from wealthos_pipeline.data.storage import manifest as manifests
from wealthos_pipeline.data.storage import warehouse, warehouse_build, warehouse_sql
from wealthos_pipeline.data.storage.manifest import Snapshot
from wealthos_pipeline.data.storage.run import Run

NAMES = ("AAA", "BBB", "CCC")
SOME = ("raw", "clean", "meta", "monitor")
"""Layers that the file has where its whole list is not what is tested."""


@pytest.fixture(autouse=True)
def _some_tables(request, monkeypatch) -> None:
    """A build makes every declared table, empty ones too: most of its time here."""
    if request.node.name == "test_every_table_is_there_with_its_words":
        return

    def some():
        return {n: c for n, c in load().items() if c.layer in SOME}

    for module in (warehouse_build, warehouse_sql):
        parts = vars(module.declared) | {"load": some}
        monkeypatch.setattr(module, "declared", SimpleNamespace(**parts))


def catalog(title: str) -> pl.DataFrame:
    return contract("meta.catalog").conform(
        pl.DataFrame({"kind": ["table"], "name": ["x"], "title": [title]})
    )


def membership() -> pl.DataFrame:
    return contract("clean.membership").conform(
        pl.DataFrame(
            {
                "universe": ["u", "u", "other"],
                "instrument_id": ["AAA", "BBB", "CCC"],
                "valid_from": [date(2020, 1, 1), date(2021, 1, 1), date(2020, 1, 1)],
                "valid_to": [date(2020, 12, 31), None, None],
                "source": ["s"] * 3,
                "known_at": [datetime(y, 1, 1, 14, 30, tzinfo=UTC) for y in (2020, 2021, 2020)],
            }
        )
    )


def run(lake, settings, frames, n: int, *, close: float = 10.0, now=None) -> manifests.Manifest:
    """One run: n days of prices, two families, raw series, membership, catalog."""
    now = now or frames.now
    prices = frames.prices(n, NAMES, close=10.0)
    last = prices["date"].max()
    prices = prices.with_columns(
        pl.when((pl.col("date") == date(2020, 1, 6)) & (pl.col("instrument_id") == "BBB"))
        .then(close)
        .otherwise("close")
        .alias("close")
    )
    lake.register(frames.family(), frames.family(("g1", "f1"), "equity_other"))
    keys = prices.select("date", "instrument_id")
    value = (pl.col("date").cast(pl.Int32) / 7).cast(pl.Float32)
    with Run.open(lake, settings, now=now) as session:
        lake.restate("clean.prices", prices, now=now)
        lake.replace(
            "factors.equity_own", keys.with_columns(value.alias("f1"), (-value).alias("f2"))
        )
        lake.replace(
            "factors.equity_other", keys.with_columns(value.alias("g1"), value.alias("f1"))
        )
        lake.replace("monitor.regime", frames.regime(n))
        lake.replace("clean.membership", membership())
        lake.replace("meta.catalog", catalog(f"n = {n}"))
        if not lake.version("raw.series"):
            lake.append("raw.series", contract("raw.series").empty())
        return session.publish(as_of=last, source="test", finished_at=now)


@pytest.fixture
def root(lake):
    return lake.root


def same_rows(lake, manifest, root) -> None:
    """Every table of the warehouse equals the manifest's snapshot."""
    snapshot = Snapshot(lake, manifest)
    for table in snapshot.tables():
        order = list(lake.contract(table).sort_columns)
        found = warehouse.query(root, f"FROM {table}")
        rows = snapshot.read(table)
        assert_frame_equal(found.sort(order).cast(dict(rows.schema)), rows)


def test_every_table_is_there_with_its_words(lake, settings, frames, root) -> None:
    manifest = run(lake, settings, frames, 400)
    path = warehouse.publish(lake, manifest)
    assert path == root.resolve() / "warehouse" / f"{manifest.run_id}.duckdb"
    assert (root / "wealthos.duckdb").resolve() == path
    same_rows(lake, manifest, root)
    known = warehouse.query(
        root, "SELECT schema_name || '.' || table_name AS t, comment FROM duckdb_tables()"
    )
    words = dict(known.iter_rows())
    views = warehouse.query(
        root,
        "SELECT schema_name || '.' || view_name AS t, comment FROM duckdb_views() WHERE NOT internal",
    )
    words |= dict(views.iter_rows())
    assert set(load()) <= set(words), "a declared table is there even if it is empty"
    assert all(words.values())
    assert words["clean.prices"].startswith(contract("clean.prices").description)
    silent = warehouse.query(
        root,
        "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
        "WHERE NOT internal AND comment IS NULL",
    )
    assert silent.is_empty()
    unit = warehouse.query(
        root,
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'prices' "
        "AND schema_name = 'clean' AND column_name = 'volume'",
    )
    assert unit.item() == "volume [shares]"
    runs = warehouse.query(root, "SELECT run_id FROM meta.runs")
    assert runs["run_id"].to_list() == [manifest.run_id]


def test_the_readme_lists_everything(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 40))
    readme = warehouse.query(root, "FROM readme")
    rows = {name: (kind, n) for name, kind, n, _ in readme.iter_rows()}
    assert rows["clean.prices"] == ("table", 120)
    assert rows["factors.equity_own"] == ("view", None)
    assert rows["prices_asof(t)"] == ("macro", None)
    assert readme["description"].null_count() == 0


def test_macros_answer_as_of_an_instant(lake, settings, frames, root) -> None:
    run(lake, settings, frames, 400)
    later = frames.now + timedelta(days=1)
    warehouse.publish(lake, run(lake, settings, frames, 400, close=11.0, now=later))
    sql = "SELECT close FROM prices_asof({}) WHERE date = '2020-01-06' AND instrument_id = 'BBB'"
    assert warehouse.query(root, sql.format("'2024-03-09 12:00:00+00'")).item() == 10.0
    assert warehouse.query(root, sql.format("'2024-03-10 12:00:00+00'")).item() == 11.0
    assert warehouse.query(root, sql.format("'2020-01-06 20:59:59+00'")).is_empty()
    at = datetime(2020, 2, 1, tzinfo=UTC)
    seen = warehouse.query(root, "FROM prices_asof('2020-02-01 00:00:00+00')")
    expected = lake.read("clean.prices", as_of=at)
    order = ["date", "instrument_id"]
    assert_frame_equal(seen.sort(order).cast(dict(expected.schema)), expected)
    members = "SELECT instrument_id FROM membership_asof('{}', 'u')"
    assert warehouse.query(root, members.format("2020-06-01"))["instrument_id"].to_list() == ["AAA"]
    assert warehouse.query(root, members.format("2021-06-01"))["instrument_id"].to_list() == ["BBB"]
    assert warehouse.query(root, "FROM series_asof('2020-02-01')").is_empty()


def test_recent_factors_stand_side_by_side(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 400))
    recent = warehouse.query(root, "FROM factors.values_recent ORDER BY date, instrument_id")
    assert recent.columns == [
        "date", "instrument_id", "g1", "other_f1", "own_f1", "f2",
    ]  # fmt: skip
    assert recent["date"].n_unique() == warehouse_build.RECENT_SESSIONS
    assert recent["date"].max() == frames.days(400)[-1]
    own = lake.read("factors.equity_own", start=recent["date"].min())
    assert recent["own_f1"].equals(own["f1"].alias("own_f1"))


@pytest.mark.parametrize(
    ("small", "steps"),
    [
        (0, [(401, 10.0), (401, 12.0), (399, 12.0)]),
        (warehouse_build.SMALL_ROWS, [(401, 12.0)]),
    ],
)
def test_brought_up_to_date_equals_built_anew(
    lake, settings, frames, root, monkeypatch, small, steps
) -> None:
    """small=0 makes every table be replaced by dates."""
    monkeypatch.setattr(warehouse_build, "SMALL_ROWS", small)
    warehouse.publish(lake, run(lake, settings, frames, 400))
    for i, (n, close) in enumerate(steps):
        now = frames.now + timedelta(days=1 + i)
        manifest = run(lake, settings, frames, n, close=close, now=now)
        warehouse.publish(lake, manifest)
        same_rows(lake, manifest, root)
        assert warehouse.query(root, "SELECT increments FROM meta.warehouse").item() == i + 1
        assert warehouse.query(root, "SELECT title FROM meta.catalog").item() == f"n = {n}"
    readme = warehouse.query(root, "FROM readme WHERE name <> 'meta.warehouse'")
    warehouse.publish(lake, manifest, full=True)
    same_rows(lake, manifest, root)
    assert warehouse.query(root, "SELECT increments FROM meta.warehouse").item() == 0
    assert_frame_equal(warehouse.query(root, "FROM readme WHERE name <> 'meta.warehouse'"), readme)


def test_work_that_was_rolled_back_does_not_reach_it(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 40))
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)):
        lake.replace("monitor.regime", frames.regime(7, 0.9))
    manifest = run(lake, settings, frames, 41, now=frames.now + timedelta(days=2))
    warehouse.publish(lake, manifest)
    same_rows(lake, manifest, root)


def test_a_contract_with_a_new_column_makes_its_table_anew(
    lake, settings, frames, root, monkeypatch
) -> None:
    from dataclasses import replace

    from wealthos_pipeline.core.data import Column

    warehouse.publish(lake, run(lake, settings, frames, 40))
    old = load()["monitor.regime"]
    more = replace(old, columns=(*old.columns, Column("note", "str", "words", "", True)))
    monkeypatch.setitem(load(), "monitor.regime", more)
    manifest = manifests.last(lake)
    warehouse.publish(lake, manifest)
    found = warehouse.query(root, "SELECT count(*) AS n, count(note) AS noted FROM monitor.regime")
    assert found.row(0) == (40, 0)


def test_a_file_of_another_lake_is_not_built_upon(lake, settings, frames, root) -> None:
    import shutil

    warehouse.publish(lake, run(lake, settings, frames, 40))
    shutil.rmtree(lake.folder)
    from wealthos_pipeline.data.storage.lake import Lake

    fresh = Lake(root)
    manifest = run(fresh, settings, frames, 30, now=frames.now + timedelta(days=1))
    warehouse.publish(fresh, manifest)
    same_rows(fresh, manifest, root)


def test_an_open_reader_keeps_its_run(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 40))
    with warehouse.connect(root) as reader:
        manifest = run(lake, settings, frames, 41, now=frames.now + timedelta(days=1))
        warehouse.publish(lake, manifest)
        count = "SELECT count(*) FROM factors.equity_own"
        assert reader.execute(count).fetchall() == [(120,)]
        assert warehouse.query(root, count).item() == 123


def test_it_answers_while_a_run_is_writing(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 40))
    with Run.open(lake, settings, now=frames.now + timedelta(days=1)):
        lake.replace("monitor.regime", frames.regime(7, 0.9))
        lake.register(frames.family())
        lake.replace("factors.equity_own", frames.wide(3))
        assert warehouse.query(root, "SELECT count(*) FROM monitor.regime").item() == 40
        assert warehouse.query(root, "SELECT count(*) FROM factors.equity_own").item() == 120


def test_own_factors_need_no_registration(lake, settings, frames, root) -> None:
    from wealthos_pipeline.data.storage.lake import Lake

    manifest = run(lake, settings, frames, 40)
    stranger = Lake(root)
    warehouse.publish(stranger, manifest)
    same_rows(stranger, manifest, root)
    doc = warehouse.query(
        root,
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'equity_own' "
        "AND column_name = 'f1'",
    )
    assert doc.item() == "factor f1 [decimal]"


def test_old_files_go_and_the_newest_stay(lake, settings, frames, root, monkeypatch) -> None:
    monkeypatch.setattr(warehouse, "KEEP", 2)
    made = []
    for i in range(3):
        now = frames.now + timedelta(days=i)
        made.append(warehouse.publish(lake, run(lake, settings, frames, 10 + i, now=now)))
    left = {p.name for p in (root / "warehouse").iterdir()}
    kept = made[-2:]
    assert left == {p.name for p in kept} | {p.stem for p in kept}


def test_it_opens_from_another_folder_and_after_vacuum(
    lake, settings, frames, root, tmp_path, monkeypatch
) -> None:
    run_folder = tmp_path / "elsewhere"
    run_folder.mkdir()
    monkeypatch.chdir(tmp_path)
    from wealthos_pipeline.data.storage.lake import Lake

    relative = Lake(os.path.relpath(root, tmp_path))
    warehouse.publish(relative, run(relative, settings, frames, 40))
    monkeypatch.chdir(run_folder)
    for path in lake.files("factors.equity_own"):
        path.unlink()
    with duckdb.connect(str(root / "wealthos.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM factors.equity_own").fetchall() == [(120,)]


def test_the_full_export_stands_alone(lake, settings, frames, tmp_path) -> None:
    manifest = run(lake, settings, frames, 400)
    path = warehouse.export_full(lake, manifest, tmp_path / "out" / "all.duckdb")
    lake.root.rename(tmp_path / "gone")
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute(
            "SELECT count(*), count(DISTINCT date) FROM factors.equity_own"
        ).fetchall() == [(1200, 400)]
        views = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal")
        assert views.fetchall() == [(0,)]
    assert [p.name for p in path.parent.iterdir()] == ["all.duckdb"]


def test_queries_are_limited_and_writes_refused(lake, settings, frames, root) -> None:
    with pytest.raises(NoManifestError, match="wealthos run"):
        warehouse.query(root, "SELECT 1")
    warehouse.publish(lake, run(lake, settings, frames, 40))
    rows = warehouse.query(root, "SELECT date FROM clean.prices ORDER BY date DESC", 2)
    assert rows["date"].to_list() == [frames.days(40)[-1]] * 2
    described = warehouse.query(root, "DESCRIBE clean.prices")
    assert described["column_name"].to_list() == list(contract("clean.prices").column_names)
    assert warehouse.query(root, "EXPLAIN SELECT 1").height == 1
    instants = warehouse.query(root, "SELECT max(known_at) AS t FROM clean.prices")
    assert instants.schema["t"] == pl.Datetime("us", "UTC")
    for text in (
        "DROP TABLE clean.prices",
        "INSERT INTO readme VALUES ('x', 'y', 1, 'z')",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO 'x.csv'",
        "ATTACH 'other.duckdb'",
        "SET threads = 1",
    ):
        with pytest.raises(StorageError, match="read-only"):
            warehouse.query(root, text)
    with pytest.raises(StorageError, match="one SQL statement, found 2"):
        warehouse.query(root, "SELECT 1; SELECT 2")


def test_what_is_wrong_with_a_query_is_said(lake, settings, frames, root) -> None:
    warehouse.publish(lake, run(lake, settings, frames, 40))
    with pytest.raises(StorageError, match=r"nothing does not exist[\s\S]*Tables: .*clean\.prices"):
        warehouse.query(root, "FROM nothing")
    with pytest.raises(StorageError, match="syntax error"):
        warehouse.query(root, "SELEC 1")
    with pytest.raises(StorageError, match=r'column "clos" not found[\s\S]*close'):
        warehouse.query(root, "SELECT clos FROM clean.prices")


def test_a_build_that_fails_leaves_the_current_file(lake, settings, frames, root) -> None:
    manifest = run(lake, settings, frames, 40)
    path = warehouse.publish(lake, manifest)
    later = run(lake, settings, frames, 41, now=frames.now + timedelta(days=1))
    (root / "warehouse" / later.run_id).write_text("in the way")
    with pytest.raises(StorageError, match="current warehouse is untouched"):
        warehouse.publish(lake, later)
    assert (root / "wealthos.duckdb").resolve() == path
    assert warehouse.query(root, "SELECT count(*) FROM clean.prices").item() == 120
    assert not list((root / "warehouse").glob(".*"))
