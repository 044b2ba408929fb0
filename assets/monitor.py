"""The market monitor: regime, scan, opportunities, alerts; and the record of what was issued."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_OWNER = "team:portfolio"


@stage(
    contract("monitor.regime"),
    group="monitor",
    inputs=("clean.prices", "clean.membership"),
    rooms=("ml/classifiers/regime.py", "ml/classifiers/hamilton.py"),
    owner=_OWNER,
    plots={"monitor.regime": "p_turbulent"},
)
def regime(work: Work) -> Mapping[str, pl.DataFrame]:
    """Filtered probability of the turbulent regime, parameters from the past only."""
    from wealthos_pipeline.data.processors import membership
    from wealthos_pipeline.ml.classifiers import regime as room

    calendar, lake = work.session.calendar, work.session.lake
    since = None if work.start is None else room.needed_from(calendar, work.start)
    columns = ["instrument_id", "date", "slot", "tr_index", "flags"]
    prices = lake.read("clean.prices", start=since, columns=columns)
    prices = prices.filter(pl.col("instrument_id").is_in(work.equities))
    universe = membership.universe(
        prices.select("date", "instrument_id", "flags"), lake.read("clean.membership")
    )
    returns = room.market_returns(prices, universe=universe)
    return {"monitor.regime": room.filtered(returns, calendar, start=work.start)}


@stage(
    contract("monitor.signals"),
    group="monitor",
    inputs=("clean.prices", "clean.membership"),
    rooms=("market_monitor/scanner.py",),
    owner=_OWNER,
)
def signals(work: Work) -> Mapping[str, pl.DataFrame]:
    """New highs and lows, gaps, unusual moves and volumes, by past-only rules."""
    from wealthos_pipeline.market_monitor import scanner

    found = scanner.scan(
        work.prices(back=scanner.LOOKBACK),
        universe=work.universe(back=0),
        start=work.start,
    )
    return {"monitor.signals": found}


@stage(
    contract("monitor.opportunities"),
    group="monitor",
    inputs=(
        "models.predictions",
        "models.evaluation",
        "factors.scores_equity",
        "clean.instruments",
    ),
    rooms=("market_monitor/opportunity.py", "market_monitor/evidence.py"),
    owner=_OWNER,
    latest_only={"monitor.opportunities": None},
)
def opportunities(work: Work) -> Mapping[str, pl.DataFrame]:
    """Names ranked by the models' scores, with what speaks for and against each."""
    from wealthos_pipeline.market_monitor import opportunity

    lake, end = work.session.lake, work.end
    ranked = opportunity.rank(
        lake.read("models.predictions", start=end),
        lake.read("factors.scores_equity", start=end),
        calendar=work.session.calendar,
        evaluation=lake.read("models.evaluation"),
        factors=tuple(work.session.library.factors.values()),
        instruments=lake.read("clean.instruments"),
        dates=[end],
    )
    return {"monitor.opportunities": ranked}


STAGES: tuple[Stage, ...] = (regime, signals, opportunities)
