from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.errors import PanelError
from wealthos_pipeline.data.sources import panel

DAYS = [date(2024, 1, d) for d in (2, 3, 4, 5)]
LONG = pl.DataFrame(
    {
        "symbol": ["A"] * 4 + ["B"] * 4,
        "date": DAYS * 2,
        "open": np.linspace(10, 11, 8),
        "close": np.linspace(10, 12, 8),
        "adj_close": np.linspace(9, 11, 8),
        "volume": list(range(100, 108)),
    }
)


def faults(path) -> tuple[str, ...]:
    with pytest.raises(PanelError) as caught:
        panel.read(path)
    return caught.value.faults


@pytest.mark.parametrize("kind", ["parquet", "csv", "semicolon", "tab", "gz"])
def test_long_panels_of_every_kind_are_the_same(tmp_path, kind):
    path = tmp_path / {"parquet": "p.parquet", "gz": "p.csv.gz"}.get(kind, "p.csv")
    if kind == "parquet":
        LONG.write_parquet(path)
    elif kind == "gz":
        import gzip

        path.write_bytes(gzip.compress(LONG.write_csv().encode()))
    else:
        LONG.write_csv(path, separator={"csv": ",", "semicolon": ";", "tab": "\t"}[kind])
    read = panel.read(path)
    assert read.layout == "long"
    assert read.fields == ("open", "close", "adj_close", "volume")
    expected = LONG.with_columns(pl.col("volume").cast(pl.Float64))
    assert read.rows.select(LONG.columns).sort("symbol", "date").equals(expected)


@pytest.mark.parametrize(
    "names",
    [
        {"symbol": "Ticker", "date": "Date", "adj_close": "Adj Close", "close": "Close"},
        {
            "symbol": "SYMBOL",
            "date": "Timestamp",
            "adj_close": "adjusted_close",
            "close": "Last Price",
        },
        {"symbol": " ticker ", "date": "trade date", "adj_close": "adjClose", "close": "px_last"},
    ],
)
def test_usual_column_names_are_recognised(tmp_path, names):
    LONG.rename(names).write_parquet(tmp_path / "p.parquet")
    read = panel.read(tmp_path / "p.parquet")
    assert read.layout == "long"
    assert set(read.fields) >= {"close", "adj_close"}


def test_wide_panels_are_closes_by_symbol_even_when_a_ticker_is_a_word(tmp_path):
    wide = pl.DataFrame(
        {
            "Date": DAYS,
            "LOW": [1.0, 2.0, None, 4.0],
            "OPEN": [5.0, 6.0, 7.0, 8.0],
            "BRK.B": [1.0] * 4,
        }
    )
    wide.write_csv(tmp_path / "w.csv")
    read = panel.read(tmp_path / "w.csv")
    assert read.layout == "wide"
    assert read.rows.height == 11
    assert read.rows.filter(pl.col("symbol") == "LOW")["close"].to_list() == [1.0, 2.0, 4.0]


def test_a_file_of_one_symbol_is_named_as_the_file(tmp_path):
    LONG.head(4).drop("symbol").write_csv(tmp_path / "AAPL.csv")
    read = panel.read(tmp_path / "AAPL.csv")
    assert read.layout == "single"
    assert read.symbols.to_list() == ["AAPL"]


@pytest.mark.parametrize(
    "spelling",
    [
        "%Y-%m-%d",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%Y%m%d",
        "%d.%m.%Y",
        "%d-%b-%Y",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S-05:00",
    ],
)
def test_dates_in_usual_spellings(tmp_path, spelling):
    days = [date(2024, 1, d) for d in (2, 16, 30)]
    pl.DataFrame({"Date": [d.strftime(spelling) for d in days], "A": [1.0, 2.0, 3.0]}).write_csv(
        tmp_path / "w.csv"
    )
    assert panel.read(tmp_path / "w.csv").rows["date"].to_list() == days


def test_dates_that_can_be_read_two_ways_are_refused(tmp_path):
    (tmp_path / "w.csv").write_text("Date,A\n01/02/2024,1\n01/03/2024,2\n")
    (fault,) = faults(tmp_path / "w.csv")
    assert "day/month or month/day" in fault


def test_a_truncated_parquet_file(tmp_path):
    LONG.write_parquet(tmp_path / "p.parquet")
    whole = (tmp_path / "p.parquet").read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 5):
        (tmp_path / "p.parquet").write_bytes(whole[:size])
        (fault,) = faults(tmp_path / "p.parquet")
        assert "p.parquet" in fault
        assert "truncated" in fault or "empty" in fault


def test_text_in_price_columns_is_listed_with_rows_and_values(tmp_path):
    (tmp_path / "p.csv").write_text(
        "symbol,date,close,volume\nA,2024-01-02,10.0,100\nA,2024-01-03,abc,100\n"
        'A,2024-01-04,N/A,100\nA,2024-01-05,"1,000.5",many\n'
    )
    found = faults(tmp_path / "p.csv")
    assert len(found) == 2
    assert "'close'" in found[0]
    assert "row 3: 'abc'" in found[0]
    assert "row 5: '1,000.5'" in found[0]
    assert "row 4" not in found[0]  # N/A is a missing value
    assert "row 5: 'many'" in found[1]


