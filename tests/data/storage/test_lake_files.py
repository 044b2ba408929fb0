"""The files of the lake are ordinary Parquet, for DuckDB and pyarrow too."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from wealthos_pipeline.core.data import contract

NOW = datetime(2024, 3, 9, tzinfo=UTC)


@pytest.fixture
def filled(lake, frames):
    """One table of each kind: partitioned, dated, without dates, restated, wide."""
    lake.register(frames.family())
    lake.replace("factors.equity_own", frames.wide(400))
    lake.replace("monitor.regime", frames.regime(400))
    lake.restate("clean.prices", frames.prices(400), now=NOW)
    catalog = pl.DataFrame({"kind": ["table"], "name": ["x"], "title": ["é"]})
    lake.replace("meta.catalog", contract("meta.catalog").conform(catalog))
    return lake


TABLES = (
    "clean.prices",
    "clean.prices_history",
    "factors.equity_own",
    "meta.catalog",
    "monitor.regime",
)


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_pyarrow_and_delta_read_every_table(filled, table) -> None:
    assert filled.tables() == list(TABLES)
    rows, files = filled.read(table), [str(p) for p in filled.files(table)]
    columns, order = rows.columns, list(filled.contract(table).sort_columns)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(
            f"SELECT {', '.join(columns)} FROM read_parquet({files}, hive_partitioning = false)"
        ).pl()
    assert_frame_equal(found.sort(order).cast(dict(rows.schema)), rows)
    arrow = pl.DataFrame(ds.dataset(files, format="parquet").to_table(columns=columns))
    assert_frame_equal(arrow.sort(order).cast(dict(rows.schema)), rows)
    delta = DeltaTable(str(filled.folder / table.replace(".", "/")))
    whole = pl.DataFrame(delta.to_pyarrow_table())
    assert ("year" in whole.columns) == (filled.contract(table).partition == "year")
    assert_frame_equal(whole.select(columns).sort(order).cast(dict(rows.schema)), rows)


@pytest.mark.parametrize("table", TABLES)
def test_codec_encodings_and_retention(filled, table) -> None:
    for path in filled.files(table):
        group = pq.ParquetFile(path).metadata.row_group(0)
        for i in range(group.num_columns):
            column = group.column(i)
            assert column.compression == "ZSTD"
            dictionary = any("DICTIONARY" in e for e in column.encodings)
            if column.physical_type in ("FLOAT", "DOUBLE"):
                assert not dictionary
                if table == "factors.equity_own":
                    assert not column.statistics.has_min_max
            if column.path_in_schema in ("date", "instrument_id"):
                assert dictionary
    settings = DeltaTable(str(filled.folder / table.replace(".", "/"))).metadata().configuration
    assert settings["delta.logRetentionDuration"] == "interval 400 days"
    assert settings["delta.deletedFileRetentionDuration"] == "interval 400 days"


def test_vacuum_deletes_old_leftovers_and_keeps_versions(filled, frames) -> None:
    folder = filled.files("monitor.regime")[0].parent
    old, young = folder / "left-by-a-crash.parquet", folder / "being-written.parquet"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    filled.replace("monitor.regime", frames.regime(300))
    assert [Path(p).name for p in filled.vacuum("monitor.regime", dry_run=True)] == [old.name]
    assert old.exists()
    filled.vacuum("monitor.regime")
    assert not old.exists()
    assert young.exists()
    assert filled.read("monitor.regime", version=0).height == 400
