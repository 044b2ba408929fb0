"""Every definition that is not plain to see against its formula in NumPy, from the arrays up.

The formulas stand in ``tests/support/factor_formulas.py``.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from factor_formulas import MONTHS, NAMES, OF_NAMES, ONE, SECTORS, SESSIONS, TENORS, Market

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.factors import library as home
from wealthos_pipeline.factors.engine import compute_all
from wealthos_pipeline.factors.fixed_income.curve import NELSON_SIEGEL


@pytest.fixture(scope="module")
def made(calendar):
    """Prices and series of ten names: dividends, a split, holes, a late listing, missing volume."""
    days = calendar.sessions(date(2012, 1, 3), date(2019, 1, 1))[:SESSIONS]
    rng = np.random.default_rng(41)
    shape = (SESSIONS, NAMES)
    common = 0.0004 + 0.009 * rng.standard_normal((SESSIONS, 1))
    beta = 0.5 + rng.random(NAMES)
    ret = beta * common + 0.012 * rng.standard_normal(shape)
    ret[rng.random(shape) < 0.02] = 0.0
    dividend = np.zeros(shape)
    dividend[40::63, ::2] = 0.006
    split = np.ones(shape)
    split[700, 3] = 2.0
    close = 40 * np.exp(np.cumsum(ret, axis=0)) * np.cumprod(1 - dividend, axis=0)
    close /= np.cumprod(split, axis=0)
    gap = 0.006 * rng.standard_normal(shape)
    opened = close * np.exp(gap)
    high = np.maximum(opened, close) * (1 + 0.006 * rng.random(shape))
    low = np.minimum(opened, close) * (1 - 0.006 * rng.random(shape))
    volume = np.round(np.exp(12 + 0.6 * rng.standard_normal(shape)))
    split_index = np.cumprod(split, axis=0)
    tr = np.exp(np.cumsum(ret, axis=0))
    there = rng.random(shape) > np.array([0, 0.01, 0, 0, 0.003, 0, 0, 0, 0, 0])
    there[:300, 5] = False
    there[1300:, 6] = False
    volume[:, 7] = np.nan
    volume[600:620, 2] = np.nan
    for x in (close, opened, high, low, volume, tr):
        x[~there] = np.nan
    y = {
        k: 1.5 + 0.15 * i + np.cumsum(0.02 * rng.standard_normal(SESSIONS))
        for i, k in enumerate(TENORS)
    }
    vix = 15 * np.exp(0.3 * np.sin(np.arange(SESSIONS) / 40) + 0.05 * rng.standard_normal(SESSIONS))
    scale = tr / close
    market = Market(days, opened * scale, high * scale, low * scale, tr, volume / split_index,
                    close * volume, close * split_index, vix, y)  # fmt: skip
    t, i = np.nonzero(there)
    prices = pl.DataFrame({"instrument_id": [f"N{k}" for k in i], "date": [days[k] for k in t]} | {
        name: x[t, i] for name, x in {"open": opened, "high": high, "low": low, "close": close,
        "volume": volume, "dollar_volume": close * volume, "tr_index": tr, "split_index": split_index}.items()
    }).with_columns(pl.col(pl.Float64).fill_nan(None))  # fmt: skip
    known = calendar.frame(days[0], days[-1]).select("date", "known_at")
    base = known.with_columns(
        unit=pl.lit("x"), frequency=pl.lit("day"), source=pl.lit("t"), basis=pl.lit("assumed")
    )
    series = pl.concat(
        base.with_columns(series=pl.lit(s), tenor=pl.lit(k), value=pl.Series(x))
        for s, k, x in [("vix", "", vix), *(("ust_par", k, x) for k, x in y.items())]
    )
    instruments = pl.DataFrame({"instrument_id": [f"N{k}" for k in range(NAMES)], "asset_class": "equity",
        "sector": SECTORS, "exchange": "XNYS", "currency": "USD", "valid_from": [days[300 * (k == 5)] for k in range(NAMES)]},
        schema_overrides={"valid_from": pl.Date}).with_columns(valid_to=pl.lit(None, pl.Date))  # fmt: skip
    return market, prices, series, instruments


@pytest.fixture(scope="module")
def computed(made, calendar, tmp_path_factory) -> dict[str, np.ndarray]:
    """Factor → values [session, name]; of what has one identity [session]."""
    market, prices, series, instruments = made
    library = factors.load(("core", "extended"), tmp_path_factory.mktemp("own"))
    wide = prices.with_columns(instrument_id=pl.lit("X") + pl.col("instrument_id"))
    other = instruments.with_columns(
        instrument_id=pl.lit("X") + pl.col("instrument_id"), asset_class=pl.lit("cross_asset")
    )
    out = compute_all(library.families(), pl.concat([prices, wide]), series,
                      instruments=pl.concat([instruments, other]), calendar=calendar)  # fmt: skip
    place = {d: k for k, d in enumerate(market.days)}
    found: dict[str, np.ndarray] = {}
    for frame in out.values():
        t = np.array([place[d] for d in frame["date"]], np.int64)
        many = frame["instrument_id"].str.contains(r"^X?N\d").to_numpy()
        i = frame["instrument_id"].str.extract(r"(\d)$").cast(pl.Int64).fill_null(0).to_numpy()
        for name in frame.columns[2:]:
            v = frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
            if name in ONE:
                x = np.full(SESSIONS, np.nan)
                ok = np.isfinite(v)
                x[t[ok]] = v[ok]
            else:
                x = np.full((SESSIONS, NAMES), np.nan)
                x[t[many], i[many]] = v[many]
            found[name] = x
    return found


def differs(found: float, expected: float) -> bool:
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) != math.isnan(found)
    return not math.isclose(found, expected, rel_tol=2e-6, abs_tol=2e-7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", OF_NAMES)
def test_a_factor_of_names_is_its_formula(name, made, computed) -> None:
    market = made[0]
    rng = np.random.default_rng(len(name))
    ends = [1459, 1299, 620, 330] if "1260" in name or "5y" in name or "60_12" in name else []
    there = np.argwhere(np.isfinite(market.c[60:])) + np.array([60, 0])
    sample = [*rng.choice(there[there[:, 0] > 280], 14), *rng.choice(there, 4)]
    sample += [np.array([t, i]) for t in ends for i in (0, 1, 2, 5) if np.isfinite(market.c[t, i])]
    compared = 0
    for t, i in sample:
        try:
            expected = float(OF_NAMES[name](market, int(t), int(i)))
        except (ZeroDivisionError, ValueError):
            expected = math.nan
        found = computed[name][t, i]
        assert not differs(found, expected), (name, t, i, found, expected)
        compared += math.isfinite(found)
    assert compared >= (3 if ends else 8), compared


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ONE)
def test_a_factor_of_the_market_is_its_formula(name, made, computed) -> None:
    market = made[0]
    for t in (1265, 1301, 1333, 1459, *((300, 611) if name != "bond_value_10y" else ())):
        found, expected = computed[name][t], float(ONE[name](market, t))
        assert math.isfinite(expected)
        assert not differs(found, expected), (name, t, found, expected)


def test_the_weights_of_nelson_and_siegel_are_the_pseudo_inverse_of_their_loadings() -> None:
    x = 0.0609 * MONTHS
    loadings = np.column_stack(
        [np.ones(8), (1 - np.exp(-x)) / x, (1 - np.exp(-x)) / x - np.exp(-x)]
    )
    assert tuple(NELSON_SIEGEL) == TENORS
    assert np.allclose(
        np.array(list(NELSON_SIEGEL.values())), np.linalg.pinv(loadings).T, atol=1e-11
    )
    # a curve that is a Nelson–Siegel curve gives its coefficients back
    assert np.allclose(
        loadings @ [4.0, -2.0, 1.5] @ np.array(list(NELSON_SIEGEL.values())), [4.0, -2.0, 1.5]
    )


def test_what_has_one_identity_has_one_row_a_date(made, calendar, tmp_path: Path) -> None:
    _, prices, series, instruments = made
    library = factors.load(("core", "extended"), tmp_path)
    families = [f for f in library.families() if f.name in ("market", "risk")]
    out = compute_all(families, prices, series, instruments=instruments, calendar=calendar)
    assert set(out["factors.cross_asset_market"]["instrument_id"]) == {"market"}
    assert out["factors.cross_asset_market"]["date"].n_unique() == SESSIONS
    for family in families:
        assert all(f.target for f in family.factors)


def test_a_cross_section_is_the_same_for_every_name(made, calendar, tmp_path: Path) -> None:
    """What ``market`` takes from the first name any other would have given too."""
    _, prices, _, _ = made
    families = factors.load(("core", "extended"), tmp_path).families()
    family = next(f for f in families if f.name == "market")
    by_name = tuple(replace(f, target="", asset_class=AssetClass.EQUITY) for f in family.factors)
    wide = home.Family(AssetClass.EQUITY, "by_name", by_name)
    (out,) = compute_all([wide], prices, None, calendar=calendar).values()
    for f in family.factors:
        distinct = out.drop_nulls(f.name).group_by("date").agg(pl.col(f.name).n_unique())[f.name]
        assert distinct.len() > 100
        assert distinct.max() == 1, f.name


def test_sixty_factors_with_citations(tmp_path: Path) -> None:
    library = factors.load(("core", "extended"), tmp_path)
    cited = [f for f in library.factors.values() if re.search(r"\((1[89]|20)\d\d\)", f.reference)]
    assert len(cited) == len(library.factors) >= 90
    assert len(factors.load(("core",), tmp_path).factors) >= 60
    checked = set(OF_NAMES) | set(ONE)
    assert checked <= set(library.factors)
    assert all(home.lookback(f) <= 1400 for f in library.factors.values())
