"""From daily effects to those of a period, so that they add up to the difference of compounded returns.

Arithmetic effects of single days do not add up over time, because returns compound. Both methods scale the
effects of day t by one number, the same for all lines (R and r: the portfolio, b: the benchmark):

- Carino ("Combining attribution effects over time", 1999): ``k_t / K`` with
  ``k = (ln(1 + R_p) − ln(1 + R_b)) / (R_p − R_b)`` of the day and of the period;
- Menchero ("An optimized approach to linking attribution effects over time", 2000):
  ``M + C (r_p − r_b)`` with ``M = ((R_p − R_b) / T) / ((1 + R_p)^(1/T) − (1 + R_b)^(1/T))`` and C such that
  the sum is right and the scale is as even over the days as it can be.

Where two returns are equal the ratio has its limit: ``1 / (1 + R)`` for k, ``(1 + R)^((T − 1)/T)`` for M. A day
on which everything is lost (−100 %) is the limit of one that loses nearly everything. A loss beyond that has
no logarithm: PortfolioError.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio.problem import Floats

Method = Literal["carino", "menchero"]
METHODS: tuple[Method, ...] = ("carino", "menchero")
By = Literal["year", "quarter", "month"]
_KEYS = ("mandate", "run_kind", "scheme", "benchmark")
_EQUAL = 1e-12
"""Returns closer than this count as equal."""
_NEAR = 1e-9
"""Period returns closer than this have Menchero's M at its limit, which is nearer than the ratio; C makes
up for the rest."""


def compounded(returns: Floats) -> float:
    """The return over all periods; by sums of logarithms, exact to the last bits over long histories."""
    if (returns <= -1.0).any():
        return math.prod((1.0 + returns).tolist()) - 1.0
    return math.expm1(math.fsum(np.log1p(returns).tolist()))


def carino(r_p: Floats, r_b: Floats) -> Floats:
    """What each day's effects are multiplied by. r_p, r_b: returns by day, decimal, ≥ −1."""
    _refuse(r_p, r_b)
    ruined = (r_p <= -1.0) | (r_b <= -1.0)
    whole = compounded(r_p) - compounded(r_b)
    if ruined.any():
        # the logarithm of the ruin outgrows all others: the whole difference falls on its day
        out = np.zeros(len(r_p))
        gap = r_p - r_b
        one_side = (r_p <= -1.0).any() != (r_b <= -1.0).any()
        if one_side:
            days = np.flatnonzero(ruined)
            out[days[0]] = whole / gap[days[0]]
        return out
    growth_p = math.fsum(np.log1p(r_p).tolist())
    growth_b = math.fsum(np.log1p(r_b).tolist())
    K = math.exp(-growth_b) if abs(whole) < _EQUAL else (growth_p - growth_b) / whole
    return _logarithmic(r_p, r_b) / K


def menchero(r_p: Floats, r_b: Floats) -> Floats:
    """What each day's effects are multiplied by. r_p, r_b: returns by day, decimal, ≥ −1."""
    _refuse(r_p, r_b)
    T = len(r_p)
    R_p, R_b = compounded(r_p), compounded(r_b)
    whole, gap = R_p - R_b, r_p - r_b
    if abs(whole) < _NEAR:
        M = (1.0 + R_b) ** ((T - 1) / T)
    else:
        M = (whole / T) / ((1.0 + R_p) ** (1.0 / T) - (1.0 + R_b) ** (1.0 / T))
    squares = math.fsum((gap**2).tolist())
    if squares <= T * _EQUAL**2:
        return np.full(T, M)
    C = (whole - M * math.fsum(gap.tolist())) / squares
    return M + C * gap


