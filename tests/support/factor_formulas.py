"""The library's definitions once more, in NumPy and from dense arrays: slow, and plain to read.

A reference sees arrays of sessions × names with holes as NaN and says one value at session ``t`` for name
``i``; what the window lacks is left out and counted, as the definition states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from scipy import stats

NAMES, SESSIONS = 10, 1460
SECTORS = ("Energy", "Tech", "Tech", "Energy", "Tech", "Energy", "Tech", "Energy", "Tech", "Tech")
TENORS = ("3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y")
MONTHS = np.array([3, 6, 12, 24, 36, 60, 84, 120.0])


@dataclass
class Market:
    """Adjusted arrays [session, name] and series [session]."""

    days: list[date]
    o: np.ndarray
    h: np.ndarray
    l: np.ndarray  # noqa: E741
    c: np.ndarray
    v: np.ndarray
    dv: np.ndarray
    price: np.ndarray  # close in shares of the first bar
    vix: np.ndarray
    y: dict[str, np.ndarray]

    @cached_property
    def r(self) -> np.ndarray:
        out = np.full_like(self.c, np.nan)
        out[1:] = self.c[1:] / self.c[:-1] - 1
        return out

    @cached_property
    def m(self) -> np.ndarray:
        r = self.r
        out = np.full(len(r), np.nan)
        for t in range(1, len(r)):
            out[t] = np.nanmean(r[t])
        return out


def last(x: np.ndarray, t: int, n: int) -> np.ndarray:
    return x[max(0, t - n + 1) : t + 1]


def kept(x: np.ndarray, least: int) -> np.ndarray:
    x = x[np.isfinite(x)]
    return x if len(x) >= least else np.full(1, np.nan)


def both(*xs: np.ndarray) -> list[np.ndarray]:
    ok = np.logical_and.reduce([np.isfinite(x) for x in xs])
    return [x[ok] for x in xs]


def back(x: np.ndarray, t: int, n: int):
    return x[t - n] if t >= n else np.nan * x[0]


def slopes(y: np.ndarray, *xs: np.ndarray, least: int) -> np.ndarray:
    """Coefficients of the least squares with an intercept, the intercept first; then the residuals."""
    y, *xs = both(y, *xs)
    if len(y) < least:
        return np.full(len(xs) + 1, np.nan)
    design = np.column_stack([np.ones(len(y)), *xs])
    return np.linalg.lstsq(design, y, rcond=None)[0]


def residuals(k: Market, t: int, i: int, n: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    u, v = both(last(k.r[:, i], t, n), last(k.m, t, n))
    if len(u) < least:
        return np.full(3, np.nan), np.full(3, np.nan)
    b = np.polyfit(v, u, 1)
    return u - np.polyval(b, v), v


def todays_residual(k: Market, t: int, i: int) -> float:
    if t < 1 or not np.isfinite(k.r[t, i]):
        return math.nan
    u, v = both(last(k.r[:, i], t, 252), last(k.m, t, 252))
    if len(u) < 126:
        return math.nan
    return float(k.r[t, i] - np.polyval(np.polyfit(v, u, 1), k.m[t]))


def coskewness(k: Market, t: int, i: int) -> float:
    e, v = residuals(k, t, i, 252, 189)
    n = len(e)
    em = v - v.mean()
    covariance = (e * em**2).sum() / (n - 1)
    return covariance / (math.sqrt((e**2).sum() / (n - 2)) * (em**2).sum() / (n - 1))


def corwin_schultz(k: Market, t: int, i: int) -> float:
    spreads = []
    for s in range(t - 20, t + 1):
        h, low, c0 = k.h[s, i], k.l[s, i], k.c[s - 1, i]
        if low > c0:
            h, low = h - (low - c0), c0
        elif h < c0:
            h, low = c0, low + (c0 - h)
        h0, l0 = k.h[s - 1, i], k.l[s - 1, i]
        b = math.log(h / low) ** 2 + math.log(h0 / l0) ** 2
        g = math.log(max(h, h0) / min(low, l0)) ** 2 if np.isfinite(h * h0) else math.nan
        a = (math.sqrt(2 * b) - math.sqrt(b)) / (3 - 2 * math.sqrt(2)) - math.sqrt(
            g / (3 - 2 * math.sqrt(2))
        )
        s_ = 2 * (math.exp(a) - 1) / (1 + math.exp(a))
        spreads.append(max(s_, 0.0) if s_ == s_ else s_)
    return float(kept(np.array(spreads), 15).mean())


def money_flow(k: Market, t: int, i: int) -> float:
    typical = (k.h[:, i] + k.l[:, i] + k.c[:, i]) / 3
    up = down = 0.0
    count = 0
    for s in range(t - 13, t + 1):
        change = typical[s] - typical[s - 1]
        flow = typical[s] * k.v[s, i]
        if not np.isfinite(change * flow):
            continue
        count += 1
        up += flow * (change > 0)
        down += flow * (change < 0)
    return 100 - 100 / (1 + up / down) if count >= 10 and down else math.nan


def rolled(name: str, least: int, fold: Callable[[np.ndarray], float], n: int, lag: int = 0):
    """A fold of the last n of an array of the market, ``lag`` sessions ago."""
    return lambda k, t, i: fold(kept(last(getattr(k, name)[:, i], t - lag, n), least))


def amihud(k: Market, t: int, i: int, n: int, least: int) -> float:
    with np.errstate(all="ignore"):
        return math.log(kept(last(np.abs(k.r[:, i]) / k.dv[:, i], t, n), least).mean())


def place_of_max(x: np.ndarray, least: int) -> float:
    return int(np.nanargmax(x)) + 1 if np.isfinite(x).sum() >= least else math.nan


def relative(x: np.ndarray, n: int):
    """x today over x n sessions ago."""
    return lambda k, t, i: x(k)[t, i] / back(x(k)[:, i], t, n)


def three_day(k: Market, i: int) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.full(SESSIONS, np.nan), np.full(SESSIONS, np.nan)
    u[3:] = np.log(k.c[3:, i] / k.c[:-3, i])
    g = np.log1p(k.m)
    v[2:] = g[2:] + g[1:-1] + g[:-2]
    return u, v


def shrunk(k: Market, t: int, i: int) -> float:
    u, v = both(*(last(x, t, 1260) for x in three_day(k, i)))
    if len(u) < 750:
        return math.nan
    own, all_ = (np.std(np.log1p(kept(last(x, t, 252), 120)), ddof=1) for x in (k.r[:, i], k.m))
    return 0.4 + 0.6 * np.corrcoef(u, v)[0, 1] * own / all_


def true_range(k: Market, t: int, i: int) -> float:
    ranges = []
    for s in range(t - 13, t + 1):
        h, low, c = k.h[s, i], k.l[s, i], k.c[s - 1, i]
        ranges.append(
            max(h - low, abs(h - c), abs(low - c)) if np.isfinite(h * low * c) else math.nan
        )
    return kept(np.array(ranges), 10).mean() / k.c[t, i]


def cci(k: Market, t: int, i: int) -> float:
    typical = kept(last((k.h[:, i] + k.l[:, i] + k.c[:, i]) / 3, t, 20), 15)
    today = (k.h[t, i] + k.l[t, i] + k.c[t, i]) / 3
    return (today - typical.mean()) / (0.015 * np.abs(typical - typical.mean()).mean())


def monthly_volatility(k: Market, t: int, i: int) -> np.ndarray:
    return np.array([np.std(kept(last(k.r[:, i], s, 21), 15), ddof=1) if s >= 0 else math.nan
                     for s in range(t - 251, t + 1)])  # fmt: skip


def parkinson(k: Market, t: int, i: int) -> float:
    x = kept(np.log(last(k.h[:, i] / k.l[:, i], t, 60)), 45)
    return math.sqrt((x**2).mean() / (4 * math.log(2)) * 252)


def garman_klass(k: Market, t: int, i: int) -> float:
    x = (
        0.5 * np.log(k.h[:, i] / k.l[:, i]) ** 2
        - (2 * math.log(2) - 1) * np.log(k.c[:, i] / k.o[:, i]) ** 2
    )
    return math.sqrt(kept(last(x, t, 60), 45).mean() * 252)


def dimson(k: Market, t: int, i: int) -> float:
    before = np.concatenate([[np.nan], k.m[:-1]])
    return slopes(last(k.r[:, i], t, 252), last(k.m, t, 252), last(before, t, 252), least=189)[
        1:
    ].sum()


def vix_beta(k: Market, t: int, i: int) -> float:
    change = np.concatenate([[np.nan], np.diff(k.vix)])
    return slopes(last(k.r[:, i], t, 63), last(k.m, t, 63), last(change, t, 63), least=42)[2]


def downside(k: Market, t: int, i: int) -> float:
    down = np.where(k.m < 0, k.r[:, i], np.nan)
    return slopes(last(down, t, 252), last(k.m, t, 252), least=63)[1]


def residual_reversal(k: Market, t: int, i: int) -> float:
    month = kept(np.array([todays_residual(k, s, i) for s in range(t - 20, t + 1)]), 15)
    e, _ = residuals(k, t, i, 252, 126)
    return month.sum() / math.sqrt((e**2).sum() / (len(e) - 2))


def idio_skewness(k: Market, t: int, i: int) -> float:
    e = kept(np.array([todays_residual(k, s, i) for s in range(max(0, t - 251), t + 1)]), 189)
    return float(stats.skew(e, bias=False)) if len(e) > 2 else math.nan


def roll(k: Market, t: int, i: int) -> float:
    g = np.log1p(k.r[:, i])
    u, v = both(last(g, t, 252), last(np.concatenate([[np.nan], g[:-1]]), t, 252))
    return 2 * math.sqrt(max(-np.cov(u, v)[0, 1], 0)) if len(u) >= 189 else math.nan


def volume_rank(k: Market, t: int, i: int) -> float:
    x = kept(last(k.v[:, i], t, 50), 40)
    return stats.rankdata(x)[-1] / len(x) if np.isfinite(k.v[t, i]) else math.nan


def volume_trend(k: Market, t: int, i: int) -> float:
    x = last(np.log(k.dv[:, i]), t, 252)
    ok = np.isfinite(x)
    return np.polyfit(np.flatnonzero(ok), x[ok], 1)[0] if ok.sum() >= 189 else math.nan


def obv(k: Market, t: int, i: int) -> float:
    sign, volume = both(np.sign(last(k.r[:, i], t, 63)), last(k.v[:, i], t, 63))
    return (sign * volume).sum() / volume.sum() if len(sign) >= 42 else math.nan


def bond_duration(y: float) -> float:
    """Modified duration of a 10-year par bond, from its cash flows."""
    half = np.arange(1, 21)
    flow = np.where(half == 20, 100 + y / 2, y / 2)
    present = flow / (1 + y / 200) ** half
    return (present * half / 2).sum() / present.sum() / (1 + y / 200)


def dividends(k: Market, t: int, i: int) -> float:
    p = np.where(np.isfinite(k.v[:, i]), k.price[:, i], np.nan)
    out = (k.c[t, i] / back(k.c[:, i], t, 252)) / (p[t] / back(p, t, 252)) - 1
    return out if not out <= 5e-5 else 0.0


def shares_up(k: Market, t: int, i: int) -> float:
    x = kept(last(k.r[:, i], t - 21, 231), 160)
    return ((x > 0).mean() - (x < 0).mean()) if len(x) > 1 else math.nan


def months(k: Market, t: int, i: int) -> float:
    c = k.c[:, i]
    return (
        math.prod(back(c, t, a) / back(c, t, b) for a, b in ((21, 231), (252, 483), (504, 735))) - 1
    )


def fitted(k: Market, t: int) -> np.ndarray:
    x = 0.0609 * MONTHS
    design = np.column_stack([np.ones(8), (1 - np.exp(-x)) / x, (1 - np.exp(-x)) / x - np.exp(-x)])
    return np.linalg.lstsq(design, np.array([k.y[m][t] for m in TENORS]), rcond=None)[0]


def month_return(k: Market, t: int) -> np.ndarray:
    return k.c[t] / back(k.c, t, 21) - 1


def appetite(k: Market, t: int) -> float:
    risk = np.array([np.std(kept(last(k.r[:, i], t - 21, 252), 189), ddof=1) for i in range(NAMES)])
    a, b = both(month_return(k, t), risk)
    return stats.spearmanr(a, b).statistic


def breadth(k: Market, t: int) -> float:
    above = [k.c[t, i] > kept(last(k.c[:, i], t, 200), 150).mean() for i in range(NAMES)
             if np.isfinite(k.c[t, i]) and np.isfinite(last(k.c[:, i], t, 200)).sum() >= 150]  # fmt: skip
    return float(np.mean(above))


def per_name(k: Market, t: int, n: int, least: int, fold) -> float:
    """Mean over the names that have a bar and enough returns."""
    there = [i for i in range(NAMES) if np.isfinite(k.c[t, i])]
    found = [kept(last(k.r[:, i], t, n), least) for i in there]
    return float(np.mean([fold(x) for x in found if len(x) > 1]))


def variance(x: np.ndarray) -> float:
    return float(np.var(x, ddof=1))


def of_sector(x: np.ndarray, i: int) -> float:
    """Mean of ``x`` over the names of the sector of ``i`` that have one."""
    return float(np.nanmean(x[[j for j in range(NAMES) if SECTORS[j] == SECTORS[i]]]))


OF_NAMES: dict[str, Callable[[Market, int, int], float]] = {
    "momentum_12_7": lambda k, t, i: back(k.c[:, i], t, 126) / back(k.c[:, i], t, 252) - 1,
    "frog_in_the_pan_12_1": shares_up,
    "momentum_acceleration": lambda k, t, i: back(k.c[:, i], t, 21) / back(k.c[:, i], t, 126)
    - back(k.c[:, i], t, 126) / back(k.c[:, i], t, 231),
    "sharpe_momentum_12_1": rolled("r", 160, lambda x: x.mean() / x.std(ddof=1), 231, 21),
    "intraday_momentum_12_1": lambda k, t, i: kept(last(np.log(k.c[:, i] / k.o[:, i]), t - 21, 231), 160).sum(),
    "overnight_return_21": lambda k, t, i: kept(np.log(last(k.o[:, i], t, 21) / k.c[t - 21 : t, i]), 15).sum(),
    "sector_momentum_6_1": lambda k, t, i: of_sector(  # of the names that have a bar today
        back(k.c, t, 21) / back(k.c, t, 126) - 1 + 0 * k.c[t], i
    )
    if t >= 126
    else math.nan,
    "sector_reversal_1m": lambda k, t, i: (
        k.c[t, i] / back(k.c[:, i], t, 21) - 1 - of_sector(month_return(k, t), i)
    ),
    "reversal_1w_volume": lambda k, t, i: (k.c[t, i] / back(k.c[:, i], t, 5) - 1)
    * kept(last(k.v[:, i], t, 5), 3).mean() / kept(last(k.v[:, i], t, 63), 42).mean(),
    "residual_reversal_1m": residual_reversal,
    "reversal_60_12": lambda k, t, i: back(k.c[:, i], t, 252) / back(k.c[:, i], t, 1260) - 1,
    "coskewness_252": coskewness,
    "left_tail_252": rolled("r", 189, lambda x: float(np.quantile(x, 0.05)), 252),
    "parkinson_60": parkinson,
    "garman_klass_60": garman_klass,
    "kurtosis_252": rolled("r", 189, lambda x: stats.kurtosis(x, bias=False) if len(x) > 3 else math.nan, 252),
    "idio_skewness_252": idio_skewness,
    "volatility_of_volatility_252": lambda k, t, i: (lambda x: x.std(ddof=1) / x.mean())(kept(monthly_volatility(k, t, i), 189)),
    "signed_variation_21": rolled("r", 15, lambda x: ((x[x > 0] ** 2).sum() - (x[x < 0] ** 2).sum()) / (x**2).sum(), 21),
    "downside_beta_252": downside,
    "beta_dimson_252": dimson,
    "beta_shrunk_5y": shrunk,
    "vix_beta_63": vix_beta,
    "corwin_schultz_21": corwin_schultz,
    "high_volume_50": volume_rank,
    "roll_spread_252": roll,
    "amihud_252": lambda k, t, i: amihud(k, t, i, 252, 126),
    "liquidity_shock_21": lambda k, t, i: amihud(k, t, i, 252, 126) - amihud(k, t, i, 21, 15),
    "volume_trend_252": volume_trend,
    "ma_distance_21_200": lambda k, t, i: kept(last(k.c[:, i], t, 21), 15).mean() / kept(last(k.c[:, i], t, 200), 150).mean() - 1,
    "money_flow_14": money_flow,
    "stochastic_14": lambda k, t, i: 100 * (k.c[t, i] - kept(last(k.l[:, i], t, 14), 10).min())
    / (kept(last(k.h[:, i], t, 14), 10).max() - kept(last(k.l[:, i], t, 14), 10).min()),
    "cci_20": cci,
    "atr_14": true_range,
    "obv_trend_63": obv,
    "same_month_1y": lambda k, t, i: back(k.c[:, i], t, 231) / back(k.c[:, i], t, 252) - 1,
    "same_month_3y": lambda k, t, i: np.mean([back(k.c[:, i], t, n - 21) / back(k.c[:, i], t, n) for n in (252, 504, 756)]) - 1,
    "other_months_3y": months,
    "dividend_yield_12m": dividends,
    "trend_3m": lambda k, t, i: k.c[t, i] / back(k.c[:, i], t, 63) - 1,
    "trend_value_5y": lambda k, t, i: math.log(kept(k.c[max(0, t - 1385) : t - 1133, i] if t > 1133 else np.zeros(0), 189).mean() / k.c[t, i]),
    "trend_12m_scaled": lambda k, t, i: (k.c[t, i] / back(k.c[:, i], t, 252) - 1)
    / (kept(last(k.r[:, i], t, 60), 45).std(ddof=1) * math.sqrt(252)),
}  # fmt: skip

ONE: dict[str, Callable[[Market, int], float]] = {
    "ns_level": lambda k, t: fitted(k, t)[0],
    "ns_slope": lambda k, t: fitted(k, t)[1],
    "ns_curvature": lambda k, t: fitted(k, t)[2],
    "carry_roll_10y": lambda k, t: k.y["10Y"][t] - k.y["3M"][t] + bond_duration(k.y["10Y"][t]) * (k.y["10Y"][t] - k.y["7Y"][t]) / 3,
    "term_spread": lambda k, t: k.y["10Y"][t] - k.y["3M"][t],
    "rates_momentum_10y_3m": lambda k, t: back(k.y["10Y"], t, 63) - k.y["10Y"][t],
    "bond_value_10y": lambda k, t: k.y["10Y"][t] - back(k.y["10Y"], t, 1260),
    "forward_5y5y_spread": lambda k, t: 2 * k.y["10Y"][t] - k.y["5Y"][t] - k.y["3M"][t],
    "curve_momentum_12m": lambda k, t: (k.y["10Y"] - k.y["2Y"])[t] - back(k.y["10Y"] - k.y["2Y"], t, 252),
    "bond_momentum_for_stocks": lambda k, t: back(k.y["10Y"], t, 252) - k.y["10Y"][t],
    "variance_premium_21": lambda k, t: (k.vix[t] / 100) ** 2 / 12 - (last(k.m, t, 21) ** 2).sum(),
    "market_breadth_200": breadth,
    "return_dispersion_21": lambda k, t: float(np.nanstd(month_return(k, t))),
    "average_correlation_60": lambda k, t: variance(last(k.m, t, 60)) / per_name(k, t, 60, 45, variance),
    "risk_appetite_21": appetite,
    "stock_momentum_for_bonds": lambda k, t: np.log1p(last(k.m, t, 252)).sum(),
    "average_skewness_21": lambda k, t: per_name(k, t, 21, 15, lambda x: stats.skew(x, bias=False)),
    "average_variance_21": lambda k, t: per_name(k, t, 21, 15, variance),
}  # fmt: skip
