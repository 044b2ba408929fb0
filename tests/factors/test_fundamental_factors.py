"""The fundamental families on reports as they come: late, restated, with a split between them.

Expected values are the papers' formulas over the figures that a reader could have had on the day, found
by going through all versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline import factors
from wealthos_pipeline.factors import library as home
from wealthos_pipeline.factors.engine import compute_all

START, END = date(2012, 1, 3), date(2018, 12, 31)
SPLIT = date(2017, 6, 1)
NAMES = ("A", "B", "C", "D")

SIZES = {
    "revenue": 1000, "cost_of_revenue": 600, "gross_profit": 400, "selling_general_administrative": 120,
    "interest_expense": 20, "net_income": 130, "total_assets": 2000, "total_liabilities": 1100,
    "total_equity": 900, "current_assets": 700, "current_liabilities": 400, "long_term_debt": 300,
    "operating_cash_flow": 170, "capital_expenditure": 90, "dividends_paid": 40, "share_repurchases": 30,
    "shares_outstanding": 500, "eps_diluted": 0.3,
}  # fmt: skip
STOCKS = {"total_assets", "total_liabilities", "total_equity", "current_assets", "current_liabilities",
          "long_term_debt", "shares_outstanding"}  # fmt: skip


@pytest.fixture(scope="module")
def reports() -> pl.DataFrame:
    """Years and quarters of four companies. B restates, C files late, D reports no gross profit."""
    rng = np.random.default_rng(23)
    rows = []
    for name in NAMES:
        for period, step, lag in (("year", 12, 70), ("quarter", 3, 40)):
            for k in range(8 * 12 // step):
                month = (k + 1) * step
                end = date(2010 + (month - 1) // 12, (month - 1) % 12 + 1, 28)
                filed = datetime(end.year, end.month, end.day, 22, tzinfo=UTC) + timedelta(
                    days=lag + (300 if name == "C" and k == 5 else 0)
                )
                for metric, size in SIZES.items():
                    if name == "D" and metric == "gross_profit":
                        continue
                    value = size * (1 + 0.02 * k) * float(np.exp(0.25 * rng.standard_normal()))
                    if metric == "shares_outstanding" and filed.date() >= SPLIT:
                        value *= 2
                    currency = None if metric == "shares_outstanding" else "USD"
                    said = {"instrument_id": name, "metric": metric, "period": period, "period_end": end,
                            "currency": currency}  # fmt: skip
                    rows.append({**said, "value": value, "known_at": filed})
                    if name == "B" and k % 3 == 2:
                        again = filed + timedelta(days=120)
                        rows.append({**said, "value": value * 1.3, "known_at": again})
    return pl.DataFrame(rows, schema_overrides={"currency": pl.String})


@pytest.fixture(scope="module")
def prices(calendar) -> pl.DataFrame:
    days = calendar.frame(START, END)["date"]
    rng = np.random.default_rng(24)
    parts = []
    for name in NAMES:
        tr = np.exp(np.cumsum(0.01 * rng.standard_normal(len(days))))
        split = pl.Series(np.where((days >= SPLIT).to_numpy(), 2.0, 1.0))
        parts.append(pl.DataFrame({"instrument_id": name, "date": days, "tr_index": tr, "split_index": split})
                     .with_columns(close=40 * pl.col("tr_index") / pl.col("split_index")))  # fmt: skip
    empty = [
        pl.lit(None, pl.Float64).alias(c)
        for c in ("open", "high", "low", "volume", "dollar_volume")
    ]
    return pl.concat(parts).with_columns(empty)


@pytest.fixture(scope="module")
def instruments() -> pl.DataFrame:
    return pl.DataFrame({"instrument_id": NAMES, "asset_class": "equity", "currency": "USD",
                         "valid_from": [START] * 4, "sector": "Tech", "exchange": "XNYS"})  # fmt: skip


@pytest.fixture(scope="module")
def families(tmp_path_factory) -> list[home.Family]:
    return factors.load(("fundamental",), tmp_path_factory.mktemp("own")).families()


@pytest.fixture(scope="module")
def values(families, prices, reports, instruments, calendar) -> dict[str, pl.DataFrame]:
    return compute_all(
        families, prices, None, instruments=instruments, statements=reports, calendar=calendar
    )


class Reader:
    """What someone who reads every filing knows of one company on one day, and the day's price."""

    def __init__(
        self, reports: pl.DataFrame, prices: pl.DataFrame, name: str, day: date, calendar
    ) -> None:
        known = reports.filter(
            (pl.col("instrument_id") == name) & (pl.col("known_at") <= calendar.known_at(day))
        )
        latest = known.sort("known_at").unique(["metric", "period", "period_end"], keep="last")
        self.day = day
        self.rows = {(m, p, e): (v, at) for m, p, e, v, at in
                     latest.select("metric", "period", "period_end", "value", "known_at").iter_rows()}  # fmt: skip
        bar = prices.filter((pl.col("instrument_id") == name) & (pl.col("date") == day))
        self.price = bar["close"][0]

    def _of(self, metric: str, period: str, back: int) -> float:
        ends = sorted(e for m, p, e in self.rows if m == metric and p == period)
        if not ends or (self.day - ends[-1]).days > {"year": 550, "quarter": 400}[period]:
            return math.nan
        months = ends[-1].year * 12 + ends[-1].month - back * {"year": 12, "quarter": 3}[period]
        found = [e for e in ends if e.year * 12 + e.month == months]
        if not found:
            return math.nan
        value, at = self.rows[metric, period, found[0]]
        split = self.day >= SPLIT > at.date()
        return (
            value * {"shares_outstanding": 2, "eps_diluted": 0.5}.get(metric, 1) if split else value
        )

    def y(self, metric: str, back: int = 0) -> float:
        return self._of(metric, "year", back)

    def q(self, metric: str, back: int = 0) -> float:
        return self._of(metric, "quarter", back)

    def ttm(self, metric: str) -> float:
        """Of four quarters; where one is missing, of the latest year."""
        quarters = sum(self.q(metric, k) for k in range(4))
        return quarters if math.isfinite(quarters) else self.y(metric)

    @property
    def cap(self) -> float:
        return self.q("shares_outstanding") * self.price


