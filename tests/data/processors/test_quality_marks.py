"""Marks of bars that are kept: prices that do not move, unusual volume; what repairs leave behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import instruments as identity
from wealthos_pipeline.data.processors import prices, quality, quarantine
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.utils.config import CleaningSettings

FIRST = date(2016, 1, 4)
NOW = datetime(2018, 12, 1, tzinfo=UTC)

Clean = Callable[..., prices.Cleaned]


@pytest.fixture
def clean(calendar: TradingCalendar) -> Clean:
    """Clean bars of one symbol on consecutive sessions; a row of None is no bar."""

    def run(rows: list[dict[str, Any] | None], **more: Any) -> prices.Cleaned:
        days = calendar.sessions(FIRST, calendar.offset(FIRST, len(rows) - 1))
        keys = {"source": "v", "symbol": "A", "fetched_at": NOW}
        frame = contract("raw.prices").conform(
            pl.DataFrame(
                [
                    {**keys, "date": d, **r}
                    for d, r in zip(days, rows, strict=True)
                    if r is not None
                ],
                schema_overrides=contract("raw.prices").schema(),
                infer_schema_length=None,
            )
        )
        told = contract("raw.instruments").conform(
            pl.DataFrame([{**keys, "asset_class": "equity", "exchange": "XNYS", "currency": "USD"}])
        )
        names = identity.clean(told, frame, calendar=calendar)
        return prices.clean(frame, names, calendar, now=NOW, **more)

    return run


def bar(close: float, volume: float | None = 100.0) -> dict[str, Any]:
    return {"close": close, "volume": volume}


def flagged(out: prices.Cleaned, flag: Flag) -> list[int]:
    return ((out.prices["flags"] & int(flag)) != 0).arg_true().to_list()


# --- stale -----------------------------------------------------------------------------------------


def test_unchanged_closes_without_volume_are_stale_from_the_fifth_on(clean: Clean) -> None:
    rows = [bar(10.0), *[bar(10.0, 0.0)] * 7, bar(10.0), bar(10.0, 0.0)]
    assert flagged(clean(rows), Flag.STALE) == [5, 6, 7]
    assert flagged(clean(rows, cleaning=CleaningSettings(stale_sessions=3)), Flag.STALE) == [3, 4, 5, 6, 7]  # fmt: skip
    assert flagged(clean(rows, cleaning=CleaningSettings(off=("stale",))), Flag.STALE) == []


def test_where_the_volume_is_unknown_a_run_must_be_twice_as_long(clean: Clean) -> None:
    """An unchanged close at coarse ticks is no evidence that nothing traded."""
    closes = [bar(10.0, None)] * 13
    assert flagged(clean(closes), Flag.STALE) == [10, 11, 12]
    assert flagged(clean(closes, cleaning=CleaningSettings(stale_sessions=3)), Flag.STALE) == list(range(6, 13))  # fmt: skip
    one = [bar(10.0), *[bar(10.0, 0.0)] * 2, bar(10.0, None), *[bar(10.0, 0.0)] * 4]
    assert flagged(clean(one), Flag.STALE) == []
    assert flagged(clean([*one, bar(10.0, 0.0)]), Flag.STALE) == [8]
    assert flagged(clean([*one, *[bar(10.0, None)] * 4]), Flag.STALE) == [10, 11]
    whole = {"open": 10.0, "high": 10.0, "low": 10.0, "close": 10.0}
    assert flagged(clean([whole] * 12), Flag.STALE) == [10, 11]
    with pytest.raises(ConfigError, match="stale_sessions is 30; expected less than 30"):
        clean(closes, cleaning=CleaningSettings(stale_sessions=quality.WINDOW // 2))


def test_a_quiet_price_that_trades_is_not_stale(clean: Clean) -> None:
    assert flagged(clean([bar(10.0)] * 10), Flag.STALE) == []


def test_the_same_bar_again_and_again_is_stale_whatever_its_volume(clean: Clean) -> None:
    same = {"open": 10.1, "high": 10.3, "low": 9.9, "close": 10.0, "volume": 100.0}
    assert flagged(clean([same] * 8), Flag.STALE) == [5, 6, 7]
    moved = {**same, "high": 10.4}
    assert flagged(clean([*[same] * 4, moved, *[same] * 4]), Flag.STALE) == []


def test_stale_bars_far_apart_are_not_counted(clean: Clean) -> None:
    """What lies more than a window back cannot be seen by a day's update."""
    apart = [x for _ in range(6) for x in (bar(10.0, 0.0), *[None] * 15)]
    assert flagged(clean(apart), Flag.STALE) == []
    with pytest.raises(ConfigError, match="stale_sessions is 60"):
        clean(apart, cleaning=CleaningSettings(stale_sessions=quality.WINDOW))


