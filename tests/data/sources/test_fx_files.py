"""Exchange rates from a person's files: one file or a folder, pairs in any spelling."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.sources import rates
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2024, 3, 8, 23, tzinfo=UTC)


def test_pairs_in_every_spelling():
    names = {
        "GBPUSD": ("GBPUSD", False), "gbp/usd": ("GBPUSD", False), "GBP_USD": ("GBPUSD", False),
        "GBPUSD=X": ("GBPUSD", False), "EUR-GBP": ("EURGBP", False), "USDJPY": ("USDJPY", False),
        "DEXUSUK": ("GBPUSD", False), "dexjpus": ("JPYUSD", True),
        "VOLUME": None, "USDUSD": None, "Date": None, "DEXXXXX": None, "USD": None,
    }  # fmt: skip
    assert {n: rates.pair(n) for n in names} == names


def test_a_file_with_one_column_a_pair(tmp_path):
    (tmp_path / "fx.csv").write_text(
        "Date,GBP/USD,DEXJPUS,Comment\n2024-03-07,1.2800,125.0,x\n2024-03-06,1.27,.,\n"
    )
    got, notes = rates.read_fx(tmp_path / "fx.csv")
    assert got.rows() == [
        ("GBPUSD", date(2024, 3, 6), 1.27),
        ("GBPUSD", date(2024, 3, 7), 1.28),
        ("JPYUSD", date(2024, 3, 7), 0.008),
    ]
    assert notes == []


def test_a_folder_is_one_table_and_what_differs_is_listed(tmp_path):
    (tmp_path / "old.csv").write_text("date,GBPUSD\n2024-03-05,1.26\n2024-03-06,1.27\n")
    (tmp_path / "new.csv").write_text(
        "date,GBPUSD,EURUSD\n2024-03-06,1.30,1.09\n2024-03-05,1.261,1.08\n2024-03-07,1.28,1.1\n"
    )
    got, notes = rates.read_fx(tmp_path)
    pound = got.filter(pl.col("tenor") == "GBPUSD")["value"].to_list()
    assert pound == [1.261, 1.30, 1.28]
    assert notes == [
        ("fx GBPUSD", "2024-03-06: new.csv differs from an earlier file by 2.3%; new.csv is used")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("date,Price\n2024-03-07,1\n", "no column that is a pair of currencies such as 'GBPUSD'; it has: date, Price"),
        ("GBPUSD\n1.2\n", "no date column"),
        ("date,GBPUSD\n2024-03-07,high\n", "'high'"),
        ("date,GBPUSD\n2024-03-07,-1.2\n", "rates that are not positive: row 2: '-1.2'"),
        ("date,DEXJPUS\n2024-03-07,0\n", "rates that are not positive: row 2: '0'"),
        ("date,GBPUSD,gbp_usd\n2024-03-07,1,1\n", "two columns mean GBPUSD"),
        ("date,GBPUSD\nsoon,1\n", "'soon'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_row(tmp_path, text, words):
    (tmp_path / "fx.csv").write_text(text)
    with pytest.raises(SourceError) as caught:
        rates.read_fx(tmp_path / "fx.csv")
    assert words in str(caught.value)
    assert "fx.csv" in str(caught.value)


def test_every_fault_of_every_file_is_listed(tmp_path):
    (tmp_path / "a.csv").write_text("date,Price\n2024-03-07,1\n")
    (tmp_path / "b.csv").write_text("date,GBPUSD,EURUSD\n2024-03-07,0,x\n")
    with pytest.raises(SourceError) as caught:
        rates.read_fx(tmp_path)
    said = str(caught.value)
    assert all(w in said for w in ("a.csv: no column", "b.csv: column 'GBPUSD'", "'x'"))


@pytest.mark.parametrize("name", ["none.csv", "folder"])
def test_a_path_without_a_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=rf"{name}.*exchange rates by date"):
        rates.read_fx(tmp_path / name)


def test_the_files_source_gives_them_as_series(tmp_path, calendar):
    (tmp_path / "p.csv").write_text("symbol,date,close\nVOD,2024-03-06,70\nVOD,2024-03-07,71\n")
    (tmp_path / "fx.csv").write_text("date,GBPUSD\n2024-03-06,1.27\n2024-03-07,1.28\n")
    settings = load_settings(
        source={"name": "files", "path": tmp_path / "p.csv", "fx": tmp_path / "fx.csv"}
    )
    got = sources.get(settings).fetch(sources.Request(date(2024, 3, 7), None, NOW, calendar))
    assert got.series.select("source", "series", "tenor", "date", "value", "unit", "frequency").rows() == [
        ("files", "fx", "GBPUSD", date(2024, 3, 7), 1.28, "rate", "day")
    ]  # fmt: skip


def test_beside_the_sample_they_come_too(tmp_path, calendar):
    (tmp_path / "fx.csv").write_text(
        "date,GBPUSD\n2022-12-29,1.20\n2022-12-30,1.21\n2030-01-02,9\n"
    )
    settings = load_settings(source={"fx": tmp_path / "fx.csv"})
    got = sources.get(settings).fetch(sources.Request(date(2022, 12, 30), None, NOW, calendar))
    rows = got.series.filter(pl.col("series") == "fx")
    assert rows.select("tenor", "date", "value").rows() == [("GBPUSD", date(2022, 12, 30), 1.21)]
