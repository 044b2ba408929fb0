"""A mandate with ``model: champion`` listens to whoever is champion on each date, and to nothing later."""

from __future__ import annotations

from datetime import date

import polars as pl
from portfolio_market import Market

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.ml import serving


def line(market: Market, *rows: tuple[date, str]) -> pl.DataFrame:
    table = contract("models.champions")
    body = [
        {"slot": "alpha", "date": d, "champion": c, "challenger": None, "decision": "promoted",
         "decided_by": "policy", "reason": "r", "evidence": "[]", "policy_hash": "0",
         "known_at": market.calendar.known_at(d)}
        for d, c in rows
    ]  # fmt: skip
    return table.conform(pl.DataFrame(body, schema=table.schema()))


def test_decisions_follow_the_champion_of_their_date(market: Market, core: Mandate) -> None:
    """``other`` says the opposite of ridge. Until it is champion the mandate is ridge's, bit for bit; from then
    on its views are those of ``other``."""
    days = sorted(market.risk_models)
    first = market.run(core, end=days[3]).nav["date"][0]
    end = market.calendar.offset(first, 66)
    other = market.predictions.with_columns(pl.lit("other").alias("model"), -pl.col("z"))
    said = pl.concat([market.predictions, other])
    judged = pl.concat(
        [market.evaluation, market.evaluation.with_columns(pl.lit("other").alias("model"))]
    )
    day = market.calendar.offset(first, 25)
    who = line(market, (market.evaluation["date"][0], "ridge"), (day, "other"))
    predictions, evaluation = serving.with_champion(said, judged, who, ["champion"])
    follower = core.model_copy(update={"model": "champion"})
    made = market.run(follower, predictions=predictions, evaluation=evaluation, end=end)
    ridge = market.run(core, end=end)

    def same(table: str, before: bool) -> bool:
        inside = (pl.col("date") < day) if before else (pl.col("date") >= day)
        names = pl.all().exclude("message")
        a, b = (getattr(run, table).filter(inside).select(names) for run in (made, ridge))
        return a.equals(b)

    assert made.targets.filter(pl.col("date") < day).height
    assert same("targets", before=True)
    assert same("nav", before=True)
    assert not same("targets", before=False)
    late = made.targets.filter((pl.col("date") >= day) & (pl.col("alpha") != 0.0))
    views = late.join(said.filter((pl.col("model") == "other") & (pl.col("kind") == "walk_forward")),
                      on=["date", "instrument_id"])  # fmt: skip
    assert views.height
    assert (views["alpha"].sign() == views["z"].sign()).all()

    # a champion of tomorrow changes nothing of today
    shorter, known = serving.with_champion(said, judged, who.head(1), ["champion"])
    until = market.calendar.offset(day, -1)
    again = market.run(follower, predictions=shorter, evaluation=known, end=until)
    assert again.nav.equals(made.nav.filter(pl.col("date") <= until))
