"""Pence and cents, and single bars in the wrong unit."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Cleaned, Flag
from wealthos_pipeline.utils.config import CleaningSettings

PRICES = contract("raw.prices")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
CALENDAR = TradingCalendar("XLON")


def bars(
    currency: str | None = "GBp", n: int = 120, paid: dict[int, float] | None = None
) -> pl.DataFrame:
    """Pence: a share of some 12 pounds."""
    rng = np.random.default_rng(11)
    close = 1250.0 * np.exp(np.cumsum(rng.normal(0, 0.012, n)))
    first = CALENDAR.slot(date(2019, 1, 2))
    return PRICES.conform(
        pl.DataFrame(
            {
                "source": "vendor", "symbol": "X.L",
                "date": [CALENDAR.date_of(first + i) for i in range(n)],
                "fetched_at": datetime(2025, 1, 2, 23, tzinfo=UTC),
                "open": close * 0.999, "high": close * 1.01, "low": close * 0.99, "close": close,
                "volume": 1000.0,
                "dividend": [(paid or {}).get(i, 0.0) for i in range(n)],
                "split_ratio": 1.0, "currency": currency, "basis_vintage": date(2025, 1, 2),
            },
            schema_overrides={"currency": pl.String},
        )
    )  # fmt: skip


def cleaned(rows: pl.DataFrame, money: str = "GBp", **more: object) -> Cleaned:
    described = contract("raw.instruments").conform(
        pl.DataFrame(
            {"source": "vendor", "symbol": ["X.L"], "asset_class": "equity", "exchange": "XLON",
             "currency": money, "fetched_at": rows["fetched_at"][:1]}
        )
    )  # fmt: skip
    registry = instruments.clean(described, rows, calendar=CALENDAR)
    return prices.clean(rows, registry, CALENDAR, now=NOW, **more)  # type: ignore[arg-type]


def at(rows: pl.DataFrame, places: list[int], factor: float) -> pl.DataFrame:
    days = [rows["date"][i] for i in places]
    money = pl.col("open", "high", "low", "close")
    hit = pl.col("date").is_in(days)
    return rows.with_columns(pl.when(hit).then(money * factor).otherwise(money).name.keep())


@pytest.mark.parametrize(
    ("code", "money"), [("GBp", "GBP"), ("GBX", "GBP"), ("ZAc", "ZAR"), ("ILA", "ILS")]
)
def test_hundredths_become_the_whole_currency(code, money) -> None:
    rows = bars(code, paid={60: 31.5})
    out = cleaned(rows, code)
    for name in ("open", "high", "low", "close", "dividend"):
        assert out.prices[name].equals(rows[name] / 100), name
    assert set(out.prices["currency"]) == {money}
    assert out.prices["volume"].equals(rows["volume"])
    assert out.counts == {"quoted_in_cents": rows.height}
    assert out.adjustments.height == 0


def test_a_row_without_currency_is_in_that_of_its_instrument() -> None:
    coded, bare = cleaned(bars()), cleaned(bars(None))
    assert bare.prices.equals(coded.prices)


def test_a_change_of_the_code_from_pence_to_pounds_is_no_return() -> None:
    rows = bars()
    late = pl.col("date") >= rows["date"][70]
    money = pl.col("open", "high", "low", "close", "dividend")
    mixed = rows.with_columns(
        pl.when(late).then(money / 100).otherwise(money).name.keep(),
        pl.when(late).then(pl.lit("GBP")).otherwise("currency").alias("currency"),
    )
    a, b = cleaned(rows).prices, cleaned(mixed).prices
    np.testing.assert_allclose(b["tr_index"], a["tr_index"], rtol=1e-12)
    assert b.drop("tr_index").equals(a.drop("tr_index"))


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("places", [[50], [50, 51, 52], [30, 80]])
def test_bars_in_the_wrong_unit_are_brought_back(factor, places) -> None:
    rows = bars()
    good, out = cleaned(rows), cleaned(at(rows, places, factor))
    np.testing.assert_allclose(out.prices["close"], good.prices["close"], rtol=1e-12)
    np.testing.assert_allclose(out.prices["open"], good.prices["open"], rtol=1e-12)
    np.testing.assert_allclose(out.prices["tr_index"], good.prices["tr_index"], rtol=1e-10)
    days = [rows["date"][i] for i in places]
    logged = out.adjustments
    assert logged["rule"].to_list() == ["unit_switch"] * len(places)
    assert logged["date"].to_list() == days
    np.testing.assert_allclose(logged["before"] / logged["after"], factor, rtol=1e-12)
    flagged = out.prices.filter(pl.col("flags") & int(Flag.UNIT_SWITCH) != 0)
    assert flagged["date"].to_list() == days
    assert not out.prices.filter(pl.col("flags") & int(Flag.EXTREME) != 0).height


def test_on_its_day_the_repair_is_what_it_is_later_and_continues_from_stored_rows() -> None:
    """A unit that changed for good, with the code left as it was."""
    rows = at(bars(n=300), list(range(50, 300)), 0.01)
    whole = cleaned(rows).prices
    for n in (51, 52, 120):
        assert cleaned(rows.head(n)).prices.equals(whole.head(n))
    for cut in (50, 51, 60, 250):
        day = rows["date"][cut]
        part = cleaned(
            rows.filter(pl.col("date") >= prices.context_start(day, CALENDAR)),
            previous=prices.last_rows(whole, day), start=day,
        ).prices  # fmt: skip
        assert part.equals(whole.filter(pl.col("date") >= day))


def test_a_crash_is_no_unit_and_the_rule_can_be_switched_off() -> None:
    crash = at(bars(), list(range(50, 120)), 0.03)
    assert not cleaned(crash).prices.filter(pl.col("flags") & int(Flag.UNIT_SWITCH) != 0).height
    wrong = at(bars(), [50], 100.0)
    out = cleaned(wrong, cleaning=CleaningSettings(off=("unit_switch", "spike")))
    assert out.prices["close"][50] == pytest.approx(wrong["close"][50] / 100)
    assert out.prices["flags"][50] & Flag.EXTREME


@pytest.mark.parametrize(("told", "scale"), [(31.5, 1.0), (0.315, 100.0)])
def test_dividends_of_london_are_told_in_pence_or_pounds(told, scale) -> None:
    rows = bars(paid={60: told})
    fell = at(rows, list(range(60, 120)), 1 - 31.5 / rows["close"][59])
    out = cleaned(fell)
    assert out.prices["dividend"][60] == pytest.approx(0.315)
    assert out.adjustments["rule"].to_list() == ([] if scale == 1.0 else ["bad_dividend_unit"])
    if scale != 1.0:
        assert out.adjustments.select("before", "after").row(0) == pytest.approx((0.00315, 0.315))
