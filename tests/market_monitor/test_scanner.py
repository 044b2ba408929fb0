"""The scan: rules recomputed by plain loops, past only, the same from any start."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import ContractError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.market_monitor import scanner


def rms(values: list[float]) -> float:
    good = [v for v in values if not math.isnan(v)]
    return math.sqrt(math.fsum(v * v for v in good) / len(good))


def by_hand(prices: pl.DataFrame) -> dict[tuple[int, str], float]:
    """(slot, signal) → value of one instrument, from the definitions, one session at a time."""
    bars = {r["slot"]: r for r in prices.iter_rows(named=True)}
    first, last = min(bars), max(bars)

    def ret(s: int) -> float:
        if s not in bars or s - 1 not in bars:
            return math.nan
        return float(bars[s]["tr_index"] / bars[s - 1]["tr_index"] - 1)

    def seen(values: list[float]) -> int:
        return sum(not math.isnan(v) for v in values)

    def ratio(s: int) -> float:
        short = [ret(k) for k in range(s - 9, s + 1)]
        long = [ret(k) for k in range(s - 135, s - 9)]
        return rms(short) / rms(long) if seen(short) >= 8 and seen(long) >= 84 else math.nan

    out: dict[tuple[int, str], float] = {}
    for s in range(first, last + 1):
        if s not in bars:
            continue
        bar = bars[s]
        price = bar["close"] * bar["split_index"]
        before = [bars[k]["close"] * bars[k]["split_index"] for k in range(s - 251, s) if k in bars]
        if len(before) >= 200 and price > max(before):
            out[s, "high_52w"] = price / max(before) - 1
        if len(before) >= 200 and price < min(before):
            out[s, "low_52w"] = price / min(before) - 1
        past = [ret(k) for k in range(s - 63, s)]
        if seen(past) >= 42 and s - 1 in bars:
            sigma = rms(past)
            if abs(ret(s)) > 4 * sigma:
                out[s, "large_move"] = ret(s)
            if bar["open"] is not None:
                gap = bar["open"] / bar["close"] * bar["tr_index"] / bars[s - 1]["tr_index"] - 1
                if abs(gap) > 3 * sigma:
                    out[s, "gap"] = gap
        if ratio(s) > 2.5 and ratio(s - 1) <= 2.5:
            out[s, "volatility_spike"] = ratio(s)
        shares = [
            bars[k]["volume"] / bars[k]["split_index"]
            for k in range(s - 63, s)
            if k in bars and bars[k]["volume"] is not None
        ]
        if len(shares) >= 42 and bar["volume"] is not None:
            surge = bar["volume"] / bar["split_index"] / (math.fsum(shares) / len(shares))
            if surge > 4:
                out[s, "volume_spike"] = surge
    return out


@pytest.fixture(scope="module")
def busy(synthetic_prices: pl.DataFrame) -> pl.DataFrame:
    """Twelve names with gaps, suspensions and splits, with jumps, so that every rule fires."""
    names = [synthetic.symbol(i) for i in (0, 1, 2, 3, 5, 7, 8, 9, 10, 15, 19, 27)]
    frame = synthetic_prices.filter(pl.col("instrument_id").is_in(names))
    jump = (pl.col("slot") % 89 == 0).cast(pl.Float64)
    factor = (1 + 0.14 * jump * pl.when(pl.col("slot") % 2 == 0).then(1).otherwise(-1)).cum_prod()
    burst = pl.when(pl.col("slot") % 300 > 285).then(1 + 0.06 * (pl.col("slot") % 2)).otherwise(1.0)
    return frame.with_columns(
        (pl.col(c) * factor.over("instrument_id") * burst).alias(c) for c in ("close", "tr_index")
    ).with_columns(
        pl.col("volume") * (1 + 6 * jump),
        pl.col("open") * factor.over("instrument_id"),
    )


@pytest.fixture(scope="module")
def full(busy: pl.DataFrame) -> pl.DataFrame:
    return scanner.scan(busy)


def test_every_rule_equals_a_plain_loop(busy: pl.DataFrame, full: pl.DataFrame) -> None:
    slots = dict(busy.select("date", "slot").unique().iter_rows())
    expected: dict[tuple[str, int, str], float] = {}
    for (name,), rows in busy.group_by("instrument_id"):
        expected |= {(str(name), s, rule): v for (s, rule), v in by_hand(rows).items()}
    found = {
        (r["instrument_id"], slots[r["date"]], r["signal"]): r["value"]
        for r in full.iter_rows(named=True)
    }
    assert {rule for _, _, rule in expected} == {r.name for r in scanner.RULES}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9), key


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(back=st.integers(0, 500))
def test_an_increment_with_the_lookback_gives_the_bits_of_the_full_scan(
    busy: pl.DataFrame, full: pl.DataFrame, calendar: TradingCalendar, back: int
) -> None:
    start = calendar.offset(synthetic.END, -back)
    recent = busy.filter(pl.col("date") >= calendar.offset(start, -scanner.LOOKBACK))
    part = scanner.scan(recent, start=start)
    assert part.equals(full.filter(pl.col("date") >= start))


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(back=st.integers(1, 500))
def test_nothing_after_the_session_changes_its_signals(
    busy: pl.DataFrame, full: pl.DataFrame, calendar: TradingCalendar, back: int
) -> None:
    end = calendar.offset(synthetic.END, -back)
    seen = scanner.scan(busy.filter(pl.col("date") <= end))
    assert seen.equals(full.filter(pl.col("date") <= end))


def test_row_order_and_price_scale_do_not_matter(busy: pl.DataFrame, full: pl.DataFrame) -> None:
    scaled = busy.with_columns(
        (pl.col(c) * 8.0).alias(c) for c in ("open", "close", "tr_index")
    ).with_columns(pl.col("volume") / 8.0)
    assert scanner.scan(scaled.sample(fraction=1.0, shuffle=True, seed=3)).equals(full)


def test_a_close_only_vendor_gives_no_gaps_and_no_volumes(full: pl.DataFrame) -> None:
    name = synthetic.symbol(8)
    assert 8 in synthetic.CLOSE_ONLY
    mine = set(full.filter(pl.col("instrument_id") == name)["signal"])
    assert mine
    assert not mine & {"gap", "volume_spike"}


def test_frames_without_open_and_volume_are_scanned(busy: pl.DataFrame, full: pl.DataFrame) -> None:
    closes = busy.select("instrument_id", "date", "slot", "close", "split_index", "tr_index")
    rest = full.filter(~pl.col("signal").is_in(["gap", "volume_spike"]))
    assert scanner.scan(closes).equals(rest)


def test_only_names_in_the_universe_on_the_date_are_reported(
    busy: pl.DataFrame, full: pl.DataFrame
) -> None:
    keys = busy.filter(
        (pl.col("instrument_id") != "SYN00") | (pl.col("date") < date(2018, 1, 1))
    ).select("date", "instrument_id")
    found = scanner.scan(busy, universe=keys)
    gone = (pl.col("instrument_id") == "SYN00") & (pl.col("date") >= date(2018, 1, 1))
    assert full.filter(gone).height > 0
    assert found.equals(full.filter(~gone))


def test_thresholds_carry_the_sign_of_the_move(full: pl.DataFrame) -> None:
    moves = full.filter(pl.col("signal").is_in(["gap", "large_move"]))
    assert moves.height > 10
    value, limit = moves["value"].to_numpy(), moves["threshold"].to_numpy()
    assert (np.sign(value) == np.sign(limit)).all()
    assert (np.abs(value) > np.abs(limit)).all()


def test_a_missing_column_is_named_with_those_that_are_there(busy: pl.DataFrame) -> None:
    with pytest.raises(ContractError, match=r"\['tr_index'\].*the frame has: instrument_id"):
        scanner.scan(busy.drop("tr_index"))


def test_nothing_in_nothing_out(busy: pl.DataFrame) -> None:
    assert scanner.scan(busy.clear()).is_empty()
    assert scanner.scan(busy, start=date(2030, 1, 2)).is_empty()
