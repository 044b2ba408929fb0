"""Returns of one portfolio: time-weighted, money-weighted, of a window, and the risk-free rate.

Conventions (GIPS 2020 where they say something):

time-weighted
    Daily returns chained. ``nav`` rows may have a ``flow``: money that came in (positive) or went out at the opening of
    the session, so that its return is earned on it; absent means 0. ``r_t = nav_t / (nav_{t−1} + flow_t) − 1``. For
    the money-weighted numbers such a flow is of the close before.
money-weighted
    The internal rate of return: the annual rate at which the first value and the flows, paid in, have the
    present value of the last value and what was taken out. Years of 365 days (as XIRR); a period shorter than a year is not
    to be annualised, so the return of the whole period stands beside it. ``RATES`` is where a root is
    looked for. With several roots, or none, there is no number and ``why`` says so.
Modified Dietz
    Gain over average capital, a flow counting for the share of the period's days that it was in.
gross
    Costs added back: as if they had been taken out, not lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.problem import SESSIONS_PER_YEAR, Floats

KEYS = ("mandate", "run_kind")
DAYS_PER_YEAR = 365.0
RATES = (-0.9999, 100.0)
"""Annual rates between which a root of the money-weighted return is looked for."""


@dataclass(frozen=True, slots=True)
class MoneyWeighted:
    """annual: the internal rate of return a year of 365 days. period: the same for the whole period.
    dietz: Modified Dietz, of the period. None where there is no number; ``why`` in words, else ''."""

    annual: float | None
    period: float | None
    dietz: float | None
    why: str = ""


def parts(nav: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    """Rows of each mandate and run kind, by date, in the order of their names."""
    ordered = nav.sort(*KEYS, "date")
    found = ordered.partition_by(*KEYS, as_dict=True, maintain_order=True)
    return [((str(a), str(b)), part) for (a, b), part in found.items()]


def annual(growth: float, n: int) -> float | None:
    """Geometric return a year of 252 sessions, of ``growth`` (1 is no change) in n sessions."""
    return growth ** (SESSIONS_PER_YEAR / n) - 1.0 if n and growth > 0 else None


def flows(nav: pl.DataFrame) -> Floats:
    """Money that came in at each opening; 0 where ``nav`` has no column ``flow``."""
    if "flow" not in nav.columns:
        return np.zeros(nav.height)
    return nav["flow"].fill_null(0.0).to_numpy()


def session_returns(nav: pl.DataFrame, *, gross: bool = False) -> pl.DataFrame:
    """``date, r``: time-weighted return of each session but the first, of one portfolio, from its values.

    gross: with the session's cost added back, over the same value.
    """
    rows = nav.sort("date")
    value = rows["nav"].to_numpy()
    cost = rows["cost"].to_numpy() if gross else np.zeros(len(value))
    r = (value[1:] + cost[1:]) / (value[:-1] + flows(rows)[1:]) - 1.0
    return pl.DataFrame({"date": rows["date"][1:], "r": r}, schema_overrides={"r": pl.Float64})


def time_weighted(nav: pl.DataFrame, *, gross: bool = False) -> float | None:
    """Chained return from the first to the last value of one portfolio; None with fewer than two."""
    r = session_returns(nav, gross=gross)["r"].to_numpy()
    return float(np.prod(1.0 + r)) - 1.0 if len(r) else None


def money_weighted(nav: pl.DataFrame, *, gross: bool = False) -> MoneyWeighted:
    """Internal rate of return and Modified Dietz of one portfolio from its first to its last value."""
    rows = nav.sort("date")
    if rows.height < 2:
        return MoneyWeighted(None, None, None, "fewer than two values")
    value, came = rows["nav"].to_numpy(), flows(rows)
    days = rows["date"].to_list()
    inside = [(d, f) for d, f in zip(days, came[1:].tolist(), strict=False) if f]
    if gross:
        cost = rows["cost"].to_numpy()[1:].tolist()
        inside += [(d, -c) for d, c in zip(days[1:], cost, strict=True) if c]
    dietz = modified_dietz(float(value[0]), float(value[-1]), days[0], days[-1], inside)
    paid = [
        (days[0], -float(value[0])),
        *((d, -f) for d, f in inside),
        (days[-1], float(value[-1])),
    ]
    rate, why = xirr(paid)
    if rate is None:
        return MoneyWeighted(None, None, dietz, why)
    years = (days[-1] - days[0]).days / DAYS_PER_YEAR
    return MoneyWeighted(rate, (1.0 + rate) ** years - 1.0, dietz)


def modified_dietz(
    first: float, last: float, start: date, end: date, inside: Sequence[tuple[date, float]]
) -> float | None:
    """``(V1 − V0 − F) / (V0 + Σ w F)`` with w the share of the period's days that are left after a flow.

    None where the average capital is not above 0, or no day has passed.
    """
    length = (end - start).days
    if length <= 0:
        return None
    total = math.fsum(f for _, f in inside)
    capital = first + math.fsum((end - d).days / length * f for d, f in inside)
    return (last - first - total) / capital if capital > 0 else None


def xirr(payments: Sequence[tuple[date, float]]) -> tuple[float | None, str]:
    """Annual rate at which dated payments (out negative, in positive) are worth 0, and why there is none.

    Sign changes of the present value are looked for on a fine grid of log rates within ``RATES``; one is
    solved to full precision (Brent), several are refused: which of them is meant nobody can know.
    """
    from scipy.optimize import brentq

    amounts = np.array([a for _, a in payments], dtype=np.float64)
    if not (amounts > 0).any() or not (amounts < 0).any():
        return None, "payments in one direction only have no rate"
    start = min(d for d, _ in payments)
    years = np.array([(d - start).days / DAYS_PER_YEAR for d, _ in payments])
    if not years.any():
        return None, "all payments are of one day"

    def worth(x: float) -> float:
        # scaled so that neither end overflows: the sign is what counts
        power = -x * years
        return float((amounts * np.exp(power - power.max())).sum())

    grid = np.linspace(math.log1p(RATES[0]), math.log1p(RATES[1]), 1000)
    powers = -grid[:, None] * years
    at = (amounts * np.exp(powers - powers.max(axis=1, keepdims=True))).sum(axis=1)
    zero = np.flatnonzero(at == 0.0)
    turns = np.flatnonzero(at[:-1] * at[1:] < 0)
    roots = [float(grid[i]) for i in zero]
    roots += [float(brentq(worth, grid[i], grid[i + 1], xtol=1e-14)) for i in turns]
    if len(roots) == 1:
        return math.expm1(roots[0]), ""
    if roots:
        found = ", ".join(f"{100 * math.expm1(x):.1f} %" for x in sorted(roots))
        return None, f"several rates fit these payments: {found}".replace("-", "−")
    return None, f"no rate between {RATES[0]:.2%} and {RATES[1]:.0%} fits".replace(
        "%", " %"
    ).replace("-", "−")


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
    if not annual:
        return last / first - 1.0
    return (last / first) ** (SESSIONS_PER_YEAR / n) - 1.0


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
