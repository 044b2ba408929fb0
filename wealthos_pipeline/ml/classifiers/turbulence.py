"""Will the next weeks be turbulent? A calibrated probability, refitted each year on the past.

At the first session of each year a logistic regression is fitted on all dates whose outcome
(``spans``) was known before its open. Its predictions are calibrated by Platt's two numbers on purged
out-of-fold predictions inside the same dates. Two numbers and not an isotonic step function: a few
decades hold some hundred spans without overlap, of which a fifth is turbulent, and steps fitted to
twenty events repeat their accidents. A row weighs 1/h, because h rows share a span.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import splitters, validation
from wealthos_pipeline.ml.classifiers import calibration, logistic
from wealthos_pipeline.ml.classifiers.skill import quality, reliability
from wealthos_pipeline.ml.classifiers.spans import Spans, spans
from wealthos_pipeline.ml.datasets import Training

__all__ = ["Turbulence", "classify", "features", "fit", "quality", "reliability"]

HORIZON: Final = 20
QUANTILE: Final = 0.8
LEAST: Final = 504
"""Fewer dates with a known outcome: nothing is fitted."""

FOLDS: Final = 5
COVERAGE: Final = 0.9
"""A feature is used by a fit that has it on this share of its dates and at the last one."""

HALF_LIVES: Final = (5, 21, 63)
"""Sessions, of the weights in volatilities. A window ends where the weight is below 2⁻²⁴."""

PEAK: Final = 252
"""Sessions in which the drawdown looks for its peak."""

NAMES: Final = (
    *(f"volatility_{h}" for h in HALF_LIVES),
    "drawdown", "correlation", "dispersion", "vix", "credit_spread", "term_spread", "p_regime",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turbulence:
    """A fit: the features that it uses (numbers in ``NAMES``), its regression, the map from its log-odds to
    probabilities and the share of turbulent spans that it saw."""

    used: tuple[int, ...]
    model: logistic.Logistic
    platt: calibration.Platt
    base_rate: float

    @property
    def features(self) -> str:
        return ", ".join(NAMES[i] for i in self.used)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (rows,) of rows of ``features``; a missing feature is its mean."""
        return self.platt.apply(self.model.log_odds(X[:, list(self.used)]))


