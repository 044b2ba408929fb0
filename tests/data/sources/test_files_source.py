from __future__ import annotations

import os
from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, PanelError, SourceError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import instruments, membership, prices, raw, series
from wealthos_pipeline.data.sources import files, landing, rates
from wealthos_pipeline.utils.config import Settings, SourceSettings

NOW = datetime(2024, 3, 8, 23, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "p.csv").write_text(
        "Symbol,Date,Close,Adj Close,Volume\n"
        "AAPL,2024-03-05,170,169,10\nAAPL,2024-03-06,171,170,11\nAAPL,2024-03-08,172,172,12\n"
        "BRK-B,2024-03-05,400,400,1\nBRK-B,2024-03-06,-401,401,1\nBRK-B,2024-03-09,402,402,1\nBRK-B,2030-01-02,9,9,1\n"
        "ODD,2024-03-05,1,1,1\nODD,2024-03-05,2,2,1\n"
    )
    (tmp_path / "sectors.csv").write_text(
        "Symbol,Security,GICS Sector\nBRK.B,Berkshire,Financials\nAAPL,Apple,Information Technology\nXYZ,None,Energy\n"
    )
    (tmp_path / "members.csv").write_text(
        "ticker,start_date,end_date\nBRK.B,2010-02-16,\nAAPL,1982-11-30,2024-03-06\nLEH,1998-01-12,2008-09-17\n"
    )
    (tmp_path / "vix.csv").write_text(
        "DATE,OPEN,HIGH,LOW,CLOSE\n2024-03-07,14,15,13,14.5\n2024-03-08,14,15,13,14.7\n"
    )
    return tmp_path


def source(folder, **names) -> files.FilesSource:
    given = {k: folder / v for k, v in {"path": "p.csv", **names}.items()}
    return sources.get(Settings(source=SourceSettings(name="files", **given)))


def test_a_panel_with_everything_beside_it(folder, calendar):
    src = source(folder, sectors="sectors.csv", membership="members.csv", vix="vix.csv")
    out = src.fetch(sources.Request(None, None, NOW, calendar))
    assert set(out.prices["symbol"]) == {"AAPL", "BRK-B"}
    sector = dict(out.instruments.select("symbol", "sector").rows())
    assert sector == {
        "AAPL": "Information Technology",
        "BRK-B": "Financials",
        "ODD": None,
    } or sector == {
        "AAPL": "Information Technology",
        "BRK-B": "Financials",
    }
    reasons = dict(out.failures.rows())
    assert "without prices" in reasons["LEH"]
    assert out.rejected.select("symbol", "rule").rows() == [("ODD", "duplicate_key")]
    # the file's end is the first day out
    ends = dict(out.membership.select("symbol", "end").rows())
    assert ends == {"AAPL": date(2024, 3, 5), "BRK.B": None, "LEH": date(2008, 9, 16)}
    assert out.series.select("series", "value").rows() == [("vix", 14.5), ("vix", 14.7)]

    registry = instruments.clean(out.instruments, out.prices, calendar=calendar)
    cleaned = prices.clean(out.prices, registry, calendar, now=NOW)
    rules = dict(cleaned.quarantine.select("date", "rule").rows())
    assert rules == {
        date(2024, 3, 6): "non_positive_price",
        date(2024, 3, 9): "future_date",
        date(2030, 1, 2): "future_date",
    }
    members = membership.clean(out.membership, registry, calendar)
    assert members["instrument_id"].to_list() == ["XNYS:AAPL", "XNYS:BRK-B"]


def test_biases_and_gaps_are_told(folder, calendar):
    src = source(folder)
    info = src.info()  # before and without a fetch
    assert {b.name for b in info.biases} == {"survivorship", "back_adjustment"}
    assert {
        "open",
        "high",
        "low",
        "dividend",
        "split_ratio",
        "sector",
        "membership",
        "yield_curve",
    } <= set(info.missing)
    assert str(folder) not in repr(info)
    src.fetch(sources.Request(None, None, NOW, calendar))
    assert any("2024-03-08" in b.title for b in src.info().biases)


def test_the_setting_decides_about_adjustment_where_it_is_given(folder, calendar):
    request = sources.Request(None, None, NOW, calendar)
    for adjusted, vintage in ((True, date(2024, 3, 8)), (False, None), (None, date(2024, 3, 8))):
        settings = SourceSettings(name="files", path=folder / "p.csv", adjusted=adjusted)
        out = sources.get(Settings(source=settings)).fetch(request)
        assert set(out.prices["basis_vintage"]) == {vintage}


