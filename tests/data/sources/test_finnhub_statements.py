"""Finnhub's filings, ratios, earnings and news through its own client: names, instants, versions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import finnhub_payloads as vendor
import polars as pl
import pytest
from finnhub_payloads import NOW, Clock
from wire import Ask, Wire

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def fetch(wire: Wire, calendar) -> vendor.Fetch:
    return vendor.fetching(wire, calendar, Clock())


# statements


def filings() -> list[dict[str, object]]:
    annual = ("2023-01-01", "2023-12-31")
    return [
        vendor.filing(
            "0001-24-1", "10-K", annual, "2024-02-20 16:31:05", "2024-02-20",
            ic=[
                ("us-gaap_Revenues", 1000), ("us-gaap_NetIncomeLoss", 90),
                ("us-gaap_EarningsPerShareDiluted", 1.25), ("acme_WidgetsSold", 7),
            ],
            bs=[("us-gaap_Assets", 5000), ("us-gaap_StockholdersEquity", "2000"), ("us-gaap_Liabilities", "N/A")],
            cf=[("us-gaap_NetCashProvidedByUsedInOperatingActivities", 120), ("us-gaap_NetIncomeLoss", 91)],
        ),
        vendor.filing(
            "0001-24-2", "10-K/A", annual, "2024-03-05 18:10:00", "2024-03-06",
            ic=[("us-gaap_Revenues", 990)],
        ),
        vendor.filing(
            "0001-24-3", "10-Q", ("2024-01-01", "2024-06-30"), "", "2024-08-01", quarter=2,
            ic=[("us-gaap_RevenueFromContractWithCustomerExcludingAssessedTax", 600), ("us-gaap_SalesRevenueNet", 590)],
            bs=[("us-gaap_Assets", 5100)],
        ),
    ]  # fmt: skip


def statement(frame: pl.DataFrame, metric: str, vintage: str) -> dict[str, object]:
    return frame.filter(metric=metric, vintage=vintage).row(0, named=True)


def test_filings_carry_number_form_and_instant(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA", filings=filings()), plan="free")
    got = fetch("AAA", gives=("fundamentals",)).fundamentals
    first, amended = (statement(got, "revenue", f"0001-24-{i}") for i in (1, 2))
    assert (first["value"], amended["value"]) == (1000, 990)  # both versions
    assert (first["form"], amended["form"]) == ("10-K", "10-K/A")
    assert first["period_end"] == amended["period_end"] == date(2023, 12, 31)
    # New York's time in winter; after 17:30 it is shown the next morning
    assert first["published_at"] == datetime(2024, 2, 20, 21, 31, 5, tzinfo=UTC)
    assert amended["published_at"] == datetime(2024, 3, 6, 11, tzinfo=UTC)
    # a day without a time: when EDGAR closes
    day_only = statement(got, "total_assets", "0001-24-3")
    assert day_only["published_at"] == datetime(2024, 8, 2, 2, tzinfo=UTC)
    assert first["currency"] == statement(got, "eps_diluted", "0001-24-1")["currency"] == "USD"


def test_concepts_have_standard_names_others_keep_their_own(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA", filings=filings()), plan="free")
    got = fetch("AAA", gives=("fundamentals",)).fundamentals
    annual = got.filter(vintage="0001-24-1")
    assert dict(annual.select("metric", "value").iter_rows()) == {
        "revenue": 1000,
        "net_income": 90,  # of the income statement, not of the cash flows
        "eps_diluted": 1.25,
        "acme_WidgetsSold": 7,
        "total_assets": 5000,
        "total_equity": 2000,
        "operating_cash_flow": 120,
    }
    assert annual["period"].unique().to_list() == ["year"]


def test_what_covers_the_year_to_date_says_so(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA", filings=filings()), plan="free")
    got = fetch("AAA", gives=("fundamentals",)).fundamentals.filter(vintage="0001-24-3")
    assert dict(got.select("metric", "value").iter_rows()) == {
        "revenue_ytd": 600,
        "SalesRevenueNet_ytd": 590,  # the second name of revenue in one filing
        "total_assets": 5100,  # a stock, not a flow
    }
    assert got["period"].unique().to_list() == ["quarter"]


def test_basic_financials_are_of_today_or_of_their_period(wire, fetch):
    vendor.serve(wire, vendor.Company("AAA"), plan="free")
    got = fetch("AAA", gives=("fundamentals",)).fundamentals
    assert got.select("metric", "period", "period_end", "value").rows() == [
        ("52_week_high", "point", NOW.date(), 180.25),
        ("current_ratio", "year", date(2023, 12, 31), 1.5),
        ("eps", "quarter", date(2024, 3, 31), 0.75),
        ("market_cap", "point", NOW.date(), 1234.5e6),  # millions
        ("pe_ttm", "point", NOW.date(), 21.5),
    ]
    assert got["published_at"].null_count() == got.height


# earnings and news


def test_fiscal_quarters_end_when_the_history_says(wire, fetch):
    """Fiscal 2024 begins in October 2023: its third quarter ends in June 2024."""
    past = [
        {"year": 2024, "quarter": 1, "period": "2023-12-31", "actual": 2.18, "estimate": 2.1, "symbol": "AAA"},
        {"year": 2024, "quarter": 2, "period": "2024-03-31", "actual": 1.53, "estimate": 1.5, "symbol": "AAA"},
    ]  # fmt: skip
    coming = [
        {"date": "2024-08-01", "year": 2024, "quarter": 3, "hour": "amc", "epsEstimate": 1.35,
         "epsActual": None, "revenueEstimate": 84.5e9, "revenueActual": None, "symbol": "AAA"},
        {"date": "2024-05-02", "year": 2024, "quarter": 2, "hour": "bmo", "epsEstimate": 1.51,
         "epsActual": 1.53, "revenueEstimate": 90e9, "revenueActual": 90.75e9, "symbol": "AAA"},
    ]  # fmt: skip
    vendor.serve(wire, vendor.Company("AAA", reports=past, coming=coming), plan="free")
    got = fetch("AAA", gives=("earnings",)).earnings
    columns = ("period_end", "report_date", "hour", "eps_estimate", "eps_actual", "revenue_actual")
    assert got.select(columns).rows() == [
        (date(2023, 12, 31), None, "unknown", 2.1, 2.18, None),
        (date(2024, 3, 31), date(2024, 5, 2), "before", 1.51, 1.53, 90.75e9),
        (date(2024, 6, 30), date(2024, 8, 1), "after", 1.35, None, None),
    ]


def test_news_come_once_with_their_instant(wire, fetch):
    at = datetime(2024, 6, 27, 13, 30, 15, tzinfo=UTC)
    stories = [
        vendor.story(3, at, " Works works "),
        vendor.story(3, at, "twice"),
        vendor.story(4, at, ""),
    ]
    vendor.serve(wire, vendor.Company("AAA", stories=stories), plan="free")
    got = fetch("AAA", gives=("news",)).news
    assert got.select("news_id", "symbol", "published_at", "headline", "publisher").rows() == [
        ("3", "AAA", at, "Works works", "The Gazette")
    ]


def test_an_answer_that_is_cut_at_its_newest_stories_is_continued(wire, fetch):
    """The server gives the newest 100 of a range; 250 stories need three requests."""
    stories = [
        vendor.story(i, NOW - timedelta(hours=2 * i + 1), f"Story {i}") for i in range(1, 251)
    ]

    def newest(ask: Ask) -> list[dict[str, object]]:
        inside = [
            s
            for s in stories
            if ask.query["from"]
            <= datetime.fromtimestamp(s["datetime"], UTC).date().isoformat()
            <= ask.query["to"]
        ]
        return inside[:100]

    wire.serve(r"^/company-news\?", newest)
    got = fetch("AAA", gives=("news",)).news
    assert got["news_id"].cast(pl.Int64).sort().to_list() == list(range(1, 251))


def test_the_next_day_asks_for_news_since_the_last_story(wire, fetch):
    old = vendor.story(1, datetime(2024, 6, 27, 12, tzinfo=UTC), "Old")
    vendor.serve(wire, vendor.Company("AAA", stories=[old]), plan="free")
    first = fetch("AAA", gives=("news",))
    vendor.serve(
        wire, vendor.Company("AAA", stories=[old, vendor.story(2, NOW, "New")]), plan="free"
    )
    second = fetch("AAA", gives=("news",), have=first)
    assert wire.requests[-1].query["from"] == "2024-06-27"
    new = raw.new_rows(first.news, second.news, contract("raw.news"))
    assert new["headline"].to_list() == ["New"]
