"""The life of a model: champions by policy and by people, and predictions as issued against what came."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from assets._shared.fault_watch import FaultWatch
from assets._shared.resources import Session
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.ml.live import REACH
from wealthos_pipeline.ml.policy import Policy
from wealthos_pipeline.utils.config import Settings

TABLE = "models.champions"
CHECKS = {
    (TABLE, "one_champion"): ("error", "exactly one champion a slot from its first review on"),
    (TABLE, "champion_serves"): ("warn", "the champion has predictions for the latest session"),
}
"""(Table, check) → its severity and what it says."""


def policy(settings: Settings) -> Policy:
    """The promotion policy of this run."""
    from wealthos_pipeline.ml import policy as room
    from wealthos_pipeline.ml import specs

    return room.load(settings.models, sorted(specs.available(settings.models)))


def _predicted(session: Session, end: date) -> pl.DataFrame:
    """``model, date`` of the walk-forward predictions on the first sessions of months."""
    walked = session.lake.scan("models.predictions", columns=["model", "kind", "date"]).filter(
        pl.col("kind") == "walk_forward"
    )
    first = walked.select(pl.col("date").min()).collect().item()
    days = [] if first is None else session.calendar.firsts(first, end, "month")
    wanted = pl.col("date").is_in(pl.Series([*days], dtype=pl.Date).implode())
    return walked.filter(wanted).select("model", "date").unique().collect()


@stage(
    contract("models.champions"),
    group="models",
    inputs=("models.evaluation", "models.predictions", "models.returns", "raw.model_decisions"),
    definition=lambda s: policy(s).model_dump(mode="json"),
    rooms=("ml/champions.py", "ml/serving.py"),
    watch=FaultWatch(CHECKS),
)
def champions(work: Work) -> Mapping[str, pl.DataFrame]:
    """Who stands for each slot: at each review by the policy, from evidence known at its close, and
    whatever a person decided."""
    from wealthos_pipeline.ml import champions as room
    from wealthos_pipeline.ml import serving

    session, lake, end = work.session, work.session.lake, work.end
    rules = policy(work.settings)
    asked = any(s.min_psr or s.min_deflated_sharpe for s in rules.slots.values())
    before = (
        None
        if work.start is None
        else lake.read(TABLE, end=session.calendar.offset(work.start, -1))
    )
    made = room.decide(
        lake.read("models.evaluation"),
        lake.read("raw.model_decisions"),
        rules,
        session.calendar,
        predicted=_predicted(session, end),
        end=end,
        known_until=session.now,
        start=work.start,
        before=before,
        returns=lake.read("models.returns") if asked else None,
    )
    whole = made if before is None else pl.concat([before, made])
    today = lake.read("models.predictions", start=end, end=end)
    work.faults[TABLE, "one_champion"] = room.faults(whole, rules, session.calendar, end)
    work.faults[TABLE, "champion_serves"] = serving.unserved(today, whole, rules.slots, end)
    for row in made.filter(pl.col("decision").is_in([*room.CHANGES, "recommended"])).iter_rows(
        named=True
    ):
        work.note(TABLE, f"{row['slot']} {row['date']}", f"{row['decision']}: {row['reason']}")
    return {TABLE: made}


@stage(
    contract("models.live"),
    group="models",
    inputs=("clean.prices", "models.evaluation"),
    rooms=("ml/live.py", "factors/labels.py"),
    reach=lambda s: REACH,
    plots={"models.live": "rank_ic"},
)
def live(work: Work) -> Mapping[str, pl.DataFrame]:
    """Predictions as earlier runs issued them against what came since.

    The record is read as the runs before left it: what this run issues has no outcome yet."""
    from wealthos_pipeline.ml import live as room

    lake = work.session.lake
    issued = lake.scan("record.issued", start=work.start).filter(
        (pl.col("kind") == "prediction") & (pl.col("name") == "prediction")
    )
    rows = issued.collect()
    first = rows["date"].min()
    if not isinstance(first, date):
        return {"models.live": contract("models.live").empty()}
    columns = ["instrument_id", "date", "slot", "tr_index", "flags"]
    prices = lake.read("clean.prices", start=first, columns=columns)
    out = room.live(
        rows,
        prices,
        lake.read("models.evaluation"),
        work.session.calendar,
        start=work.start,
        known_until=work.session.now,
    )
    return {"models.live": out}


STAGES: tuple[Stage, ...] = (champions, live)
