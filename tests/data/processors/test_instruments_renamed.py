"""Reused and changed symbols, told from what the vendor gives."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import holdings, instruments, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar

LOADED = datetime(2022, 3, 1, 22, tzinfo=UTC)
SPRING, AUTUMN = date(2022, 3, 1), date(2022, 9, 1)
LATER = datetime(2022, 9, 6, 22, tzinfo=UTC)


def told(symbol: str, at: datetime = LOADED, **more: Any) -> dict[str, Any]:
    return {"source": "v", "symbol": symbol, "fetched_at": at, "name": symbol, "asset_class": "equity",
            "sector": "Energy", "exchange": "XNYS", "currency": "USD", **more}  # fmt: skip


def described(*rows: dict[str, Any]) -> pl.DataFrame:
    table = contract("raw.instruments")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def bars(
    calendar: TradingCalendar, *spans: tuple[str, date, date], level: float = 10.0
) -> pl.DataFrame:
    rows = [
        {"source": "v", "symbol": s, "date": d, "close": level + k + 0.01 * i, "currency": "USD",
         "fetched_at": max(calendar.known_at(d) + timedelta(hours=1), LOADED)}
        for k, (s, first, last) in enumerate(spans)
        for i, d in enumerate(calendar.sessions(first, last))
    ]  # fmt: skip
    table = contract("raw.prices")
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema()))


def registry(raw: pl.DataFrame, rows: pl.DataFrame, calendar: TradingCalendar, **more: Any) -> Any:
    keys = instruments.bar_dates(rows.lazy().select("source", "symbol", "date"), raw)
    return instruments.clean(raw, keys, calendar=calendar, **more)


def spans(out: pl.DataFrame) -> list[tuple[Any, ...]]:
    return out.select("instrument_id", "symbol", "valid_from", "valid_to").rows()


def test_the_same_figi_under_a_new_symbol_is_one_instrument(calendar):
    last, first = date(2022, 6, 8), date(2022, 6, 9)
    raw = described(
        told("FB", figi="BBG1", isin="US1"),
        told("META", datetime(2022, 6, 9, 22, tzinfo=UTC), figi="BBG1", isin="US2"),
    )
    # the vendor gives the whole history under the new symbol
    rows = bars(calendar, ("FB", SPRING, last), ("META", SPRING, AUTUMN))
    out = registry(raw, rows, calendar)
    assert spans(out) == [("XNYS:FB", "FB", SPRING, last), ("XNYS:FB", "META", first, None)]
    assert out["known_at"].to_list() == [calendar.known_at(SPRING), calendar.known_at(first)]

    cleaned = prices.clean(rows, out, calendar, now=LATER)
    assert cleaned.prices["instrument_id"].unique().to_list() == ["XNYS:FB"]
    assert cleaned.prices["date"].to_list() == calendar.sessions(SPRING, AUTUMN)
    assert cleaned.prices.filter(pl.col("date") <= last)["close"].max() < 11
    assert cleaned.prices.filter(pl.col("date") >= first)["close"].min() > 11
    refused = cleaned.quarantine.group_by("symbol", "rule").agg(pl.len(), pl.col("date").max())
    days = len(calendar.sessions(SPRING, last))
    assert refused.rows() == [("META", "renamed_symbol_overlap", days, last)]


def test_without_a_figi_the_isin_decides(calendar):
    raw = described(told("OLD", isin="US1"), told("NEW", isin="US1"), told("OTHER", isin="US9"))
    june = date(2022, 6, 8)
    rows = bars(
        calendar,
        ("OLD", SPRING, june),
        ("NEW", date(2022, 6, 9), AUTUMN),
        ("OTHER", SPRING, AUTUMN),
    )
    out = registry(raw, rows, calendar)
    assert set(out["instrument_id"]) == {"XNYS:OLD", "XNYS:OTHER"}
    assert out.filter(pl.col("symbol") == "NEW")["valid_from"].item() == date(2022, 6, 9)


@pytest.mark.parametrize("more", [{}, {"exchange": "XLON"}])
def test_what_trades_side_by_side_is_not_merged_and_said(calendar, caplog, more):
    raw = described(told("ONE", figi="BBG1"), told("TWO", figi="BBG1", **more))
    rows = bars(calendar, ("ONE", SPRING, AUTUMN if not more else SPRING), ("TWO", SPRING, AUTUMN))
    with caplog.at_level(logging.WARNING, "wealthos"):
        out = registry(raw, rows, calendar)
    assert out["instrument_id"].n_unique() == 2
    assert "ONE and TWO have one FIGI (BBG1)" in caplog.text


def test_a_symbol_with_another_figi_after_a_pause_is_another_instrument(calendar):
    raw = described(
        told("ABC", figi="BBG1", sector="Energy"),
        told("ABC", LATER, figi="BBG2", sector="Utilities"),
    )
    first, end = date(2022, 8, 15), date(2022, 9, 30)
    rows = bars(calendar, ("ABC", SPRING, date(2022, 5, 2)), ("ABC", first, end))
    out = registry(raw, rows, calendar)
    assert spans(out) == [
        ("XNYS:ABC", "ABC", SPRING, date(2022, 5, 2)),
        ("XNYS:ABC#2", "ABC", first, None),
    ]
    assert out["sector"].to_list() == ["Energy", "Utilities"]
    assert out["known_at"].to_list() == [calendar.known_at(SPRING), LATER]

    made = prices.clean(rows, out, calendar, now=LATER + timedelta(days=60)).prices
    new = made.filter(pl.col("instrument_id") == "XNYS:ABC#2")
    assert new["date"].to_list() == calendar.sessions(first, end)
    assert new["tr_index"][0] == 1.0, "a chain of its own"
    before = new.filter(pl.col("date") < LATER.date())
    assert set(before["known_at"]) == {LATER}, "whose bars they were was told by the description"
    assert set(before["basis"]) == {"observed"}
    after = new.filter(pl.col("date") > LATER.date())
    assert after["known_at"].to_list() == [calendar.known_at(d) for d in after["date"]]


def test_a_first_day_of_trading_after_a_pause_says_so_too(calendar):
    first = date(2022, 8, 15)
    raw = described(
        told("ABC", first_trade=date(1999, 1, 4)), told("ABC", LATER, first_trade=first)
    )
    rows = bars(calendar, ("ABC", SPRING, date(2022, 5, 2)), ("ABC", first, AUTUMN))
    assert spans(registry(raw, rows, calendar)) == [
        ("XNYS:ABC", "ABC", SPRING, date(2022, 5, 2)),
        ("XNYS:ABC#2", "ABC", first, None),
    ]
    gapless = bars(calendar, ("ABC", SPRING, AUTUMN))
    assert spans(registry(raw, gapless, calendar)) == [("XNYS:ABC", "ABC", SPRING, None)]
    short = bars(calendar, ("ABC", SPRING, date(2022, 7, 20)), ("ABC", first, AUTUMN))
    assert registry(raw, short, calendar).height == 1, "a pause of 17 sessions is a halt"


def test_bars_of_before_the_first_day_of_trading_are_somebody_elses(calendar):
    """And the identity of the one described does not depend on whether they were loaded."""
    first = date(2021, 3, 1)
    raw = described(told("ABC", first_trade=first, figi="BBG2"))
    new = ("ABC", first, SPRING)
    out = registry(raw, bars(calendar, ("ABC", date(2020, 3, 2), date(2020, 6, 1)), new), calendar)
    assert spans(out) == [
        ("XNYS:ABC", "ABC", first, None),
        ("XNYS:ABC#0", "ABC", date(2020, 3, 2), date(2020, 6, 1)),
    ]
    assert out.filter(pl.col("instrument_id") == "XNYS:ABC#0")["sector"].to_list() == [None]
    short = registry(raw, bars(calendar, new), calendar)
    assert short.equals(out.head(1))
    assert registry(raw, bars(calendar, ("ABC", date(2020, 3, 2), date(2020, 6, 1)), new), calendar,
                    previous=short).equals(out)  # fmt: skip


def test_another_number_with_the_same_first_day_is_a_correction(calendar, caplog):
    day = date(1999, 1, 4)
    raw = described(
        told("ABC", isin="US1", first_trade=day), told("ABC", LATER, isin="US2", first_trade=day)
    )
    with caplog.at_level(logging.WARNING, "wealthos"):
        out = registry(raw, bars(calendar, ("ABC", SPRING, date(2022, 9, 30))), calendar)
    assert out["instrument_id"].unique().to_list() == ["XNYS:ABC"]
    assert "its ISIN changed from US1 to US2" in caplog.text


def test_day_by_day_gives_the_registry_of_all_at_once(calendar):
    raw = described(
        told("FB", figi="BBG1"), told("ABC", figi="BBG5"), told("XYZ"),
        told("META", datetime(2022, 6, 9, 22, tzinfo=UTC), figi="BBG1"),
        told("ABC", LATER, figi="BBG6"),
        told("XYZ", LATER, sector="Utilities"),
    )  # fmt: skip
    rows = bars(
        calendar, ("FB", SPRING, date(2022, 6, 8)), ("META", SPRING, date(2022, 9, 30)),
        ("ABC", SPRING, date(2022, 5, 2)), ("ABC", date(2022, 8, 15), date(2022, 9, 30)),
        ("XYZ", SPRING, date(2022, 9, 30)),
    )  # fmt: skip
    came = pl.when(pl.col("symbol") == "META").then(pl.lit(date(2022, 6, 9)))
    rows = rows.with_columns(_came=pl.max_horizontal("date", came))
    held = None
    for day in calendar.sessions(SPRING, date(2022, 9, 30))[::4]:
        at = calendar.known_at(day) + timedelta(hours=2)
        given = raw.filter(pl.col("fetched_at") <= at)
        seen = rows.filter(pl.col("_came") <= day).drop("_came")
        held = registry(given, seen, calendar, previous=held)
        assert held.equals(registry(given, seen, calendar)), day
    assert held is not None
    assert {"XNYS:FB", "XNYS:ABC", "XNYS:ABC#2", "XNYS:XYZ"} == set(held["instrument_id"])


def test_order_and_amount_of_rows_do_not_matter(calendar):
    raw = described(told("FB", figi="BBG1"), told("META", figi="BBG1"), told("X"))
    rows = bars(
        calendar, ("FB", SPRING, date(2022, 6, 8)), ("META", date(2022, 6, 9), AUTUMN), ("X", SPRING, AUTUMN)
    )  # fmt: skip
    one = registry(raw, rows, calendar)
    whole = rows.select("source", "symbol", "date").sample(fraction=1.0, shuffle=True, seed=5)
    assert instruments.clean(raw.reverse(), whole, calendar=calendar).equals(one)


def overrides(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=instruments.OVERRIDES)


def test_what_a_person_wrote_overrules_the_numbers(calendar):
    raw = described(told("FB", figi="BBG1"), told("META", figi="BBG1"))
    rows = bars(calendar, ("FB", SPRING, date(2022, 6, 8)), ("META", date(2022, 6, 9), AUTUMN))
    alone = overrides({"symbol": "META", "instrument_id": "XNYS:METAVERSE"})
    merged = registry(raw, rows, calendar)
    out = registry(raw, rows, calendar, overrides=alone)
    assert set(out["instrument_id"]) == {"XNYS:FB", "XNYS:METAVERSE"}
    # taken back, and written again: nothing of the other meaning stays
    assert registry(raw, rows, calendar, previous=out).equals(merged)
    assert registry(raw, rows, calendar, previous=merged, overrides=alone).equals(out)


def test_an_overruled_symbol_has_the_description_of_its_time(calendar):
    change = datetime(2022, 4, 4, 22, tzinfo=UTC)
    raw = described(told("A"), told("A", change, sector="Utilities"))
    rows = bars(calendar, ("A", SPRING, AUTUMN))
    out = registry(
        raw, rows, calendar,
        overrides=overrides(
            {"symbol": "A", "instrument_id": "XNYS:A.OLD", "valid_to": date(2022, 3, 31)},
            {"symbol": "A", "instrument_id": "XNYS:A", "valid_from": date(2022, 4, 1), "name": "New"},
        ),
    )  # fmt: skip
    columns = ["instrument_id", "sector", "name", "valid_from", "valid_to"]
    assert out.select(columns).rows() == [
        ("XNYS:A", "Energy", "New", date(2022, 4, 1), date(2022, 4, 4)),
        ("XNYS:A", "Utilities", "New", date(2022, 4, 5), None),
        ("XNYS:A.OLD", "Energy", "A", SPRING, date(2022, 3, 31)),
    ]


def test_the_stage_notices_another_file_of_overrides(tmp_path, monkeypatch):
    from assets import clean
    from wealthos_pipeline.utils import config

    monkeypatch.setattr(config, "inputs_dir", lambda: tmp_path)
    settings = config.load_settings()
    none = clean.instruments.definition(settings)
    path = tmp_path / "instruments.csv"
    path.write_text("# nothing yet\nsymbol,instrument_id\n")
    assert clean.instruments.definition(settings) == none
    path.write_text("symbol,instrument_id\nFB,XNYS:META\n")
    assert clean.instruments.definition(settings) != none


def test_a_statement_of_holdings_means_who_had_the_symbol_on_its_day(calendar, tmp_path):
    known = pl.DataFrame(
        {
            "symbol": ["ABC", "ABC", "FB", "META"],
            "instrument_id": ["XNYS:ABC", "XNYS:ABC#2", "XNYS:FB", "XNYS:FB"],
            "valid_from": [SPRING, date(2022, 8, 15), SPRING, date(2022, 6, 9)],
        }
    )
    (tmp_path / "mine.csv").write_text(
        "date,symbol,units\n2022-03-02,ABC,1\n2022-09-01,ABC,2\n2022-02-01,ABC,3\n"
        "2022-09-01,FB,4\n2022-03-02,META,5\n"
    )
    out = holdings.read(tmp_path, known, calendar).sort("units")
    assert out["instrument_id"].to_list() == [
        "XNYS:ABC", "XNYS:ABC#2", "XNYS:ABC", "XNYS:FB", "XNYS:FB",
    ]  # fmt: skip


def test_dates_are_read_of_the_symbols_in_doubt_only(calendar):
    day = date(2022, 8, 15)
    raw = described(
        told("FB", figi="BBG1"), told("META", figi="BBG1"), told("PLAIN", figi="BBG2"),
        told("PLAIN", LATER, figi="BBG2", sector="Utilities"), told("NEW", first_trade=day),
        told("TWICE", isin="US1"), told("TWICE", LATER, isin="US2"), told("OLD", first_trade=SPRING),
    )  # fmt: skip
    names = ("FB", "META", "PLAIN", "NEW", "TWICE", "OLD")
    rows = bars(calendar, *((n, SPRING, AUTUMN) for n in names)).select("source", "symbol", "date")
    read = dict(instruments.bar_dates(rows.lazy(), raw).group_by("symbol").len().rows())
    days = len(calendar.sessions(SPRING, AUTUMN))
    assert read == {"FB": days, "META": days, "NEW": days, "TWICE": days, "PLAIN": 2, "OLD": 2}