def features(states: dict[str, np.ndarray], threshold: np.ndarray) -> np.ndarray:
    """float64 (slots, ``NAMES``), NaN where unknown. At a slot everything is known at its close.

    states: columns of ``models.market_state`` by slot. threshold: of ``Spans``, a year.
    ``volatility_h``: log of the exponentially weighted volatility over the threshold. ``drawdown``: below
    the peak of ``PEAK`` sessions. ``correlation``: mean covariance of two names over the mean variance, of
    weighted sums. ``dispersion``: log of the deviation of names from the market over the threshold. ``vix``: log
    of VIX over the threshold. Spreads in percent. ``p_regime``: ``monitor.regime``.
    """
    ret, square, n = states["ret"], states["mean_square"], states["names"]
    middle = HALF_LIVES[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        volatility = [
            np.log(np.sqrt(252.0 * _weighted(ret * ret, h)) / threshold) for h in HALF_LIVES
        ]
        together = _weighted((n * ret * ret - square) / (n - 1.0), middle)
        correlation = together / _weighted(square, middle)
        apart = _weighted(np.maximum(square - ret * ret, 0.0), middle)
        dispersion = np.log(np.sqrt(252.0 * apart) / threshold)
        vix = np.log(states["vix"] / 100.0 / threshold)
    columns = [
        *volatility, _drawdown(ret), correlation, dispersion, vix,
        states["credit_spread"], states["term_spread"], states["p_turbulent"],
    ]  # fmt: skip
    out = np.column_stack(columns)
    out[~np.isfinite(out)] = np.nan
    return out


def _weighted(values: np.ndarray, half_life: int) -> np.ndarray:
    """Exponentially weighted mean of what is there, in the order of the lags; NaN where fewer than two
    half-lives of values are, or the slot itself has none."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    total, weight, count = (np.zeros(len(values)) for _ in range(3))
    for lag in range(min(24 * half_life, len(values))):
        w = 2.0 ** (-lag / half_life)
        here, until = slice(lag, None), len(values) - lag
        total[here] += w * filled[:until]
        weight[here] += w * known[:until]
        count[here] += known[:until]
    enough = known & (count >= 2 * half_life)
    return np.where(enough, total / np.where(weight > 0, weight, 1.0), np.nan)


def _drawdown(ret: np.ndarray) -> np.ndarray:
    """1 − level over the highest of the last ``PEAK`` slots; the level of a slot without a return stands."""
    level = np.cumsum(np.log1p(np.where(np.isfinite(ret), ret, 0.0)))
    peak = np.concatenate([np.full(PEAK - 1, -np.inf), level])
    highest = np.lib.stride_tricks.sliding_window_view(peak, PEAK).max(axis=1)
    enough = np.isfinite(ret) & (np.arange(len(ret)) >= 21)
    out: np.ndarray = np.where(enough, -np.expm1(level - highest), np.nan)
    return out


def fit(rows: Training, sessions: np.ndarray, horizon: int, last: np.ndarray) -> Turbulence:
    """Regression and calibration on admissible rows.

    rows: a row a date; ``X`` as ``features`` gives it, ``y`` 0 or 1, ``w`` 1/horizon. sessions:
    datetime64[D] of the exchange. last: the latest features known, (``NAMES``,).
    ModelError: too few dates, no usable feature, a class that never occurs (in all dates, or outside one
    of the folds that calibration needs).
    """
    if len(rows) < LEAST:
        raise ModelError(
            f"too little history: {len(rows)} dates have a known outcome, {LEAST} are needed"
        )
    turbulent = int(rows.y.sum())
    if turbulent in (0, len(rows)):
        which = "turbulent" if turbulent == 0 else "calm"
        raise ModelError(
            f"{which} spans never occur among the {len(rows)} dates with a known outcome: nothing to learn"
        )
    share = np.isfinite(rows.X).mean(axis=0)
    used = tuple(int(i) for i in np.flatnonzero((share >= COVERAGE) & np.isfinite(last)))
    if not used:
        raise ModelError(
            f"no feature is known on {COVERAGE:.0%} of {len(rows)} dates and at the last one".replace("%", " %")
        )  # fmt: skip
    X = rows.X[:, list(used)]
    tested, odds = [], []
    for fold in splitters.purged_kfold(rows, FOLDS, embargo=horizon, sessions=sessions):
        y = rows.y[fold.train]
        if y.min() == y.max():
            continue
        part = logistic.fit(X[fold.train], y, rows.w[fold.train])
        tested.append(fold.test)
        odds.append(part.log_odds(X[fold.test]))
    at = np.concatenate([np.zeros(0, np.int64), *tested])
    if len(at) == 0 or np.ptp(rows.y[at]) == 0:
        raise ModelError(
            f"the turbulent spans among {len(rows)} dates lie so close together that no fold is left to "
            "calibrate on: a longer history is needed"
        )
    found = calibration.platt(np.concatenate(odds), rows.y[at], rows.w[at])
    base = float((rows.w * rows.y).sum() / rows.w.sum())
    return Turbulence(used, logistic.fit(X, rows.y, rows.w), found, base)


def classify(
    states: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    horizon: int = HORIZON,
    quantile: float = QUANTILE,
    start: date | None = None,
) -> pl.DataFrame:
    """Rows of ``models.turbulence`` for dates ≥ ``start``.

    states: ``models.market_state``, always from its beginning: it is small, and a fit sees all of it that
    was known. What cannot be fitted has null probabilities and the reason in words; nothing fails.
    """
    out = contract("models.turbulence")
    if not 0 < quantile < 1 or horizon < 2:
        raise ModelError(
            f"turbulence needs a quantile between 0 and 1 and a horizon of 2 sessions or more, found {quantile} "
            f"and {horizon}"
        )
    if states.is_empty():
        return out.empty()
    rows = states.sort("date")
    grid = calendar.frame(rows["date"][0], rows["date"][-1])
    wide = grid.select("date").join(rows, on="date", how="left", maintain_order="left")
    columns = {
        c: wide[c].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for c in rows.columns
        if c != "date"
    }
    found = spans(columns["ret"], horizon, quantile)
    X = features(columns, found.threshold)
    parts = [
        _rows(grid, columns["ret"], found, X, block, horizon)
        for block in _years(grid, columns["ret"], found, X, calendar, horizon, start)
    ]
    return out.conform(pl.concat(parts)) if parts else out.empty()


@dataclass(frozen=True, slots=True)
class _Block:
    """Slots [a, b) of a year and what predicts them."""

    a: int
    b: int
    refit: date
    model: Turbulence | None
    reason: str | None


def _years(
    grid: pl.DataFrame,
    ret: np.ndarray,
    found: Spans,
    X: np.ndarray,
    calendar: TradingCalendar,
    horizon: int,
    start: date | None,
) -> Iterator[_Block]:
    """The blocks that hold dates ≥ ``start``, with their fits."""
    days = grid["date"].to_numpy().astype("datetime64[D]")
    known = grid["known_at"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    labelled = np.flatnonzero(np.isfinite(found.outcome))
    ends = labelled + horizon + 1
    count = len(labelled)
    y = found.outcome[labelled]
    rows = Training(
        X[labelled], y, np.full(count, 1.0 / horizon), days[labelled], days[ends], known[ends],
        np.zeros(count, np.int32), y, NAMES,
    )  # fmt: skip
    begin = days[0] if start is None else max(np.datetime64(start), days[0])
    for year in range(begin.astype(object).year, grid["date"][-1].year + 1):
        refit = calendar.on_or_after(date(year, 1, 1))
        a = int(np.searchsorted(days, max(np.datetime64(refit), begin)))
        b = int(np.searchsorted(days, np.datetime64(date(year, 12, 31)), side="right"))
        if a == b:
            continue
        window = validation.window(calendar, refit, horizon, len(days))
        chosen = rows.take(validation.admissible(rows.label_end, rows.known_at, window))
        before = np.flatnonzero(np.isfinite(ret[: np.searchsorted(days, np.datetime64(refit))]))
        last = X[before[-1]] if len(before) else np.full(X.shape[1], np.nan)
        try:
            yield _Block(a, b, refit, fit(chosen, days, horizon, last), None)
        except ModelError as error:
            yield _Block(a, b, refit, None, str(error))


def _rows(
    grid: pl.DataFrame, ret: np.ndarray, found: Spans, X: np.ndarray, block: _Block, horizon: int
) -> pl.DataFrame:
    """The block's dates as they were said, and again with their outcomes."""
    at = np.flatnonzero(np.isfinite(ret[block.a : block.b])) + block.a
    p, model, reason = np.full(len(at), np.nan), block.model, block.reason
    if model is not None:
        # without a volatility there is no threshold yet, or the market had no return: nothing is known
        seen = np.isfinite(X[at, 0])
        p[seen] = model.predict(X[at[seen]])
        reason = "the volatility of the market is not known"
    said = pl.DataFrame(
        {
            "date": grid["date"].gather(at),
            "p_turbulent": pl.Series(p).fill_nan(None),
            "threshold": pl.Series(found.threshold[at]).fill_nan(None),
            "known_at": grid["known_at"].gather(at),
        }
    ).with_columns(
        pl.lit(horizon, pl.Int32).alias("horizon"),
        pl.lit(None if model is None else model.base_rate, pl.Float64).alias("base_rate"),
        pl.lit(None if model is None else block.refit, pl.Date).alias("refit_date"),
        pl.lit(None if model is None else model.features, pl.String).alias("features"),
        pl.when(pl.col("p_turbulent").is_null()).then(pl.lit(reason, pl.String)).alias("reason"),
        pl.lit(None, pl.Float64).alias("volatility"),
        pl.lit(None, pl.Int32).alias("outcome"),
    )
    came = np.isfinite(found.outcome[at])
    later = said.filter(pl.Series(came)).with_columns(
        pl.Series("volatility", found.volatility[at[came]]),
        pl.Series("outcome", found.outcome[at[came]].astype(np.int32)),
        grid["known_at"].gather(at[came] + horizon + 1),
    )
    return pl.concat([said, later])
