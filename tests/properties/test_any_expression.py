"""Expressions drawn by chance from the whole grammar: the same bits wherever they are computed from.

The market has holes, late listings, delistings, volumes that are 0, missing or absurd, sectors and
symbols that change hands. Checked are threads, blocks of instruments and of dates, the order of rows,
a start with no more history than the lookback, and that nothing changes when later bars are taken away.
"""

from __future__ import annotations

import random
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import dated
from wealthos_pipeline.factors.engine import compute
from wealthos_pipeline.factors.expression import lookback, parse
from wealthos_pipeline.factors.library import Family
from wealthos_pipeline.factors.operators import EXPANDING, OPERATORS

FIELDS = ("close", "open", "high", "low", "volume", "ret", "market_ret", "raw_close")
NAMES = ("SYN01", "SYN10", "SYN13", "S3", "S5")
DRAWN = 24


def drawn(rng: random.Random, depth: int) -> str:
    """An expression; some ask for what the parser refuses."""
    if depth == 0 or rng.random() < 0.08:
        return "$" + rng.choice(FIELDS) if rng.random() < 0.9 else rng.choice(["1", "0.5", "-2"])
    op = OPERATORS[rng.choice(sorted(OPERATORS))]
    words = [drawn(rng, depth - 1) for _ in range(op.inputs)]
    if op.kind == "other":
        words.append(f"'{rng.choice(NAMES)}'")
    elif op.kind == "cross":
        words += ["sector"] * (op.group and rng.random() < 0.5)
        words += [drawn(rng, depth - 1) for _ in range(rng.randint(0, 2) if op.more else 0)]
    elif op.kind == "shift":
        words.append(str(rng.choice([1, 2, 5, 20])))
    elif op.kind == "decay":
        words.append(str(rng.choice([1, 2, 5, 0.5, 0.9, 12.5])))
    elif op.kind == "window":
        words.append(str(rng.choice([max(op.least, n) for n in (0, 1, 2, 3, 7, 20, 33, 60)])))
        words += [str(rng.choice([0, 0.2, 1]))] * (len(op.params) > 1)
    return f"{op.name}({', '.join(words)})"


@pytest.fixture(scope="module")
def prices(synthetic_prices: pl.DataFrame) -> pl.DataFrame:
    names = synthetic_prices["instrument_id"].unique().sort().head(14).to_list()
    rows = synthetic_prices.filter(pl.col("instrument_id").is_in(names))
    volume = rows["volume"].cast(pl.Float64).to_numpy().copy()
    odd = np.random.default_rng(5).integers(0, len(volume), 60)
    volume[odd[:30]], volume[odd[30:45]], volume[odd[45:]] = 0.0, np.nan, 1e18
    return rows.with_columns(pl.Series("volume", volume))


@pytest.fixture(scope="module")
def instruments(prices: pl.DataFrame) -> pl.DataFrame:
    first = prices.group_by("instrument_id").agg(pl.col("date").min()).sort("instrument_id")
    rows = []
    for n, (name, day) in enumerate(first.iter_rows()):
        rows.append((name, day, f"S{n}", "ABC"[n % 3]))
        if n % 2:
            rows.append((name, day + timedelta(days=400), f"S{(n + 2) % 14}", "ABC"[(n + 1) % 3]))
    schema = ["instrument_id", "valid_from", "symbol", "sector"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        asset_class=pl.lit("equity")
    )


def family(text: str) -> Family:
    return Family(
        AssetClass.EQUITY, "own", (Factor("x", AssetClass.EQUITY, "own", 1, "", "", text),)
    )


def assert_same(one: pl.DataFrame, other: pl.DataFrame, what: object) -> None:
    assert one.select("date", "instrument_id").equals(other.select("date", "instrument_id")), what
    bits = [f["x"].fill_null(float("nan")).to_numpy().view(np.uint32) for f in (one, other)]
    assert (bits[0] == bits[1]).all(), what


def until(instruments: pl.DataFrame, day: date) -> pl.DataFrame:
    return instruments.filter(pl.col("valid_from") <= day)


@pytest.mark.parametrize("seed", range(3))
def test_any_expression_has_the_same_bits(
    seed, prices, instruments, calendar: TradingCalendar, monkeypatch
) -> None:
    rng = random.Random(seed)
    days = prices["date"].unique().sort()
    shuffled = prices.sample(fraction=1, shuffle=True, seed=seed)
    done = 0
    while done < DRAWN // 3:
        text = drawn(rng, rng.choice([2, 3, 4]))
        try:
            back = lookback(parse(text))
        except FactorError:
            continue
        done += 1
        given = {"instruments": instruments, "calendar": calendar}
        whole = compute(family(text), prices, None, threads=1, **given)
        assert not whole["x"].is_nan().any(), text
        assert not whole["x"].is_infinite().any(), text
        cells = rng.choice([1, 500, 3000])
        other = compute(family(text), shuffled, None, threads=2, block_cells=cells, **given)
        assert_same(whole, other, (text, cells))
        day = days[rng.randrange(len(days))]
        late = whole.filter(pl.col("date") >= day)
        few = prices.filter(pl.col("date") >= calendar.offset(day, -back))
        assert_same(late, compute(family(text), few, None, start=day, **given), (text, day))
        past = compute(
            family(text), prices.filter(pl.col("date") <= day), None,
            instruments=until(instruments, day), calendar=calendar,
        )  # fmt: skip
        assert_same(whole.filter(pl.col("date") <= day), past, (text, "cut", day))
        if done % 4 == 0 and back < EXPANDING:
            monkeypatch.setattr(dated, "MEGABYTE", 1 << 13)
            blocks = dated.compute_blocks(family(text), prices, None, memory_mb=1, **given)
            assert_same(whole, pl.concat(list(blocks)), (text, "dates"))


@pytest.mark.parametrize("x", ["Mean($close, 5)", "Count($close, 0)", "CSMean($close)"])
def test_mask_does_not_tell_that_a_suspended_name_comes_back(
    x, prices, instruments, calendar: TradingCalendar
) -> None:
    """SYN10 has no bar on some sessions; on such a day nobody knows whether another one follows."""
    text = f"Mask({x}, 'SYN10')"
    own = prices.filter(pl.col("instrument_id") == "SYN10")["date"]
    holes = prices.filter(pl.col("date") > own.min())["date"].unique().sort()
    holes = holes.filter(~holes.is_in(own.implode()))
    assert len(holes) > 10
    whole = compute(family(text), prices, None, instruments=instruments, calendar=calendar)
    for hole in holes[[2, 9]]:
        past = compute(
            family(text), prices.filter(pl.col("date") <= hole), None,
            instruments=until(instruments, hole), calendar=calendar,
        )  # fmt: skip
        assert_same(whole.filter(pl.col("date") <= hole), past, hole)


def test_what_else_is_in_a_family_changes_no_bit(prices, instruments, calendar) -> None:
    """0 and -0 are equal, so a plan makes one step of them: it must be the same one always."""
    texts = {"b": "$close * -0.0", "c": "$close * (0 * -1)", "x": "$close * 0"}
    both = Family(
        AssetClass.EQUITY, "own",
        tuple(Factor(n, AssetClass.EQUITY, "own", 1, "", "", t) for n, t in texts.items()),
    )  # fmt: skip
    given = {"instruments": instruments, "calendar": calendar}
    alone = compute(family(texts["x"]), prices, None, **given)
    assert_same(alone, compute(both, prices, None, **given), "0 and -0")
