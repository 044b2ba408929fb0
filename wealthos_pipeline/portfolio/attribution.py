"""Where the active return came from: daily Brinson–Fachler by sector against 1/N.

Effects of session t are computed on the holdings at the close of t − 1 (after its fills), so they are what
was held overnight. With W and R the weights and returns of a sector in the portfolio (p) and in the
benchmark (b), and R_b the benchmark's return on its own start-of-day holdings, cash included
(Brinson & Fachler, "Measuring non-US equity portfolio performance", 1985):

- a name's sector is that of its description on the day;
- allocation ``(W_p − W_b)(R_b,sector − R_b)``, selection ``W_b (R_p,sector − R_b,sector)``,
  interaction ``(W_p − W_b)(R_p,sector − R_b,sector)``; a sector that one side does not hold has the
  other's return there, and R_b where the benchmark does not hold it;
- cash: the same allocation term for money, which returns 0;
- trading: what intraday fills made against the start-of-day holdings (0 with fills at the close);
- cost: costs over the value of the day before, with a minus sign;
- residual: active return minus everything above; rounding only, always shown.

Every effect is the portfolio's against the benchmark's; they add up to the active net return.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.accounts import Marks
from wealthos_pipeline.portfolio.backtest import CASH
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.value_at_risk import spans

UNKNOWN = "unknown sector"
_KEYS = ("mandate", "run_kind")


@dataclass(frozen=True, eq=False)
class Effects:
    """Brinson–Fachler effects, one value a sector (and any leading dimensions)."""

    allocation: Floats
    selection: Floats
    interaction: Floats


def brinson_fachler(
    w_p: Floats, w_b: Floats, r_p: Floats, r_b: Floats, total_b: Floats | float
) -> Effects:
    """Effects by sector (last axis). Returns of a sector that is not held are ignored.

    w_p, w_b: weights. r_p, r_b: sector returns. total_b: the benchmark's whole return.
    """
    total = np.asarray(total_b)[..., None]
    r_b = np.where(w_b != 0.0, r_b, total)
    r_p = np.where(w_p != 0.0, r_p, r_b)
    return Effects(
        allocation=(w_p - w_b) * (r_b - total),
        selection=w_b * (r_p - r_b),
        interaction=(w_p - w_b) * (r_p - r_b),
    )


@dataclass(frozen=True, eq=False)
class _Day:
    """Start-of-day holdings of one portfolio by session: rows × sectors, and whole-portfolio numbers."""

    weights: Floats
    contributions: Floats
    cash: Floats


def daily(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    instruments: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    benchmark: str = "equal_weight",
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """``portfolio.attribution`` rows of every mandate but the benchmark, dates in [start, end].

    positions, nav: rows of mandates and benchmark, reaching one session before ``start``
    (positions: the last snapshot before it). prices: rows reaching ``backtest.LOOKBACK`` sessions
    before ``start``. A session counts if portfolio and benchmark have a value on it and on the one
    before.
    """
    table = contract("portfolio.attribution")
    held = positions.filter(pl.col("instrument_id") != CASH)["instrument_id"].unique()
    panel = build(prices, calendar, ids=held) if held.len() else build(prices, calendar)
    if not panel.dates or not nav.height:
        return table.empty()
    marks = Marks.of(panel)
    sectors, sector = _sectors(instruments, panel)

    last = len(panel.dates) - 1
    if end is not None:
        last = min(last, panel.row(calendar.slot(end)))
    first = 1 if start is None else max(panel.row(calendar.slot(start)), 1)
    if start is not None and not calendar.is_session(start):
        first += 1
    T = len(panel.dates)
    days: dict[tuple[str, str], _Day] = {}
    for span in spans(positions, nav, panel, calendar):
        day = days.setdefault(
            (span.mandate, span.run_kind),
            _Day(
                np.full((T, len(sectors)), np.nan),
                np.full((T, len(sectors)), np.nan),
                np.full(T, np.nan),
            ),
        )
        # holdings of closes start … stop−1 are the start-of-day holdings of the sessions after
        lo, hi = max(span.start, first - 1), min(span.stop, last)
        if lo >= hi:
            continue
        now = np.ascontiguousarray(marks.tr[lo:hi].take(span.columns, axis=1)) * span.units
        then = (
            np.ascontiguousarray(marks.tr[lo + 1 : hi + 1].take(span.columns, axis=1)) * span.units
        )
        total = now.sum(axis=1) + span.cash
        gain = then - now
        which = sector[lo + 1 : hi + 1].take(span.columns, axis=1)
        for j in range(len(sectors)):
            inside = which == j
            day.weights[lo + 1 : hi + 1, j] = np.where(inside, now, 0.0).sum(axis=1) / total
            day.contributions[lo + 1 : hi + 1, j] = np.where(inside, gain, 0.0).sum(axis=1) / total
        day.cash[lo + 1 : hi + 1] = span.cash / total

    books = {
        (str(key[0]), str(key[1])): _Book.of(part, panel, calendar)
        for key, part in nav.sort("date").partition_by(*_KEYS, as_dict=True).items()
    }
    frames = [table.empty()]
    for (mandate, run_kind), day in sorted(days.items()):
        other = (benchmark, run_kind)
        if mandate == benchmark or other not in days:
            continue
        frames.append(
            _attributed(
                mandate,
                run_kind,
                day,
                days[other],
                books[mandate, run_kind],
                books[other],
                panel,
                sectors,
                first,
                last,
            )
        )
    return table.conform(pl.concat(frames))


@dataclass(frozen=True, eq=False)
class _Book:
    """Net and gross return and cost (over the value before) by panel row; NaN where unknown."""

    net: Floats
    gross: Floats
    cost: Floats

    @classmethod
    def of(cls, part: pl.DataFrame, panel: Panel, calendar: TradingCalendar) -> _Book:
        T = len(panel.dates)
        value, cost = np.full(T, np.nan), np.full(T, np.nan)
        rows = np.array([panel.row(calendar.slot(d)) for d in part["date"]], dtype=np.int64)
        keep = (rows >= 0) & (rows < T)
        value[rows[keep]] = part["nav"].to_numpy()[keep]
        cost[rows[keep]] = part["cost"].to_numpy()[keep]
        before = np.concatenate([[np.nan], value[:-1]])
        return cls(value / before - 1.0, (value + cost) / before - 1.0, cost / before)


def _attributed(
    mandate: str,
    run_kind: str,
    p: _Day,
    b: _Day,
    book_p: _Book,
    book_b: _Book,
    panel: Panel,
    sectors: list[str],
    first: int,
    last: int,
) -> pl.DataFrame:
    rows = np.arange(first, last + 1)
    active = (book_p.net - book_b.net)[rows]
    rows = rows[np.isfinite(active) & np.isfinite(p.cash[rows]) & np.isfinite(b.cash[rows])]
    active = (book_p.net - book_b.net)[rows]
    w_p, w_b, c_p, c_b = (
        p.weights[rows],
        b.weights[rows],
        p.contributions[rows],
        b.contributions[rows],
    )
    total_p, total_b = c_p.sum(axis=1), c_b.sum(axis=1)
    r_p = np.divide(c_p, w_p, out=np.zeros_like(c_p), where=w_p != 0.0)
    r_b = np.divide(c_b, w_b, out=np.zeros_like(c_b), where=w_b != 0.0)
    e = brinson_fachler(w_p, w_b, r_p, r_b, total_b)
    cash = (p.cash[rows] - b.cash[rows]) * (0.0 - total_b)
    trading = (book_p.gross[rows] - total_p) - (book_b.gross[rows] - total_b)
    cost = -(book_p.cost[rows] - book_b.cost[rows])
    explained = e.allocation + e.selection + e.interaction
    residual = active - (explained.sum(axis=1) + cash + trading + cost)

    frames = []
    dates = pl.Series("date", [panel.dates[r] for r in rows], dtype=pl.Date)
    for j, sector in enumerate(sectors):
        held = (w_p[:, j] != 0.0) | (w_b[:, j] != 0.0)
        for effect in ("allocation", "selection", "interaction"):
            frames.append(_lines(dates, effect, sector, getattr(e, effect)[:, j]).filter(held))
    for effect, value in (
        ("cash", cash),
        ("trading", trading),
        ("cost", cost),
        ("residual", residual),
    ):
        frames.append(_lines(dates, effect, "", value))
    return pl.concat(frames).select(
        pl.lit(mandate).alias("mandate"), pl.lit(run_kind).alias("run_kind"), pl.all()
    )


def _lines(dates: pl.Series, effect: str, group: str, value: Floats) -> pl.DataFrame:
    return pl.DataFrame({"date": dates, "value": np.ascontiguousarray(value)}).select(
        "date", pl.lit(effect).alias("effect"), pl.lit(group).alias("group"), "value"
    )


def _sectors(instruments: pl.DataFrame, panel: Panel) -> tuple[list[str], NDArray[np.int32]]:
    """Sectors in order, and the number of each instrument's on each session of the panel.

    The description valid on the session counts; before the first one, the first (a static snapshot).
    """
    order = instruments.sort("instrument_id", "valid_from")
    spoken: dict[str, list[tuple[date, str]]] = {}
    for name, since, word in order.select("instrument_id", "valid_from", "sector").iter_rows():
        spoken.setdefault(name, []).append((since, UNKNOWN if word is None else word))
    described = [spoken.get(name, [(date.min, UNKNOWN)]) for name in panel.ids]
    sectors = sorted({word for own in described for _, word in own})
    number = {word: j for j, word in enumerate(sectors)}
    out = np.empty((len(panel.dates), len(panel.ids)), dtype=np.int32)
    for i, own in enumerate(described):
        out[:, i] = number[own[0][1]]
        for since, word in own[1:]:
            out[bisect_left(panel.dates, since) :, i] = number[word]
    return sectors, out


def linked(
    attribution: pl.DataFrame,
    nav: pl.DataFrame,
    *,
    benchmark: str = "equal_weight",
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """Carino-linked effects of a period: ``mandate, run_kind, effect, group, value``.

    They add up to the difference of the two compounded returns over the attributed sessions in
    [start, end]. Day t is scaled by ``k_t / K`` with ``k = (ln(1 + R_p) − ln(1 + R_b)) / (R_p − R_b)``
    of the day and of the period (Carino, "Combining attribution effects over time", 1999).
    """
    rows = attribution
    if start is not None:
        rows = rows.filter(pl.col("date") >= start)
    if end is not None:
        rows = rows.filter(pl.col("date") <= end)
    returns = nav.select(*_KEYS, "date", "return_net")
    bench = returns.filter(pl.col("mandate") == benchmark).drop("mandate")
    out = []
    for (mandate, run_kind), part in sorted(rows.partition_by(*_KEYS, as_dict=True).items()):
        days = (
            part.select("date")
            .unique()
            .join(
                returns.filter((pl.col("mandate") == mandate) & (pl.col("run_kind") == run_kind)),
                on="date",
                how="left",
            )
            .join(
                bench.filter(pl.col("run_kind") == run_kind).rename({"return_net": "return_b"}),
                on="date",
                how="left",
            )
            .sort("date")
        )
        r_p, r_b = days["return_net"].to_numpy(), days["return_b"].to_numpy()
        if days["return_net"].null_count() or days["return_b"].null_count():
            raise PortfolioError(
                f"{mandate}: net returns of the portfolio or of {benchmark!r} are missing on dates "
                "that are attributed; hand in the same dates of portfolio.nav"
            )
        whole_p, whole_b = float(np.prod(1.0 + r_p)) - 1.0, float(np.prod(1.0 + r_b)) - 1.0
        scale = _carino(r_p, r_b) / _carino(np.array([whole_p]), np.array([whole_b]))[0]
        scaled = (
            part.join(pl.DataFrame({"date": days["date"], "k": scale}), on="date", how="left")
            .sort("effect", "group", "date")
            .select("effect", "group", (pl.col("value") * pl.col("k")).alias("value"))
        )
        for (effect, group), piece in scaled.partition_by(
            "effect", "group", as_dict=True, maintain_order=True
        ).items():
            value = float(np.sum(np.ascontiguousarray(piece["value"].to_numpy())))
            out.append((mandate, run_kind, effect, group, value))
    schema = {
        "mandate": pl.String,
        "run_kind": pl.String,
        "effect": pl.String,
        "group": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(out, schema=schema, orient="row")


def _carino(r_p: Floats, r_b: Floats) -> Floats:
    """``(ln(1 + R_p) − ln(1 + R_b)) / (R_p − R_b)``; its limit where the two are equal."""
    gap = r_p - r_b
    same = np.abs(gap) < 1e-12
    ratio = np.log1p(gap / (1.0 + r_b)) / np.where(same, 1.0, gap)
    return np.where(same, 1.0 / (1.0 + r_b), ratio)
