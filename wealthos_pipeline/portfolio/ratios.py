"""The standard ratios of a portfolio, alone and against a benchmark. Conventions, all in one place:

=====================  ======================================================================================
returns                simple, of net asset value after costs unless the name says gross; by session
year                   252 sessions; returns compound, volatilities grow with √252
volatility             ddof 1
Sharpe                 mean over standard deviation, × √252; ``sharpe`` deducts nothing, ``sharpe_excess`` the
                       risk-free rate, over the sessions where it is known (``risk_free_coverage`` of all)
its standard error     ``√((1 + S²/2 − S·skew + S²·(kurt − 3)/4) / n)`` by session (Mertens 2002; with normal returns
                       Lo 2002, equation 9), × √252; serial correlation is not in it
Sortino                mean over the root of the mean squared loss (below 0, over all sessions), × √252
Calmar                 annual return over the deepest drawdown; the beginning counts as a high
Omega                  sum of gains over sum of losses, threshold 0 (Keating & Shadwick 2002)
tail ratio             95 % quantile over minus the 5 % quantile, in absolute values; linear interpolation
skewness, kurtosis     population moments; kurtosis less 3
hit rate               share of sessions above 0
active return          portfolio less benchmark, by session, over the sessions that both have
tracking error         standard deviation of the active return, × √252
information ratio      mean over standard deviation of the active return, × √252; standard error as Sharpe's
beta                   covariance with over variance of the benchmark, both less the risk-free rate where given
alpha                  intercept of that regression (Jensen 1968), compounded to a year; its t by Newey & West
                       (1987), Bartlett weights over ``4 (n / 100)^(2/9)`` lags, no small-sample factor
capture                annual return over the benchmark's, over the sessions where it rose (up) or fell (down)
=====================  ======================================================================================

A ratio whose denominator is 0 or unknown is null. All agree with empyrical-reloaded (``make check-peers``).
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from wealthos_pipeline.portfolio import deflated
from wealthos_pipeline.portfolio.drawdowns import drawdown
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats
from wealthos_pipeline.portfolio.returns import KEYS, annual, parts
from wealthos_pipeline.stats.sharpe import moments

_ROOT = math.sqrt(SESSIONS_PER_YEAR)

_SUMMARY: dict[str, type[pl.DataType]] = {
    "mandate": pl.String,
    "run_kind": pl.String,
    "start": pl.Date,
    "end": pl.Date,
    "sessions": pl.Int64,
    "total_return": pl.Float64,
    "annual_return": pl.Float64,
    "annual_return_gross": pl.Float64,
    "annual_volatility": pl.Float64,
    "sharpe": pl.Float64,
    "sharpe_se": pl.Float64,
    "sharpe_excess": pl.Float64,
    "sharpe_excess_se": pl.Float64,
    "risk_free_coverage": pl.Float64,
    "sortino": pl.Float64,
    "max_drawdown": pl.Float64,
    "calmar": pl.Float64,
    "omega": pl.Float64,
    "tail_ratio": pl.Float64,
    "hit_rate": pl.Float64,
    "best_day": pl.Float64,
    "worst_day": pl.Float64,
    "skewness": pl.Float64,
    "excess_kurtosis": pl.Float64,
    "annual_turnover": pl.Float64,
    "holding_period_days": pl.Float64,
    "annual_cost": pl.Float64,
    "mean_names": pl.Float64,
}
_RELATIVE: dict[str, type[pl.DataType]] = {
    "mandate": pl.String,
    "run_kind": pl.String,
    "benchmark": pl.String,
    "sessions": pl.Int64,
    "active_return": pl.Float64,
    "tracking_error": pl.Float64,
    "information_ratio": pl.Float64,
    "information_ratio_se": pl.Float64,
    "beta": pl.Float64,
    "beta_se": pl.Float64,
    "alpha": pl.Float64,
    "alpha_t": pl.Float64,
    "correlation": pl.Float64,
    "up_capture": pl.Float64,
    "down_capture": pl.Float64,
    "hit_rate_active": pl.Float64,
}


def summary(nav: pl.DataFrame, rf: pl.DataFrame | None = None, *, tried: int = 0) -> pl.DataFrame:
    """One row a mandate and run kind, over the rows of ``portfolio.nav`` given.

    rf: ``date, rf`` (decimal a session) or None. ``annual_turnover`` is one-way; ``holding_period_days`` its inverse in
    sessions, to be compared with the mandate's assumption; ``annual_cost`` is of NAV. ``psr, dsr, trials,
    effective_trials``: see ``deflated``, ``tried`` being what portfolios were picked among. The rest: see the module.
    """
    believed = deflated.judged(nav, rf, tried=tried)
    rows = [
        {**dict(zip(KEYS, key, strict=True)), **_statistics(part, rf), **believed[key]}
        for key, part in parts(nav)
    ]
    return pl.DataFrame(rows, schema={**_SUMMARY, **deflated.COLUMNS})


def by_year(nav: pl.DataFrame, rf: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a mandate, run kind and calendar year: the columns of ``summary`` and ``year``."""
    rows = []
    for key, part in parts(nav):
        years = part.with_columns(pl.col("date").dt.year().cast(pl.Int64).alias("year"))
        for (year,), piece in years.partition_by("year", as_dict=True, maintain_order=True).items():
            row = {**dict(zip(KEYS, key, strict=True)), "year": year}
            rows.append({**row, **_statistics(piece.drop("year"), rf)})
    order = [*KEYS, "year", *(c for c in _SUMMARY if c not in KEYS)]
    return pl.DataFrame(rows, schema={**_SUMMARY, "year": pl.Int64}).select(order)