def linked(
    attribution: pl.DataFrame,
    nav: pl.DataFrame,
    *,
    method: Method = "carino",
    start: date | None = None,
    end: date | None = None,
    by: By | None = None,
) -> pl.DataFrame:
    """Effects of a period: ``mandate, run_kind, scheme, benchmark, period, effect, group, value``.

    attribution: rows of ``portfolio.attribution``. nav: ``portfolio.nav`` of both sides on its dates. Within each
    mandate, scheme and benchmark the values add up to the difference of the two compounded net returns over the
    attributed sessions in [start, end] (against '': to the compounded return). by: one result a year, quarter
    or month, linked in itself; ``period`` is its first day, None for the whole. PortfolioError if a return
    is missing or below −100 %, or the method is not known.
    """
    if method not in METHODS:
        raise PortfolioError(f"no linking method {method!r}; there are {', '.join(METHODS)}")
    rows = attribution
    if start is not None:
        rows = rows.filter(pl.col("date") >= start)
    if end is not None:
        rows = rows.filter(pl.col("date") <= end)
    period = (
        pl.lit(None, dtype=pl.Date)
        if by is None
        else pl.col("date").dt.truncate({"year": "1y", "quarter": "1q", "month": "1mo"}[by])
    )
    rows = rows.with_columns(period.alias("period"))
    returns = {
        (str(key[0]), str(key[1])): dict(part.select("date", "return_net").iter_rows())
        for key, part in nav.partition_by("mandate", "run_kind", as_dict=True).items()
    }
    out = []
    parts = rows.partition_by(*_KEYS, "period", as_dict=True)
    order = sorted(parts, key=lambda k: (*map(str, k[:4]), k[4] or date.min))
    for key in order:
        mandate, run_kind, scheme, benchmark, since = key
        part = parts[key]
        days = part["date"].unique().sort()
        r_p = _on(returns, mandate, run_kind, days)
        r_b = _on(returns, benchmark, run_kind, days) if benchmark else np.zeros(len(days))
        scale = carino(r_p, r_b) if method == "carino" else menchero(r_p, r_b)
        scaled = (
            part.join(pl.DataFrame({"date": days, "k": scale}), on="date", how="left")
            .sort("effect", "group", "date")
            .select("effect", "group", (pl.col("value") * pl.col("k")).alias("value"))
            .group_by("effect", "group", maintain_order=True)
            .agg(pl.col("value"))
        )
        for effect, group, values in scaled.iter_rows():
            value = math.fsum(values)
            out.append((mandate, run_kind, scheme, benchmark, since, effect, group, value))
    schema = {
        **dict.fromkeys(_KEYS, pl.String),
        "period": pl.Date,
        "effect": pl.String,
        "group": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(out, schema=schema, orient="row")


def _on(
    returns: dict[tuple[str, str], dict[date, float | None]],
    mandate: str,
    run_kind: str,
    days: pl.Series,
) -> Floats:
    own = returns.get((mandate, run_kind), {})
    found = [own.get(d) for d in days]
    missing = [d for d, r in zip(days, found, strict=True) if r is None]
    if missing:
        raise PortfolioError(
            f"{mandate} ({run_kind}): the net return is missing on {len(missing)} attributed dates, the "
            f"first {missing[0]}; hand in the same dates of portfolio.nav, of both sides"
        )
    return np.array(found, dtype=np.float64)


def _logarithmic(r_p: Floats, r_b: Floats) -> Floats:
    """``(ln(1 + r_p) − ln(1 + r_b)) / (r_p − r_b)``; its limit where the two are equal."""
    gap = r_p - r_b
    same = np.abs(gap) < _EQUAL
    ratio = np.log1p(gap / (1.0 + r_b)) / np.where(same, 1.0, gap)
    return np.where(same, 1.0 / (1.0 + r_b), ratio)


def _refuse(r_p: Floats, r_b: Floats) -> None:
    for side, r in (("portfolio", r_p), ("benchmark", r_b)):
        if not np.isfinite(r).all() or (r < -1.0).any():
            worst = float(np.nanmin(r)) if np.isfinite(r).any() else math.nan
            raise PortfolioError(
                f"a daily return of the {side} is {worst:.4g}; effects can be linked where returns are "
                "finite and not below −1 (a loss of everything). Link the days before and after it apart"
            )