def test_a_session_that_is_not_over_is_rejected_until_it_is(folder, calendar):
    noon = datetime(2024, 3, 8, 17, tzinfo=UTC)
    early = source(folder).fetch(sources.Request(None, None, noon, calendar))
    assert ("AAPL", "incomplete_bar") in early.rejected.select("symbol", "rule").rows()
    assert early.prices.filter(pl.col("symbol") == "AAPL")["date"].max() == date(2024, 3, 6)
    later = source(folder).fetch(sources.Request(None, None, NOW, calendar))
    new = raw.new_rows(early.prices, later.prices, contract("raw.prices"))
    assert (("AAPL", date(2024, 3, 8))) in new.select("symbol", "date").rows()


def test_since_gives_the_overlap_only(folder, calendar):
    out = source(folder).fetch(sources.Request(None, None, NOW, calendar, since=date(2024, 3, 6)))
    assert out.prices["date"].min() == date(2024, 3, 6)
    assert set(out.instruments["symbol"]) >= {"AAPL", "BRK-B"}


def test_a_source_without_a_panel_says_how_to_give_one():
    with pytest.raises(ConfigError, match="--path"):
        sources.get(Settings(source=SourceSettings(name="files")))


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("sectors", "Name,Area\nA,B\n", "no column 'symbol'"),
        ("membership", "ticker,start_date\nA,soon\n", "row 2: 'soon'"),
        (
            "membership",
            "ticker,start_date,end_date\nA,2020-01-02,2019-01-02\n",
            "end is before the start",
        ),
        ("vix", "DATE,OPEN\n2024-01-02,3\n", "no close column"),
        ("vix", "DATE,CLOSE\n2024-01-02,high\n", "'high'"),
        ("rates", "Date,10 Yr\n2024-01-02,four\n", "'four'"),
        ("rates", "Date,Price\n2024-01-02,4\n", "no tenor column"),
    ],
)
def test_files_beside_the_panel_fail_with_their_words(folder, calendar, kind, text, words):
    (folder / "bad.csv").write_text(text)
    with pytest.raises(SourceError) as caught:
        source(folder, **{kind: "bad.csv"}).fetch(sources.Request(None, None, NOW, calendar))
    assert words in str(caught.value)
    assert not isinstance(caught.value, PanelError)


def test_landed_files_are_found_once_in_order_and_never_touched(tmp_path):
    for n, name in enumerate(
        ("b.csv", "a.parquet", ".hidden.csv", "c.csv.part", "notes.md", "~x.csv")
    ):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000 + n, 1000 + n))
    (tmp_path / "empty.csv").write_text("")
    found = landing.read_landing(tmp_path)
    assert [f.path.name for f in found] == ["b.csv", "a.parquet"]
    seen = {f.fingerprint for f in found}
    assert landing.read_landing(tmp_path, seen) == []
    (tmp_path / "b.csv").write_text("xy")
    assert [f.path.name for f in landing.read_landing(tmp_path, seen)] == ["b.csv"]
    assert len(list(tmp_path.iterdir())) == 7
    assert landing.read_landing(tmp_path / "none") == []


def _panel(folder, name, age, rows):
    lines = "".join(f"{s},{d},{c},{a},{v}\n" for s, d, c, a, v in rows)
    (folder / name).write_text("symbol,date,close,adj_close,volume\n" + lines)
    os.utime(folder / name, (age, age))


def test_a_folder_of_landed_files_is_one_panel_in_one_basis(tmp_path, calendar):
    """A 2:1 split between two files, and a correction in the second: the chain holds."""
    _panel(
        tmp_path,
        "z.csv",
        100,
        [
            ("A", "2024-03-04", 100, 98, 10),
            ("A", "2024-03-05", 110, 107.8, 10),
            ("B", "2024-03-05", 7, 7, 1),
        ],
    )
    _panel(
        tmp_path,
        "a.csv",
        200,
        [
            ("A", "2024-03-05", 55, 53.9, 20),
            ("A", "2024-03-06", 66, 66, 20),
            ("B", "2024-03-06", 8, 8, 1),
        ],
    )
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    settings = SourceSettings(name="files", path=tmp_path)
    out = sources.get(Settings(source=settings)).fetch(sources.Request(None, None, NOW, calendar))
    mine = out.prices.filter(pl.col("symbol") == "A").sort("date")
    assert mine["close"].to_list() == [50, 55, 66]
    assert mine["adj_close"].to_list() == [49, 53.9, 66]
    assert mine["volume"].to_list() == [20, 20, 20]
    assert out.prices.filter(pl.col("symbol") == "B")["close"].to_list() == [7, 8]
    assert out.failures.filter(pl.col("symbol") == "broken.parquet").height == 1
    registry = instruments.clean(out.instruments, out.prices, calendar=calendar)
    cleaned = prices.clean(out.prices, registry, calendar, now=NOW).prices
    assert cleaned.filter(pl.col("instrument_id") == "XNYS:A")[
        "tr_index"
    ].to_list() == pytest.approx([1, 1.1, 66 / 49])


