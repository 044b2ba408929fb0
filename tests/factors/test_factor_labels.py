"""Forward returns against a plain loop, and when they are known."""

from __future__ import annotations

import math
from datetime import date

import polars as pl
import pytest

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors import forward_returns


@pytest.mark.parametrize("horizon", [1, 20])
def test_labels_equal_a_plain_loop(horizon: int, synthetic_prices, calendar) -> None:
    out = forward_returns(synthetic_prices, horizon, calendar)
    tr = {(r[0], r[1]): r[2] for r in
          synthetic_prices.select("instrument_id", "slot", "tr_index").iter_rows()}  # fmt: skip
    last = synthetic_prices["slot"].max()
    expected = {}
    for name, slot in tr:
        end = slot + 1 + horizon
        if (name, slot + 1) not in tr or end > last:
            continue
        exit_slot = next(s for s in range(end, slot, -1) if (name, s) in tr)
        expected[name, slot] = tr[name, exit_slot] / tr[name, slot + 1] - 1
    assert out.height == len(expected)
    for day, name, label, end, known in out.iter_rows():
        slot = calendar.slot(day)
        assert label == expected[name, slot]
        assert end == calendar.offset(day, 1 + horizon)
        assert known == calendar.known_at(end)


def test_rows_from_start_on_are_the_same_rows(synthetic_prices, calendar) -> None:
    whole = forward_returns(synthetic_prices, 5, calendar)
    for start in (date(2018, 7, 4), date(2018, 7, 5)):
        given = synthetic_prices.filter(pl.col("date") >= start).sample(
            fraction=1, shuffle=True, seed=1
        )
        part = forward_returns(given, 5, calendar, start=start)
        assert part.equals(whole.filter(pl.col("date") >= start))
        assert forward_returns(synthetic_prices, 5, calendar, start=start).equals(part)


def test_a_delisting_pays_its_last_price_and_a_gap_the_one_before(calendar) -> None:
    days = calendar.sessions(date(2020, 1, 2), date(2020, 1, 31))
    rows = [("LIVE", d, 1.0 + i) for i, d in enumerate(days)]
    rows += [("GONE", d, 2.0**i) for i, d in enumerate(days[:6])]
    rows += [("HOLE", d, 1.0 + i) for i, d in enumerate(days) if i not in (4, 9)]
    bars = pl.DataFrame(rows, schema=["instrument_id", "date", "tr_index"], orient="row")
    out = forward_returns(bars, 3, calendar)
    got = {(n, d): v for d, n, v in out.select("date", "instrument_id", "label").iter_rows()}
    assert got["GONE", days[3]] == 1.0  # bought at the 5th, sold at the 6th, then cash
    assert got["GONE", days[4]] == 0.0
    assert ("GONE", days[5]) not in got  # nothing left to buy
    assert ("HOLE", days[3]) not in got  # no bar to buy at
    assert got["HOLE", days[5]] == pytest.approx(9 / 7 - 1)  # 10th is a hole: valued at the 9th
    assert max(d for _, d in got) == days[-5]


def test_empty_and_refused(synthetic_prices, calendar) -> None:
    none = forward_returns(synthetic_prices.clear(), 5, calendar)
    assert none.is_empty()
    assert none.columns == ["date", "instrument_id", "label", "label_end", "known_at"]
    with pytest.raises(FactorError, match="at least 1"):
        forward_returns(synthetic_prices, 0, calendar)
    assert not math.isnan(forward_returns(synthetic_prices, 5, calendar)["label"].sum())
