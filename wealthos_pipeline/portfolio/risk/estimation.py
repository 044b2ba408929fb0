"""Which estimator is asked, and what of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.risk import (
    factor_returns,
    fundamental,
    shrinkage,
    statistical,
)
from wealthos_pipeline.portfolio.risk.model import Floats, RiskModel, to_frames
from wealthos_pipeline.portfolio.risk.window import estimation_dates, windows
from wealthos_pipeline.utils.config import PortfolioSettings

FUNDAMENTAL = "fundamental"

MONTH = 25
"""Sessions that reach the month end before."""

Estimator = Callable[[Floats, Sequence[str], date, PortfolioSettings], RiskModel]


def of_window(kind: str) -> Estimator:
    """The estimator from a window of returns; PortfolioError names those that there are."""
    known: dict[str, Estimator] = {
        "statistical": statistical.from_returns,
        "ledoit_wolf": shrinkage.ledoit_wolf,
        "oas": shrinkage.oas,
        "ewma": shrinkage.ewma,
    }
    if kind not in known:
        raise PortfolioError(
            f"no risk model {kind!r} from returns alone; there are: {', '.join(known)}"
        )
    return known[kind]


def lookback(settings: PortfolioSettings) -> int:
    """Sessions before the first date that the inputs of ``estimate`` and ``produce`` must reach."""
    if settings.risk_model == FUNDAMENTAL:
        return fundamental.lookback(settings)
    return settings.risk_sessions + 5 + MONTH


def estimate(
    prices: pl.DataFrame | Panel,
    universe: pl.DataFrame,
    dates: Iterable[date],
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    scores: pl.DataFrame | None = None,
    instruments: pl.DataFrame | None = None,
) -> dict[date, RiskModel]:
    """Risk models at ``dates``, by ``settings.risk_model``; a date at which no name qualifies is left out.

    prices: ``clean.prices`` rows reaching ``risk_sessions`` + 1 sessions before the first date
    (``lookback(settings)`` for a fundamental model). universe: ``date, instrument_id``. A name counts at
    t if it was a member on any date in the trailing window: what was just removed may still be held, and
    its risk is needed to sell it. scores, instruments: for a fundamental model, see
    ``fundamental.estimate``; its names are those with scores.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before it can be limited
    from threadpoolctl import threadpool_limits

    if settings.risk_model == FUNDAMENTAL:
        if scores is None or isinstance(prices, Panel):
            raise PortfolioError(
                "a fundamental risk model is estimated from rows of clean.prices and from factor "
                "scores; found "
                f"{'no scores' if scores is None else 'prices as a panel'}. Give both (the scores of "
                "factors.scores_equity), or choose another portfolio.risk_model"
            )
        return fundamental.estimate(
            prices, scores, instruments, dates, calendar, settings, start=date.max
        ).models
    estimator = of_window(settings.risk_model)
    panel = build(prices, calendar, ids=universe["instrument_id"].unique())
    with threadpool_limits(1, user_api="blas"):
        return {
            w.day: estimator(w.returns, w.ids, w.day, settings)
            for w in windows(panel, universe, dates, calendar, settings.risk_sessions)
        }


@dataclass(frozen=True)
class Produced:
    """Rows of the three tables, and factor → why it was left out."""

    exposures: pl.DataFrame
    factors: pl.DataFrame
    factor_returns: pl.DataFrame
    left_out: dict[str, str] = field(default_factory=dict)


def produce(
    prices: pl.DataFrame,
    universe: pl.DataFrame,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    start: date | None,
    end: date,
    scores: pl.DataFrame | None = None,
    instruments: pl.DataFrame | None = None,
) -> Produced:
    """Models at the month ends in [start, end] and at ``end``; factor returns of all its sessions.

    start None: everything. The frames reach ``lookback(settings)`` sessions before ``start``.
    """
    from threadpoolctl import threadpool_limits

    first = start or prices["date"].min()
    if not isinstance(first, date):
        return Produced(
            *to_frames([]), factor_returns.of_models({}, build(prices, calendar), calendar)
        )
    dates = estimation_dates(calendar, first, end)
    if settings.risk_model == FUNDAMENTAL:
        if scores is None:
            raise PortfolioError("a fundamental risk model needs factor scores; found none")
        made = fundamental.estimate(
            prices, scores, instruments, dates, calendar, settings, start=start
        )
        return Produced(*to_frames(made.models.values()), made.factor_returns, made.left_out)
    before = calendar.lasts(calendar.offset(first, -MONTH), calendar.offset(first, -1), "month")
    panel = build(prices, calendar, ids=universe["instrument_id"].unique())
    models = estimate(panel, universe, [*before[-1:], *dates], calendar, settings)
    with threadpool_limits(1, user_api="blas"):
        rows = factor_returns.of_models(models, panel, calendar, start=start)
    return Produced(*to_frames(m for d, m in models.items() if d >= first), rows)
