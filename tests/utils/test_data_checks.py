from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from wealthos_pipeline.core.data import Column, TableContract, contract, load, wide_contract
from wealthos_pipeline.utils import validation

NOW = datetime(2024, 3, 15, tzinfo=UTC)


def bars(n: int = 40, names: tuple[str, ...] = ("A", "B")) -> pl.DataFrame:
    rows = []
    for k, name in enumerate(names):
        level = 1.0
        for i in range(n):
            day = date(2024, 1, 2) + timedelta(days=i)
            level *= 1.01 if (i + k) % 2 else 0.995
            rows.append(
                {
                    "instrument_id": name, "date": day, "slot": 13600 + i, "open": 50.0 * level,
                    "high": 51.0 * level, "low": 49.0 * level,
                    "close": 50.0 * level, "volume": 1000.0, "split_ratio": 1.0, "split_index": 1.0, "tr_index": level,
                    "dollar_volume": 5e4, "flags": 0, "currency": "USD", "source": "v", "basis": "assumed",
                    "known_at": datetime(day.year, day.month, day.day, 21, tzinfo=UTC),
                }
            )  # fmt: skip
    return contract("clean.prices").conform(pl.DataFrame(rows))


def run(frame: pl.DataFrame, table: str = "clean.prices", **more) -> pl.DataFrame:
    return validation.validate(table, frame, run_id="r1", now=NOW, **more)


def failed(checks: pl.DataFrame) -> set[tuple[str, str]]:
    return set(checks.filter(~pl.col("success")).select("check", "column").rows())


def at(frame: pl.DataFrame, row: int, **values) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(v)).otherwise(pl.col(n)).cast(frame.schema[n]).alias(n)
        for n, v in values.items()
    )


def test_good_bars_pass_everything_and_the_frame_fits_its_contract():
    checks = run(bars())
    assert failed(checks) == set()
    assert contract("meta.checks").conform(checks).equals(checks)
    assert checks.filter(pl.col("check") == "not_null").height == sum(
        not c.nullable or c.name in contract("clean.prices").key
        for c in contract("clean.prices").columns
    )
    assert validation.blocking_failures(checks).height == 0
    assert validation.in_words(checks) == ""


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"close": -1.0}, ("positive_price", "close")),
        ({"close": float("inf")}, ("finite", "close")),
        ({"close": float("nan")}, ("not_null", "close")),
        ({"high": 48.0}, ("high_not_below_low", "high")),
        ({"tr_index": 0.0}, ("in_range", "tr_index")),
        ({"tr_index": 1e4}, ("daily_growth_possible", "tr_index")),
        ({"volume": -3.0}, ("in_range", "volume")),
        ({"split_ratio": 0.0}, ("in_range", "split_ratio")),
        ({"basis": "guessed"}, ("known_word", "basis")),
        ({"date": date(2025, 1, 2)}, ("not_after_now", "date")),
        ({"known_at": NOW + timedelta(seconds=1)}, ("not_after_now", "known_at")),
        ({"currency": None}, ("not_null", "currency")),
        ({"instrument_id": "A"}, ("unique_key", "")),
    ],
)
def test_each_fault_is_found_by_its_rule_and_blocks(change, check):
    checks = run(at(bars(), 17, **change))
    assert check in failed(checks)
    row = checks.filter((pl.col("check") == check[0]) & (pl.col("column") == check[1])).row(
        0, named=True
    )
    assert row["severity"] == "error"
    assert row["unexpected"] == (2 if check[0] in ("unique_key", "daily_growth_possible") else 1)
    assert row["rows"] == 80
    assert check[0] in validation.in_words(checks)
    assert check in set(validation.blocking_failures(checks).select("check", "column").rows())


def test_examples_say_where():
    checks = run(at(bars(), 5, close=-7.0))
    (example,) = json.loads(checks.filter(pl.col("check") == "positive_price")["examples"].item())
    where = bars().row(5, named=True)
    assert example == {
        "value": -7.0,
        "instrument_id": where["instrument_id"],
        "date": where["date"].isoformat(),
    }


def test_unusual_moves_warn_and_do_not_block():
    frame = bars()
    frame = frame.with_columns(
        pl.when((pl.col("instrument_id") == "A") & (pl.col("date") > date(2024, 1, 20)))
        .then(pl.col("tr_index") * 3)
        .otherwise("tr_index")
        .alias("tr_index")
    )
    checks = run(frame)
    assert failed(checks) == {("daily_growth_usual", "tr_index")}
    assert validation.blocking_failures(checks).height == 0
    assert checks.filter(pl.col("check") == "daily_growth_usual")["unexpected"].item() == 1