# --- volume ----------------------------------------------------------------------------------------


def loud_by_hand(rows: list[dict[str, Any] | None], times: float = 30.0) -> list[int]:
    """Against a plain loop over the bars."""
    at = [(i, r) for i, r in enumerate(rows) if r is not None]
    out = []
    for k in range(quality.MEDIAN, len(at)):
        past = at[k - quality.MEDIAN : k]
        values = [r["close"] * r["volume"] for _, r in past if r["volume"] is not None]
        volume = at[k][1]["volume"]
        if volume is None or len(values) < quality.MEDIAN or at[k][0] - past[0][0] > quality.WINDOW:
            continue
        usual = float(np.median(values))
        if usual > 0 and at[k][1]["close"] * volume > times * usual:
            out.append(k)
    return out


def test_unusual_volume_by_hand(clean: Clean) -> None:
    rng = np.random.default_rng(4)
    rows: list[dict[str, Any] | None] = []
    for _ in range(260):
        if rng.random() < 0.1:
            rows.append(None)
            continue
        volume: float | None = float(rng.integers(50, 150)) * (100.0 if rng.random() < 0.15 else 1)
        if rng.random() < 0.01:
            volume = None
        rows.append(bar(10.0 + rng.random(), volume))
    rows[150:150] = [None] * 45
    found = flagged(clean(rows), Flag.VOLUME_SPIKE)
    assert found == loud_by_hand(rows)
    assert len(found) > 5
    few = CleaningSettings(volume_spike=200.0)
    assert flagged(clean(rows, cleaning=few), Flag.VOLUME_SPIKE) == loud_by_hand(rows, 200.0)


def test_a_split_does_not_look_like_volume(clean: Clean) -> None:
    rows: list[dict[str, Any] | None] = [bar(100.0)] * 25
    after = [{**bar(2.0, 5000.0), "split_ratio": 50.0}, bar(2.0, 5000.0)]
    assert flagged(clean([*rows, *after]), Flag.VOLUME_SPIKE) == []


# --- repairs ---------------------------------------------------------------------------------------


def test_what_a_repair_took_away_is_logged(clean: Clean, calendar: TradingCalendar) -> None:
    rows: list[dict[str, Any] | None] = [
        bar(10.0),
        {"open": 10.0, "high": 9.0, "low": 8.0, "close": 10.0, "volume": -5.0},
    ]
    out = clean(rows)
    told = out.adjustments.sort("field").select("rule", "field", "before", "after").rows()
    assert told == [
        ("crossed", "high", 9.0, None), ("crossed", "low", 8.0, None),
        ("crossed", "open", 10.0, None), ("bad_volume", "volume", -5.0, None),
    ]  # fmt: skip
    assert (
        out.adjustments.filter(pl.col("rule") == "crossed")["detail"][0]
        == "open 10.0, high 9.0, low 8.0, close 10.0"
    )
    assert set(out.adjustments["known_at"]) == {calendar.known_at(calendar.offset(FIRST, 1))}
    off = clean(rows, cleaning=CleaningSettings(off=("crossed",)))
    assert off.prices["high"].to_list() == [None, 9.0]
    assert off.adjustments["rule"].to_list() == ["bad_volume"]


def test_counts_by_rule(clean: Clean) -> None:
    rows = [bar(10.0), bar(90.0), bar(10.0, 0.0), bar(10.0, -1.0), bar(-1.0)]
    out = clean(rows)
    counts = quarantine.counts(out.prices, out.quarantine, out.adjustments)
    assert counts == {
        "rows rejected": {"non_positive_price": 1, "spike": 1},
        "values repaired": {"bad_volume": 1},
        "bars flagged": {"gap": 1, "zero_volume": 1, "bad_volume": 1},
    }
