"""Wrong dividends: the recorded repair cases, and each rule on cases made for it."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import dividends, instruments, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.dividends import Case, verdict
from wealthos_pipeline.data.processors.prices import Cleaned, Flag

PAYLOADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "payloads" / "yfinance_repair"
PRICES = contract("raw.prices")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
recorded = pytest.mark.skipif(
    not PAYLOADS.is_dir(), reason="no recorded payloads beside the project"
)


def rows_of(name: str, currency: str) -> pl.DataFrame:
    """A recorded CSV as raw.prices."""
    with (PAYLOADS / name).open() as file:
        lines = list(csv.DictReader(file))

    def number(text: str) -> float | None:
        return float(text) if text else None

    rows = [
        {
            "date": date.fromisoformat(line["Datetime"][:10]),
            "open": number(line["Open"]), "high": number(line["High"]), "low": number(line["Low"]),
            "close": number(line["Close"]), "adj_close": number(line["Adj Close"]),
            "volume": number(line["Volume"]), "dividend": number(line["Dividends"]),
            "split_ratio": number(line["Stock Splits"]) or 1.0,
        }
        for line in lines
    ]  # fmt: skip
    return made(rows, currency)


def made(rows: list[dict[str, object]], currency: str) -> pl.DataFrame:
    schema = PRICES.schema()
    frame = pl.DataFrame(rows, schema_overrides={c: schema[c] for r in rows[:1] for c in r})
    return PRICES.conform(
        frame.with_columns(
            pl.lit("vendor").alias("source"), pl.lit("X").alias("symbol"),
            pl.lit(currency).alias("currency"), pl.lit(date(2025, 1, 2)).alias("basis_vintage"),
            pl.lit(datetime(2025, 1, 2, 23, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
            .alias("fetched_at"),
        )
    )  # fmt: skip


def cleaned(rows: pl.DataFrame, exchange: str = "XNYS") -> Cleaned:
    described = pl.DataFrame(
        {"source": "vendor", "symbol": ["X"], "asset_class": "equity", "exchange": exchange,
         "currency": rows["currency"][0], "fetched_at": rows["fetched_at"][:1]}
    )  # fmt: skip
    calendar = TradingCalendar(exchange)
    registry = instruments.clean(
        contract("raw.instruments").conform(described), rows, calendar=calendar
    )
    return prices.clean(rows, registry, calendar, now=NOW)


@recorded
def test_the_listing_with_a_bad_dividend_comes_out_like_its_repaired_twin() -> None:
    """Its last dividend is missing in the adjusted closes of everything before it."""
    bad, fixed = (rows_of(f"1398-HK-1d-{n}.csv", "HKD") for n in ("bad-div", "bad-div-fixed"))
    assert (bad["adj_close"] - fixed["adj_close"]).abs().max() > 0.2
    ours, twin = cleaned(bad, "XHKG"), cleaned(fixed, "XHKG")
    same = [c for c in ours.prices.columns if c != "flags"]
    assert ours.prices.height > 600
    assert ours.prices.select(same).equals(twin.prices.select(same))
    assert twin.adjustments.height == 0
    # every adjusted close, as the vendor makes them, against the repaired file
    mine = dividends.back_adjusted(ours.prices)
    theirs = fixed.filter(pl.col("close").is_not_null()).sort("date")
    assert mine["date"].to_list() == theirs["date"].to_list()
    np.testing.assert_allclose(mine["adj_close"], theirs["adj_close"], rtol=2e-6)
    logged = ours.adjustments.row(0, named=True)
    assert ours.adjustments.height == 1
    assert (logged["rule"], logged["date"]) == ("adjusted_close_differs", date(2024, 7, 8))
    assert ours.prices.filter(pl.col("flags") & int(Flag.ADJ_MISMATCH) != 0).height == 1


@recorded
def test_a_listing_without_bad_dividends_comes_out_untouched() -> None:
    """Its dividends vary by a factor of 300, as its profit does: none is a slip."""
    rows = rows_of("CALM-1d-no-bad-divs.csv", "USD")
    out = cleaned(rows)
    assert out.adjustments.height == 0
    assert out.quarantine.height == 0
    for name in ("open", "high", "low", "close", "volume", "dividend"):
        assert out.prices[name].equals(rows.sort("date")[name]), name
    mine = dividends.back_adjusted(out.prices)
    np.testing.assert_allclose(mine["adj_close"], rows.sort("date")["adj_close"], rtol=2e-6)
    assert out.prices.filter(pl.col("flags") & int(Flag.ADJ_MISMATCH) != 0).height == 0


@recorded
@pytest.mark.parametrize(
    ("name", "currency", "exchange"),
    [("CALM-1d-no-bad-divs.csv", "USD", "XNYS"), ("1398-HK-1d-bad-div-fixed.csv", "HKD", "XHKG")],
)
def test_a_recorded_dividend_that_is_broken_is_found(name, currency, exchange) -> None:
    """×100 in either listing: dropped where no unit explains it, never a return."""
    rows = rows_of(name, currency).sort("date")
    paid = rows.filter(pl.col("dividend") > 0.1)["date"].to_list()
    whole = cleaned(rows, exchange).prices
    for day in paid:
        wrong = rows.with_columns(
            pl.when(pl.col("date") == day)
            .then(pl.col("dividend") * 100)
            .otherwise("dividend")
            .alias("dividend")
        )
        out = cleaned(wrong, exchange)
        assert out.quarantine.height == 0
        assert "bad_dividend_unit" in out.adjustments["rule"].to_list()  # adjusted closes tell
        np.testing.assert_allclose(out.prices["tr_index"], whole["tr_index"], rtol=1e-12)


def case(**more: float | bool) -> Case:
    plain = {"yield_": 0.01, "drop": 0.01, "noise": 0.01, "told": float("nan"),
             "hundredths": False, "repeated": False}  # fmt: skip
    return Case(**{**plain, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case(), (1.0, "")),
        (case(yield_=0.3, drop=0.28), (1.0, "")),  # a large one that the price confirms
        (case(yield_=0.06, drop=0.012), (1.0, "")),  # large, and the day rose: not decisive
        (case(yield_=0.9, drop=0.01), (0.0, "phantom_dividend")),
        (case(yield_=0.9, drop=0.01, hundredths=True), (0.01, "bad_dividend_unit")),
        (case(yield_=0.00013, drop=-0.002), (1.0, "")),  # small, where nothing is quoted in cents
        (case(yield_=0.00025, drop=0.02, hundredths=True), (100.0, "bad_dividend_unit")),
        (case(yield_=0.0008, drop=-0.01, noise=0.012, hundredths=True), (1.0, "")),  # 8 %? no fall
        (case(yield_=0.0005, drop=-0.013, noise=0.022, hundredths=True), (1.0, "")),  # 5 %? it rose
        (
            case(yield_=0.0005, drop=0.04, noise=0.022, hundredths=True),
            (100.0, "bad_dividend_unit"),
        ),
        (
            case(yield_=0.0001, drop=-0.01, noise=0.015, hundredths=True),
            (100.0, "bad_dividend_unit"),
        ),
        (case(yield_=0.004, drop=0.0, hundredths=True), (1.0, "")),
        (case(yield_=0.5, drop=0.4, told=0.005), (0.01, "bad_dividend_unit")),
        (case(yield_=0.07, drop=0.099, told=0.0, noise=0.008), (1.0, "")),  # adjustment missing
        (case(yield_=0.035, drop=-0.01, told=0.0, noise=0.008), (0.0, "phantom_dividend")),
        (case(yield_=0.005, drop=-0.01, told=0.0), (1.0, "")),  # too small to tell
        (case(repeated=True), (0.0, "duplicated_dividend")),
        (case(repeated=True, yield_=0.05, drop=0.048), (1.0, "")),  # the price fell once more
    ],
)
def test_the_verdict_on_a_dividend(given: Case, expected: tuple[float, str]) -> None:
    assert verdict(given) == expected


def listing(pays: dict[int, float], claims: dict[int, float], n: int = 80) -> pl.DataFrame:
    """Bars that fall by ``pays`` and dividends as claimed."""
    calendar = TradingCalendar()
    first = calendar.slot(date(2019, 1, 2))
    rng = np.random.default_rng(5)
    close, rows = 50.0, []
    for i in range(n):
        opened = close - pays.get(i, 0.0)
        close = opened * float(np.exp(rng.normal(0, 0.008)))
        rows.append(
            {"date": calendar.date_of(first + i), "open": opened, "high": max(opened, close),
             "low": min(opened, close), "close": close, "dividend": claims.get(i, 0.0),
             "split_ratio": 1.0}
        )  # fmt: skip
    return made(rows, "USD")


def test_a_repaired_dividend_is_logged_with_before_after_and_why() -> None:
    good = cleaned(listing({40: 0.5}, {40: 0.5}))
    twice = cleaned(listing({40: 0.5}, {40: 0.5, 42: 0.5}))
    phantom = cleaned(listing({40: 0.5}, {40: 0.5, 60: 75.0}))
    assert good.adjustments.height == 0
    for out, rule, amount in (
        (twice, "duplicated_dividend", 0.5),
        (phantom, "phantom_dividend", 75.0),
    ):
        assert out.prices["tr_index"].equals(good.prices["tr_index"])
        assert out.quarantine.height == 0
        row = out.adjustments.row(0, named=True)
        assert (row["rule"], row["field"]) == (rule, "dividend")
        assert (row["before"], row["after"]) == (amount, 0.0)
        assert "the price fell" in row["detail"]
        assert out.prices.filter(pl.col("flags") & int(Flag.DIVIDEND_REPAIRED) != 0).height == 1


def test_a_decision_on_the_ex_day_does_not_change_later() -> None:
    rows = listing({40: 0.5}, {40: 0.5, 42: 0.5, 60: 30.0})
    whole = cleaned(rows).prices
    for n in (41, 43, 61):
        early = cleaned(rows.sort("date").head(n)).prices
        assert early.equals(whole.head(n))
