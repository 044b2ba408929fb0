"""Profiles, statements and earnings out of Yahoo's summaries, synthetic and recorded."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import polars as pl
import pytest
import yahoo_payloads as fake

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import SourceError
from wealthos_pipeline.data.sources import yahoo_company as company
from wealthos_pipeline.data.sources import yahoo_names as names
from wealthos_pipeline.data.sources.yahoo_chart import Meta, Session

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "payloads" / "yahoo"
NEW_YORK = ZoneInfo("America/New_York")
META = Meta(
    "AAPL",
    "EQUITY",
    "NMS",
    "USD",
    NEW_YORK,
    "Apple Inc.",
    date(1980, 12, 12),
    Session(
        date(2025, 2, 20),
        datetime(2025, 2, 20, 9, 30, tzinfo=NEW_YORK),
        datetime(2025, 2, 20, 16, 0, tzinfo=NEW_YORK),
    ),
)


def recorded(name: str) -> Any:
    file = RECORDED / name
    if not file.is_file():
        pytest.skip(f"the recorded payload {name} is not here")
    return json.loads(file.read_text("utf-8"))["response"]["bodyJson"]


def fits(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    stamped = frame.with_columns(
        source=pl.lit("yahoo"),
        symbol=pl.lit("AAPL"),
        fetched_at=pl.lit(datetime(2025, 2, 21, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")),
    )
    return contract(table).conform(stamped)


def test_every_calendar_name_is_one() -> None:
    known = set(exchange_calendars.get_calendar_names())
    assert {*names.CALENDARS.values(), *names.BY_ZONE.values()} <= known


@pytest.mark.parametrize(
    ("code", "zone", "want"),
    [("NMS", "America/New_York", "XNYS"), ("NYQ", "America/New_York", "XNYS"),
     ("PCX", "America/New_York", "XNYS"), ("LSE", "Europe/London", "XLON"),
     ("GER", "Europe/Berlin", "XETR"), ("TOR", "America/Toronto", "XTSE"),
     ("CPH", "Europe/Copenhagen", "XCSE"), ("JKT", "Asia/Jakarta", "XIDX"),
     ("OSL", "Europe/Oslo", "XOSL"), ("HKG", "Asia/Hong_Kong", "XHKG"), ("CCC", "UTC", "24/7"),
     ("???", "Asia/Tokyo", "XTKS"), ("???", "Mars/Olympus", "XNYS")],
)  # fmt: skip
def test_exchange_codes_become_calendars(code: str, zone: str, want: str) -> None:
    assert names.calendar(code, zone, "XNYS") == want


def test_apples_profile() -> None:
    got = company.profile(recorded("quoteSummary-all-AAPL.json"), "AAPL", "XNYS")
    assert got == {
        "name": "Apple Inc.",
        "asset_class": "equity",
        "sector": "Information Technology",
        "industry": "Consumer Electronics",
        "country": "United States",
        "currency": "USD",
        "exchange": "XNYS",
        "first_trade": date(1980, 12, 12),
    }
    assert fits("raw.instruments", pl.DataFrame([got])).height == 1


SUMMARIES = sorted(p.name for p in RECORDED.glob("quoteSummary-*.json"))


@pytest.mark.parametrize("name", SUMMARIES or [pytest.param("", marks=pytest.mark.skip("none"))])
def test_every_recorded_summary_can_be_read(name: str) -> None:
    """Modules that an answer does not have are left out, not invented."""
    body = recorded(name)
    modules = body["quoteSummary"]["result"][0]
    got = company.profile(body, "AAPL", "XNYS")
    assert ("sector" in got) == ("assetProfile" in modules)
    assert ("currency" in got) == ("price" in modules)
    frame = fits("raw.earnings", company.earnings(body, "AAPL", META))
    assert frame.filter(pl.col("eps_actual").is_not_null()).height == (
        4 if "earningsHistory" in modules else 0
    )
    assert frame.filter(pl.col("revenue_estimate").is_not_null()).height == (
        2 if "earningsTrend" in modules else 0
    )


def test_apples_earnings() -> None:
    got = fits(
        "raw.earnings", company.earnings(recorded("quoteSummary-all-AAPL.json"), "AAPL", META)
    )
    assert got["period_end"].to_list() == [
        date(2024, 3, 31), date(2024, 6, 30), date(2024, 9, 30), date(2024, 12, 31),
        date(2025, 3, 31), date(2025, 6, 30),
    ]  # fmt: skip
    assert got["eps_actual"].to_list() == [1.53, 1.4, 0.97, 2.4, None, None]
    assert got["eps_estimate"].to_list()[:5] == [1.49923, 1.34086, 0.94654, 2.34102, 1.60796]
    following = got.row(4, named=True)
    assert following["report_date"] == date(2025, 4, 30)
    assert following["revenue_estimate"] == 94076168920.0
    assert following["hour"] == "unknown", "the day is an estimate"
    assert got["report_date"].null_count() == 5


def announced(hour: int, minute: int, **more: Any) -> dict[str, Any]:
    at = datetime(2025, 4, 30, hour, minute, tzinfo=NEW_YORK)
    coming = {"earningsDate": [int(at.timestamp())], "isEarningsDateEstimate": False} | more
    trend = {"period": "0q", "endDate": "2025-03-31", "earningsEstimate": {"avg": 1.5}}
    return fake.summary(calendarEvents={"earnings": coming}, earningsTrend={"trend": [trend]})


@pytest.mark.parametrize(
    ("hour", "minute", "want"),
    [(7, 0, "before"), (9, 29, "before"), (9, 30, "during"), (15, 59, "during"), (16, 0, "after")],
)
def test_the_hour_of_an_announced_report(hour: int, minute: int, want: str) -> None:
    got = company.earnings(announced(hour, minute), "AAPL", META)
    assert got["hour"].to_list() == [want]
    unsure = announced(hour, minute, isEarningsDateEstimate=True)
    assert company.earnings(unsure, "AAPL", META)["hour"].to_list() == ["unknown"]
    assert company.earnings(announced(hour, minute), "AAPL", None)["hour"].to_list() == ["unknown"]


def test_a_report_that_lies_before_the_end_of_its_quarter_is_the_last_one() -> None:
    body = announced(16, 30)
    body["quoteSummary"]["result"][0]["earningsTrend"]["trend"][0]["endDate"] = "2025-06-30"
    assert company.earnings(body, "AAPL", META)["report_date"].to_list() == [None]


def test_statements_become_long_rows() -> None:
    ends = [date(2023, 12, 31), date(2024, 12, 31)]
    body = fake.statements(
        "annual",
        {
            "TotalRevenue": {ends[0]: 100.0, ends[1]: 110.0},
            "CapitalExpenditure": {ends[1]: -7.0},
            "OrdinarySharesNumber": {ends[1]: 50.0},
            "SomethingNew": {ends[1]: 1.0},
        },
        currency="CNY",
    )
    body["timeseries"]["result"].append({"meta": {"type": ["annualEBIT"]}})
    body["timeseries"]["result"][0]["annualTotalRevenue"].insert(0, None)
    got = fits("raw.fundamentals", company.fundamentals(body, "BABA", "annual"))
    assert got.select("metric", "period", "period_end", "value", "currency").rows() == [
        ("capital_expenditure", "year", ends[1], 7.0, "CNY"),
        ("revenue", "year", ends[0], 100.0, "CNY"),
        ("revenue", "year", ends[1], 110.0, "CNY"),
        ("shares_outstanding", "year", ends[1], 50.0, None),
    ]
    assert set(got["vintage"]) == {""}
    assert got["published_at"].null_count() == got.height


def test_figures_that_are_asked_for_are_yahoos() -> None:
    """yfinance keeps the list of the names that Yahoo knows."""
    from yfinance.const import fundamentals_keys

    known = {name for part in fundamentals_keys.values() for name in part}
    assert set(names.FIGURES) <= known
    assert len(set(names.FIGURES.values())) == len(names.FIGURES)
    assert set(names.FIGURES.values()) >= names.PAID | names.SHARES


@pytest.mark.parametrize("read", [company.profile, company.earnings])
def test_an_answer_of_another_shape_is_refused(read: Any) -> None:
    with pytest.raises(SourceError, match="AAPL: Yahoo's answer has no summary; it has: finance"):
        read({"finance": {}}, "AAPL", None)
    with pytest.raises(SourceError, match="AAPL: Yahoo's answer has no statements"):
        company.fundamentals({"finance": {}}, "AAPL", "annual")
