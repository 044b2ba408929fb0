"""How good risk forecasts were: test portfolios formed at month ends, and what they did afterwards.

At each month end t, from the names of the model that have a bar on t: 1/N; the model's own minimum
variance portfolio (fully invested, no bounds), which looks for the model's errors; ``RANDOM`` long-only
portfolios with exponential weights and ``RANDOM`` long-short ones with normal weights of sum 0, drawn
from a seed and the session's slot. Weights stay as they are over the next ``AHEAD`` sessions; a name
without a bar earns 0. A portfolio's z is its return over its forecast volatility, at a horizon of 1
session (AHEAD of them) and of AHEAD sessions (their sum, forecast by √AHEAD).

- bias: √ of the mean z², the bias statistic of Menchero et al. (2011, section 6) without a mean:
  1 is right, 1.1 means that risk was 10 % higher than forecast;
- QLIKE: mean of ``log σ² + z²``: the loss that ranks forecasts rightly although variance is seen through
  squared returns only (Patton 2011). Only differences between models on the same portfolios mean
  something, and minimum variance portfolios are each model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk.factor_returns import month_end
from wealthos_pipeline.portfolio.risk.model import Floats, RiskModel
from wealthos_pipeline.portfolio.risk.window import returns

AHEAD = 20
RANDOM = 20
SEED = 20_040
DATES = 12
"""Estimation dates of the running bias statistic."""
MONTHS_BACK = 13 * 23
"""Sessions of models and prices before the first date that ``measure`` needs for it."""
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Outcome:
    """One set of portfolios at one date and horizon. z, log_variance: periods × portfolios."""

    date: date
    portfolios: str
    horizon: int
    z: Floats
    log_variance: Floats

    @property
    def z_squared(self) -> float:
        """Mean of z²."""
        return float((self.z**2).mean())

    @property
    def qlike(self) -> float:
        """Mean of log variance + z²."""
        return float((self.log_variance + self.z**2).mean())


def minimum_variance(model: RiskModel) -> Floats:
    """Weights ``Σ⁻¹1 / 1'Σ⁻¹1``, by Woodbury: no matrix of names × names."""
    values, vectors = np.linalg.eigh(model.F)
    A = model.B @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    scaled = A / model.d[:, None]
    one = 1.0 / model.d
    inner = np.eye(A.shape[1]) + scaled.T @ scaled
    out = (one - scaled @ np.linalg.solve(inner, scaled.T @ one)) / model.d
    return np.asarray(out / out.sum())


def portfolios(model: RiskModel, slot: int) -> dict[str, Floats]:
    """Set of portfolios → weights, names × portfolios."""
    n = len(model.ids)
    rng = np.random.default_rng([SEED, slot])
    long = rng.exponential(size=(n, RANDOM))
    short = rng.normal(size=(n, RANDOM))
    short -= short.mean(axis=0)
    out = {
        "equal_weight": np.full((n, 1), 1.0 / n),
        "min_variance": minimum_variance(model)[:, None],
        "long_only": long / long.sum(axis=0),
    }
    if n > 1:
        out["long_short"] = short / np.abs(short).sum(axis=0)
    return out


def outcomes(
    models: Mapping[date, RiskModel],
    panel: Panel,
    calendar: TradingCalendar,
    names: Mapping[date, Sequence[str]] | None = None,
) -> Iterator[Outcome]:
    """Every outcome of the month-end models that ``AHEAD`` sessions of the panel follow.

    names: restrict the test portfolios of a date to these (so that models with different names are
    compared on the same portfolios).
    """
    daily = returns(panel)
    place = {name: i for i, name in enumerate(panel.ids)}
    for day in sorted(models):
        row = panel.row(calendar.slot(day))
        if not (month_end(day, calendar) and 0 <= row < len(panel.dates) - AHEAD):
            continue
        wanted = None if names is None else set(names.get(day, ()))
        model = restricted(
            models[day],
            [
                i
                for i, name in enumerate(models[day].ids)
                if name in place
                and np.isfinite(panel.tr[row, place[name]])
                and (wanted is None or name in wanted)
            ],
        )
        if not model.ids:
            continue
        after = daily[row + 1 : row + 1 + AHEAD, [place[name] for name in model.ids]]
        after = np.where(np.isfinite(after), after, 0.0)
        for what, weights in portfolios(model, panel.first_slot + row).items():
            sigma = model.of(weights)
            earned = after @ weights
            variance = 2.0 * np.log(sigma)
            yield Outcome(day, what, 1, earned / sigma, np.broadcast_to(variance, earned.shape))
            summed = earned.sum(axis=0)[None, :]
            root = float(np.sqrt(AHEAD))
            yield Outcome(
                day, what, AHEAD, summed / (root * sigma), (variance + np.log(AHEAD))[None, :]
            )


def restricted(model: RiskModel, rows: Sequence[int]) -> RiskModel:
    """The model of some of its names."""
    ids = tuple(model.ids[i] for i in rows)
    keep = np.array(rows, dtype=np.int64)
    return RiskModel(model.date, ids, model.factors, model.B[keep], model.F, model.d[keep])


def measure(
    models: Mapping[date, RiskModel],
    panel: Panel,
    calendar: TradingCalendar,
    kind: str,
    *,
    start: date | None = None,
) -> pl.DataFrame:
    """Rows of ``portfolio.risk_quality``, dates ≥ ``start``.

    models and panel reach ``MONTHS_BACK`` sessions before ``start``, for the running bias. A row carries
    the ``known_at`` of the last of its ``AHEAD`` sessions.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    table = contract("portfolio.risk_quality")
    history: dict[tuple[str, int], list[tuple[date, float]]] = {}
    rows = []
    with threadpool_limits(1, user_api="blas"):
        for o in outcomes(models, panel, calendar):
            known = history.setdefault((o.portfolios, o.horizon), [])
            known.append((o.date, o.z_squared))
            if start is not None and o.date < start:
                continue
            last = known[-DATES:]
            running = float(np.sqrt(np.mean([z for _, z in last]))) if _months(last) else None
            rows.append(
                {
                    "date": o.date,
                    "model": kind,
                    "portfolios": o.portfolios,
                    "horizon": o.horizon,
                    "observations": o.z.size,
                    "z_squared": o.z_squared,
                    "qlike": o.qlike,
                    "bias": running,
                    "known_at": calendar.known_at(calendar.offset(o.date, AHEAD)),
                }
            )
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def _months(known: Sequence[tuple[date, float]]) -> bool:
    """Whether there are ``DATES`` consecutive month ends."""
    days = [d for d, _ in known]
    return len(days) == DATES and all(
        (b.year - a.year) * 12 + b.month - a.month == 1 for a, b in pairwise(days)
    )


def band(values: Floats, seed: int = SEED, share: float = 0.9) -> tuple[float, float]:
    """Interval of the mean of ``values`` by date: blocks of 6 dates on average, drawn with return.

    Stationary bootstrap (Politis & Romano 1994), ``RESAMPLES`` times; months with turmoil come together.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    at = rng.integers(n, size=RESAMPLES)
    total = np.zeros(RESAMPLES)
    for _ in range(n):
        total += values[at]
        jump = rng.random(RESAMPLES) < 1.0 / 6.0
        at = np.where(jump, rng.integers(n, size=RESAMPLES), (at + 1) % n)
    low, high = np.quantile(total / n, [0.5 - share / 2, 0.5 + share / 2])
    return float(low), float(high)
