"""Each model in one row: ``models.summary``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.ml.evaluation.book_returns import EQUAL_WEIGHT, LONG_ONLY, LONG_SHORT
from wealthos_pipeline.ml.evaluation.by_date import column, ic_numbers, mean
from wealthos_pipeline.ml.evaluation.calibration import pooled_slope
from wealthos_pipeline.ml.evaluation.sections import Floats
from wealthos_pipeline.ml.evaluation.words import verdict
from wealthos_pipeline.stats.bootstrap import block_length
from wealthos_pipeline.stats.pbo import overfitting_probability
from wealthos_pipeline.stats.sharpe import judge
from wealthos_pipeline.stats.spa import spa
from wealthos_pipeline.stats.trials import Deflation

YEAR = 252
BLOCKS = 12
"""Blocks of CSCV: 924 ways to cut the history in half."""
LEAST = 126
"""Sessions that all books must have for PBO and SPA. Of fewer, blocks say too little of their variance: three
worthless strategies are called better than 1/N at 5 % in 18 % of lots of 12 sessions, 11 of 24, 9 of 63, 6 of 126."""

DRAWS, SEED = 500, 20050401
"""Of the test of superior predictive ability."""

SHORT = 0.5
"""Books with less than this share of the sessions of the longest are left out where all are compared together:
what compares them takes the sessions that all have, and one short record would leave nothing of the others'."""

