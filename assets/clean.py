"""Cleaning: identity, bars with forward-chained indices, series, membership, holdings."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_ROOMS = ("data/processors",)


@stage(
    contract("clean.instruments"),
    group="clean",
    inputs=("raw.instruments", "raw.prices"),
    rooms=_ROOMS,
    owner="team:data",
)
def instruments(work: Work) -> Mapping[str, pl.DataFrame]:
    """Gives every symbol an identity, once; later runs add symbols and never reuse one."""
    from wealthos_pipeline.data.processors import instruments as room
    from wealthos_pipeline.utils.config import inputs_dir

    keys = (
        work.session.lake.scan("raw.prices", columns=["source", "symbol", "date"])
        .group_by("source", "symbol")
        .agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"))
        .collect()
        .sort("source", "symbol")
    )
    cleaned = room.clean(
        work.read("raw.instruments"),
        keys,
        work.read("clean.instruments"),
        room.read_overrides(inputs_dir() / "instruments.csv"),
        work.session.calendar,
    )
    return {"clean.instruments": cleaned}


@stage(
    contract("clean.prices"),
    contract("clean.quarantine"),
    group="clean",
    inputs=("raw.prices", "raw.rejected", "clean.instruments"),
    rooms=_ROOMS,
    owner="team:data",
    checked=("clean.prices",),
    plots={"clean.prices": "tr_index"},
)
def prices(work: Work) -> Mapping[str, pl.DataFrame]:
    """Bars with forward-chained split and total-return indices; what a rule rejects is quarantined."""
    from wealthos_pipeline.data.processors import prices as room

    lake = work.session.lake
    cleaned = room.clean(
        room.effective(lake.read("raw.prices"), start=work.start),
        lake.read("clean.instruments"),
        work.session.calendar,
        now=work.session.now,
        previous=None if work.start is None else room.last_rows(lake, work.start),
        start=work.start,
    )
    rejected = work.read("raw.rejected", back=0)
    return {
        "clean.prices": cleaned.prices,
        "clean.quarantine": pl.concat([cleaned.quarantine, rejected]),
    }


@stage(
    contract("clean.series"),
    group="clean",
    inputs=("raw.series",),
    rooms=_ROOMS,
    owner="team:data",
    checked=("clean.series",),
    plots={"clean.series": "value"},
)
def series(work: Work) -> Mapping[str, pl.DataFrame]:
    """Yields, volatility indices and rates, each stamped with when it could have been known."""
    from wealthos_pipeline.data.processors import series as room

    cleaned = room.clean(work.read("raw.series"), work.session.calendar, now=work.session.now)
    if work.start is not None:
        cleaned = cleaned.filter(pl.col("date") >= work.start)
    return {"clean.series": cleaned}


@stage(
    contract("clean.membership"),
    group="clean",
    inputs=("raw.membership", "clean.instruments"),
    rooms=_ROOMS,
    owner="team:data",
)
def members(work: Work) -> Mapping[str, pl.DataFrame]:
    """Who was in which universe when. Names that left stay, with the day they left."""
    from wealthos_pipeline.data.processors import membership as room

    cleaned = room.clean(
        work.read("raw.membership"), work.read("clean.instruments"), work.session.calendar
    )
    if work.start is not None:
        cleaned = cleaned.filter(pl.col("valid_from") >= work.start)
    return {"clean.membership": cleaned}


@stage(
    contract("clean.holdings"),
    group="clean",
    inputs=("clean.instruments",),
    rooms=_ROOMS,
    owner="team:data",
    always=True,
)
def holdings(work: Work) -> Mapping[str, pl.DataFrame]:
    """Positions that a person supplied as CSV; empty when none were."""
    from wealthos_pipeline.data.processors import holdings as room
    from wealthos_pipeline.utils.config import inputs_dir

    folder = work.settings.portfolio.holdings or inputs_dir() / "holdings"
    read = room.read(
        folder,
        work.session.lake.read("clean.instruments"),
        work.session.calendar,
        now=work.session.now,
    )
    if work.start is not None:
        read = read.filter(pl.col("date") >= work.start)
    return {"clean.holdings": read}


STAGES: tuple[Stage, ...] = (instruments, prices, series, members, holdings)
