"""A study in words: what can be said of a factor, and what cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import polars as pl

from wealthos_pipeline.factors.multiple import HURDLE, HURDLE_P
from wealthos_pipeline.factors.study import Study

HINT_P = math.erfc(2.0 / math.sqrt(2.0))
"""Two-sided p-value of a normal 2, 0.046: a single test. Of ``HURDLE_P``: a factor that was searched for."""

MANY = 30
"""From as many labels side by side on, Student's t is about a normal and need not be explained."""

SOME_DATES = 60
"""A calendar year with fewer dates is not counted among the years."""

Tone = Literal["strong", "weak", "none", "against"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a study comes to at one horizon of its first universe.

    tone: ``strong`` (p-value of a t of 3), ``weak`` (of a t of 2), ``none``, ``against`` (of a t of −2: the
    other way round). Of few labels that takes a larger |t|.
    headline: one clause; sentences: what goes with it, most important first.
    """

    horizon: int
    tone: Tone
    headline: str
    sentences: tuple[str, ...]


def main_horizon(study: Study, wanted: int = 20) -> int:
    """The horizon that is judged: the one nearest ``wanted``, set beforehand and not picked by result."""
    return min(study.horizons, key=lambda h: (abs(math.log(h / wanted)), h))


def verdict(study: Study, horizon: int | None = None) -> Verdict:
    """The verdict at ``horizon`` (None: ``main_horizon``)."""
    h = main_horizon(study) if horizon is None else horizon
    main = study.universes[0]
    row = _at(study.summary, horizon=h, universe=main, variant="plain")
    mean, t, least = _number(row, "mean_rank_ic"), _number(row, "t"), _number(row, "detectable_ic")
    p, labels = _number(row, "p_value"), _count(row, "labels")
    tone: Tone = (
        "none" if not p <= HINT_P else "against" if t < 0 else "strong" if p <= HURDLE_P else "weak"
    )
    few = (
        f" with {labels} {'label' if labels == 1 else 'labels'} side by side"
        if labels < MANY
        else ""
    )
    if mean != mean:
        return Verdict(
            h,
            "none",
            f"Nothing to see: no rank IC at {h} sessions, values or returns are all alike",
            (),
        )
    facts = f"rank IC {_signed(mean)} at {h} sessions, |t| {abs(t):.1f}{few}" if t == t else (
        f"rank IC {_signed(mean)} at {h} sessions, too few dates for a t")  # fmt: skip
    limit = f"this panel could not show an IC below {least:.3f}" if least == least else ""
    headline = {
        "strong": f"It works as stated: {facts}",
        "weak": f"A hint, no proof: {facts}; a factor that was searched for needs {HURDLE}"
        + (" of many labels" if few else ""),
        "against": f"It works the other way round: {facts}",
        "none": f"Nothing to see: {facts}" + (f"; {limit}" if limit else ""),
    }[tone]
    sentences = [
        *([f"{limit[0].upper()}{limit[1:]}."] if limit and tone != "none" else []),
        *_others(study, h),
        *_money(study, h),
        *_inclusion(study, h),
        *_years(study, h),
        *_neutral(study, h),
    ]
    return Verdict(h, tone, headline, tuple(sentences))


def _others(study: Study, h: int) -> list[str]:
    rows = study.summary.filter(
        (pl.col("universe") == study.universes[0])
        & (pl.col("variant") == "plain")
        & (pl.col("horizon") != h)
    ).sort("horizon")
    high = rows.filter(pl.col("p_value") <= HURDLE_P)["horizon"].to_list()
    if not high:
        return []
    *first, last = map(str, high)
    words = f"{', '.join(first)} and {last}" if first else last
    return [
        f"At {words} sessions |t| is above {HURDLE:g}: {len(study.horizons)} horizons were looked at, and to "
        "choose one afterwards is a search."
    ]


def _money(study: Study, h: int) -> list[str]:
    row = _at(study.spread, horizon=h, universe=study.universes[0])
    gross, net, renewal = (_number(row, c) for c in ("gross", "net", "renewal"))
    if gross != gross or net != net:
        return []
    eaten = (
        " Costs eat all of it." if gross > 0 >= net else "" if net > 0 else " There is nothing to pay costs from."
    )  # fmt: skip
    replaced = "" if renewal != renewal else f", {renewal:.0%} of the names replaced"
    return [
        f"Top less bottom bucket {gross:+.2%} in {h} sessions{replaced}; {net:+.2%} after "
        f"{study.costs_bp:g} bp a trade.{eaten}"
    ]


def _inclusion(study: Study, h: int) -> list[str]:
    if "members" not in study.universes or "all" not in study.universes:
        return []
    inside, every = (
        _number(_at(study.summary, horizon=h, universe=u, variant="plain"), "mean_rank_ic")
        for u in ("members", "all")
    )
    if inside != inside or every != every:
        return []
    return [
        f"Over all names the rank IC is {_signed(every)} against {_signed(inside)} over members at the "
        "date; names that were to be included had risen before, which members at the date do not count."
        if every > inside
        else f"Over all names, members to be included, the rank IC is {_signed(every)}; over members at the "
        f"date it is {_signed(inside)}."
    ]


def _years(study: Study, h: int) -> list[str]:
    rows = study.by_year.filter((pl.col("horizon") == h) & (pl.col("dates") >= SOME_DATES))
    rows = rows.drop_nulls("mean_rank_ic")
    if rows.height < 3:
        return []
    good = rows.filter(pl.col("mean_rank_ic") > 0).height
    return [
        f"The rank IC was positive in {good} of {rows.height} calendar years with {SOME_DATES} dates or more."
    ]


def _neutral(study: Study, h: int) -> list[str]:
    told = []
    for variant, words in (("sector", "within sectors"), ("liquidity", "at equal liquidity")):
        if variant in study.variants:
            row = _at(study.summary, horizon=h, universe=study.universes[0], variant=variant)
            mean, t = _number(row, "mean_rank_ic"), _number(row, "t")
            if mean == mean:
                told.append(f"{_signed(mean)} {words}" + (f" (|t| {abs(t):.1f})" if t == t else ""))
    return [f"Rank IC {', '.join(told)}."] if told else []


def _at(frame: pl.DataFrame, **key: int | str) -> dict[str, object]:
    """The row at ``key``; empty where there is none."""
    rows = frame.filter(*(pl.col(k) == v for k, v in key.items()))
    return rows.row(0, named=True) if rows.height else {}


def _number(row: dict[str, object], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _count(row: dict[str, object], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def _signed(value: float) -> str:
    return f"{value:+.3f}"
