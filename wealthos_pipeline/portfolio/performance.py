"""How a portfolio did: ratios, drawdowns, value at risk and its exceptions.

Conventions: simple returns of net asset value after costs; annualised with 252 sessions;
volatilities with ddof 1. A ratio whose denominator is 0 or unknown is null.
"""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import value_at_risk
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats
from wealthos_pipeline.portfolio.value_at_risk import VarForecasts
from wealthos_pipeline.utils.config import PortfolioSettings

__all__ = [
    "VarForecasts",
    "by_year",
    "drawdown",
    "drawdowns",
    "risk_free",
    "since",
    "summary",
    "var_exceptions",
    "var_forecasts",
    "window_return",
]

_KEYS = ("mandate", "run_kind")

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
    "sharpe_excess": pl.Float64,
    "risk_free_coverage": pl.Float64,
    "sortino": pl.Float64,
    "max_drawdown": pl.Float64,
    "calmar": pl.Float64,
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


def var_forecasts(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar,
    settings: PortfolioSettings,
    *,
    start: date | None = None,
    end: date | None = None,
) -> VarForecasts:
    """Value at risk of the holdings of each close, for every mandate in ``positions``.

    The method is that of ``value_at_risk``. positions: ``portfolio.positions`` rows, from the last
    snapshot before ``start`` − 1 session on. nav: ``portfolio.nav`` rows from ``start`` − 1 session on
    (its dates are those forecast). prices: rows reaching ``settings.var_sessions`` + 2 sessions before
    ``start``.
    """
    return value_at_risk.forecasts(positions, nav, prices, calendar, settings, start=start, end=end)


def var_exceptions(risk: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """One row a mandate, run kind and level: did losses exceed VaR as often as they should?

    ``mandate, run_kind, level, forecasts, exceptions, expected, rate, kupiec_lr, kupiec_p``; only
    forecasts with a known outcome count.
    """
    from wealthos_pipeline.stats import var_tests

    known = risk.join(outcomes, on=[*_KEYS, "date"], how="inner").sort(*_KEYS, "date")
    rows = []
    for key, part in known.partition_by(*_KEYS, as_dict=True, maintain_order=True).items():
        for level in (95, 99):
            hits = part[f"exception_{level}"].drop_nulls()
            n, k, p = hits.len(), int(hits.sum()), 1.0 - level / 100.0
            test = var_tests.kupiec(k, n, p) if n else None
            rows.append(
                {
                    "mandate": key[0],
                    "run_kind": key[1],
                    "level": level / 100.0,
                    "forecasts": n,
                    "exceptions": k,
                    "expected": n * p,
                    "rate": k / n if n else None,
                    "kupiec_lr": test.statistic if test else None,
                    "kupiec_p": test.p_value if test else None,
                }
            )
    schema = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "level": pl.Float64,
        "forecasts": pl.Int64,
        "exceptions": pl.Int64,
        "expected": pl.Float64,
        "rate": pl.Float64,
        "kupiec_lr": pl.Float64,
        "kupiec_p": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema)


