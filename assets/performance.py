"""What became of the portfolios: risk of holdings."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_PRICES = (
    "instrument_id", "date", "slot", "close", "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip


@stage(
    contract("portfolio.risk"),
    contract("portfolio.risk_outcomes"),
    contract("portfolio.risk_methods"),
    group="portfolio",
    inputs=("portfolio.positions", "portfolio.nav", "clean.prices"),
    definition=lambda s: s.portfolio.var_sessions,
    rooms=("portfolio/performance.py",),
    reach=lambda s: 1,
    owner="team:portfolio",
    plots={"portfolio.risk": "var_99"},
)
def risk_of_holdings(work: Work) -> Mapping[str, pl.DataFrame]:
    """One-day VaR and CVaR for the holdings of each day, and what happened the day after."""
    from wealthos_pipeline.portfolio import performance

    lake = work.session.lake
    made = performance.var_forecasts(
        lake.read("portfolio.positions"),
        lake.read("portfolio.nav", start=work.back(2)),
        work.prices(back=work.settings.portfolio.var_sessions + 5, columns=_PRICES),
        work.session.calendar,
        work.settings.portfolio,
        start=work.start,
        end=work.end,
    )
    outcomes = made.outcomes
    if work.start is not None:
        outcomes = outcomes.filter(pl.col("date") >= work.start)
    return {
        "portfolio.risk": made.risk,
        "portfolio.risk_outcomes": outcomes,
        "portfolio.risk_methods": made.methods,
    }


STAGES: tuple[Stage, ...] = (risk_of_holdings,)
