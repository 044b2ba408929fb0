"""Cards of models, a line a row: the last stage that looks at models."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.utils.config import Settings


def _declared(settings: Settings) -> dict[str, ModelSpec]:
    from wealthos_pipeline.ml import specs

    return {s.name: s for s in specs.load(settings.models)}


@stage(
    contract("models.cards"),
    group="models",
    inputs=(
        "models.registry", "models.evaluation", "models.summary", "models.decay", "models.returns",
        "models.calibration", "models.importance", "models.drift", "models.live", "meta.catalog",
    ),
    rooms=("reporting/model_card.py",),
    definition=lambda s: [m.model_dump(mode="json") for m in _declared(s).values()],
    whole=True,
)  # fmt: skip
def cards(work: Work) -> Mapping[str, pl.DataFrame]:
    """What a person must know before using a model: what it is, its parameters and data, results, limits."""
    from wealthos_pipeline.reporting import model_card

    declared = _declared(work.settings)
    fitted = work.read("models.registry", columns=["model"])["model"].unique().sort().to_list()
    made = [
        model_card.facts(model_card.gather(work.read, name, spec=declared.get(name)))
        for name in fitted
    ]
    return {"models.cards": pl.concat([contract("models.cards").empty(), *made])}


STAGES = (cards,)