def relative(
    nav: pl.DataFrame, rf: pl.DataFrame | None = None, *, benchmark: str = "equal_weight"
) -> pl.DataFrame:
    """One row a portfolio that is not the benchmark: what it did against it.

    benchmark: mandate in ``nav`` with the same run kind, or of run kind ``backtest`` where that has none. Only
    sessions that both have count (with rf: that all three have). No benchmark, no row.
    """
    rows = []
    found = dict(parts(nav))
    for (mandate, run_kind), part in found.items():
        other = found.get((benchmark, run_kind), found.get((benchmark, "backtest")))
        if mandate == benchmark or other is None:
            continue
        both = _together(part, other, rf)
        keys = {"mandate": mandate, "run_kind": run_kind, "benchmark": benchmark}
        rows.append({**keys, **_against(*(both[c].to_numpy() for c in ("r", "b", "rf")))})
    return pl.DataFrame(rows, schema=_RELATIVE)


def rolling(
    nav: pl.DataFrame,
    rf: pl.DataFrame | None = None,
    *,
    benchmark: str | None = None,
    sessions: int = 252,
) -> pl.DataFrame:
    """``mandate, run_kind, date, annual_return, annual_volatility, sharpe, max_drawdown`` of the ``sessions``
    returns that end with each date; with a benchmark ``beta`` and ``tracking_error`` too (null without).

    Dates before a full window are left out. Sharpe is over rf where given, and then on its sessions only.
    """
    frames = []
    found = dict(parts(nav))
    for (mandate, run_kind), part in found.items():
        other = found.get((benchmark, run_kind)) if benchmark is not None else None
        rows = _together(part, part if other is None else other, rf)
        if rows.height < sessions:
            continue
        r, b, free = (
            np.lib.stride_tricks.sliding_window_view(rows[c].to_numpy(), sessions)
            for c in ("r", "b", "rf")
        )
        growth = np.prod(1.0 + r, axis=1)
        over = r - free
        spread = over.std(axis=1, ddof=1)
        wealth = np.concatenate([np.ones((len(r), 1)), np.cumprod(1.0 + r, axis=1)], axis=1)
        fall = (wealth / np.maximum.accumulate(wealth, axis=1) - 1.0).min(axis=1)
        x, y = b - b.mean(axis=1, keepdims=True), r - r.mean(axis=1, keepdims=True)
        square = (x * x).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            sharpe = over.mean(axis=1) / spread * _ROOT
            beta = (x * y).sum(axis=1) / square
        values = {
            "annual_return": growth ** (SESSIONS_PER_YEAR / sessions) - 1.0,
            "annual_volatility": r.std(axis=1, ddof=1) * _ROOT,
            "sharpe": np.where(spread > 0, sharpe, np.nan),
            "max_drawdown": fall,
            "beta": np.where((square > 0) & (other is not None), beta, np.nan),
            "tracking_error": (r - b).std(axis=1, ddof=1) * _ROOT
            if other is not None
            else np.full(len(r), np.nan),
        }
        frames.append(
            pl.DataFrame({"date": rows["date"][sessions - 1 :], **values}).select(
                pl.lit(mandate).alias("mandate"),
                pl.lit(run_kind).alias("run_kind"),
                "date",
                pl.col(list(values)).fill_nan(None),
            )
        )
    schema: dict[str, type[pl.DataType]] = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "date": pl.Date,
        "annual_return": pl.Float64,
        "annual_volatility": pl.Float64,
        "sharpe": pl.Float64,
        "max_drawdown": pl.Float64,
        "beta": pl.Float64,
        "tracking_error": pl.Float64,
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _together(part: pl.DataFrame, other: pl.DataFrame, rf: pl.DataFrame | None) -> pl.DataFrame:
    """``date, r, b, rf`` of the sessions that all have; rf 0 where none is given."""
    mine = part.select("date", pl.col("return_net").alias("r"))
    both = mine.join(other.select("date", pl.col("return_net").alias("b")), on="date", how="inner")
    if rf is None:
        return both.with_columns(pl.lit(0.0).alias("rf")).drop_nulls().sort("date")
    return both.join(rf.select("date", "rf"), on="date", how="inner").drop_nulls().sort("date")


