"""The asset graph: one module a stage of the day, assembled by ``definitions()``."""

from __future__ import annotations

import dagster as dg

__all__ = ["definitions"]


def definitions() -> list[dg.AssetsDefinition]:
    """All assets, in the order of the day. Own factors are found here (``data/inputs/factors``)."""
    from assets import (
        attribution,
        clean,
        factors,
        holdings,
        ingest,
        model_cards,
        model_evaluation,
        model_life,
        model_search,
        models,
        monitor,
        performance,
        portfolio,
        publish,
        record,
        risk,
        states,
        trials,
    )  # fmt: skip
    from wealthos_pipeline import factors as library_room
    from wealthos_pipeline.utils.config import load_settings

    settings = load_settings()
    chosen = settings.factors
    library = library_room.load(chosen.sets, chosen.own, strict=False)
    stages = (
        *ingest.STAGES,
        *clean.STAGES,
        *factors.stages(library),
        *models.stages(library),
        model_search.searches(library),
        *model_evaluation.stages(library),
        *model_search.stages(library),
        *trials.STAGES,
        *model_life.STAGES,
        *risk.stages(library, settings.portfolio),
        *portfolio.stages(library),
        *holdings.stages(library),
        *performance.STAGES,
        *attribution.STAGES,
        *monitor.STAGES,
        *states.STAGES,
        *record.STAGES,
        *model_cards.STAGES,
    )
    tables = [c.name for s in stages for c in s.contracts]
    return [*(s.asset() for s in stages), *publish.publication(tables)]
