"""Where the active return of each day came from."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.held_watch import RowWatch
from assets._shared.stage import Stage, Work, stage
from assets._shared.work import VALUED
from wealthos_pipeline.core.data import contract

_ADDS_UP = RowWatch(
    "portfolio.attribution",
    "effects_add_up",
    "the effects of every mandate, session, scheme and benchmark add up to the return within 1e-12",
    (pl.col("effect") == "residual") & ~(pl.col("value").abs() <= 1e-12),
    pl.format("{}, {} by {}: {} is left unexplained", "mandate", "date", "scheme", "value"),
    lambda s: "error",
)
_MODELS = 45
"""Sessions before the first new one that reach the last month end, whatever the month."""


@stage(
    contract("portfolio.attribution"),
    group="portfolio",
    inputs=(
        "portfolio.positions", "portfolio.nav", "portfolio.events", "portfolio.risk_exposures",
        "portfolio.risk_factors",
        "portfolio.factor_returns", "clean.prices", "clean.instruments",
    ),
    rooms=("portfolio/attribution.py",),
    owner="team:portfolio",
    plots={"portfolio.attribution": "value"},
    watch=_ADDS_UP,
)  # fmt: skip
def attribution(work: Work) -> Mapping[str, pl.DataFrame]:
    """Where the return of each day came from, by sector and by risk factor, in full and against 1/N."""
    from wealthos_pipeline.portfolio import attribution as room
    from wealthos_pipeline.portfolio import risk

    lake = work.session.lake
    out = room.daily(
        lake.read("portfolio.positions"),
        lake.read("portfolio.nav", start=work.back(2)),
        work.prices(back=15, columns=VALUED),
        lake.read("clean.instruments"),
        work.session.calendar,
        schemes=room.SCHEMES,
        models=risk.from_frames(
            work.read("portfolio.risk_exposures", back=_MODELS),
            work.read("portfolio.risk_factors", back=_MODELS),
        ),
        factor_returns=work.read("portfolio.factor_returns", back=0),
        charges=room.charges_of(work.read("portfolio.events", back=0)),
        start=work.start,
    )
    return {"portfolio.attribution": out}


STAGES: tuple[Stage, ...] = (attribution,)
