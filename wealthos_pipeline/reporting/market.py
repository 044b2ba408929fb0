"""The market part: regime, scan, rates, ranked names."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from wealthos_pipeline.reporting.lens import Lens
from wealthos_pipeline.reporting.report import Level, Market, Pick, SignalLine

if TYPE_CHECKING:
    from wealthos_pipeline.data.sources.base import SourceInfo

CURVE = "ust_par"
TENORS = ("1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y")
MONTH, YEAR = 21, 252
"""Sessions back for the comparison."""

LABELS = {
    "vix": "VIX",
    "wti": "Crude oil (WTI)",
    "risk_free": "Risk-free rate",
    "moody_yield": "Moody's yield",
    "sp500_price_index": "S&P 500, price index without dividends",
    "nasdaq_price_index": "NASDAQ, price index without dividends",
    CURVE: "US Treasury par yield",
}

FRESH = 45
"""A level older than this many sessions is not today's market and is left to data health."""


def collect(lens: Lens, info: SourceInfo) -> Market:
    """Regime, signals of the session, levels of series, the curve, ranked names."""
    regime = lens("monitor.regime").sort("date")
    now = regime.row(-1, named=True) if regime.height else None
    signals = lens("monitor.signals", sessions=0).filter(pl.col("date") == lens.day)
    counts = dict(
        signals.group_by("signal").agg(pl.len()).sort("signal").select("signal", "len").iter_rows()
    )
    series = lens("clean.series", "series", "tenor", "date", "value", "unit")
    curve, curve_date = _curve(lens, series)
    ranked = lens("monitor.opportunities", sessions=260)
    last = ranked.select(pl.col("date").max()).item() if ranked.height else None
    ranked = ranked.filter(pl.col("date") == pl.col("date").max()).sort("rank")
    return Market(
        regime=now["regime"] if now else "unknown",
        p_turbulent=now["p_turbulent"] if now else None,
        regime_since=_since(regime),
        refit_date=now["refit_date"] if now else None,
        counts=counts,
        signals=_strongest(signals),
        levels=_levels(lens, series),
        curve=curve,
        curve_date=curve_date,
        no_curve=info.missing.get("yield_curve", "the source has no Treasury curve"),
        opportunities=tuple(
            Pick(r["rank"], r["instrument_id"], r["score"], r["note"])
            for r in ranked.iter_rows(named=True)
        ),
        opportunities_at=last,
    )


def _since(regime: pl.DataFrame) -> date | None:
    """First session of the current unbroken stretch of the same regime."""
    if regime.is_empty():
        return None
    lengths = regime["regime"].rle().struct.field("len")
    return regime["date"][regime.height - int(lengths[-1])]


def _strongest(signals: pl.DataFrame) -> tuple[SignalLine, ...]:
    """By rule and how far beyond its threshold, the furthest first."""
    excess = (pl.col("value") - pl.col("threshold")).abs()
    rows = signals.with_columns(excess.alias("excess")).sort(
        "signal", "excess", "instrument_id", descending=[False, True, False]
    )
    return tuple(
        SignalLine(r["instrument_id"], r["signal"], r["value"], r["threshold"])
        for r in rows.iter_rows(named=True)
    )


def _at(rows: pl.DataFrame, day: date) -> float | None:
    before = rows.filter(pl.col("date") <= day)
    return None if before.is_empty() else float(before["value"][-1])


def _levels(lens: Lens, series: pl.DataFrame) -> tuple[Level, ...]:
    out = []
    wanted = series.filter((pl.col("series") != CURVE) | (pl.col("tenor") == "10Y"))
    for (name, tenor), rows in wanted.sort("series", "tenor", "date").group_by(
        "series", "tenor", maintain_order=True
    ):
        day = rows["date"][-1]
        if lens.calendar.slot(lens.day) - lens.calendar.slot(day) > FRESH:
            continue
        label = f"{LABELS.get(str(name), str(name))} {tenor}".strip()
        out.append(
            Level(
                label,
                day,
                float(rows["value"][-1]),
                _at(rows, lens.calendar.offset(day, -MONTH)),
                _at(rows, lens.calendar.offset(day, -YEAR)),
                rows["unit"][-1],
            )
        )
    return tuple(out)


def _curve(
    lens: Lens, series: pl.DataFrame
) -> tuple[tuple[tuple[str, float, float | None, float | None], ...], date | None]:
    rows = series.filter(pl.col("series") == CURVE).sort("tenor", "date")
    if rows.is_empty():
        return (), None
    day = rows.select(pl.col("date").max()).item()
    out = []
    for tenor in TENORS:
        mine = rows.filter(pl.col("tenor") == tenor)
        today = mine.filter(pl.col("date") == day)
        if today.height:
            out.append(
                (
                    tenor,
                    float(today["value"][0]),
                    _at(mine, lens.calendar.offset(day, -MONTH)),
                    _at(mine, lens.calendar.offset(day, -YEAR)),
                )
            )
    return tuple(out), day
