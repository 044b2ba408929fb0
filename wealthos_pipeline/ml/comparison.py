"""Two models side by side: differences on the dates that both have, and what choosing among them is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import combinations

import numpy as np
import polars as pl

from wealthos_pipeline.ml.evaluation.model_summary import matrix, overfitting, superiority
from wealthos_pipeline.stats.mean_test import MeanTest, mean_test

SESSIONS = 252


@dataclass(frozen=True, slots=True)
class Pair:
    """``a`` less ``b`` on their common dates.

    rank_ic: test of the daily difference of rank ICs, whose labels overlap by the horizon. net: test of the
    daily difference of the long-short books' net returns; None where one of them has no book.
    """

    a: str
    b: str
    first: date
    last: date
    rank_ic: MeanTest
    net: MeanTest | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every pair; pbo: probability that the best of them by the Sharpe ratio of its net long-short book would be
    below the middle out of sample; spa_p: of the null that no long-only book beats 1/N. NaN: too little data."""

    horizon: int
    pairs: tuple[Pair, ...]
    pbo: float
    spa_p: float


def compare(
    evaluations: Mapping[str, pl.DataFrame], returns: Mapping[str, pl.DataFrame], horizon: int
) -> Comparison:
    """Models by name, each with its rows of ``models.evaluation`` and ``models.returns`` (with those of 1/N)
    at ``horizon``. A pair without a common date is left out."""
    pairs = []
    for a, b in combinations(evaluations, 2):
        gap = _difference(evaluations[a], evaluations[b], "rank_ic")
        if gap.is_empty():
            continue
        net = _difference(_book(returns[a], a, horizon), _book(returns[b], b, horizon), "net")
        days = gap["date"]
        pairs.append(
            Pair(
                a,
                b,
                days[0],
                days[-1],
                mean_test(gap["gap"].to_numpy(), horizon),
                mean_test(net["gap"].to_numpy(), 1) if net.height else None,
            )
        )
    books = _together(returns, horizon)
    chosen = books.filter(pl.col("model") != "equal_weight")
    of = matrix(chosen, "long_short")
    return Comparison(horizon, tuple(pairs), overfitting(of), superiority(books))


def annual(test: MeanTest) -> float:
    """A mean of daily differences as one of a year, decimal, not compounded."""
    return test.mean * SESSIONS if math.isfinite(test.mean) else math.nan


def _book(returns: pl.DataFrame, model: str, horizon: int) -> pl.DataFrame:
    """Net returns of the long-short book; the model's rows carry the name that it is compared by."""
    return returns.filter(
        (pl.col("model") == model)
        & (pl.col("horizon") == horizon)
        & (pl.col("book") == "long_short")
    ).select("date", "net")


def _difference(a: pl.DataFrame, b: pl.DataFrame, column: str) -> pl.DataFrame:
    """``date, gap`` over the dates of either, from the first common one to the last; NaN where not both are."""
    both = (
        a.select("date", pl.col(column).alias("a"))
        .join(b.select("date", pl.col(column).alias("b")), on="date", how="full", coalesce=True)
        .sort("date")
        .with_columns((pl.col("a") - pl.col("b")).fill_null(math.nan).alias("gap"))
    )
    there = np.flatnonzero(np.isfinite(both["gap"].to_numpy()))
    if not len(there):
        return both.clear().select("date", "gap")
    return both[int(there[0]) : int(there[-1]) + 1].select("date", "gap")


def _together(returns: Mapping[str, pl.DataFrame], horizon: int) -> pl.DataFrame:
    """Books of the models, and 1/N of the first of them."""
    here = pl.col("horizon") == horizon
    parts = [r.filter(here & (pl.col("model") == name)) for name, r in returns.items()]
    one = next(iter(returns.values()))
    return pl.concat([*parts, one.filter(here & (pl.col("model") == "equal_weight"))])
