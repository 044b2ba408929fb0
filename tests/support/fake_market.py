"""A seeded market for reports: returns, prices, series, factor and model skill.

20 names, 2004–2022, with turbulent stretches in 2008 and 2020. Frames fit their contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar

Frames = dict[str, pl.DataFrame]

FIRST, LAST = date(2004, 1, 2), date(2022, 12, 28)
SYMBOLS = [
    "AAPL",
    "AMD",
    "BAC",
    "BBY",
    "CVX",
    "GE",
    "HD",
    "JNJ",
    "JPM",
    "KO",
    "LLY",
    "MRK",
    "MSFT",
    "PEP",
    "PFE",
    "PG",
    "RRC",
    "UNH",
    "WMT",
    "XOM",
]
SECTORS = ("Technology", "Financials", "Energy", "Health Care", "Consumer Staples")
FACTOR_TITLES = {
    "momentum_12_1": ("12-month momentum, skipping the last month", 1, 0.012),
    "momentum_6_1": ("6-month momentum, skipping the last month", 1, 0.006),
    "reversal_5": ("5-day reversal", -1, -0.016),
    "reversal_21": ("21-day reversal", -1, -0.01),
    "volatility_60": ("60-day volatility", -1, 0.02),
    "beta_252": ("Beta to the universe, 252 sessions", -1, 0.015),
    "idio_vol_60": ("Specific volatility, 60 sessions", -1, 0.01),
    "max_return_21": ("Largest daily return of 21 sessions", -1, 0.008),
    "trend_120": ("Slope of log price, 120 sessions", 1, 0.004),
    "rsi_14": ("Relative strength index, 14 sessions", -1, -0.004),
    "high_52w_distance": ("Distance to the 52-week high", 1, 0.011),
    "skew_120": ("Skewness of daily returns, 120 sessions", -1, 0.0),
}


def instrument(symbol: str) -> str:
    return f"XNYS:{symbol}"


def fake_factors() -> tuple[Factor, ...]:
    return tuple(
        Factor(
            name=name,
            asset_class=AssetClass.EQUITY,
            family="fake",
            direction=direction,
            title=title,
            reference="a test",
            expression="$close",
        )
        for name, (title, direction, _) in FACTOR_TITLES.items()
    )


def returns(rng: np.random.Generator, dates: list[date], n: int) -> np.ndarray:
    crisis = np.array(
        [
            (d.year == 2008 and d.month > 8)
            or (d.year == 2020 and d.month in (2, 3, 4))
            or (d.year == 2009 and d.month < 4)
            for d in dates
        ]
    )
    slow = 1 + 0.25 * np.sin(np.arange(len(dates)) / 260)
    market = (
        0.0005 + 0.008 * slow * np.where(crisis, 3.2, 1.0) * rng.standard_t(5, len(dates)) / 1.29
    )
    market = np.where(crisis, market - 0.0012, market)
    beta = 0.5 + 1.0 * rng.random(n)
    own = (0.008 + 0.012 * rng.random(n)) * rng.standard_t(5, (len(dates), n)) / 1.29
    out: np.ndarray = np.clip(market[:, None] * beta + own, -0.4, 0.4)
    out[0] = 0
    return out


def prices(days: pl.DataFrame, ids: list[str], ret: np.ndarray) -> pl.DataFrame:
    tr = np.cumprod(1 + ret, axis=0)
    parts = [
        days.select("date", "slot", "known_at").with_columns(
            instrument_id=pl.lit(name),
            close=pl.Series(np.round(40 * tr[:, i], 4)),
            split_ratio=pl.lit(1.0),
            split_index=pl.lit(1.0),
            tr_index=pl.Series(tr[:, i]),
            flags=pl.lit(0, pl.Int32),
            currency=pl.lit("USD"),
            source=pl.lit("sample"),
            basis=pl.lit("assumed"),
        )
        for i, name in enumerate(ids)
    ]
    return contract("clean.prices").conform(pl.concat(parts))


def instruments(names: Sequence[str], calendar: TradingCalendar, first: date) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "instrument_id": [instrument(s) for s in names],
            "symbol": list(names),
            "name": [f"{s} <Inc> & Co" for s in names],
            "asset_class": "equity",
            "sector": [SECTORS[i % len(SECTORS)] for i in range(len(names))],
            "exchange": "XNYS",
            "currency": "USD",
            "source": "sample",
            "valid_from": first,
            "static": True,
            "known_at": calendar.known_at(first),
        }
    )
    return contract("clean.instruments").conform(frame)


def series(rng: np.random.Generator, days: pl.DataFrame) -> pl.DataFrame:
    n = days.height
    level = 3 + np.cumsum(0.03 * rng.standard_normal(n)) / 3
    parts = []
    for k, tenor in enumerate(
        ["1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y"]
    ):
        parts.append(
            ("ust_par", tenor, "percent", level + 0.12 * k - 0.3 + 0.02 * rng.standard_normal(n), n)
        )
    parts.append(("vix", "", "index", 15 * np.exp(np.sin(np.arange(n) / 90) / 2), n))
    parts.append(("wti", "", "usd", 50 * np.exp(np.sin(np.arange(n) / 300) / 2), n - 12))
    frames = [
        days[:length].select("date", "known_at").with_columns(
            series=pl.lit(series), tenor=pl.lit(tenor), unit=pl.lit(unit),
            value=pl.Series(np.round(values[:length], 2)), frequency=pl.lit("day"),
            source=pl.lit("sample"), basis=pl.lit("assumed"),
        )
        for series, tenor, unit, values, length in parts
    ]  # fmt: skip
    return contract("clean.series").conform(pl.concat(frames))


def _labelled(days: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """Dates whose label is known by the last session, with its ``known_at``."""
    known = days["known_at"].to_list()
    m = days.height - 1 - horizon
    return days[:m].select("date").with_columns(known_at=pl.Series(known[1 + horizon :]))


def _smooth(rng: np.random.Generator, n: int, horizon: int) -> np.ndarray:
    noise = rng.standard_normal(n + horizon)
    return np.convolve(noise, np.ones(horizon) / np.sqrt(horizon), "valid")[:n]


def performance(rng: np.random.Generator, days: pl.DataFrame) -> pl.DataFrame:
    parts = []
    for horizon in (5, 20):
        base = _labelled(days, horizon)[260:]
        for name, (_, _, mean) in FACTOR_TITLES.items():
            ic = mean + 0.23 * _smooth(rng, base.height, horizon)
            parts.append(
                base.with_columns(
                    factor=pl.lit(name), universe=pl.lit("all"),
                    horizon=pl.lit(horizon, pl.Int32), n=pl.lit(20, pl.Int32),
                    rank_ic=pl.Series(ic), ic=pl.Series(ic * 0.9),
                    spread=pl.Series(0.002 + 0.01 * ic),
                )
            )  # fmt: skip
    return contract("factors.performance").conform(pl.concat(parts))


def models(rng: np.random.Generator, days: pl.DataFrame, ids: list[str]) -> Frames:
    base = _labelled(days, 20)[min(1000, days.height // 2) :]
    evaluation, predictions, registry = [], [], []
    for model, mean in (("ridge", 0.014), ("lightgbm", 0.006)):
        ic = mean + 0.22 * _smooth(rng, base.height, 20)
        evaluation.append(
            base.with_columns(
                model=pl.lit(model), horizon=pl.lit(20, pl.Int32), n=pl.lit(20, pl.Int32),
                rank_ic=pl.Series(ic), ic=pl.Series(ic), spread=pl.Series(0.004 + 0.02 * ic),
            )
        )  # fmt: skip
        last = days["date"].tail(30).to_list()
        z = rng.standard_normal(len(ids))
        for d in last:
            z = 0.9 * z + 0.4 * rng.standard_normal(len(ids))
            for kind in ("walk_forward", "live") if d == last[-1] else ("walk_forward",):
                predictions.append(
                    pl.DataFrame(
                        {
                            "model": model, "kind": kind, "date": d, "instrument_id": ids,
                            "horizon": 20, "prediction": 0.01 * z, "z": z,
                            "train_cutoff": date(2021, 12, 1), "model_id": f"{model}-x",
                        }
                    )
                )  # fmt: skip
        years = sorted({d.year for d in base["date"]})
        registry.append(
            pl.DataFrame(
                {
                    "model_id": [f"{model}-{y}" for y in years], "model": model,
                    "kind": "walk_forward", "refit_date": [date(y, 1, 4) for y in years],
                    "horizon": 20, "train_start": [date(y - 4, 1, 4) for y in years],
                    "train_cutoff": [date(y - 1, 12, 1) for y in years], "rows": 9000,
                    "features": "[]", "params": "{}", "artefact": "{}", "artefact_hash": "00",
                }
            )
        )  # fmt: skip
    return {
        "models.evaluation": contract("models.evaluation").conform(pl.concat(evaluation)),
        "models.predictions": contract("models.predictions").conform(pl.concat(predictions)),
        "models.registry": contract("models.registry").conform(pl.concat(registry)),
    }


def scores(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    columns = {f: rng.standard_normal(len(ids)).astype(np.float32) for f in FACTOR_TITLES}
    return pl.DataFrame({"date": LAST, "instrument_id": ids, **columns})
