"""Expressions over tables that are not the lake's, in whatever form they come."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wealthos_pipeline import factors
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.engine import evaluate as over_prices

EXPRESSIONS = {
    "move": "$close / Ref($close, 2) - 1",
    "spread": "Mean($high - $low, 3)",
    "own": "$score * 2",
    "beta": "Beta($ret, $market_ret, 8)",
    "among": "CSRank($close)",
}


@pytest.fixture
def table() -> pl.DataFrame:
    """Four names on thirty days of which some rows are missing; the weekends trade too."""
    rng = np.random.default_rng(3)
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(30)]
    grid = pl.DataFrame({"date": days}).join(pl.DataFrame({"symbol": list("CABD")}), how="cross")
    close = 50 * np.exp(np.cumsum(rng.standard_normal(grid.height) * 0.02))
    out = grid.with_columns(
        close=pl.Series(close), high=pl.Series(close * 1.01), low=pl.Series(close * 0.98),
        score=pl.Series(rng.standard_normal(grid.height)),
    )  # fmt: skip
    return out.filter(pl.Series(rng.random(grid.height) > 0.1))


def by_hand(table: pl.DataFrame) -> pl.DataFrame:
    """The first three expressions, cell by cell."""
    days = table["date"].unique().sort().to_list()
    cells = {(d, s): r for d, s, *r in table.select(
        "date", "symbol", "close", "high", "low", "score").iter_rows()}  # fmt: skip
    out = []
    for (d, s), (close, _, _, score) in cells.items():
        t = days.index(d)
        two = cells.get((days[t - 2], s)) if t >= 2 else None
        window = [cells[(e, s)] for e in days[max(0, t - 2) : t + 1] if (e, s) in cells]
        out.append((d, s, None if two is None else close / two[0] - 1,
                    sum(r[1] - r[2] for r in window) / len(window), score * 2))  # fmt: skip
    names = ["date", "symbol", "move", "spread", "own"]
    return pl.DataFrame(out, schema=names, orient="row").sort("date", "symbol")


def test_columns_are_fields_as_given_and_sessions_the_dates_there(table) -> None:
    out = factors.evaluate(EXPRESSIONS, table.sample(fraction=1, shuffle=True, seed=1))
    assert out.columns == ["date", "symbol", *EXPRESSIONS]
    expected = by_hand(table).cast(dict.fromkeys(("move", "spread", "own"), pl.Float32))
    assert_frame_equal(out.select(expected.columns), expected, rel_tol=1e-6)
    assert out["beta"].drop_nulls().len() > 50


def test_every_form_of_table_gives_the_same(table) -> None:
    whole = factors.evaluate(EXPRESSIONS, table)
    frame = pd.DataFrame(table.to_dict(as_series=False))
    with duckdb.connect() as connection:
        connection.register("t", table.to_arrow())
        forms = [
            table.lazy(),
            table.to_arrow(),
            connection.sql("SELECT * FROM t"),
            frame,
            frame.set_index(["date", "symbol"]),
        ]
        for form in forms:
            assert factors.evaluate(EXPRESSIONS, form)[:, 1:].equals(whole[:, 1:])
    qlib = table.rename({"close": "$close", "date": "datetime", "symbol": "instrument"})
    other = factors.evaluate({"move": EXPRESSIONS["move"]}, qlib)
    assert other.columns == ["datetime", "instrument", "move"]
    assert other["move"].equals(whole["move"])


def test_instants_are_sessions_and_the_key_keeps_its_type(table) -> None:
    at = pl.col("date").cast(pl.Datetime("ms", "UTC")) + pl.duration(hours=14)
    codes = {"A": 7, "B": 100, "C": 20, "D": 3}
    coded = table.with_columns(at, pl.col("symbol").replace_strict(codes, return_dtype=pl.Int32))
    out = factors.evaluate({"move": EXPRESSIONS["move"]}, coded)
    assert out.schema["date"] == pl.Datetime("ms", "UTC")
    assert out["symbol"].dtype == pl.Int32
    names = pl.col("symbol").replace_strict(codes, return_dtype=pl.Int32)
    expected = factors.evaluate({"move": EXPRESSIONS["move"]}, table).with_columns(at, names)
    assert out.equals(expected.sort("date", "symbol"))


def test_start_changes_no_bit_of_what_follows(table) -> None:
    whole = factors.evaluate(EXPRESSIONS, table)
    for start in (date(2024, 1, 17), date(2023, 1, 1), date(2024, 1, 29)):
        part = factors.evaluate(EXPRESSIONS, table, start=start)
        assert part.equals(whole.filter(pl.col("date") >= start))


def test_a_calendar_counts_its_sessions_and_clean_prices_stay_adjusted(
    synthetic_prices, calendar
) -> None:
    text = {"a": "Mean($high, 20)", "b": "Sum($volume, 5)", "c": "Corr($ret, $market_ret, 30)"}
    expected = over_prices(text, synthetic_prices, calendar=calendar)
    out = factors.evaluate(text, synthetic_prices, calendar=calendar)
    assert out.equals(expected)
    alpha = factors.evaluate("alpha158", synthetic_prices.drop("vwap", strict=False)
                             .with_columns(vwap="close"), calendar=calendar)  # fmt: skip
    assert alpha.width == 160


def test_groups_are_columns(table) -> None:
    sector = pl.when(pl.col("symbol").is_in(["A", "B"])).then(pl.lit("x")).otherwise(pl.lit("y"))
    out = factors.evaluate({"d": "CSDemean($close, sector)"}, table.with_columns(sector=sector))
    expected = table.sort("date", "symbol").select(
        pl.col("close") - pl.col("close").mean().over("date", sector)
    )["close"]
    assert np.allclose(out["d"], expected, atol=1e-5)
    with pytest.raises(FactorError, match="d: groups by sector; the table has no column 'sector'"):
        factors.evaluate({"d": "CSDemean($close, sector)"}, table)


def test_every_fault_is_told_at_once(table) -> None:
    bad = pl.concat([table, table[:2]]).with_columns(low=pl.lit("x"))
    with pytest.raises(FactorError) as error:
        factors.evaluate(
            {"a": "Mean($clsoe, 3)", "b": "$low + $open", "c": "Series('vix')", "d": "$low"}, bad
        )
    text = str(error.value)
    for words in (
        "4 rows share date and name", "clsoe", "$low (in b and 1 more): column 'low' is String",
        "$open (in b): the table has no column 'open'", "pass calendar=", "It has: date (Date)",
    ):  # fmt: skip
        assert words in text
    odd = table.rename({"symbol": "who"}).with_columns(pl.col("date").cast(pl.String))
    with pytest.raises(FactorError, match=r"(?s)to_date.*'instrument_id' or 'symbol'"):
        factors.evaluate({"a": "$close"}, odd)
    gone = table.with_columns(symbol=pl.when(pl.col("symbol") == "A").then("symbol"))
    with pytest.raises(FactorError, match="rows have no symbol"):
        factors.evaluate({"a": "$close"}, gone)
    with pytest.raises(FactorError, match="int is no table"):
        factors.evaluate({"a": "$close"}, 3)
    with pytest.raises(FactorError, match=r"read with pl\.read_parquet"):
        factors.evaluate({"a": "$close"}, "prices.parquet")
    for name in ("date", "symbol"):
        with pytest.raises(FactorError, match=f"'{name}' is a column .* another name"):
            factors.evaluate({name: "$close"}, table)
    with pytest.raises(FactorError, match=r"\{name: expression\}, found a list"):
        factors.evaluate(["$close"], table)
    with pytest.raises(FactorError, match="no factor set 'nosuch'"):
        factors.evaluate("nosuch", table)


def test_one_expression_and_other_words_for_who(table) -> None:
    expected = factors.evaluate({"value": "Mean($close, 3)"}, table)
    assert factors.evaluate("Mean($close, 3)", table).equals(expected)
    for word in ("ticker", "asset"):
        got = factors.evaluate({"value": "Mean($close, 3)"}, table.rename({"symbol": word}))
        assert got.equals(expected.rename({"symbol": word}))


def test_a_faulty_own_file_does_not_keep_a_set_from_a_table(table, tmp_path, monkeypatch) -> None:
    (tmp_path / "factors").mkdir()
    (tmp_path / "factors" / "bad.yaml").write_text("factors: {x: [")
    monkeypatch.setattr("wealthos_pipeline.utils.config.inputs_dir", lambda: tmp_path)
    full = table.with_columns(open="close", high="close", low="close", volume=1.0, vwap="close")
    assert factors.evaluate("alpha158", full).width == 2 + 158


def test_thin_tables_are_nulls_and_not_errors(table) -> None:
    day = table.filter(pl.col("date") == table["date"].max())
    one = factors.evaluate(EXPRESSIONS, day)
    assert one.height == day.height
    assert one["move"].is_null().all()
    assert one["among"].to_list() == pytest.approx(
        (day.sort("symbol")["close"].rank() / day.height).to_list()
    )
    empty = factors.evaluate(EXPRESSIONS, table.clear())
    assert (empty.height, empty.columns) == (0, ["date", "symbol", *EXPRESSIONS])
    nothing = factors.evaluate({"a": "Mean($close, 3)"}, table.with_columns(close=None))
    assert nothing["a"].is_null().all()
    many = pl.DataFrame({
        "symbol": [f"S{i}" for i in range(10_000)], "close": np.arange(10_000.0) + 1,
        "date": [date(2020, 1, 1) + timedelta(days=i % 2_500) for i in range(10_000)],
    })  # fmt: skip
    out = factors.evaluate({"m": "Mean($close, 20)", "s": "Std($close, 20)"}, many)
    assert out.sort("m")["m"].to_list() == [i + 1.0 for i in range(10_000)]
    assert out["s"].is_null().all()
