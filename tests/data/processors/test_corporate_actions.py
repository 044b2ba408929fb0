"""Splits in recorded answers of a vendor, and what a row's factor rests on."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import corporate_actions, dividends, instruments, prices, raw
from wealthos_pipeline.data.processors.effective import FACTOR
from wealthos_pipeline.data.processors.prices import Cleaned, Flag

PAYLOADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "payloads" / "yahoo"
PRICES = contract("raw.prices")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
recorded = pytest.mark.skipif(
    not PAYLOADS.is_dir(), reason="no recorded payloads beside the project"
)


def chart(name: str, *, asked: tuple[str, ...]) -> pl.DataFrame:
    """A recorded chart as raw.prices; events that were not asked for are unknown (null)."""
    body = json.loads((PAYLOADS / name).read_text())["response"]["bodyJson"]
    result = body["chart"]["result"][0]
    quote = result["indicators"]["quote"][0]
    days = [datetime.fromtimestamp(t, UTC).date() for t in result["timestamp"]]
    said = result.get("events", {})

    def told(kind: str, value) -> dict[date, float]:
        return {
            datetime.fromtimestamp(e["date"], UTC).date(): value(e)
            for e in said.get(kind, {}).values()
        }

    split = told("splits", lambda e: e["numerator"] / e["denominator"])
    paid = told("dividends", lambda e: e["amount"])
    return PRICES.conform(
        pl.DataFrame(
            {
                "source": "yahoo", "symbol": result["meta"]["symbol"], "date": days,
                "fetched_at": datetime(2025, 2, 20, 12, tzinfo=UTC),
                **{n: [float(x) for x in quote[n]] for n in ("open", "high", "low", "close", "volume")},
                "adj_close": result["indicators"]["adjclose"][0]["adjclose"],
                "dividend": [paid.get(d, 0.0) if "div" in asked else None for d in days],
                "split_ratio": [split.get(d, 1.0) for d in days],
                "currency": result["meta"]["currency"], "basis_vintage": date(2025, 2, 20),
            },
            schema_overrides={"dividend": pl.Float64},
        )
    )  # fmt: skip


def cleaned(rows: pl.DataFrame, calendar, now: datetime = NOW) -> Cleaned:
    described = contract("raw.instruments").conform(
        rows.select("source", "symbol", "currency", pl.col("fetched_at").min())
        .unique()
        .with_columns(pl.lit("equity").alias("asset_class"), pl.lit("XNYS").alias("exchange"))
    )
    registry = instruments.clean(described, rows, calendar=calendar)
    return prices.clean(rows, registry, calendar, now=now)


def before_the_split(rows: pl.DataFrame, day: date, ratio: float) -> pl.DataFrame:
    """What the vendor would have given the evening before: prices not rescaled, no event."""
    eve = rows.filter(pl.col("date") < day)
    money = pl.col("open", "high", "low", "close", "adj_close")
    return eve.with_columns(
        (money * ratio).cast(pl.Float32).cast(pl.Float64),
        pl.col("volume") / ratio,
        pl.lit(eve["date"].max()).alias("basis_vintage"),
        pl.lit(datetime(day.year, day.month, day.day, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
        .alias("fetched_at"),
    )  # fmt: skip


@recorded
def test_the_recorded_split_of_nvidia_is_one_number_on_its_day(calendar) -> None:
    rows = chart(
        "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv.json", asked=("split",)
    )
    day = date(2021, 7, 20)
    eve = before_the_split(rows, day, 4.0)
    before = cleaned(eve, calendar).prices
    stored = pl.concat([eve, raw.new_rows(eve, rows, PRICES)])
    assert stored.height > rows.height  # everything before came again in another basis
    out = cleaned(stored, calendar)
    assert out.prices.filter(pl.col("date") < day).equals(before)
    at = out.prices.filter(pl.col("date") == day).row(0, named=True)
    assert at["split_ratio"] == 4.0
    assert set(out.prices["split_ratio"]) == {1.0, 4.0}
    assert not at["flags"] & (Flag.RESTATED | Flag.SPLIT_DOUBT | Flag.EXTREME)
    assert set(out.prices["basis"]) == {"assumed"}
    # returns are those of the vendor's own adjusted closes (dividends were not asked for)
    theirs = rows["adj_close"] / rows["adj_close"][0]
    np.testing.assert_allclose(out.prices["tr_index"], theirs, rtol=2e-6)
    # the same traded prices from one fetch after the split
    whole = cleaned(rows, calendar).prices
    np.testing.assert_allclose(out.prices["close"], whole["close"], rtol=1e-6)
    np.testing.assert_allclose(out.prices["volume"], whole["volume"], rtol=1e-6)


@recorded
def test_the_recorded_split_of_apple_after_a_fetch_on_its_eve(calendar) -> None:
    rows = chart("chart-AAPL-2020-08-31-to-2020-11-07.json", asked=("div", "split"))
    eve = rows.head(1).with_columns(
        pl.lit(date(2020, 8, 28)).alias("date"), pl.lit(1.0).alias("split_ratio"),
        *(pl.lit(x).alias(n) for n, x in
          (("open", 504.05), ("high", 505.77), ("low", 498.31), ("close", 499.23), ("volume", 46907479.0))),
        pl.lit(486.8).alias("adj_close"), pl.lit(date(2020, 8, 28)).alias("basis_vintage"),
        pl.lit(datetime(2020, 8, 29, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
    )  # fmt: skip
    rescaled = eve.with_columns(
        *(pl.Series(n, np.float32(eve[n].to_numpy() / 4).astype(float)) for n in
          ("open", "high", "low", "close", "adj_close")),
        pl.col("volume") * 4, rows["basis_vintage"][:1], rows["fetched_at"][:1],
    )  # fmt: skip
    stored = pl.concat([eve, raw.new_rows(eve, pl.concat([rescaled, rows]), PRICES)])
    before = cleaned(eve, calendar).prices
    out = cleaned(stored, calendar).prices
    assert out.head(1).equals(before)
    assert out["split_ratio"].to_list()[:3] == [1.0, 4.0, 1.0]
    assert out["tr_index"][1] == pytest.approx(129.0399932861328 * 4 / 499.23, rel=1e-6)
    assert not out["flags"][1] & (Flag.RESTATED | Flag.SPLIT_DOUBT | Flag.EXTREME)


@recorded
@pytest.mark.parametrize(
    "name",
    [
        "chart-AAPL-2020-08-31-to-2020-11-07.json",
        "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json",
    ],
)
def test_recorded_dividends_agree_with_the_adjusted_closes(calendar, name) -> None:
    rows = chart(name, asked=("div", "split"))
    out = cleaned(rows, calendar)
    assert rows.filter(pl.col("dividend") > 0).height
    assert out.adjustments.height == 0
    mine = dividends.back_adjusted(out.prices)["adj_close"]
    theirs = rows["adj_close"]  # scaled by what was paid after the last row
    np.testing.assert_allclose(mine / mine[-1], theirs / theirs[-1], rtol=2e-6)
    index = [1.0]
    for before, now in zip(
        rows[:-1].iter_rows(named=True), rows[1:].iter_rows(named=True), strict=True
    ):
        index.append(index[-1] * (now["close"] + now["dividend"]) / before["close"])
    np.testing.assert_allclose(out.prices["tr_index"], index, rtol=1e-12)


@recorded
def test_dividends_that_a_recorded_list_lacks_are_marked(calendar) -> None:
    """NVIDIA paid 0.004 (today's shares) four times; the answer was asked for splits alone."""
    rows = chart(
        "historical-via-chart-NVDA-split-2021-02-01-to-2022-01-31.csv.json", asked=("div",)
    )
    out = cleaned(rows, calendar)
    assert set(out.adjustments["rule"]) == {"adjusted_close_differs"}
    days = [date(2021, 3, 9), date(2021, 6, 9), date(2021, 8, 31), date(2021, 12, 1)]
    assert out.adjustments["date"].to_list() == days
    assert (
        out.prices.filter(pl.col("flags") & int(Flag.ADJ_MISMATCH) != 0)["date"].to_list() == days
    )
    closes = dict(
        rows.with_columns(pl.col("close").shift(1).alias("p")).select("date", "p").iter_rows()
    )
    for row in out.adjustments.iter_rows(named=True):
        ex = rows.filter(pl.col("date") == row["date"])["close"].item()
        paid = closes[row["date"]] - ex / (1 + row["before"])
        assert paid == pytest.approx(0.004, rel=0.01)


def test_a_row_is_scaled_by_the_splits_that_its_own_fetch_knew() -> None:
    first, second = (datetime(2020, 1, d, 22, tzinfo=UTC) for d in (8, 10))
    days = [date(2020, 1, d) for d in (6, 7, 8, 9, 10)]

    def fetch(at: datetime, splits: dict[date, float]) -> list[dict[str, object]]:
        return [
            {"instrument_id": "A", "date": d, "fetched_at": at, "close": 10.0, "dividend": 0.0,
             "split_ratio": splits.get(d, 1.0), "basis_vintage": at.date()}
            for d in days if d <= at.date()
        ]  # fmt: skip

    rows = pl.DataFrame(fetch(first, {days[1]: 2.0}) + fetch(second, {days[1]: 3.0, days[4]: 5.0}))
    rows = rows.with_columns(pl.col("fetched_at").cast(pl.Datetime("us", "UTC")))
    out = corporate_actions.with_factors(rows)
    assert out[FACTOR].to_list() == [2.0, 1.0, 1.0, 15.0, 5.0, 5.0, 5.0, 1.0]
