"""Where the active return of each day came from."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_PRICES = (
    "instrument_id", "date", "slot", "close", "split_index", "tr_index", "flags", "known_at",
)  # fmt: skip


@stage(
    contract("portfolio.attribution"),
    group="portfolio",
    inputs=("portfolio.positions", "portfolio.nav", "clean.prices", "clean.instruments"),
    rooms=("portfolio/attribution.py",),
    owner="team:portfolio",
    plots={"portfolio.attribution": "value"},
)
def attribution(work: Work) -> Mapping[str, pl.DataFrame]:
    """Where the active return of each day came from; the lines add up to it."""
    from wealthos_pipeline.portfolio import attribution as room

    lake = work.session.lake
    out = room.daily(
        lake.read("portfolio.positions"),
        lake.read("portfolio.nav", start=work.back(2)),
        work.prices(back=15, columns=_PRICES),
        lake.read("clean.instruments"),
        work.session.calendar,
        start=work.start,
    )
    return {"portfolio.attribution": out}


STAGES: tuple[Stage, ...] = (attribution,)
