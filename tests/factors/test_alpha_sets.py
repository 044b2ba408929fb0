"""Qlib's Alpha158 and Alpha360: all of them, as written, as a slow reading of the same text has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import qlib_reference

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.factors.engine import compute_all
from wealthos_pipeline.factors.equity import alpha158, alpha360
from wealthos_pipeline.factors.expression import fields, parse

SETS = {"alpha158": alpha158.FACTORS, "alpha360": alpha360.FACTORS}
FIELDS = ("open", "high", "low", "close", "volume", "vwap")
NAMES, SESSIONS = 4, 140


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> factors.Library:
    return factors.load(tuple(SETS), tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def panel(calendar) -> pl.DataFrame:
    """Walks with suspended days, a day without a trade, ties, a flat bar, and a ``vwap``."""
    rng = np.random.default_rng(7)
    days = calendar.frame()["date"].tail(2000).head(SESSIONS)
    frames = []
    for i in range(NAMES):
        close = 20 * np.exp(np.cumsum(0.02 * rng.standard_normal(SESSIONS)))
        close[30:34] = close[30]
        start = close * np.exp(0.01 * rng.standard_normal(SESSIONS))
        high = np.maximum(start, close) * np.exp(0.005 * rng.random(SESSIONS))
        low = np.minimum(start, close) * np.exp(-0.005 * rng.random(SESSIONS))
        high[50] = high[52] = high[48]
        start[60] = high[60] = low[60] = close[60]
        volume = np.round(np.exp(10 + rng.standard_normal(SESSIONS)))
        volume[70] = 0.0
        there = rng.random(SESSIONS) > 0.1
        there[[0, 30, 48, 60, 70, -1]] = True
        there[:8] &= i < 2  # the last names are listed later
        frame = pl.DataFrame(
            {
                "instrument_id": f"N{i}", "date": days, "open": start, "high": high, "low": low,
                "close": close, "volume": volume, "vwap": (high + low + close) / 3,
                "split_index": 1.0, "tr_index": close, "dollar_volume": close * volume,
            }
        )  # fmt: skip
        frames.append(frame.filter(pl.Series(there)))
    return pl.concat(frames)


@pytest.fixture(scope="module")
def values(library, panel, calendar) -> pl.DataFrame:
    return whole(library, panel, calendar)


def whole(library: factors.Library, panel: pl.DataFrame, calendar) -> pl.DataFrame:
    """Every factor of both sets in one frame."""
    key = ["instrument_id", "date"]
    tables = compute_all(library.families(), panel, None, calendar=calendar).values()
    first, *rest = [t.sort(key) for t in tables]
    return pl.concat([first, *(t.drop(key) for t in rest)], how="horizontal")


def test_the_sets_are_whole_and_families_are_narrow(library) -> None:
    assert [len(s) for s in SETS.values()] == [158, 360]
    assert set(library.factors) == {f.name for s in SETS.values() for f in s}
    for family in library.families():
        assert len(family.factors) <= 60, family.name
        assert len({f.sets for f in family.factors}) == 1
    windows = {name: max(f.lookback for f in library.families() if f.name.startswith(name))
               for name in SETS}  # fmt: skip
    assert windows == {"alpha158": 60, "alpha360": 59}


def test_they_are_not_in_core(tmp_path) -> None:
    assert not [n for n in factors.load(("core",), tmp_path).factors if n.startswith("a158_")]


def test_every_factor_is_described(library) -> None:
    for f in library.factors.values():
        qlib = f.name.split("_")[1].upper()
        assert f.title.startswith(f"{qlib}: ")
        assert f" {qlib};" in f.reference
        assert "2009.11189" in f.reference
        assert "not signed" in f.reference
        assert f.nan_means
    assert len({f.title for f in library.factors.values()}) == 518


def test_every_expression_gives_what_a_slow_reading_of_it_gives(
    library, panel, values, calendar
) -> None:
    slots = pl.DataFrame({"date": panel["date"].unique().sort()}).with_row_index("slot")
    compared = 0
    for (name,), rows in panel.join(slots, on="date").sort("slot").group_by("instrument_id"):
        if name not in ("N0", "N3"):
            continue
        at = (rows["slot"] - rows["slot"][0]).to_numpy()
        cells = {f: np.full(at[-1] + 1, np.nan) for f in FIELDS}
        for f in FIELDS:
            cells[f][at] = rows[f].to_numpy()
        mine = values.filter(pl.col("instrument_id") == name)
        chosen = [f for f in library.factors.values() if name == "N0" or f.sets == ("alpha158",)]
        for factor in chosen[:: 1 if name == "N0" else 3]:
            compared += 1
            found = mine[factor.name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            exact = qlib_reference.evaluate(str(factor.expression), cells)[at]
            size = np.nanmax(np.abs(exact))
            np.testing.assert_allclose(
                found, exact, rtol=2e-7, atol=1e-7 * size, err_msg=f"{factor.name} of {name}"
            )
    assert compared == 518 + 53


def test_without_a_weighted_price_its_factors_are_empty_and_say_why(
    library, panel, calendar
) -> None:
    vwap = {f.name for f in library.factors.values() if "vwap" in fields(parse(str(f.expression)))}
    assert len(vwap) == 61
    available = [c for c in panel.columns if c != "vwap"]
    assert library.missing_reasons(available) == dict.fromkeys(
        vwap, "the data have no $vwap (needs vwap)"
    )
    out = whole(library, panel.drop("vwap"), calendar)
    empty = {c for c in out.columns if out[c].null_count() == out.height}
    assert empty == vwap


def scaled(panel: pl.DataFrame, factor: float) -> pl.DataFrame:
    prices = pl.col("open", "high", "low", "close", "vwap", "tr_index") * factor
    return panel.with_columns(prices, pl.col("volume") / factor)


def test_powers_of_two_change_no_bit_unless_a_constant_has_a_unit(
    library, panel, values, calendar
) -> None:
    large = whole(library, scaled(panel, 2.0**-40), calendar)
    small = whole(library, scaled(panel, 2.0**40), calendar)
    moved = {
        c
        for c in values.columns[2:]
        if not (values[c].equals(large[c]) and values[c].equals(small[c]))
    }
    assert moved == {f.name for f in library.factors.values() if f.basis == "unit"}


def test_another_unit_changes_nothing_that_matters_where_the_constant_is_small(
    library, panel, values, calendar
) -> None:
    """1e-12 against a price or a volume is rounding, but for a day without a trade. ``$volume+1``
    under a logarithm is not."""
    traded = panel.filter(pl.col("volume") > 0)
    before = whole(library, traded, calendar)
    after = whole(library, scaled(traded, 1.7), calendar)
    for f in library.factors.values():
        a, b = before[f.name].cast(pl.Float64), after[f.name].cast(pl.Float64)
        assert a.is_null().equals(b.is_null()), f.name
        largest = float(a.abs().max())  # type: ignore[arg-type]
        close = float((a - b).abs().max()) <= 2e-6 * max(largest, 1e-3)  # type: ignore[arg-type]
        assert close or f.name.startswith("a158_corr"), f.name


def test_the_examples_for_ones_own_factors_can_be_used(tmp_path, panel, calendar) -> None:
    home = Path(__file__).resolve().parents[2] / "data" / "inputs" / "factors"
    for path in home.glob("_example*.yaml"):
        (tmp_path / path.name.removeprefix("_")).write_text(path.read_text("utf-8"))
    own = factors.load((), tmp_path)
    brought = own.family(AssetClass.EQUITY, "from_qlib")
    assert len(brought.factors) == 10
    out = compute_all([brought], panel, None, calendar=calendar)[brought.table]
    assert all(out[c].drop_nulls().len() > NAMES * SESSIONS / 3 for c in out.columns[2:])
