"""Whose predictions a slot gives, date by date: what ``model: champion`` of a mandate stands for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

from wealthos_pipeline.ml.champions import champion_at
from wealthos_pipeline.ml.policy import slot_of


def with_champion(
    predictions: pl.DataFrame,
    evaluation: pl.DataFrame,
    champions: pl.DataFrame,
    models: Iterable[str],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``predictions`` and ``evaluation`` with further rows for the slots among ``models``.

    models: what mandates write (``Mandate.model``). ``champion`` and ``champion:SLOT`` become models of
    these names; without one of them the frames come back as they are.

    Predictions of the kind ``walk_forward`` on date t are those of the model that was champion at the close
    of t (``models.champions`` rows of dates ≤ t); ``live`` ones those of the last champion that is known,
    because a live decision is made after the last word. Where the champion has no row on the date, those of
    the last champion before it that has (``serving``).

    Evaluation on date t is that of the champion at the close of t, so that a mandate's IC at T is the mean
    over what the slot itself showed with the champions that it had, not over what the champion of T showed
    before it was chosen: that would be flattered by the choice. Each row keeps its ``known_at``, which is
    later than t, so nothing is known earlier. Dates on which somebody stood in have no row.
    """
    wanted = slots(models)
    if not wanted:
        return predictions, evaluation
    said, judged = [predictions], [evaluation]
    for name, slot in wanted.items():
        who = serving(predictions, champions, slot)
        mine = predictions.join(
            who.select("kind", "date", "model"), on=["kind", "date", "model"], how="semi"
        )
        said.append(mine.with_columns(pl.lit(name).alias("model")))
        dates = evaluation.select("date").unique()
        then = _at(dates, champions, slot).drop_nulls().rename({"champion": "model"})
        of = evaluation.join(then, on=["date", "model"], how="semi")
        judged.append(of.with_columns(pl.lit(name).alias("model")))
    return pl.concat(said), pl.concat(judged)


def slots(models: Iterable[str]) -> dict[str, str]:
    """What mandates write → the slot that it stands for; models themselves are left out."""
    return {m: s for m in dict.fromkeys(models) if (s := slot_of(m)) is not None}


def serving(predictions: pl.DataFrame, champions: pl.DataFrame, slot: str) -> pl.DataFrame:
    """``kind, date, champion, model``: who serves ``slot`` on each date of ``predictions``.

    model: the champion where it has a row of the kind and date; else the last champion before it that has;
    null where none has, and no row before the first champion.
    """
    present = predictions.select("kind", "date", "model").unique()
    mine = champions.filter(pl.col("slot") == slot).sort("date")
    dates = present.select("kind", "date").unique()
    last = champion_at(champions, slot)
    walked = _at(
        dates.filter(pl.col("kind") == "walk_forward").select("date"), champions, slot
    ).with_columns(pl.lit("walk_forward").alias("kind"))
    live = dates.filter(pl.col("kind") == "live").with_columns(
        pl.lit(last, dtype=pl.String).alias("champion")
    )
    order = ["kind", "date", "champion"]
    who = pl.concat([walked.select(order), live.select(order)]).drop_nulls().sort(order)
    there = {(k, d, m) for k, d, m in present.iter_rows()}
    line = mine.select("date", "champion").rows()
    rows = [
        (
            kind,
            day,
            champion,
            champion if (kind, day, champion) in there else _stand_in(line, kind, day, there),
        )
        for kind, day, champion in who.iter_rows()
    ]
    schema = {"kind": pl.String, "date": pl.Date, "champion": pl.String, "model": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def unserved(
    predictions: pl.DataFrame, champions: pl.DataFrame, names: Iterable[str], day: date
) -> list[str]:
    """Slots whose champion has no live prediction on ``day``, with who serves instead, in words."""
    said = []
    for slot in names:
        champion = champion_at(champions, slot)
        if champion is None:
            said.append(f"{slot}: no review has been, so there is no champion yet")
            continue
        rows = predictions.filter((pl.col("kind") == "live") & (pl.col("date") == day))
        who = serving(rows, champions, slot)
        served = who["model"][0] if who.height else None
        if served != champion:
            instead = f"{served} serves" if served else "nothing serves"
            said.append(f"{slot}: {champion} has no live prediction on {day}; {instead}")
    return said


def _stand_in(
    line: list[tuple[date, str]], kind: str, day: date, there: set[tuple[str, date, str]]
) -> str | None:
    """The last champion up to ``day`` that has a row; of live ones, up to the last word."""
    for since, champion in reversed(line):
        if (kind == "live" or since <= day) and (kind, day, champion) in there:
            return champion
    return None


def _at(dates: pl.DataFrame, champions: pl.DataFrame, slot: str) -> pl.DataFrame:
    """``date, champion``: the champion at the close of each date, null before the first."""
    mine = champions.filter(pl.col("slot") == slot).select("date", "champion").sort("date")
    return (
        dates.select("date")
        .unique()
        .sort("date")
        .join_asof(mine.set_sorted("date"), on="date", strategy="backward")
    )