def test_every_fault_is_listed_at_once(tmp_path):
    (tmp_path / "p.csv").write_text("symbol,date,close,open\nA,2024-13-02,x,1\n,yesterday,2,y\n")
    found = " | ".join(faults(tmp_path / "p.csv"))
    for words in ("2024-13-02", "yesterday", "'x'", "'y'", "symbol is empty"):
        assert words in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,close\nA,1\n", "no date column"),
        ("symbol,date,open\nA,2024-01-02,1\n", "no column of closing prices"),
        ("symbol,date,close\n", "there are no rows"),
        ("date\n2024-01-02\n", "only one"),
        ("symbol,ticker,date,close\nA,A,2024-01-02,1\n", "both mean symbol"),
        ("date,A,B\n2024-01-02,,\n", "no row holds a price"),
        ("symbol,date,close\nA,2024-01-02,1\na,2024-01-03,1\n", "differ in case only"),
        ("date,close\n2024-01-02,1\n2024-01-02,2\n", "without a symbol column"),
        ("symbol,date,close\nA,2024-01-02,1\nA,2024-01-02,2\n", "more than once"),
        ("symbol;date;close\nA;2024-01-02;1,5\n", "decimals with a point"),
    ],
)
def test_what_is_missing_is_named(tmp_path, text, words):
    (tmp_path / "p.csv").write_text(text)
    assert any(words in f for f in faults(tmp_path / "p.csv"))


def test_no_file_a_folder_and_an_unknown_kind(tmp_path):
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    assert "no file" in faults(tmp_path / "none.csv")[0]
    assert "folder" in faults(tmp_path)[0]
    assert "expected Parquet or CSV" in faults(tmp_path / "p.xlsx")[0]


def test_identical_duplicates_are_one_and_contradicting_ones_none(tmp_path):
    twice = LONG.row(0)
    other = (*LONG.row(5)[:3], 99.0, *LONG.row(5)[4:])
    pl.concat([LONG, pl.DataFrame([twice, other], schema=LONG.schema, orient="row")]).write_parquet(
        tmp_path / "p.parquet"
    )
    read = panel.read(tmp_path / "p.parquet")
    assert read.rows.height == 7
    assert read.rows.select("symbol", "date").is_duplicated().sum() == 0
    assert read.rejected.select("symbol", "date", "rule").rows() == [
        ("B", DAYS[1], "duplicate_key")
    ]
    assert "99" in read.rejected["detail"].item()


def test_wrong_rows_pass_for_cleaning_to_name_them(tmp_path):
    frame = pl.DataFrame(
        {"symbol": "A", "date": [*DAYS, date(2099, 1, 2)], "close": [-1.0, 0.0, 3.0, 4.0, 5.0]}
    )
    frame.write_csv(tmp_path / "p.csv")
    assert panel.read(tmp_path / "p.csv").rows.height == 5


def make(close, **more):
    days = [date(2024, 1, d) for d in range(1, len(close) + 1)]
    rows = pl.DataFrame({"symbol": "A", "date": days, "close": close, **more})
    return panel.Panel(
        rows, rows.head(0), tuple(c for c in rows.columns if c in panel.NUMERIC), (), "long"
    )


def test_whether_prices_are_adjusted_is_found_out():
    traded, adjusted = [100.0, 101.0, 50.0, 51.0], [50.0, 50.5, 50.0, 51.0]
    split = [None, None, 2.0, None]
    assert not panel.is_adjusted(make(traded, split_ratio=split))
    assert panel.is_adjusted(make(adjusted, split_ratio=split))
    assert panel.is_adjusted(make(adjusted, adj_close=[49.0, 49.5, 49.0, 51.0]))
    assert not panel.is_adjusted(make(traded, dividend=[0.0, 1.0, 0.0, 0.0]))
    assert panel.is_adjusted(make(adjusted))  # nothing is known of events: they are inside


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"date,AAA,AAA\n2024-01-02,1,2\n", "names a column twice in its first line: 'AAA'"),
        (b"date;close;close\n2024-01-02;1;2\n", "names a column twice in its first line: 'close'"),
        (b"date,symbol,close\n45293,A,1\n", "Excel's numbers of days"),
        (b'date,symbol,close\n2024-01-02,A,"2,503.25"\n', "thousands without separators: 1234.5"),
        (b"date;symbol;close\n2024-01-02;A;2.503,25\n", "write decimals with a point, not a comma"),
        (b"date,symbol,close\n2024-01-02,A,$5.10\n", "without currency and separators"),
        ("date,symbol,close\n2024-01-02,A,1\n".encode("utf-16"), "the encoding UTF-8"),
        (b"date,symbol,close,name\n2024-01-02,A,1,Soci\xe9t\xe9\n", "the encoding UTF-8"),
        (b"Prices of March\ndate,symbol,close\n2024-01-02,A,1\n", "Is there a title above"),
        (b"Datum,close\n2024-01-02,1\n", "expected 'date', or datetime"),
    ],
)
def test_what_to_do_about_a_file_is_said(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(text)
    with pytest.raises(PanelError) as refused:
        panel.read(file)
    assert said in str(refused.value)
