"""A fundamental factor model: daily regressions on our own exposures, and the risk of their returns.

Session by session, the returns of s are regressed on the exposures known at the close before
(``design``, ``regression``), weighted by √(median dollar volume over ``WEIGHT_SESSIONS``) where at least
``VOLUME_SHARE`` of the names have one, else by the inverse of their specific variance, from residuals of
equally weighted regressions over as many sessions. Weights are renewed on slots divisible by
``WEIGHT_EVERY`` of the exchange's calendar.

At an estimation date t, from the factor returns and residuals of the ``risk_sessions`` that end with t
(and ``REGIME_SESSIONS`` before them, for the regime): F by EWMA with Newey–West and the volatility
regime (``timeseries``), specific volatility (``specific``). B are the exposures known at t's close. Names
are those with a score at t, and with their last exposures those that had one within ``STALE`` sessions:
what has just left the universe may still be held. A factor counts if it has returns on
``MIN_COVERAGE`` of the window's sessions; the date is left out if the market has not.

Every step is a function of finite windows that end with the date, so that it does not matter where a
computation starts, given ``lookback`` sessions before the first date. One BLAS thread, fixed order.
Source: Menchero, Orr & Wang, "The Barra US Equity Model (USE4), Methodology Notes", 2011; deviations:
our factors, size by dollar volume, no eigenfactor adjustment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.groups import numbers
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.risk.design import MARKET, OTHER, SECTOR, Design, design
from wealthos_pipeline.portfolio.risk.model import SPECIFIC, Floats, RiskModel
from wealthos_pipeline.portfolio.risk.regression import (
    Fit,
    fit,
    inverse_variances,
    regression_weights,
)
from wealthos_pipeline.portfolio.risk.specific import specific
from wealthos_pipeline.portfolio.risk.timeseries import REGIME_SESSIONS, factor_covariance
from wealthos_pipeline.portfolio.risk.window import MIN_COVERAGE, returns
from wealthos_pipeline.utils.config import PortfolioSettings

WEIGHT_SESSIONS = 63
"""Of the median dollar volume and of the specific variance that regressions are weighted by."""
WEIGHT_MIN = 20
"""Observations of them that a name needs."""
WEIGHT_EVERY = 21
VOLUME_SHARE = 0.6
STALE = 63
"""Sessions for which the last exposures of a name stand that has no score any more."""
COMBINATION = "a combination of factors before it"


@dataclass
class Fundamental:
    """What was estimated. left_out: factor → why it is missing, on how many dates."""

    models: dict[date, RiskModel] = field(default_factory=dict)
    factor_returns: pl.DataFrame = field(
        default_factory=lambda: contract("portfolio.factor_returns").empty()
    )
    left_out: dict[str, str] = field(default_factory=dict)


def lookback(settings: PortfolioSettings) -> int:
    """Sessions before the first date that prices and scores must reach."""
    return (
        settings.risk_sessions
        + REGIME_SESSIONS
        + 2 * WEIGHT_SESSIONS
        + 2 * WEIGHT_EVERY
        + STALE
        + 5
    )


def estimate(
    prices: pl.DataFrame,
    scores: pl.DataFrame,
    instruments: pl.DataFrame | None,
    dates: Iterable[date],
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    start: date | None = None,
) -> Fundamental:
    """Risk models at ``dates`` and the factor returns of every session from ``start`` on (None: all).

    prices: ``clean.prices``: ``instrument_id, slot, close, tr_index`` and ``dollar_volume`` where it is
    there. scores: ``date, instrument_id`` and one column a style (others are ignored); a row is a name of
    the universe at the date. instruments: ``clean.instruments`` for sectors; None: no sectors. Both
    reach ``lookback(settings)`` sessions before the first date. PortfolioError where a style is called
    like a factor of the model itself.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    out = Fundamental()
    if scores.is_empty() or prices.is_empty():
        return out
    with threadpool_limits(1, user_api="blas"):
        _Estimation(prices, scores, instruments, calendar, settings, out).run(set(dates), start)
    return out