def test_a_later_file_corrects_an_earlier_one_without_moving_the_rest(tmp_path):
    _panel(
        tmp_path, "1.csv", 100, [("A", f"2024-03-0{d}", 100 + d, 100 + d, 10) for d in (4, 5, 6)]
    )
    _panel(
        tmp_path, "2.csv", 200, [("A", "2024-03-05", 90, 90, 10), ("A", "2024-03-06", 106, 106, 10)]
    )
    panel, failures = landing.read(tmp_path)
    assert panel.rows.sort("date")["close"].to_list() == [104, 90, 106]
    assert failures == []


def test_a_folder_without_a_usable_file_lists_the_faults_of_all(tmp_path):
    with pytest.raises(PanelError, match="no Parquet or CSV file yet"):
        landing.read(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(PanelError) as caught:
        landing.read(tmp_path)
    assert {f.split(":")[0] for f in caught.value.faults} == {"a.csv", "b.parquet"}


def test_tenors_in_every_spelling():
    names = {"10 Yr": "10Y", "BC_10YEAR": "10Y", "DGS10": "10Y", "DGS3MO": "3M", "1 Mo": "1M", "1.5 Mo": "1.5M",
             "BC_1MONTH": "1M", "30y": "30Y", "BC_30YEARDISPLAY": None, "Date": None, "DGS": None}  # fmt: skip
    assert {n: rates.tenor(n) for n in names} == names


def test_rates_of_two_layouts_are_one_curve(tmp_path):
    (tmp_path / "old.csv").write_text(
        "date,BC_1MONTH,BC_10YEAR,BC_30YEARDISPLAY\n2021-12-30,0.0,1.52,1\n2021-12-31,0.06,1.52,1\n"
    )
    (tmp_path / "2022.csv").write_text(
        "Date,1 Mo,10 Yr\n2022-01-03,0.05,1.63\n2021-12-31,0.06,1.60\n2021-12-30,,1.53\n"
    )
    curve, notes = rates.read_par_yields(tmp_path)
    assert curve.rows() == [
        ("10Y", date(2021, 12, 30), 1.53),
        ("10Y", date(2021, 12, 31), 1.60),
        ("10Y", date(2022, 1, 3), 1.63),
        ("1M", date(2021, 12, 31), 0.06),
        ("1M", date(2022, 1, 3), 0.05),
    ]
    assert len(notes) == 1  # 1.52 and 1.60 differ; 1.52 and 1.53 agree within rounding
    assert "2021-12-31" in notes[0][1]


def test_the_real_large_panel(shared_data, calendar):
    """A few symbols of it, with the files beside it: one cleaning, one session more, one rebase."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    settings = SourceSettings(
        name="files",
        path=shared_data / "prices/sp500_ohlcv_2005_2024.parquet",
        sectors=shared_data / "reference/sp500_constituents_2025-08.csv",
        membership=shared_data / "reference/sp500_ticker_start_end.csv",
        rates=shared_data / "treasury",
        vix=shared_data / "vix/vix-daily.csv",
    )
    src = sources.get(Settings(source=settings))
    out = src.fetch(sources.Request(date(2023, 6, 1), None, now, calendar))
    assert out.instruments.height == 615
    assert out.rejected.height == 0
    assert set(out.prices["basis_vintage"]) == {date(2024, 3, 8)}
    registry = instruments.clean(out.instruments, out.prices, calendar=calendar)
    whole = prices.clean(out.prices, registry, calendar, now=now)
    assert whole.quarantine.height == 0
    cut = date(2024, 3, 8)
    part = prices.clean(
        out.prices.filter(pl.col("date") >= prices.context_start(cut, calendar)),
        registry,
        calendar,
        now=now,
        previous=prices.last_rows(whole.prices, cut),
        start=cut,
    )
    assert part.prices.equals(whole.prices.filter(pl.col("date") >= cut))
    members = membership.clean(out.membership, registry, calendar)
    there = membership.universe(whole.prices, members)
    assert 400 < there.filter(pl.col("date") == cut).height < 503
    curve = series.clean(out.series, calendar, now=now)
    assert (
        curve.filter((pl.col("series") == "ust_par") & (pl.col("date") == cut))["tenor"].n_unique()
        == 13
    )
    assert curve.filter(pl.col("value") == 0.0).height == 0


@pytest.mark.parametrize(
    ("name", "last"), [("end", date(2024, 2, 4)), ("removed", date(2024, 2, 4)), ("valid_to", date(2024, 2, 5))]
)  # fmt: skip
def test_the_end_of_a_membership_is_the_first_day_out_and_valid_to_the_last_in(
    tmp_path, name: str, last: date
) -> None:
    from wealthos_pipeline.data.sources.files import _read_members

    file = tmp_path / "members.csv"
    file.write_text(f"ticker,start,{name}\nA,2024-01-02,2024-02-05\nB,2024-01-02,\n")
    assert _read_members(file)["end"].to_list() == [last, None]
