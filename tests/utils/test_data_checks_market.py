"""The market's rules: each is met by good data and broken by one planted fault, with severity and place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.flags import Flag
from wealthos_pipeline.utils import validation

NOW = datetime(2024, 3, 15, tzinfo=UTC)
DAYS = [date(2024, 1, 2) + timedelta(days=i) for i in range(20)]
RULES = {(t, r.check): r for t, rules in validation.MARKET.items() for r in rules}


def bars(names: tuple[str, ...] = ("A", "B", "C")) -> pl.DataFrame:
    rows = [
        {
            "instrument_id": n, "date": d, "slot": 13600 + i, "open": 50.0, "high": 51.0, "low": 49.0,
            "close": 50.0, "volume": 1e6, "dividend": 0.0, "split_ratio": 1.0, "split_index": 1.0,
            "tr_index": 1.0 + 0.001 * i, "dollar_volume": 5e7, "flags": 0, "currency": "USD", "source": "v",
            "basis": "assumed", "known_at": datetime(d.year, d.month, d.day, 21, tzinfo=UTC),
        }
        for n in names
        for i, d in enumerate(DAYS)
    ]  # fmt: skip
    return contract("clean.prices").conform(pl.DataFrame(rows))


def series(**tenors: float) -> pl.DataFrame:
    rows = [
        {"series": "ust_par", "tenor": t, "date": d, "value": v + 0.01 * (i % 3), "unit": "percent",
         "frequency": "day"}
        for t, v in (tenors or {"1M": 1.0, "2Y": 2.0, "5Y": 2.5, "10Y": 3.0}).items()
        for i, d in enumerate(DAYS)
    ] + [
        {"series": "fx", "tenor": "GBPUSD", "date": d, "value": 1.3, "unit": "rate", "frequency": "day"}
        for d in DAYS
    ]  # fmt: skip
    return contract("clean.series").conform(
        pl.DataFrame(rows).with_columns(
            source=pl.lit("v"), basis=pl.lit("assumed"),
            known_at=pl.lit(datetime(2024, 2, 1, tzinfo=UTC)),
        )
    )  # fmt: skip


def figures() -> pl.DataFrame:
    row = {"instrument_id": "A", "metric": "revenue", "period": "year", "period_end": date(2022, 12, 31),
           "value": 1.0, "currency": "USD", "form": "10-K", "source": "v", "basis": "assumed",
           "known_at": datetime(2023, 2, 1, tzinfo=UTC)}  # fmt: skip
    return contract("clean.fundamentals").conform(pl.DataFrame([row]))


def macro() -> pl.DataFrame:
    row = {"series": "cpi", "date": date(2023, 12, 1), "value": 300.0, "unit": "index", "frequency": "month",
           "source": "v", "basis": "assumed", "known_at": datetime(2024, 1, 11, tzinfo=UTC)}  # fmt: skip
    return contract("clean.macro").conform(pl.DataFrame([row]))


def news() -> pl.DataFrame:
    row = {"news_id": "v:1", "instrument_id": "A", "date": date(2024, 1, 3), "headline": "x", "source": "v",
           "basis": "observed", "known_at": datetime(2024, 1, 3, 9, tzinfo=UTC)}  # fmt: skip
    return contract("clean.news").conform(pl.DataFrame([row]))


def earnings() -> pl.DataFrame:
    row = {"instrument_id": "A", "period_end": date(2023, 12, 31), "report_date": date(2024, 2, 1),
           "hour": "after", "source": "v", "basis": "observed",
           "known_at": datetime(2024, 2, 1, tzinfo=UTC)}  # fmt: skip
    return contract("clean.earnings").conform(pl.DataFrame([row]))


def registry(*spans: tuple[str, str, date, date | None]) -> pl.DataFrame:
    spans = spans or (
        ("XNYS:FB", "FB", date(2012, 5, 18), date(2022, 6, 8)),
        ("XNYS:FB", "META", date(2022, 6, 9), None),
        ("XNYS:A", "A", date(2000, 1, 3), None),
    )
    rows = [
        {"instrument_id": i, "symbol": s, "asset_class": "equity", "exchange": "XNYS", "currency": "USD",
         "source": "v", "valid_from": a, "valid_to": b, "static": False,
         "known_at": datetime(2023, 1, 2, tzinfo=UTC)}
        for i, s, a, b in spans
    ]  # fmt: skip
    table = contract("clean.instruments")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def members(*spans: tuple[str, date, date | None, datetime | None]) -> pl.DataFrame:
    spans = spans or (
        ("A", date(2010, 1, 4), date(2012, 1, 3), None),
        ("A", date(2015, 1, 2), None, None),
        ("A", date(2014, 1, 2), None, datetime(2022, 1, 3, tzinfo=UTC)),
    )
    rows = [
        {"universe": "default", "instrument_id": i, "valid_from": a, "valid_to": b, "source": "v",
         "withdrawn_at": w, "known_at": datetime(2016, 1, 4, tzinfo=UTC)}
        for i, a, b, w in spans
    ]  # fmt: skip
    table = contract("clean.membership")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def covered(*rows: int) -> pl.DataFrame:
    return contract("meta.coverage").conform(
        pl.DataFrame(
            {"date": DAYS[: len(rows)], "table": "clean.membership", "rows": rows, "expected": 100},
            schema_overrides={"rows": pl.Int64, "expected": pl.Int64},
        )
    )


def only(
    check: str, frame: pl.DataFrame, table: str = "clean.prices", **more: Any
) -> dict[str, Any]:
    """The result of one rule."""
    rules = [RULES[table, check]]
    out = validation.validate(table, frame, run_id="r", now=NOW, rules=rules, **more)
    return out.row(0, named=True)


def at(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(v)).otherwise(pl.col(n)).cast(frame.schema[n]).alias(n)
        for n, v in values.items()
    )


GOOD = {
    "clean.prices": bars, "clean.series": series, "clean.fundamentals": figures, "clean.macro": macro,
    "clean.news": news, "clean.earnings": earnings, "clean.instruments": registry,
    "clean.membership": members, "meta.coverage": lambda: covered(100, 95, 100, 91),
}  # fmt: skip


@pytest.mark.parametrize("table", sorted(GOOD))
def test_good_data_pass_the_whole_suite(table):
    checks = validation.validate(table, GOOD[table](), run_id="r", now=NOW)
    assert validation.in_words(checks) == ""
    assert checks["rows"].max() > 0


def test_every_rule_of_the_market_is_broken_by_a_test():
    meant = {(t, c) for t, c, _, _ in FAULTS} | {("raw.prices", "not_empty"), ("clean.prices", "not_empty"),
        ("clean.prices", "positive_price"), ("clean.prices", "high_not_below_low"),
        ("clean.prices", "session_complete"), ("clean.prices", "last_session_complete"),
        ("clean.series", "yield_possible"), ("clean.series", "index_positive"),
        ("clean.instruments", "not_empty")} | {
        ("clean.prices", f"daily_growth_{n}{k}") for n in ("possible", "usual")
        for k in ("", "_fixed_income", "_cross_asset")}  # fmt: skip
    assert set(RULES) == meant, "the others are in test_data_checks and below"


EARLY = datetime(2022, 1, 3, tzinfo=UTC)
FAULTS = [
    ("clean.prices", "ohlc_order", lambda: at(bars(), 7, close=51.5), 1),
    ("clean.prices", "volume_possible", lambda: at(bars(), 7, volume=1e15), 1),
    ("clean.prices", "session_traded",
     lambda: bars().with_columns(pl.when(pl.col("date") < DAYS[9]).then("volume")), 1),
    ("clean.prices", "session_missing", lambda: bars().filter(pl.col("date") != DAYS[9]), 1),
    ("clean.prices", "split_possible", lambda: at(bars(), 7, split_ratio=1e5), 1),
    ("clean.prices", "split_usual", lambda: at(bars(), 7, split_ratio=0.001), 1),
    ("clean.prices", "dividend_possible", lambda: at(bars(), 7, dividend=-1.0), 1),
    ("clean.prices", "dividend_usual", lambda: at(bars(), 7, dividend=30.0), 1),
    ("clean.series", "yield_moves", lambda: at_tenor("2Y", 4.5), 2),
    ("clean.series", "curve_in_line", lambda: at_tenor("5Y", 4.0), 1),
    ("clean.series", "curve_complete",
     lambda: series().filter((pl.col("date") != DAYS[5]) | ~pl.col("tenor").is_in(["2Y", "5Y"])), 1),
    ("clean.series", "rate_positive", lambda: at_tenor("GBPUSD", -1.3), 1),
    ("clean.series", "rate_possible", lambda: at_tenor("GBPUSD", 130.0), 2),
    ("clean.series", "rate_usual", lambda: at_tenor("GBPUSD", 1.5), 2),
    ("clean.fundamentals", "known_after_period", lambda: at(figures(), 0, known_at=EARLY), 1),
    ("clean.fundamentals", "known_in_time", lambda: at(figures(), 0, period_end=date(1950, 1, 1)), 1),
    ("clean.earnings", "report_after_period", lambda: at(earnings(), 0, report_date=date(2023, 9, 1)), 1),
    ("clean.macro", "known_after_period", lambda: at(macro(), 0, known_at=EARLY), 1),
    ("clean.news", "known_after_publication", lambda: at(news(), 0, known_at=EARLY), 1),
    ("clean.instruments", "not_inverted",
     lambda: registry(("XNYS:A", "A", date(2020, 1, 2), date(2019, 1, 2))), 1),
    ("clean.instruments", "one_holder",
     lambda: registry(("XNYS:A", "A", date(2000, 1, 3), None), ("XNYS:A#2", "A", date(2010, 1, 4), None)), 1),
    ("clean.instruments", "one_symbol",
     lambda: registry(("XNYS:A", "A", date(2000, 1, 3), date(2010, 1, 4)),
                      ("XNYS:A", "B", date(2010, 1, 4), None)), 1),
    ("clean.membership", "not_inverted", lambda: members(("A", date(2020, 1, 2), date(2019, 1, 2), None)), 1),
    ("clean.membership", "not_overlapping",
     lambda: members(("A", date(2010, 1, 4), None, None), ("A", date(2012, 1, 3), None, None)), 1),
    ("meta.coverage", "members_have_bars", lambda: covered(100, 80, 100, 95), 1),
    ("meta.coverage", "last_members_have_bars", lambda: covered(10, 100, 49), 1),
]  # fmt: skip
ERRORS = {
    "ohlc_order", "volume_possible", "split_possible", "dividend_possible", "rate_positive", "rate_possible",
    "known_after_period", "known_after_publication", "not_inverted", "one_holder", "one_symbol",
    "not_overlapping", "last_members_have_bars",
}  # fmt: skip


def at_tenor(tenor: str, value: float) -> pl.DataFrame:
    here = (pl.col("tenor") == tenor) & (pl.col("date") == DAYS[9])
    return series().with_columns(pl.when(here).then(value).otherwise("value").alias("value"))


@pytest.mark.parametrize(
    ("table", "check", "fault", "count"), FAULTS, ids=lambda v: "" if callable(v) else str(v)[:30]
)
def test_each_fault_is_found_and_shown(table, check, fault, count):
    result = only(check, fault(), table)
    assert not result["success"]
    assert result["unexpected"] == count
    assert result["severity"] == ("error" if check in ERRORS else "warn")
    shown = json.loads(result["examples"])
    assert len(shown) == count
    assert set(shown[0]) > {"value"}, "an example says where"


def jump(name: str, ratio: float) -> pl.DataFrame:
    later = (pl.col("instrument_id") == name) & (pl.col("date") >= DAYS[9])
    scaled = pl.when(later).then(pl.col("tr_index") * ratio).otherwise("tr_index")
    return bars().with_columns(scaled.alias("tr_index"))


CLASSES = pl.DataFrame(
    {"instrument_id": ["A", "B", "C"], "asset_class": ["equity", "fixed_income", "cross_asset"],
     "valid_from": date(2000, 1, 3)}
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ratio", "broken"),
    [
        ("A", 1.5, set()),
        ("A", 2.5, {"daily_growth_usual"}),
        ("A", 60.0, {"daily_growth_usual", "daily_growth_possible"}),
        ("B", 1.05, set()),
        ("B", 0.8, {"daily_growth_usual_fixed_income"}),
        ("B", 4.0, {"daily_growth_usual_fixed_income", "daily_growth_possible_fixed_income"}),
        ("C", 1.2, set()),
        ("C", 0.5, {"daily_growth_usual_cross_asset"}),
        ("C", 20.0, {"daily_growth_usual_cross_asset", "daily_growth_possible_cross_asset"}),
    ],
)
def test_bounds_of_returns_are_those_of_the_asset_class(name, ratio, broken):
    rules = [r for (t, c), r in RULES.items() if c.startswith("daily_growth")]
    checks = validation.validate("clean.prices", jump(name, ratio), run_id="r", now=NOW, rules=rules,
                                 beside={"clean.instruments": CLASSES})  # fmt: skip
    assert set(checks.filter(~pl.col("success"))["check"]) == broken
    assert checks["rows"].to_list() == [len(DAYS)] * 6, "each instrument is judged as what it is"


def test_a_bank_that_fails_and_a_stated_total_loss_stop_no_run():
    """0.16 % of the last close is what a share of Signature Bank opened at after its halt."""
    assert only("daily_growth_possible", jump("A", 0.0016))["success"]
    assert not only("daily_growth_usual", jump("A", 0.0016))["success"]
    assert not only("daily_growth_possible", jump("A", 0.0005))["success"]
    last = (pl.col("instrument_id") == "A") & (pl.col("date") == DAYS[-1])
    gone = bars().with_columns(
        pl.when(last).then(pl.col("tr_index") * 1e-6).otherwise("tr_index").alias("tr_index")
    )
    assert not only("daily_growth_possible", gone)["success"]
    stated = pl.when(last).then(int(Flag.TERMINAL)).otherwise("flags")
    told = gone.with_columns(stated.cast(pl.Int32).alias("flags"))
    assert only("daily_growth_possible", told)["success"]
    assert only("daily_growth_usual", told)["success"]


def test_without_descriptions_every_name_is_judged_as_an_equity():
    assert not only("daily_growth_usual", jump("B", 2.5))["success"]
    assert only("daily_growth_usual", jump("B", 1.9))["success"]


def test_a_session_without_any_bar_is_seen_by_one_new_day_too():
    frame = bars()
    day = frame.filter(pl.col("date") == DAYS[-1])
    before = frame.filter(pl.col("date") < DAYS[-1])
    assert only("session_missing", day, context=before)["success"]
    holed = before.filter(pl.col("date") != DAYS[-2])
    assert only("session_missing", day, context=holed)["unexpected"] == 1


def test_a_bound_may_be_set():
    frame = covered(100, 80, 100)
    assert only("members_have_bars", frame, "meta.coverage", highest={"members_have_bars": 0.25})[
        "success"
    ]
    assert validation.beside("clean.prices") == ("clean.instruments",)


def test_rounded_prices_are_in_order():
    assert only("ohlc_order", at(bars(), 3, close=51.2))["success"]
    assert only("ohlc_order", at(bars(), 3, open=None, high=None, low=None))["success"]


def test_the_curve_of_the_treasury_passes(shared_data):
    """Thirty years of real yields: what the rules say about them is known and rare."""
    from wealthos_pipeline.data.sources import rates

    curve, _ = rates.read_par_yields(shared_data / "treasury")
    frame = contract("clean.series").conform(
        curve.drop_nulls("value").with_columns(
            series=pl.lit("ust_par"), unit=pl.lit("percent"), frequency=pl.lit("day"), source=pl.lit("v"),
            basis=pl.lit("assumed"), known_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)),
        )
    )  # fmt: skip
    checks = validation.validate(
        "clean.series", frame, run_id="r", now=datetime(2026, 2, 1, tzinfo=UTC),
        rules=list(validation.MARKET["clean.series"]),
    )  # fmt: skip
    assert frame.height > 80_000
    assert validation.blocking_failures(checks).height == 0
    assert checks.filter(~pl.col("success"))["unexpected"].sum() < 100, validation.in_words(checks)


def test_a_member_of_tomorrow_is_no_fault() -> None:
    """A list says who joins next year; ``known_at`` says from when on that counts."""
    to_come = members(("A", date(2030, 1, 2), None, None)).with_columns(
        known_at=pl.lit(datetime(2030, 1, 2, 14, 30, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
    )
    checks = validation.validate("clean.membership", to_come, run_id="r", now=NOW)
    assert validation.blocking_failures(checks).is_empty()
