"""A vendor made of numbers: traded prices with gaps, listings, delistings, splits and dividends,
given back-adjusted as of each fetch, as real vendors do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import raw
from wealthos_pipeline.data.processors.calendar import TradingCalendar

PRICES = contract("raw.prices")


@dataclass
class Vendor:
    """``names`` symbols over ``sessions`` sessions. Events: symbol → {position: ratio or amount}."""

    seed: int
    calendar: TradingCalendar
    names: int = 4
    sessions: int = 160
    digits: int | None = None
    splits: dict[str, dict[int, float]] = field(default_factory=dict)
    dividends: dict[str, dict[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        first = self.calendar.slot(date(2015, 1, 2))
        self.days = [self.calendar.date_of(first + i) for i in range(self.sessions)]
        self.symbols = [f"S{i}" for i in range(self.names)]
        self.close: dict[str, np.ndarray] = {}
        self.volume: dict[str, np.ndarray] = {}
        self.alive: dict[str, np.ndarray] = {}
        for i, symbol in enumerate(self.symbols):
            split = self._events(self.splits, symbol, 1.0)
            moves = np.exp(rng.normal(0.0, 0.02, self.sessions))
            self.close[symbol] = 50.0 * (i + 1) * np.cumprod(moves / split)
            self.volume[symbol] = np.round(rng.uniform(1e5, 1e6, self.sessions) * np.cumprod(split))
            alive = rng.random(self.sessions) > 0.05  # gaps
            alive[: int(rng.integers(0, 20)) * (i % 2)] = False  # later listings
            if i == self.names - 1:
                alive[int(0.8 * self.sessions) :] = False  # a delisting
            for events in (self.splits, self.dividends):
                alive[list(events.get(symbol, {}))] = True
            self.alive[symbol] = alive

    def _events(self, events: dict[str, dict[int, float]], symbol: str, none: float) -> np.ndarray:
        out = np.full(self.sessions, none)
        for at, value in events.get(symbol, {}).items():
            out[at] = value
        return out

    def known(self, last: int) -> datetime:
        """An instant in the evening of session ``last``."""
        return self.calendar.known_at(self.days[last]) + timedelta(minutes=5)

    def traded(self, last: int, since: int = 0) -> pl.DataFrame:
        """As traded, with events, fetched in the evening of session ``last``."""
        return self._frame(last, since, adjust=False)

    def adjusted(self, last: int, since: int = 0) -> pl.DataFrame:
        """Back-adjusted as of session ``last``: close for splits, adj_close for dividends too."""
        return self._frame(last, since, adjust=True)

    def _frame(self, last: int, since: int, *, adjust: bool) -> pl.DataFrame:
        rows = []
        for symbol in self.symbols:
            split = self._events(self.splits, symbol, 1.0)
            dividend = self._events(self.dividends, symbol, 0.0)
            close, volume = self.close[symbol], self.volume[symbol]
            later = np.array([np.prod(split[i + 1 : last + 1]) for i in range(self.sessions)])
            # an ex-date divides all earlier prices by close/(close + dividend)
            paid = close / (close + dividend)
            income = np.array([np.prod(paid[i + 1 : last + 1]) for i in range(self.sessions)])
            for i in range(since, last + 1):
                if not self.alive[symbol][i]:
                    continue
                row = {"symbol": symbol, "date": self.days[i]}
                if adjust:
                    row["close"] = self._round(close[i] / later[i])
                    row["adj_close"] = self._round(close[i] / later[i] * income[i])
                    row["volume"] = volume[i] * later[i]
                    row["basis_vintage"] = self.days[last]
                else:
                    row["close"] = self._round(close[i])
                    row["volume"] = volume[i]
                    row["dividend"] = float(dividend[i])
                    row["split_ratio"] = float(split[i])
                row["high"], row["low"] = row["close"] * 1.01, row["close"] * 0.99
                row["open"] = row["close"]
                rows.append(row)
        return PRICES.conform(
            pl.DataFrame(rows).with_columns(
                pl.lit("vendor").alias("source"),
                pl.lit("USD").alias("currency"),
                pl.lit(self.known(last)).cast(pl.Datetime("us", "UTC")).alias("fetched_at"),
            )
        )

    def _round(self, x: float) -> float:
        return float(x) if self.digits is None else float(round(x, self.digits))

    def history(self, fetches: list[int], overlap: int | None = None) -> pl.DataFrame:
        """raw.prices after fetching adjusted prices at each position."""
        stored = PRICES.empty()
        for before, last in zip([None, *fetches], fetches, strict=False):
            since = 0 if overlap is None or before is None else max(0, before - overlap)
            stored = pl.concat([stored, raw.new_rows(stored, self.adjusted(last, since), PRICES)])
        return stored

    def growth(self, symbol: str) -> dict[date, float]:
        """Total growth since the first bar, from traded prices and events: the oracle."""
        split = self._events(self.splits, symbol, 1.0)
        dividend = self._events(self.dividends, symbol, 0.0)
        units, out, first = 1.0, {}, None
        for i in range(self.sessions):
            if first is not None:
                units *= split[i] * (1 + dividend[i] / self.close[symbol][i])
            if self.alive[symbol][i]:
                first = first or self.close[symbol][i]
                out[self.days[i]] = units * self.close[symbol][i] / first
        return out

    def instruments(self) -> pl.DataFrame:
        """raw.instruments."""
        frame = pl.DataFrame(
            {
                "source": "vendor",
                "symbol": self.symbols,
                "asset_class": "equity",
                "exchange": "XNYS",
                "currency": "USD",
                "sector": "Energy",
                "fetched_at": [self.known(0)] * self.names,
            }
        )
        return contract("raw.instruments").conform(frame)