def _statistics(part: pl.DataFrame, rf: pl.DataFrame | None) -> dict[str, object]:
    """Statistics of one portfolio's rows, in date order. The first return may be null (no NAV before)."""
    known = part.filter(pl.col("return_net").is_not_null())
    r = known["return_net"].to_numpy()
    gross = known["return_gross"].to_numpy()
    n = len(r)
    growth = float(np.prod(1.0 + r))
    yearly = annual(growth, n)
    fall = _max_drawdown(r)
    downside = math.sqrt(float((np.minimum(r, 0.0) ** 2).mean())) if n else 0.0
    turnover = float(part["turnover"].sum()) * SESSIONS_PER_YEAR / n if n else None
    costs = part["cost"].to_numpy() / part["nav"].to_numpy()
    excess, excess_se, coverage = None, None, 0.0
    if rf is not None and n:
        over = known.select("date", "return_net").join(rf, on="date", how="inner").drop_nulls()
        coverage = over.height / n
        excess, excess_se = _sharpe((over["return_net"] - over["rf"]).to_numpy())
    sharpe, sharpe_se = _sharpe(r)
    skew, kurtosis = moments(r) if n > 3 else (math.nan, math.nan)
    lost = float(np.maximum(-r, 0.0).sum())
    low, high = np.quantile(r, (0.05, 0.95)).tolist() if n else (0.0, 0.0)
    return {
        "start": part["date"].min(),
        "end": part["date"].max(),
        "sessions": n,
        "total_return": growth - 1.0,
        "annual_return": yearly,
        "annual_return_gross": annual(float(np.prod(1.0 + gross)), n),
        "annual_volatility": float(r.std(ddof=1)) * _ROOT if n > 1 else None,
        "sharpe": sharpe,
        "sharpe_se": sharpe_se,
        "sharpe_excess": excess,
        "sharpe_excess_se": excess_se,
        "risk_free_coverage": coverage,
        "sortino": float(r.mean()) / downside * _ROOT if downside else None,
        "max_drawdown": fall,
        "calmar": yearly / -fall if yearly is not None and fall < 0 else None,
        "omega": float(np.maximum(r, 0.0).sum()) / lost if lost > 0 else None,
        "tail_ratio": abs(high) / abs(low) if low else None,
        "hit_rate": float((r > 0).mean()) if n else None,
        "best_day": float(r.max()) if n else None,
        "worst_day": float(r.min()) if n else None,
        "skewness": _known(skew),
        "excess_kurtosis": _known(kurtosis - 3.0),
        "annual_turnover": turnover,
        "holding_period_days": SESSIONS_PER_YEAR / turnover if turnover else None,
        "annual_cost": float(costs.sum()) * SESSIONS_PER_YEAR / n if n else None,
        "mean_names": float(part["names"].cast(pl.Float64).to_numpy().mean()),
    }


