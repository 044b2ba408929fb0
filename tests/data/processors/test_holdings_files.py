from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import holdings

KNOWN = pl.DataFrame(
    {
        "symbol": ["AAPL", "BRK.B"],
        "instrument_id": ["XNYS:AAPL", "XNYS:BRK.B"],
        "valid_from": [date(2000, 1, 3)] * 2,
    }
)


def test_positions_and_cash_of_several_mandates(tmp_path, calendar):
    (tmp_path / "a.csv").write_text(
        "mandate,date,symbol,units\nbalanced,2022-12-28,AAPL,10.5\nbalanced,2022-12-28,cash,1000\n"
    )
    (tmp_path / "growth.csv").write_text(
        "Date,Ticker,Shares\n2022-12-28,BRK-B,-3\n2022-12-28,XNYS:AAPL,1\n"
    )
    out = holdings.read(tmp_path, KNOWN, calendar)
    assert out.select("mandate", "instrument_id", "units").rows() == [
        ("balanced", "XNYS:AAPL", 10.5),
        ("balanced", "cash", 1000.0),
        ("growth", "XNYS:AAPL", 1.0),
        ("growth", "XNYS:BRK.B", -3.0),
    ]
    assert out["known_at"][0] == calendar.known_at(date(2022, 12, 28))


def test_no_files_no_holdings(tmp_path, calendar):
    assert holdings.read(tmp_path, KNOWN, calendar).height == 0
    assert holdings.read(tmp_path / "none", KNOWN, calendar).height == 0


def test_every_fault_of_every_file_is_named(tmp_path, calendar):
    (tmp_path / "a.csv").write_text(
        "mandate,date,symbol,units\nm,2022-12-28,ZZZ,1\nm,28.12.2022,AAPL,many\n"
        "m,2030-01-02,AAPL,1\nm,2022-12-28,AAPL,-1\nn,2022-12-28,AAPL,-1\nn,2022-12-28,AAPL,2\nm,2022-12-28,cash,inf\n"
    )
    (tmp_path / "b.csv").write_text("date,units\n2022-12-28,1\n")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(ConfigError) as caught:
        holdings.read(
            tmp_path, KNOWN, calendar, now=datetime(2026, 1, 1, tzinfo=UTC), long_only={"m"}
        )
    text = str(caught.value)
    for words in (
        "a.csv row 2: no instrument has the symbol 'ZZZ'",
        "a.csv row 3: date '28.12.2022' is not YYYY-MM-DD",
        "a.csv row 3: units 'many' is not a number",
        "a.csv row 4: date 2030-01-02 is in the future",
        "a.csv row 5: -1 units of AAPL, but m is long only",
        "XNYS:AAPL of n on 2022-12-28 is given again",
        "a.csv row 8: units 'inf' is not a number",
        "b.csv: no column ['symbol']",
        "c.csv cannot be read as CSV",
    ):
        assert words in text
    assert "row 6" not in text  # n may be short