def summary(nav: pl.DataFrame, rf: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a mandate and run kind, over the rows of ``portfolio.nav`` given.

    rf: ``date, rf`` (decimal a session) or None. ``sharpe`` and ``sortino`` are against 0;
    ``sharpe_excess`` is against rf over the sessions where it is known, which are the share
    ``risk_free_coverage`` of all. ``annual_turnover`` is one-way; ``holding_period_days`` its inverse in
    sessions, to be compared with the mandate's assumption; ``annual_cost`` is of NAV.
    """
    rows = [
        {**dict(zip(_KEYS, key, strict=True)), **_statistics(part, rf)} for key, part in _parts(nav)
    ]
    return pl.DataFrame(rows, schema=_SUMMARY)


def by_year(nav: pl.DataFrame, rf: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a mandate, run kind and calendar year: the columns of ``summary`` and ``year``."""
    rows = []
    for key, part in _parts(nav):
        years = part.with_columns(pl.col("date").dt.year().cast(pl.Int64).alias("year"))
        for (year,), piece in years.partition_by("year", as_dict=True, maintain_order=True).items():
            row = {**dict(zip(_KEYS, key, strict=True)), "year": year}
            rows.append({**row, **_statistics(piece.drop("year"), rf)})
    order = [*_KEYS, "year", *(c for c in _SUMMARY if c not in _KEYS)]
    return pl.DataFrame(rows, schema={**_SUMMARY, "year": pl.Int64}).select(order)


def since(nav: pl.DataFrame, start: date) -> pl.DataFrame:
    """Rows of one portfolio from ``start`` on, to be measured from the close of the first of them.

    What happened up to that close is before the time measured: no return, cost or turnover there.
    """
    rows = nav.sort("date").filter(pl.col("date") >= start)
    first = pl.col("date") == pl.col("date").min()
    gone = [pl.when(~first).then(pl.col(c)).alias(c) for c in ("return_net", "return_gross")]
    free = [pl.when(first).then(0.0).otherwise(pl.col(c)).alias(c) for c in ("cost", "turnover")]
    return rows.with_columns(*gone, *free)


def window_return(nav: pl.DataFrame, start: date, *, annual: bool = False) -> float | None:
    """Return of one portfolio from its last value at or before ``start`` to its last row.

    annual: geometric, a year of 252 sessions. None where the rows begin after ``start``, where no
    session has passed since, or a value is not above 0.
    """
    rows = nav.sort("date").select("date", "nav")
    base = int((rows["date"] <= start).sum()) - 1
    n = rows.height - 1 - base
    if base < 0 or n < 1:
        return None
    first, last = float(rows["nav"][base]), float(rows["nav"][-1])
    if first <= 0 or last <= 0:
        return None
    return _annual(last / first, n) if annual else last / first - 1.0


def drawdown(value: Floats) -> Floats:
    """Decimal, ≤ 0, against the highest value so far."""
    out: Floats = value / np.maximum.accumulate(value) - 1.0
    return out


def drawdowns(nav: pl.DataFrame) -> pl.DataFrame:
    """``mandate, run_kind, date, drawdown``: decimal, ≤ 0, against the highest value so far."""
    frames = []
    for key, part in _parts(nav):
        fall = drawdown(part["nav"].to_numpy())
        keys = [pl.lit(v).alias(k) for k, v in zip(_KEYS, key, strict=True)]
        frames.append(
            pl.DataFrame({"date": part["date"], "drawdown": fall})
            .with_columns(keys)
            .select(*_KEYS, "date", "drawdown")
        )
    schema = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "date": pl.Date,
        "drawdown": pl.Float64,
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def risk_free(series: pl.DataFrame, calendar: TradingCalendar) -> pl.DataFrame | None:
    """``date, rf`` (decimal a session) from ``clean.series``; None where it has no such series.

    Series ``risk_free`` (percent for the whole month): spread evenly over the month's sessions.
    Otherwise ``ust_par``, tenor 3M or 1M (percent a year): the last value at or before the session,
    over 252. It is a yardstick for the past, not an input to a decision.
    """
    rows = series.filter(pl.col("value").is_finite())
    monthly = rows.filter(pl.col("series") == "risk_free").sort("date")
    if monthly.height:
        start, end = monthly["date"].dt.month_start().min(), monthly["date"].dt.month_end().max()
        sessions = calendar.frame(start, end).select("date")  # type: ignore[arg-type]
        month = pl.col("date").dt.strftime("%Y-%m").alias("month")
        by_month = monthly.group_by(month, maintain_order=True).agg(pl.col("value").last())
        return (
            sessions.with_columns(month)
            .join(by_month, on="month", how="inner", maintain_order="left")
            .with_columns(pl.len().over("month").alias("n"))
            .select(
                "date", ((1.0 + pl.col("value") / 100.0) ** (1.0 / pl.col("n")) - 1.0).alias("rf")
            )
        )
    for tenor in ("3M", "1M"):
        daily = rows.filter((pl.col("series") == "ust_par") & (pl.col("tenor") == tenor))
        if daily.height:
            daily = daily.sort("date").select("date", (pl.col("value") / 100.0 / 252.0).alias("rf"))
            first, last = daily["date"].min(), daily["date"].max()
            sessions = calendar.frame(first, last).select("date")  # type: ignore[arg-type]
            return sessions.join_asof(daily, on="date", strategy="backward")
    return None


def _parts(nav: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    ordered = nav.sort(*_KEYS, "date")
    found = ordered.partition_by(*_KEYS, as_dict=True, maintain_order=True)
    return [((str(a), str(b)), part) for (a, b), part in found.items()]


def _statistics(part: pl.DataFrame, rf: pl.DataFrame | None) -> dict[str, object]:
    """Statistics of one portfolio's rows, in date order. The first return may be null (no NAV before)."""
    known = part.filter(pl.col("return_net").is_not_null())
    r = known["return_net"].to_numpy()
    gross = known["return_gross"].to_numpy()
    n = len(r)
    growth = float(np.prod(1.0 + r))
    annual = _annual(growth, n)
    volatility = float(r.std(ddof=1)) * math.sqrt(SESSIONS_PER_YEAR) if n > 1 else None
    fall = _max_drawdown(r)
    downside = math.sqrt(float((np.minimum(r, 0.0) ** 2).mean())) if n else 0.0
    turnover = float(part["turnover"].sum()) * SESSIONS_PER_YEAR / n if n else None
    costs = part["cost"].to_numpy() / part["nav"].to_numpy()
    excess, coverage = None, 0.0
    if rf is not None and n:
        over = known.select("date", "return_net").join(rf, on="date", how="inner").drop_nulls()
        coverage = over.height / n
        excess = _ratio((over["return_net"] - over["rf"]).to_numpy())
    centred = r - r.mean() if n else r
    spread = float(r.std()) if n else 0.0
    shaped = n > 3 and spread > 0
    return {
        "start": part["date"].min(),
        "end": part["date"].max(),
        "sessions": n,
        "total_return": growth - 1.0,
        "annual_return": annual,
        "annual_return_gross": _annual(float(np.prod(1.0 + gross)), n),
        "annual_volatility": volatility,
        "sharpe": _ratio(r),
        "sharpe_excess": excess,
        "risk_free_coverage": coverage,
        "sortino": float(r.mean()) / downside * math.sqrt(SESSIONS_PER_YEAR) if downside else None,
        "max_drawdown": fall,
        "calmar": annual / -fall if annual is not None and fall < 0 else None,
        "hit_rate": float((r > 0).mean()) if n else None,
        "best_day": float(r.max()) if n else None,
        "worst_day": float(r.min()) if n else None,
        "skewness": float((centred**3).mean()) / spread**3 if shaped else None,
        "excess_kurtosis": float((centred**4).mean()) / spread**4 - 3.0 if shaped else None,
        "annual_turnover": turnover,
        "holding_period_days": SESSIONS_PER_YEAR / turnover if turnover else None,
        "annual_cost": float(costs.sum()) * SESSIONS_PER_YEAR / n if n else None,
        "mean_names": float(part["names"].cast(pl.Float64).to_numpy().mean()),
    }


def _annual(growth: float, n: int) -> float | None:
    return growth ** (SESSIONS_PER_YEAR / n) - 1.0 if n and growth > 0 else None


def _ratio(r: Floats) -> float | None:
    """Mean over standard deviation, annualised; null for fewer than two or for equal returns."""
    if len(r) < 2:
        return None
    spread = float(r.std(ddof=1))
    return float(r.mean()) / spread * math.sqrt(SESSIONS_PER_YEAR) if spread > 0 else None


def _max_drawdown(r: Floats) -> float:
    """Deepest fall from a high, decimal ≤ 0; the start counts as a high."""
    value = np.concatenate([[1.0], np.cumprod(1.0 + r)])
    return float(drawdown(value).min())