def test_a_thin_last_session_blocks_and_a_thin_old_one_warns():
    frame = bars(names=tuple("ABCDEFGHIJ"))
    last, old = frame["date"].max(), date(2024, 1, 20)
    thin = pl.col("instrument_id").is_in(["A", "B", "C"])
    assert failed(run(frame.filter((pl.col("date") != last) | thin))) == {
        ("session_complete", "date"),
        ("last_session_complete", "date"),
    }
    assert failed(run(frame.filter((pl.col("date") != old) | thin))) == {
        ("session_complete", "date")
    }


def test_one_new_day_is_judged_against_the_days_before():
    frame = bars(names=tuple("ABCDEFGHIJ"))
    last = frame["date"].max()
    before, day = frame.filter(pl.col("date") < last), frame.filter(pl.col("date") == last)
    wild = at(day, 0, tr_index=1e6)
    assert failed(run(wild)) == set()  # nothing to compare with
    assert failed(run(day, context=before)) == set()
    assert ("daily_growth_possible", "tr_index") in failed(run(wild, context=before))
    thin = failed(run(day.head(3), context=before))
    assert thin == {("session_complete", "date"), ("last_session_complete", "date")}
    old = at(before, 5, tr_index=1e6)  # what is wrong in the context is not counted again
    assert failed(run(day, context=old)) == set()


def test_an_empty_table_of_prices_blocks():
    checks = run(contract("clean.prices").empty())
    assert failed(checks) == {("not_empty", "")}


def test_yields_outside_the_possible_are_found():
    frame = pl.DataFrame(
        {
            "series": ["ust_par", "ust_par", "vix", "wti"], "tenor": ["10Y", "2Y", "", ""], "date": [date(2024, 3, 1)] * 4,
            "value": [4.0, 44.0, 0.0, -37.6], "unit": ["percent", "percent", "index", "usd"], "frequency": "day",
            "source": "v", "basis": "assumed", "known_at": [datetime(2024, 3, 2, tzinfo=UTC)] * 4,
        }
    )  # fmt: skip
    checks = run(contract("clean.series").conform(frame), "clean.series")
    assert failed(checks) == {("yield_possible", "value"), ("index_positive", "value")}


def test_a_missing_column_fails_its_rules_and_the_rest_goes_on():
    checks = run(bars().drop("volume"))
    assert failed(checks) == {
        ("in_range", "volume"), ("volume_possible", "volume"), ("session_traded", "volume"),
    }  # fmt: skip
    assert all("volume" in e for e in checks.filter(~pl.col("success"))["examples"])


def test_a_family_of_factors_has_one_check_of_finiteness():
    columns = [Column(f"f{i}", "f32", "", nullable=True) for i in range(30)]
    family = wide_contract("factors.equity_x", "", columns)
    frame = pl.DataFrame(
        {
            "date": [date(2024, 1, 2)] * 2,
            "instrument_id": ["A", "B"],
            **{c.name: [1.0, None] for c in columns},
        }
    )
    good = validation.validate(family, family.conform(frame), run_id="r", now=NOW)
    assert failed(good) == set()
    bad = family.conform(frame.with_columns(pl.lit(float("inf")).alias("f7")))
    checks = validation.validate(family, bad, run_id="r", now=NOW)
    assert failed(checks) == {("finite", "")}


def test_own_rules_take_the_place_of_the_suite():
    rule = validation.Rule(
        "cheap", "close", "warn", validation.of(pl.col("close"), "date"), high=1.0
    )
    checks = run(bars(), rules=[rule])
    assert checks.select("check", "severity", "unexpected").rows() == [("cheap", "warn", 80)]
    assert len(json.loads(checks["examples"].item())) == validation.EXAMPLES


@pytest.mark.parametrize("table", sorted(load()))
def test_every_table_has_a_suite_with_unique_checks(table):
    suite = validation.rules(table)
    names = [(r.check, r.column) for r in suite]
    assert len(set(names)) == len(names)
    assert ("unique_key", "") in names
    columns = set(contract(table).column_names)
    assert {r.column for r in suite} <= columns | {""}


def test_the_library_does_not_load_great_expectations_until_it_checks():
    code = (
        "import sys; from wealthos_pipeline.utils import validation\n"
        "validation.rules('clean.prices')\n"
        "assert 'great_expectations' not in sys.modules; assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_contract_of_ones_own_is_checked_too():
    own = TableContract(
        "x.y", "", (Column("k", "str", ""), Column("n", "f64", "", "shares")), ("k",)
    )
    checks = validation.validate(
        own, pl.DataFrame({"k": ["a", "a"], "n": [-1.0, 2.0]}), run_id="r", now=NOW
    )
    assert failed(checks) == {("unique_key", ""), ("in_range", "n")}
