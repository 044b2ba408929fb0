"""How the models did: by date, as books, and over all that is known."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library


def stages(library: Library) -> tuple[Stage, ...]:
    """The stages that judge models."""
    return (evaluation,)


@stage(
    contract("models.evaluation"),
    group="models",
    inputs=("models.predictions", "clean.prices"),
    definition=lambda s: s.models.horizon,
    rooms=("ml/evaluation", "factors/labels.py"),
    reach=lambda s: s.models.horizon + 2,
    plots={"models.evaluation": "rank_ic"},
)
def evaluation(work: Work) -> Mapping[str, pl.DataFrame]:
    """How the walk-forward predictions did, each date known when its label is."""
    from wealthos_pipeline.ml import evaluation as room

    out = room.evaluate(
        work.read("models.predictions", back=1),
        work.prices(
            back=1, columns=["instrument_id", "date", "slot", "tr_index", "flags", "known_at"]
        ),
        work.session.calendar,
        work.settings.models.horizon,
        start=work.start,
        known_until=work.session.now,
    )
    return {"models.evaluation": out}
