"""No peeking, no repainting, no basis: every factor that is registered, at the engine.

Every set, made-up reports for the fundamental families, and own factors of both kinds, on the seeded
market (gaps, listings, delistings, splits), on a cut of the sample and on names of the large panel. What
the graph does around the engine is tested in ``test_time_properties.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from factor_panel import cleaned, own_folder, reports
from synthetic import END, FUNDS, RawMarket, raw_market, symbol

from wealthos_pipeline import factors
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.sources import Request
from wealthos_pipeline.factors.admission import Market
from wealthos_pipeline.factors.expression import parse, walk
from wealthos_pipeline.factors.library import Family, Library
from wealthos_pipeline.utils.config import Settings, SourceSettings

Values = Mapping[str, pl.DataFrame]
KEYS = ["date", "instrument_id"]

BEGIN = date(2013, 9, 3)
"""Enough sessions for the longest windows of the library (1,385) and some beyond."""


def computed(market: Market, families: list[Family], start: date | None = None) -> Values:
    return factors.compute_all(
        families,
        market.prices,
        market.series,
        instruments=market.instruments,
        statements=market.statements,
        calendar=market.calendar,
        start=start,
    )


def different(one: Values, other: Values, skip: frozenset[str] = frozenset()) -> dict[str, str]:
    """Factor → first place at which two computations differ in a bit; their rows are the same."""
    out: dict[str, str] = {}
    for table, left in one.items():
        right = other[table]
        assert left.select(KEYS).equals(right.select(KEYS)), f"{table}: rows differ"
        for name in left.columns[2:]:
            if name not in skip and not left[name].equals(right[name], null_equal=True):
                i = int(left[name].ne_missing(right[name]).arg_true()[0])
                out[name] = f"{left.row(i)[:2]}: {left[name][i]} against {right[name][i]}"
    return out


def until(values: Values, day: date, since: date = date.min) -> Values:
    return {t: f.filter(pl.col("date").is_between(since, day)) for t, f in values.items()}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return factors.load(("all",), own_folder(tmp_path_factory.mktemp("own")))


@pytest.fixture(scope="module")
def market(library: Library, calendar: TradingCalendar) -> Market:
    """The seeded market over six years, with reports of its companies and a made-up vwap."""
    raw = raw_market(start=BEGIN)
    kept = pl.col("symbol").is_in([symbol(i) for i in range(40) if i < 28 or i in (29, 31, *FUNDS)])
    raw = replace(raw, prices=raw.prices.filter(kept), instruments=raw.instruments.filter(kept))
    made = cleaned(raw, calendar.known_at(END) + timedelta(days=9), calendar)
    assert made.instruments is not None
    names = made.instruments.filter(pl.col("asset_class") == "equity")["instrument_id"]
    told = reports(library, names.unique().sort().to_list()[:9], BEGIN, END)
    mean = pl.mean_horizontal("open", "high", "low", "close")
    return replace(made, statements=told, prices=made.prices.with_columns(vwap=mean))


@pytest.fixture(scope="module")
def since(calendar: TradingCalendar) -> date:
    """Values are compared from here on; what they are made of reaches to the beginning."""
    return calendar.offset(END, -240)


@pytest.fixture(scope="module")
def whole(market: Market, library: Library, since: date) -> Values:
    return computed(market, library.families(), since)


def test_every_factor_has_values_to_compare(library: Library, whole: Values) -> None:
    counts = {n: f[n].drop_nulls().len() for f in whole.values() for n in f.columns[2:]}
    assert set(counts) == set(library.factors)
    assert len(counts) > 600
    assert {n: k for n, k in counts.items() if k < 30} == {}


def test_no_peeking_and_no_repainting(
    market: Market, library: Library, whole: Values, calendar: TradingCalendar
) -> None:
    """Cut at two random sessions: what was there before a cut is there, bit for bit, with all that came
    later, and on the later evening."""
    first, second = np.sort(np.random.default_rng(1).permutation(150)[:2])
    cuts = [calendar.offset(END, int(k) - 160) for k in (first, second)]
    families = library.families()
    early, late = (computed(market.until(c), families, calendar.offset(c, -70)) for c in cuts)
    for cut, seen in zip(cuts, (early, late), strict=True):
        begin = calendar.offset(cut, -70)
        assert different(until(whole, cut, begin), seen) == {}
    begin = calendar.offset(cuts[1], -70)
    assert different(until(early, cuts[0], begin), until(late, cuts[0], begin)) == {}


def scaled(market: Market, scale: Mapping[str, float]) -> Market:
    """Whole price histories times a factor, share volumes divided by it; the forward-chained index too,
    as if history had begun on another day."""
    by = pl.col("instrument_id").replace_strict(scale, default=1.0, return_dtype=pl.Float64)
    raw = [c for c in ("open", "high", "low", "close", "vwap") if c in market.prices.columns]
    prices = market.prices.with_columns(
        *((pl.col(c) * by).alias(c) for c in (*raw, "tr_index")), pl.col("volume") / by
    )
    return replace(market, prices=prices)


@pytest.fixture(scope="module")
def late(market: Market, calendar: TradingCalendar) -> date:
    return calendar.offset(END, -60)


def names(market: Market) -> list[str]:
    return market.prices["instrument_id"].unique().sort().to_list()


def test_no_basis_powers_of_two_change_no_bit(
    market: Market, library: Library, whole: Values, late: date
) -> None:
    """But of factors that say that they need the traded price, or the unit of their input."""
    rng = np.random.default_rng(3)
    scale = {n: 2.0 ** int(k) for n, k in zip(names(market), rng.integers(-6, 7, 99), strict=False)}
    moved = computed(scaled(market, scale), library.families(), late)
    skip = frozenset(n for n, f in library.factors.items() if f.basis != "adjusted")
    assert different(until(whole, END, late), moved, skip) == {}
    said = different(until(whole, END, late), moved)
    assert set(said) <= skip
    unadjusted = {n for n in skip if library.factors[n].basis == "unadjusted"}
    assert set(said) & unadjusted, "what says that it needs the traded price does"


def jumps(factor: Factor) -> bool:
    """Whether a value can jump when its input moves by a rounding: it ranks, compares, or counts."""
    if not factor.expression:
        return True
    steps = {"CSRank", "Eq", "Ge", "Gt", "IdxMax", "IdxMin", "Le", "Lt", "Ne", "Rank", "Sign"}
    return any(n.op in steps for n in walk(parse(factor.expression)))


def test_no_basis_other_constants_change_a_millionth(
    market: Market, library: Library, whole: Values, late: date
) -> None:
    """1e-6 of the larger of the value and its column's spread. Places and ranks may change where two
    values are equal but for rounding (closes in cents often are): in one cell of a hundred."""
    rng = np.random.default_rng(4)
    scale = {n: float(k) for n, k in zip(names(market), np.exp(rng.normal(0, 1, 99)), strict=False)}
    moved = computed(scaled(market, scale), library.families(), late)
    off: dict[str, float] = {}
    for table, left in until(whole, END, late).items():
        for name in left.columns[2:]:
            if library.factors[name].basis != "adjusted":
                continue
            a, b = (f[name].cast(pl.Float64).to_numpy() for f in (left, moved[table]))
            spread = np.nanmedian(np.abs(a - np.nanmedian(a))) if np.isfinite(a).any() else 0.0
            gap = np.abs(a - b) > 1e-6 * np.maximum(np.abs(a), spread) + 1e-12
            gap |= np.isnan(a) != np.isnan(b)
            if gap.mean() > (0.01 if jumps(library.factors[name]) else 0):
                off[name] = float(gap.mean())
    assert off == {}


# --- real prices -----------------------------------------------------------------------------------


def holds(market: Market, library: Library, cut: date, calendar: TradingCalendar) -> int:
    """No peeking and no basis around one cut of a panel of real prices; values compared."""
    families = [f for f in library.families() if not any(f.statements.values())]
    since = calendar.offset(cut, -40)
    full = until(computed(market, families, since), cut)
    assert different(full, computed(market.until(cut), families, since)) == {}
    rng = np.random.default_rng(5)
    scale = {n: 2.0 ** int(k) for n, k in zip(names(market), rng.integers(-6, 7, 99), strict=False)}
    skip = frozenset(n for n, f in library.factors.items() if f.basis != "adjusted")
    moved = computed(scaled(market.until(cut), scale), families, since)
    assert different(full, moved, skip) == {}
    return sum(f[n].drop_nulls().len() for f in full.values() for n in f.columns[2:])


def test_on_a_cut_of_the_sample(library: Library, calendar: TradingCalendar) -> None:
    now = datetime(2017, 1, 2, tzinfo=UTC)
    asked = Request(
        start=date(2011, 1, 3), end=date(2016, 12, 30), now=now, calendar=calendar, since=None
    )
    got = sources.get(Settings(source=SourceSettings())).fetch(asked)
    raw = RawMarket(got.prices, got.series, got.instruments, got.membership)
    cut = calendar.sessions(date(2016, 9, 1), date(2016, 11, 1))[17]
    assert holds(cleaned(raw, now, calendar), library, cut, calendar) > 50_000


def test_on_thirty_names_of_the_large_panel(
    library: Library, calendar: TradingCalendar, shared_data: Path, tmp_path: Path
) -> None:
    rows = pl.scan_parquet(shared_data / "prices/sp500_ohlcv_2005_2024.parquet")
    symbols = rows.select("symbol").unique().collect()["symbol"].sort()
    rng = np.random.default_rng(6)
    some = symbols.gather(np.sort(rng.permutation(len(symbols))[:30]))
    cut = calendar.sessions(date(2011, 1, 3), date(2023, 12, 1))[int(rng.integers(3_200))]
    first, last = calendar.offset(cut, -1_450), calendar.offset(cut, 60)
    inside = pl.col("symbol").is_in(some.implode()) & pl.col("date").is_between(first, last)
    path = tmp_path / "some.parquet"
    rows.filter(inside).collect().write_parquet(path)
    now = datetime(2026, 11, 1, tzinfo=UTC)
    settings = SourceSettings(
        name="files", path=path, sectors=shared_data / "reference/sp500_constituents_2025-08.csv",
        rates=shared_data / "treasury", vix=shared_data / "vix/vix-daily.csv",
    )  # fmt: skip
    got = sources.get(Settings(source=settings)).fetch(
        Request(start=first, end=last, now=now, calendar=calendar, since=None)
    )
    raw = RawMarket(got.prices, got.series, got.instruments, got.membership)
    assert holds(cleaned(raw, now, calendar), library, cut, calendar) > 100_000
