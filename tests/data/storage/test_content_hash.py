"""Hashes of rows."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.data.storage import content

CONTRACT = TableContract(
    "meta.test",
    "For the test.",
    (
        Column("date", "date", ""),
        Column("name", "str", "", "", True),
        Column("x", "f64", "", "", True),
        Column("y", "f32", "", "", True),
        Column("n", "i64", "", "", True),
        Column("b", "bool", "", "", True),
        Column("t", "instant", "", "", True),
    ),
    ("date",),
    "date",
)


def frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=CONTRACT.schema(), orient="row")


unhurried = settings(max_examples=60, deadline=None)

cells = st.tuples(
    st.dates(date(2019, 1, 1), date(2022, 12, 31)),
    st.none() | st.text(max_size=3),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.floats(allow_nan=False, width=32),
    st.none() | st.integers(-5, 5),
    st.none() | st.booleans(),
    st.none(),
)


@unhurried
@given(st.lists(cells, max_size=12), st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(rows, random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    cut = len(rows) // 2
    whole = content.digest(frame(rows), CONTRACT)
    assert content.digest(frame(shuffled), CONTRACT) == whole
    parts = content.digest(frame(rows[:cut]), CONTRACT) + content.digest(
        frame(rows[cut:]), CONTRACT
    )
    assert parts == whole
    assert whole - content.digest(frame(rows[:cut]), CONTRACT) == content.digest(
        frame(rows[cut:]), CONTRACT
    )
    by_date = content.digest_by_date(frame(shuffled), CONTRACT)
    assert content.total(by_date.years()) == whole
    assert by_date.total() == whole
    assert content.Digest.parse(whole.text) == whole


def _negative(x: float | None) -> bool:
    return x is not None and bool(np.signbit(x))


@unhurried
@given(cells, st.integers(1, 5), st.data())
def test_any_changed_cell_changes_the_hash(row, column, data) -> None:
    other = data.draw(cells)[column]
    changed = (*row[:column], other, *row[column + 1 :])
    same = (
        row[column] == other and _negative(row[column]) == _negative(other)
        if (column in (2, 3))
        else row[column] == other and type(row[column]) is type(other)
    )
    equal = content.digest(frame([row]), CONTRACT) == content.digest(frame([changed]), CONTRACT)
    assert equal == same


def test_swapping_values_between_rows_or_columns_is_seen() -> None:
    d = date(2020, 1, 1), date(2020, 1, 2)
    one = frame([(d[0], "a", 1.0, 2.0, 3, True, None), (d[1], "b", 1.0, 2.0, 3, True, None)])
    two = frame([(d[0], "b", 1.0, 2.0, 3, True, None), (d[1], "a", 1.0, 2.0, 3, True, None)])
    three = frame([(d[0], "a", 2.0, 1.0, 3, True, None), (d[1], "b", 1.0, 2.0, 3, True, None)])
    assert len({content.digest(f, CONTRACT).hash for f in (one, two, three)}) == 3


def test_missing_zero_nan_and_their_signs() -> None:
    def of(x: object) -> content.Digest:
        return content.digest(
            pl.DataFrame(
                {"date": [date(2020, 1, 1)], "x": pl.Series([x], dtype=pl.Float64)}
            ).select(
                "date",
                pl.lit(None, pl.String).alias("name"),
                "x",
                *(pl.lit(None, CONTRACT.schema()[c]).alias(c) for c in ("y", "n", "b", "t")),
            ),
            CONTRACT,
        )

    odd = np.frombuffer(np.uint64(0xFFF8000000000001).tobytes(), np.float64)[0]
    assert np.isnan(odd)
    assert of(float("nan")) == of(odd), "all NaN are one"
    assert len({of(x).hash for x in (None, 0.0, -0.0, float("nan"), 1.0)}) == 5


def test_a_new_column_without_values_changes_nothing() -> None:
    row = frame([(date(2020, 1, 1), "a", 1.0, 2.0, 3, True, None)])
    more = TableContract(
        "meta.test", "", (*CONTRACT.columns, Column("z", "f64", "", "", True)), ("date",), "date"
    )
    empty = row.with_columns(pl.lit(None, pl.Float64).alias("z"))
    filled = row.with_columns(pl.lit(0.0).alias("z"))
    assert content.digest(empty, more) == content.digest(row, CONTRACT)
    assert content.digest(filled, more) != content.digest(row, CONTRACT)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    n = 1000
    rows = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + rng.integers(0, 900, n),
            "name": rng.integers(0, 50, n).astype(str),
            "x": rng.normal(size=n),
            "y": rng.normal(size=n).astype(np.float32),
            "n": rng.integers(0, 9, n),
            "b": rng.integers(0, 2, n).astype(bool),
        }
    ).with_columns(pl.lit(None, CONTRACT.schema()["t"]).alias("t"))
    whole = content.digest_by_date(rows, CONTRACT)
    monkeypatch.setattr(content, "_BLOCK", 7)
    cut = content.digest_by_date(rows, CONTRACT)
    assert not whole.changed(cut)
    assert whole.years() == cut.years()