def surprise(metric: str) -> Callable[[Reader], float]:
    def one(r: Reader) -> float:
        changes = [r.q(metric, k) - r.q(metric, k + 4) for k in range(8)]
        return changes[0] / float(np.std(changes, ddof=1))

    return one


def piotroski(r: Reader) -> float:
    y = r.y
    a0, a1, a2 = (y("total_assets", k) for k in range(3))
    gross = [y("gross_profit", k) / y("revenue", k) for k in range(2)]
    pairs = [
        (y("net_income") / a1, 0),
        (y("operating_cash_flow") / a1, 0),
        (y("net_income") / a1, y("net_income", 1) / a2),
        (y("operating_cash_flow"), y("net_income")),
        (y("long_term_debt", 1) / (a1 + a2), y("long_term_debt") / (a0 + a1)),
        (
            y("current_assets") / y("current_liabilities"),
            y("current_assets", 1) / y("current_liabilities", 1),
        ),
        (gross[0], gross[1]),
        (y("revenue") / a1, y("revenue", 1) / a2),
    ]
    if not all(math.isfinite(a + b) for a, b in pairs) or math.isnan(y("shares_outstanding", 1)):
        return math.nan
    return sum(a > b for a, b in pairs) + (y("shares_outstanding") <= y("shares_outstanding", 1))


def gross(r: Reader) -> float:
    given = r.y("gross_profit")
    return (given if math.isfinite(given) else r.y("revenue") - r.y("cost_of_revenue")) / r.y(
        "total_assets"
    )


def investment(r: Reader) -> float:
    ratio = [r.y("capital_expenditure", k) / r.y("revenue", k) for k in range(4)]
    return ratio[0] / (sum(ratio[1:]) / 3) - 1


FORMULAS: dict[str, Callable[[Reader], float]] = {
    "book_to_price": lambda r: r.q("total_equity") / r.cap,
    "earnings_to_price": lambda r: r.ttm("net_income") / r.cap,
    "sales_to_price": lambda r: r.ttm("revenue") / r.cap,
    "cash_flow_to_price": lambda r: r.ttm("operating_cash_flow") / r.cap,
    "payout_yield": lambda r: (r.y("dividends_paid") + r.y("share_repurchases")) / r.cap,
    "gross_profitability": gross,
    "operating_profitability": lambda r: (r.y("revenue") - r.y("cost_of_revenue")
    - r.y("selling_general_administrative") - r.y("interest_expense")) / r.y("total_equity"),
    "return_on_equity": lambda r: r.q("net_income") / r.q("total_equity", 1),
    "return_on_assets": lambda r: r.q("net_income") / r.q("total_assets", 1),
    "accruals": lambda r: (r.y("net_income") - r.y("operating_cash_flow"))
    / ((r.y("total_assets") + r.y("total_assets", 1)) / 2),
    "book_leverage": lambda r: r.y("total_liabilities") / r.y("total_assets"),
    "piotroski_f": piotroski,
    "sales_growth": lambda r: r.y("revenue") / r.y("revenue", 1) - 1,
    "earnings_growth": lambda r: (r.y("net_income") - r.y("net_income", 1)) / r.y("total_assets", 1),
    "asset_growth": lambda r: r.y("total_assets") / r.y("total_assets", 1) - 1,
    "net_issuance": lambda r: math.log(r.q("shares_outstanding") / r.q("shares_outstanding", 4)),
    "abnormal_investment": investment,
    "sue": surprise("eps_diluted"),
    "revenue_surprise": surprise("revenue"),
    "earnings_change_to_price": lambda r: (r.q("eps_diluted") - r.q("eps_diluted", 4)) / r.price,
}  # fmt: skip