class _Estimation:
    """One pass through the sessions, in order."""

    def __init__(
        self,
        prices: pl.DataFrame,
        scores: pl.DataFrame,
        instruments: pl.DataFrame | None,
        calendar: TradingCalendar,
        settings: PortfolioSettings,
        out: Fundamental,
    ) -> None:
        self.settings, self.calendar, self.out = settings, calendar, out
        wanted = settings.risk_styles
        if clash := [s for s in wanted if s in (MARKET, SPECIFIC) or s.startswith(SECTOR)]:
            raise PortfolioError(
                f"portfolio.risk_styles names {clash}: these are names of the model's own factors; "
                "choose scores of `wealthos factors list`"
            )
        self.styles = [s for s in wanted if s in scores.columns]
        for absent in sorted(set(wanted) - set(self.styles)):
            out.left_out[absent] = "no table of scores has it"
        self.panel = build(prices, calendar, ids=scores["instrument_id"].unique())
        self.daily = returns(self.panel)
        self.volume = _volume(prices, self.panel)
        self._read(scores, instruments)
        shape = (len(self.panel.dates), len(self.labels))
        self.f, self.t = np.full(shape, np.nan), np.full(shape, np.nan)
        self.residual = np.full(self.daily.shape, np.nan)
        self.plain = np.full(self.daily.shape, np.nan)
        self.recent: deque[tuple[int, Design]] = deque()
        self.dropped: dict[tuple[str, str], int] = {}
        self.asked = 0
        self.weighing: tuple[int, Floats, Floats] | None = None

    def _read(self, scores: pl.DataFrame, instruments: pl.DataFrame | None) -> None:
        names = {name: i for i, name in enumerate(self.panel.ids)}
        rows = (
            scores.select("date", "instrument_id", *self.styles)
            .join(self.calendar.frame().select("date", "slot"), on="date", how="inner")
            .with_columns(
                code=pl.col("instrument_id").replace_strict(
                    names, default=None, return_dtype=pl.Int64
                ),
                row=pl.col("slot").cast(pl.Int64) - self.panel.first_slot,
            )
            .filter(pl.col("code").is_not_null() & pl.col("row").is_between(0, len(self.panel.dates) - 1))
            .sort("row", "code")
        )  # fmt: skip
        self.codes = rows["code"].to_numpy().astype(np.int64)
        self.values = (
            rows.select(pl.col(self.styles).cast(pl.Float64).fill_null(float("nan")))
            .to_numpy()
            .reshape(rows.height, len(self.styles))
        )
        self.sector, count = numbers(rows, instruments, "sector")
        self.words = (
            []
            if not count or instruments is None
            else instruments["sector"].drop_nulls().unique().sort().to_list()
        )
        where = rows["row"].to_numpy()
        self.begins = np.searchsorted(where, np.arange(len(self.panel.dates) + 1))
        sectors = [SECTOR + w for w in (*self.words, OTHER)]
        self.labels = tuple(sorted({MARKET, *sectors, *self.styles}))
        self.number = {label: i for i, label in enumerate(self.labels)}

    def run(self, dates: set[date], start: date | None) -> None:
        last = len(self.panel.dates) - 1
        for row, day in enumerate(self.panel.dates):
            now = self._design(row)
            if now is None:
                continue
            self.recent.append((row, now))
            while self.recent[0][0] <= row - STALE:
                self.recent.popleft()
            if day in dates:
                self._estimate(row, day, now)
            if row < last:
                self._regress(row, now)
        said: dict[str, list[str]] = {}
        for (label, why), times in sorted(self.dropped.items()):
            of = "sessions" if why == COMBINATION else f"of {self.asked} dates"
            said.setdefault(label, []).append(f"{why} ({times} {of})")
        self.out.left_out |= {label: "; ".join(words) for label, words in said.items()}
        self.out.factor_returns = self._rows(start)

    def _design(self, row: int) -> Design | None:
        lo, hi = self.begins[row], self.begins[row + 1]
        return design(
            self.codes[lo:hi], self.values[lo:hi], self.styles, self.sector[lo:hi], self.words
        )

    def _weights(self, row: int, codes: NDArray[np.int64]) -> tuple[Floats, bool]:
        """Weights of a regression on the session after ``row``, and whether they are of volumes."""
        slot = self.panel.first_slot + row
        anchor = slot - slot % WEIGHT_EVERY - self.panel.first_slot
        if self.weighing is None or self.weighing[0] != anchor:
            first, stop = max(anchor - WEIGHT_SESSIONS + 1, 0), max(anchor + 1, 0)
            self.weighing = (
                anchor,
                _medians(self.volume[first:stop]),
                _mean_squares(self.plain[first:stop]),
            )
        _, volume, variance = self.weighing
        own = volume[codes]
        if np.isfinite(own).mean() >= VOLUME_SHARE:
            return regression_weights(own), True
        return inverse_variances(variance[codes]), False

    def _regress(self, row: int, now: Design) -> None:
        """Factor returns and residuals of the session after ``row``."""
        after = self.daily[row + 1, now.codes]
        weights, of_volume = self._weights(row, now.codes)
        if not of_volume:
            equal = fit(now.X, now.sectors, after, np.ones(len(after)))
            if equal is not None:
                self.plain[row + 1, now.codes] = equal.residual
        found = fit(now.X, now.sectors, after, weights)
        if found is not None:
            self._keep(row + 1, now, found)

    def _keep(self, row: int, now: Design, found: Fit) -> None:
        columns = [self.number[label] for label in now.labels]
        self.f[row, columns] = found.f
        self.t[row, columns] = found.t
        self.residual[row, now.codes] = found.residual
        for i in found.dropped:
            self._drop(now.labels[i], COMBINATION)

    def _drop(self, label: str, why: str) -> None:
        self.dropped[label, why] = self.dropped.get((label, why), 0) + 1

    def _estimate(self, row: int, day: date, now: Design) -> None:
        settings, S = self.settings, self.settings.risk_sessions
        history = _tail(self.f, row, REGIME_SESSIONS + S)
        share = np.isfinite(history[-S:]).mean(axis=0)
        if share[self.number[MARKET]] < MIN_COVERAGE:
            return
        self.asked += 1
        for label, why in now.left_out.items():
            self._drop(label, why)
        kept = []
        for label in sorted(now.labels):
            if share[self.number[label]] >= MIN_COVERAGE:
                kept.append(label)
            else:
                self._drop(label, f"returns on less than {MIN_COVERAGE:.0%} of the sessions")
        codes, B = self._exposures(now, kept)
        F, _ = factor_covariance(
            np.ascontiguousarray(history[:, [self.number[label] for label in kept]]),
            S,
            volatility=settings.risk_volatility_half_life,
            correlation=settings.risk_correlation_half_life,
            lags=(settings.risk_volatility_lags, settings.risk_correlation_lags),
        )
        self._weights(row, codes)
        volume = self.weighing[1][codes] if self.weighing is not None else None
        if volume is not None and np.isfinite(volume).mean() < VOLUME_SHARE:
            volume = None
        d, _ = specific(
            np.ascontiguousarray(_tail(self.residual, row, REGIME_SESSIONS + S)[:, codes]),
            B,
            volume,
            S,
            half_life=settings.risk_volatility_half_life,
            lags=settings.risk_volatility_lags,
        )
        names = tuple(self.panel.ids[i] for i in codes)
        self.out.models[day] = RiskModel(day, names, tuple(kept), B, F, d)

    def _exposures(self, now: Design, kept: list[str]) -> tuple[NDArray[np.int64], Floats]:
        """Panel columns of the names, ascending, and their exposures to the factors ``kept``."""
        place = {label: i for i, label in enumerate(kept)}
        rows: dict[int, Floats] = {}
        for _, past in self.recent:  # oldest first: the last one stands
            shared = [(i, place[label]) for i, label in enumerate(past.labels) if label in place]
            X = np.zeros((len(past.codes), len(kept)))
            X[:, [j for _, j in shared]] = past.X[:, [i for i, _ in shared]]
            rows |= dict(zip(past.codes.tolist(), X, strict=True))
        codes = np.array(sorted(rows), dtype=np.int64)
        return codes, np.ascontiguousarray(np.stack([rows[c] for c in codes.tolist()]))

    def _rows(self, start: date | None) -> pl.DataFrame:
        table = contract("portfolio.factor_returns")
        seen = np.isfinite(self.f)
        row, column = np.nonzero(seen)
        days = pl.Series("date", self.panel.dates, dtype=pl.Date)
        words = pl.Series("factor", self.labels, dtype=pl.String)
        frame = pl.DataFrame(
            {
                "date": days.gather(row),
                "factor": words.gather(column),
                "value": self.f[seen],
                "t": pl.Series(self.t[seen], nan_to_null=True),
            }
        )
        return table.conform(frame if start is None else frame.filter(pl.col("date") >= start))