def _against(r: Floats, b: Floats, free: Floats) -> dict[str, object]:
    n = len(r)
    out: dict[str, object] = dict.fromkeys(c for c in _RELATIVE if c not in (*KEYS, "benchmark"))
    out["sessions"] = n
    if n < 2:
        return out
    active = r - b
    ratio, ratio_se = _sharpe(active)
    mine, theirs = annual(float(np.prod(1.0 + r)), n), annual(float(np.prod(1.0 + b)), n)
    out |= {
        "active_return": None if mine is None or theirs is None else mine - theirs,
        "tracking_error": float(active.std(ddof=1)) * _ROOT,
        "information_ratio": ratio,
        "information_ratio_se": ratio_se,
        "hit_rate_active": float((active > 0).mean()),
        "up_capture": _capture(r, b, b > 0),
        "down_capture": _capture(r, b, b < 0),
    }
    x, y = b - free, r - free
    if n < 3 or not np.ptp(x):
        return out
    intercept, slope, se_intercept, se_slope = _regression(x, y)
    out |= {
        "beta": slope,
        "beta_se": se_slope,
        "alpha": (1.0 + intercept) ** SESSIONS_PER_YEAR - 1.0 if intercept > -1 else None,
        "alpha_t": intercept / se_intercept if se_intercept > 0 else None,
        "correlation": float(np.corrcoef(x, y)[0, 1]) if np.ptp(y) else None,
    }
    return out


def _regression(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    """Intercept and slope of y on x, and their Newey–West standard errors."""
    n = len(x)
    mean = float(x.mean())
    centred = x - mean
    square = float((centred * centred).sum())
    slope = float((centred * (y - y.mean())).sum()) / square
    intercept = float(y.mean()) - slope * mean
    residual = y - intercept - slope * x
    scores = np.column_stack([residual, residual * x])
    meat = scores.T @ scores
    lags = int(4 * (n / 100) ** (2 / 9))
    for lag in range(1, min(lags, n - 1) + 1):
        cross = scores[lag:].T @ scores[:-lag]
        meat += (1.0 - lag / (lags + 1)) * (cross + cross.T)
    total = float((x * x).sum())
    bread = np.array([[total, -n * mean], [-n * mean, float(n)]]) / (n * square)
    variance = np.maximum(np.diag(bread @ meat @ bread), 0.0)
    return intercept, slope, math.sqrt(variance[0]), math.sqrt(variance[1])


def _capture(r: Floats, b: Floats, which: np.ndarray) -> float | None:
    n = int(which.sum())
    mine, theirs = (annual(float(np.prod(1.0 + x[which])), n) for x in (r, b))
    return mine / theirs if mine is not None and theirs else None


def _sharpe(r: Floats) -> tuple[float | None, float | None]:
    """Mean over standard deviation and its standard error, annualised; null for fewer than two or for
    equal returns."""
    if len(r) < 2:
        return None, None
    spread = float(r.std(ddof=1))
    if not spread > 0:
        return None, None
    ratio = float(r.mean()) / spread
    skew, kurtosis = moments(r)
    variance = 1.0 + 0.5 * ratio**2 - skew * ratio + (kurtosis - 3.0) / 4.0 * ratio**2
    return ratio * _ROOT, math.sqrt(variance / len(r)) * _ROOT if variance > 0 else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _max_drawdown(r: Floats) -> float:
    """Deepest fall from a high, decimal ≤ 0; the start counts as a high."""
    value = np.concatenate([[1.0], np.cumprod(1.0 + r)])
    return float(drawdown(value).min())