ALONE = Deflation(raw=1, effective=1.0, variance=0.0)
"""Nothing else was tried: the deflated ratio is the probabilistic one."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """Net returns of books of one horizon: (sessions, books)."""

    names: tuple[str, ...]
    values: Floats


def summarise(
    evaluation: pl.DataFrame, returns: pl.DataFrame, deflations: Mapping[int, Deflation]
) -> pl.DataFrame:
    """``models.summary`` from all rows of ``models.evaluation`` and ``models.returns``.

    deflations: horizon → what Sharpe ratios are deflated by (``ml.trials.deflation``); a horizon that is not
    there was tried alone. Sharpe ratios enter PSR and DSR by session, not annualised; the variance of an
    independent trial's is at least 1 / sessions of the book, which is that of a worthless one as long as it. Books
    that ``long_enough`` leaves out have no part in pbo and spa_p, and their models' rows neither number, which
    the verdict says. A model without a known outcome has no row; what too few dates cannot tell is null.
    """
    terms = contract("models.summary")
    ordered = evaluation.sort("horizon", "model", "date")
    rows = []
    for (horizon,), mine in ordered.group_by("horizon", maintain_order=True):
        h = int(str(horizon))
        books = returns.filter(pl.col("horizon") == h)
        deflation = deflations.get(h, ALONE)
        compared = long_enough(books)
        together = {
            "pbo": overfitting(matrix(compared, LONG_SHORT)),
            "spa_p": superiority(compared),
        }
        there = set(compared["model"])
        for (model,), part in mine.group_by("model", maintain_order=True):
            held = books.filter(pl.col("model") == model)
            short = held.height > 0 and model not in there
            numbers: dict[str, object] = {
                "model": model, "horizon": h, **ic_numbers(part, h),
                **(dict.fromkeys(together, math.nan) if short else together),
                **_performance(held, books, deflation), "calibration_slope": pooled_slope(part),
                "brier": mean(column(part, "brier")), "known_at": _last(part, held),
            }  # fmt: skip
            said = verdict(_plain(numbers))
            if short:
                said = f"{said}; {_too_short(held, books)}"
            rows.append(numbers | {"verdict": said})
    frame = pl.DataFrame(rows, schema=terms.schema())
    return terms.conform(frame.with_columns(pl.col(pl.Float64).fill_nan(None)))


def long_enough(returns: pl.DataFrame) -> pl.DataFrame:
    """Rows of the books that have ``SHORT`` of the sessions of the longest one of their kind (rows of one
    horizon)."""
    counted = returns.with_columns(pl.len().over("model", "book").alias("sessions"))
    longest = pl.col("sessions").max().over("book")
    return counted.filter(pl.col("sessions") >= SHORT * longest).drop("sessions")


def _too_short(held: pl.DataFrame, books: pl.DataFrame) -> str:
    """Why a model is not compared with the others."""
    mine, longest = (max(f.group_by("model", "book").len()["len"].to_list()) for f in (held, books))
    return (
        f"its record of {mine:,} sessions is too short beside one of {longest:,} to be compared with the others "
        "(PBO, SPA)"
    )


def matrix(returns: pl.DataFrame, book: str, *, common: bool = True) -> Matrix:
    """Net returns of all models and benchmarks with this ``book`` (rows of one horizon), models by name.

    common: on the sessions that all of them have; else on all sessions, NaN where a book has none.
    """
    rows = returns.filter(pl.col("book") == book).select("date", "model", "net")
    if rows.is_empty():
        return Matrix((), np.zeros((0, 0)))
    names = tuple(rows["model"].unique().sort())
    wide = rows.pivot("model", index="date", values="net").sort("date").select(names)
    wide = wide.drop_nulls() if common else wide.fill_null(math.nan)
    return Matrix(names, np.ascontiguousarray(wide.to_numpy()))


def overfitting(of: Matrix) -> float:
    """PBO of picking the best of the books; NaN for fewer than two, or fewer than ``LEAST`` sessions."""
    sessions, count = of.values.shape
    if count < 2 or sessions < LEAST:
        return math.nan
    return overfitting_probability(of.values, BLOCKS).probability


def superiority(returns: pl.DataFrame) -> float:
    """p-value of the null that no long-only book has a higher mean net return than 1/N (rows of one horizon);
    NaN for fewer than ``LEAST`` sessions that all of them have."""
    kept = pl.col("book").is_in([LONG_ONLY, EQUAL_WEIGHT])
    rows = returns.filter(kept).select("date", "model", "net")
    names = sorted(set(rows["model"]) - {EQUAL_WEIGHT})
    if not names or EQUAL_WEIGHT not in rows["model"]:
        return math.nan
    wide = rows.pivot("model", index="date", values="net").sort("date").drop_nulls()
    if wide.height < LEAST:
        return math.nan
    excess = wide.select(names).to_numpy() - wide[EQUAL_WEIGHT].to_numpy()[:, None]
    block = max(block_length(np.ascontiguousarray(x)) for x in excess.T)
    return spa(excess, mean_block=block, draws=DRAWS, seed=SEED).p_value


def annual(returns: Floats) -> float:
    """Compounded return a year of daily returns; NaN without any, −1 once all is lost."""
    if not len(returns):
        return math.nan
    if (returns <= -1.0).any():
        return -1.0
    return math.expm1(math.fsum(np.log1p(returns)) * YEAR / len(returns))


def _performance(
    held: pl.DataFrame, books: pl.DataFrame, deflation: Deflation
) -> dict[str, float | int]:
    """What the books of a model earned, against luck and against 1/N."""
    both = held.filter(pl.col("book") == LONG_SHORT).sort("date")
    net = column(both, "net")
    judged = judge(net, trials=deflation.effective, variance=deflation.variance)
    gross = judge(column(both, "gross"))
    long_only = held.filter(pl.col("book") == LONG_ONLY).sort("date")
    equal = books.filter(pl.col("book") == EQUAL_WEIGHT).select(
        "date", pl.col("net").alias("equal")
    )
    beside = long_only.join(equal, on="date").sort("date")
    excess = annual(column(beside, "net")) - annual(column(beside, "equal"))
    return {
        "sharpe_gross": gross.ratio * math.sqrt(YEAR),
        "sharpe_net": judged.ratio * math.sqrt(YEAR),
        "long_only_net_return": annual(column(long_only, "net")),
        "long_only_sharpe_net": judge(column(long_only, "net")).ratio * math.sqrt(YEAR),
        "excess_over_equal_weight": excess,
        "turnover": mean(column(both, "turnover")) * YEAR,
        "psr": judged.psr,
        "dsr": judged.dsr,
        "trials": deflation.raw,
        "effective_trials": deflation.effective,
        "min_track_record": judged.minimum if math.isfinite(judged.minimum) else math.nan,
    }


def _last(*frames: pl.DataFrame) -> datetime | None:
    """The latest instant at which a row of ``frames`` was known."""
    found = pl.concat([f["known_at"] for f in frames]).max()
    return found if isinstance(found, datetime) else None


def _plain(numbers: Mapping[str, object]) -> dict[str, float]:
    """The numbers alone, NaN where unknown."""
    return {k: float(v) for k, v in numbers.items() if isinstance(v, int | float)}