def _tail(values: Floats, row: int, length: int) -> Floats:
    """The ``length`` rows that end with ``row``; NaN before the first."""
    first = max(row - length + 1, 0)
    out = np.full((length, values.shape[1]), np.nan)
    out[length - (row + 1 - first) :] = values[first : row + 1]
    return out


def _volume(prices: pl.DataFrame, panel: Panel) -> Floats:
    """Dollar volume, sessions × names of the panel; NaN where it is unknown."""
    out = np.full(panel.tr.shape, np.nan)
    if "dollar_volume" not in prices.columns or not out.size:
        return out
    names = {name: i for i, name in enumerate(panel.ids)}
    rows = prices.select(
        row=pl.col("slot").cast(pl.Int64) - panel.first_slot,
        code=pl.col("instrument_id").replace_strict(names, default=None, return_dtype=pl.Int64),
        value=pl.col("dollar_volume").cast(pl.Float64),
    ).drop_nulls()
    out[rows["row"].to_numpy(), rows["code"].to_numpy()] = rows["value"].to_numpy()
    return out


def _medians(values: Floats) -> Floats:
    """Median of each column over its observations; NaN with fewer than ``WEIGHT_MIN``."""
    counts = np.isfinite(values).sum(axis=0)
    out = np.full(values.shape[1], np.nan)
    enough = np.flatnonzero(counts >= WEIGHT_MIN)
    ordered = np.sort(values[:, enough], axis=0)  # NaN come last
    n = counts[enough]
    column = np.arange(len(enough))
    out[enough] = 0.5 * (ordered[(n - 1) // 2, column] + ordered[n // 2, column])
    return out


def _mean_squares(values: Floats) -> Floats:
    """Mean square of each column over its observations; NaN with fewer than ``WEIGHT_MIN``."""
    seen = np.isfinite(values)
    counts = seen.sum(axis=0)
    total = (np.where(seen, values, 0.0) ** 2).sum(axis=0)
    return np.where(counts >= WEIGHT_MIN, total / np.maximum(counts, 1), np.nan)
