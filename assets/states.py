"""States: how turbulent the market is and may become, and which of its names move together."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract

_PRICES = ["instrument_id", "date", "slot", "tr_index"]


@stage(
    contract("models.market_state"),
    group="models",
    inputs=("clean.prices", "clean.membership", "clean.series", "monitor.regime"),
    rooms=("ml/classifiers/market.py",),
    plots={"models.market_state": "mean_square"},
)
def market_state(work: Work) -> Mapping[str, pl.DataFrame]:
    """Means over the members by session, and the series known at its close."""
    from wealthos_pipeline.data.processors import membership
    from wealthos_pipeline.ml.classifiers import market

    prices = work.prices(back=1, columns=[*_PRICES, "flags"])
    rows = market.states(
        prices,
        work.session.lake.read("clean.series"),
        work.read("monitor.regime", back=0),
        work.session.calendar,
        universe=membership.universe(
            prices.select("date", "instrument_id", "flags"),
            work.session.lake.read("clean.membership"),
        ),
        start=work.start,
    )
    return {"models.market_state": rows}


@stage(
    contract("models.turbulence"),
    group="models",
    inputs=("models.market_state",),
    rooms=("ml/classifiers/turbulence.py",),
    reach=lambda s: 21,
    checked=("models.turbulence",),
    plots={"models.turbulence": "p_turbulent"},
)
def turbulence(work: Work) -> Mapping[str, pl.DataFrame]:
    """Calibrated probability of turbulent weeks; the model is refitted at the first session of a year."""
    from wealthos_pipeline.ml.classifiers import turbulence as room

    rows = room.classify(work.read("models.market_state"), work.session.calendar, start=work.start)
    last = rows.sort("date").tail(1)
    if last.height and last["p_turbulent"][0] is None:
        work.say("models.turbulence", "no probability:", last["reason"][0])
    elif last.height:
        unused = sorted(set(room.NAMES) - set(last["features"][0].split(", ")))
        work.note("models.turbulence", "left out of the fit", ", ".join(unused) or "nothing")
    return {"models.turbulence": rows}


@stage(
    contract("models.clusters"),
    contract("models.cluster_quality"),
    group="models",
    inputs=("clean.prices", "clean.membership"),
    rooms=("ml/clustering/monthly.py",),
    snap="month",
    checked=("models.clusters",),
    plots={"models.cluster_quality": "stability_to_previous"},
)
def clusters(work: Work) -> Mapping[str, pl.DataFrame]:
    """Names that move together, by correlation and as statistical sectors, at month ends. Numbers go on
    from the stored month before the first that is made again."""
    from wealthos_pipeline.ml.clustering import monthly

    lake, calendar, start = work.session.lake, work.session.calendar, work.start
    if start is not None and not calendar.lasts(start, work.end, "month"):
        names = ("models.clusters", "models.cluster_quality")
        return {name: lake.contract(name).empty() for name in names}
    stored = None
    if start is not None:
        stored = lake.read("models.clusters", end=calendar.offset(start, -1))
    made = monthly.clusters(
        work.prices(back=monthly.WINDOW + 1, columns=_PRICES, traded=True),
        work.universe(back=0),
        calendar,
        start=start,
        end=work.end,
        stored=stored,
    )
    return {"models.clusters": made.members, "models.cluster_quality": made.quality}


STAGES: tuple[Stage, ...] = (market_state, turbulence, clusters)
