"""A table with many columns says what they are in a description of a length that Delta takes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.core.data import Column, TableContract, wide_contract
from wealthos_pipeline.data.storage import schema
from wealthos_pipeline.data.storage.lake import Lake


def wide(columns: int) -> TableContract:
    words = [
        Column(
            f"factor_{i}", "f32", f"what factor {i} means, in words {i * 7919}", "z", nullable=True
        )
        for i in range(columns)
    ]
    return wide_contract("factors.equity_wide", "Wide.", words)


@pytest.mark.parametrize("columns", [3, 80, 400])
def test_a_contract_is_read_back_from_its_description(columns: int) -> None:
    contract = wide(columns)
    text = schema.describe(contract)
    back = schema.described(contract.name, text)
    assert len(text) <= schema.LONGEST
    assert back is not None
    assert back.schema() == contract.schema()
    assert back.key == contract.key
    if columns < 400:
        assert back == contract


def test_what_is_no_description_is_none() -> None:
    assert schema.described("a.b", schema.PACKED + "###") is None
    assert schema.described("a.b", "words") is None


def test_columns_are_added_to_a_table_that_is_there(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for columns in (3, 80):
        contract = wide(columns)
        lake.register(contract)
        row = {"date": [date(2020, 1, 2)], "instrument_id": ["a"], "factor_0": [float(columns)]}
        lake.replace(contract.name, contract.conform(pl.DataFrame(row)))
    fresh = Lake(tmp_path)
    assert fresh.contract("factors.equity_wide").column_names == wide(80).column_names
    assert fresh.read("factors.equity_wide")["factor_0"].to_list() == [80.0]
