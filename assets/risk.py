"""The risk model."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_PRICES = (
    "instrument_id", "date", "slot", "close", "tr_index", "flags", "known_at",
)  # fmt: skip


@stage(
    contract("portfolio.risk_exposures"),
    contract("portfolio.risk_factors"),
    group="portfolio",
    inputs=("clean.prices", "clean.membership"),
    definition=lambda s: s.portfolio.model_dump(
        include={"risk_sessions", "risk_half_life", "risk_factors"}
    ),
    rooms=("portfolio/risk.py",),
    snap="month",
    owner="team:portfolio",
)
def risk_model(work: Work) -> Mapping[str, pl.DataFrame]:
    """Statistical factor risk model (B, F, D) at each month end and at the latest session."""
    from wealthos_pipeline.portfolio import risk

    back = work.settings.portfolio.risk_sessions + 5
    bars = work.prices(back=back, columns=_PRICES)
    calendar = work.session.calendar
    start = work.start or bars["date"].min()
    models = risk.estimate(
        bars,
        work.universe(back=back),
        [] if start is None else risk.estimation_dates(calendar, start, work.end),
        calendar,
        work.settings.portfolio,
    )
    exposures, factors = risk.to_frames(models.values())
    return {"portfolio.risk_exposures": exposures, "portfolio.risk_factors": factors}


STAGES: tuple[Stage, ...] = (risk_model,)