@pytest.fixture(scope="module")
def readers(reports, prices, calendar) -> list[tuple[str, date, Reader]]:
    days = [calendar.sessions(date(y, m, 1), date(y, m, 28))[k] for y, m, k in
            ((2012, 2, 3), (2013, 5, 9), (2014, 3, 12), (2015, 4, 1), (2016, 11, 5), (2017, 6, 0), (2017, 9, 3), (2018, 12, 2))]  # fmt: skip
    return [(n, d, Reader(reports, prices, n, d, calendar)) for n in NAMES for d in days]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_factor_is_its_formula_over_what_was_known(name, readers, values) -> None:
    table = next(f for f in values.values() if name in f.columns)
    found = {(i, d): v for i, d, v in table.select("instrument_id", "date", name).iter_rows()}
    compared = 0
    for who, day, reader in readers:
        expected, value = FORMULAS[name](reader), found[who, day]
        if math.isnan(expected):
            assert value is None, (who, day, value)
        else:
            assert value is not None, (who, day, expected)
            assert math.isclose(value, expected, rel_tol=2e-6, abs_tol=1e-7), (who, day)
            compared += 1
    assert compared >= 12


def test_every_fundamental_factor_is_checked_and_stays_out_of_core(
    families, tmp_path: Path
) -> None:
    declared = {f.name for family in families for f in family.factors}
    assert declared == set(FORMULAS)
    assert {family.name for family in families} == {
        "value",
        "quality",
        "growth",
        "investment",
        "earnings",
    }
    core = factors.load(("core", "extended"), tmp_path)
    assert not declared & set(core.factors)
    assert not any(any(f.statements.values()) for f in core.families())
    for family in families:
        for f in family.factors:
            assert f.inputs == ("clean.prices", "clean.fundamentals")
            assert (f.basis == "unadjusted") == ("$raw_close" in f.expression)


def test_nothing_published_later_counts(
    families, values, prices, reports, instruments, calendar
) -> None:
    at = calendar.known_at(date(2016, 3, 8))
    known = reports.filter(pl.col("known_at") <= at)
    bars = prices.filter(pl.col("date") <= date(2016, 3, 8))
    out = compute_all(
        families, bars, None, instruments=instruments, statements=known, calendar=calendar
    )
    for table, frame in out.items():
        assert frame.equals(values[table].filter(pl.col("date") <= date(2016, 3, 8)))


def test_some_dates_are_the_same_bits_as_all(
    families, values, prices, reports, instruments, calendar
) -> None:
    start = date(2017, 8, 15)
    for family in families:
        bars = prices.filter(pl.col("date") >= calendar.offset(start, -family.lookback))
        out = compute_all([family], bars.sample(fraction=1, shuffle=True, seed=1), None, instruments=instruments,
                          statements=reports, calendar=calendar, start=start, threads=1)  # fmt: skip
        assert out[family.table].equals(values[family.table].filter(pl.col("date") >= start))
    reach = {f.name: f.lookback for f in families}
    assert reach["growth"] == 0
    assert reach["value"] > 250


def test_without_reports_all_is_null_and_said(
    families, prices, instruments, calendar, tmp_path: Path
) -> None:
    out = compute_all(families, prices, None, instruments=instruments, calendar=calendar)
    assert all(frame[c].is_null().all() for frame in out.values() for c in frame.columns[2:])
    library = factors.load(("fundamental",), tmp_path)
    columns = prices.columns
    reasons = library.missing_reasons(columns, (), ())
    assert set(reasons) == set(FORMULAS)
    assert reasons["asset_growth"] == "the data have no reported total_assets"
    enough = library.missing_reasons(columns, (), {"revenue", "cost_of_revenue", "total_assets"})
    assert "gross_profitability" not in enough
    assert "asset_growth" not in enough
    assert "shares_outstanding" in enough["sales_to_price"]
    assert library.missing_reasons(columns, (), set(SIZES)) == {}
