"""The record of what was tried: models, searches, factors and mandates that this run looked at."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract


@stage(
    contract("record.trials"),
    group="models",
    inputs=("raw.trials", "factors.performance", "models.evaluation", "models.returns"),
    rooms=("ml/trials.py",),
    always=True,
    whole=True,
)
def trials(work: Work) -> Mapping[str, pl.DataFrame]:
    """What was looked at and is not on record yet: a trial stays one, however often it is made again.

    Mandates are counted by their definitions, before they are backtested: what a model is deflated by must not
    depend on portfolios that are made from it. Their returns are in ``portfolio.nav``.
    """
    from wealthos_pipeline.ml import specs
    from wealthos_pipeline.ml import trials as room
    from wealthos_pipeline.portfolio import mandates

    session, lake, settings = work.session, work.session.lake, work.settings
    known = set(lake.read("record.trials", columns=["trial"])["trial"].to_list())

    new_models = [m for m in specs.load(settings.models) if room.model_id(m) not in known]
    new_factors = [f for f in session.library.factors.values() if room.factor_id(f) not in known]
    new_mandates = [
        m for m in mandates.load(settings.portfolio.mandates) if room.mandate_id(m) not in known
    ]
    found = [lake.read("raw.trials").filter(~pl.col("trial").is_in(list(known)))]
    if new_models:
        names = [m.name for m in new_models]
        returns, evaluation = (
            lake.scan(t).filter(pl.col("model").is_in(names)).collect()
            for t in ("models.returns", "models.evaluation")
        )
        found.append(room.of_models(new_models, returns, evaluation))
    if new_factors:
        columns = ["factor", "universe", "horizon", "date", "rank_ic", "spread"]
        found.append(
            room.of_factors(new_factors, lake.read("factors.performance", columns=columns))
        )
    found.append(room.of_backtests(new_mandates))
    rows = room.new(found, known, run_id=session.run.run_id, now=session.now)
    if rows.is_empty():
        return {}
    counts = rows.group_by("kind").len().sort("kind")
    work.note("record.trials", "new", ", ".join(f"{n} {kind}" for kind, n in counts.iter_rows()))
    return {"record.trials": rows}


STAGES: tuple[Stage, ...] = (trials,)
