"""What the holdings of a close would gain or lose in past crises, factor shocks and scenarios of one's own.

Historical
    The holdings bought before the window and kept through it, at the total returns of its first to its last
    close. A name without prices then moves as the risk model of today expects it to, given the returns
    of all names that have them: ``E[r_u | r_o] = B_u f``, ``f = (I + F G)⁻¹ F B_o' D_o⁻¹ r_o``,
    ``G = B_o' D_o⁻¹ B_o``. The weight that is so proxied is stated. A window in which fewer than ``LEAST``
    instruments have prices is left out.
Factor
    One factor moves by ± ``SIGMAS`` standard deviations of ``MONTH`` sessions, or the market (1/N of the model's
    names) by −10 and −20 %; everything else by its expected value given that (conditional propagation through F and,
    for the market, through specific risk too).
User
    See ``scenario_files.Scenario``; the same arithmetic.

All are first-order: returns are added by weight, nothing is rebalanced, no cost. Cash earns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.portfolio.books import Book
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.risk import RiskModel
from wealthos_pipeline.portfolio.scenario_files import Scenario

SIGMAS = 2.0
MONTH = 21
MARKET = (-0.10, -0.20)
LEAST = 5
PAD = 10
"""Calendar days before either end of a window in which its price may lie."""


@dataclass(frozen=True, slots=True)
class Window:
    """A past crisis, from the close of ``start`` to that of ``end``."""

    name: str
    title: str
    start: date
    end: date


WINDOWS = (
    Window("gulf_1990", "Gulf crisis, July to October 1990", date(1990, 7, 16), date(1990, 10, 11)),
    Window("ltcm_1998", "Russia and LTCM, July to August 1998", date(1998, 7, 17), date(1998, 8, 31)),
    Window("dot_com_2000", "Dot-com, March 2000 to October 2002", date(2000, 3, 24), date(2002, 10, 9)),
    Window("lehman_2008", "Lehman, 12 September to 10 October 2008", date(2008, 9, 12), date(2008, 10, 10)),
    Window("early_2009", "First quarter of 2009 to its low", date(2008, 12, 31), date(2009, 3, 9)),
    Window("august_2011", "Debt ceiling, July to August 2011", date(2011, 7, 22), date(2011, 8, 8)),
    Window("taper_2013", "Taper tantrum, May to June 2013", date(2013, 5, 21), date(2013, 6, 24)),
    Window("august_2015", "China, August 2015", date(2015, 8, 17), date(2015, 8, 25)),
    Window("late_2018", "Fourth quarter of 2018", date(2018, 9, 20), date(2018, 12, 24)),
    Window("covid_2020", "Covid, February to March 2020", date(2020, 2, 19), date(2020, 3, 23)),
    Window("rates_2022", "Rates, first half of 2022", date(2022, 1, 3), date(2022, 6, 16)),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """One scenario on one book. parts: contribution by held name, decimal of net asset value, in the order of
    ``Book.ids``; None where it cannot be computed. covered, proxied: shares of the gross weight."""

    scenario: str
    title: str
    kind: str
    parts: Floats | None
    covered: float | None
    proxied: float | None
    detail: str

    @property
    def pnl(self) -> float | None:
        """Sum of the parts."""
        return None if self.parts is None else math.fsum(self.parts)


@dataclass(frozen=True, eq=False)
class Market:
    """What stress needs beside the book.

    model: the risk model of the book's date. symbols, sectors: by instrument. windows: returns by instrument
    of each window that the data reach (``window_returns``).
    """

    model: RiskModel
    symbols: Mapping[str, str]
    sectors: Mapping[str, str]
    windows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def ends(window: Window) -> tuple[tuple[date, date], tuple[date, date]]:
    """Dates between which the prices at either end of ``window`` lie: what ``window_returns`` needs."""
    pad = timedelta(days=PAD - 1)
    return (window.start - pad, window.start), (window.end - pad, window.end)


def window_returns(prices: pl.DataFrame, window: Window) -> dict[str, float]:
    """Total return of each instrument over ``window``; absent without a price at both ends.

    prices: ``instrument_id, date, tr_index`` of the dates of ``ends`` at least.
    """
    out: dict[str, dict[str, float]] = {}
    for which, day in (("first", window.start), ("last", window.end)):
        near = prices.filter(
            (pl.col("date") <= day)
            & (pl.col("date") > pl.lit(day) - pl.duration(days=PAD))
            & pl.col("tr_index").is_finite()
        ).sort("instrument_id", "date")
        last = near.unique("instrument_id", keep="last", maintain_order=True)
        out[which] = dict(last.select("instrument_id", "tr_index").iter_rows())
    first, last_ = out["first"], out["last"]
    return {name: last_[name] / first[name] - 1.0 for name in sorted(first) if name in last_}


def run(books: Iterable[Book], market: Market, scenarios: Sequence[Scenario] = ()) -> pl.DataFrame:
    """Rows of ``portfolio.stress``: every scenario on every book that holds something."""
    terms = contract("portfolio.stress")
    rows: list[dict[str, Any]] = []
    for book in books:
        if not book.ids:
            continue
        for one in outcomes(book, market, scenarios):
            worst = None if one.parts is None else int(np.argmin(one.parts))
            loses = worst is not None and one.parts is not None and one.parts[worst] < 0
            rows.append(
                {
                    "mandate": book.mandate, "run_kind": book.run_kind, "date": book.date,
                    "scenario": one.scenario, "title": one.title, "kind": one.kind, "pnl": one.pnl,
                    "covered": one.covered, "proxied": one.proxied,
                    "worst_name": book.ids[worst] if loses and worst is not None else None,
                    "worst_pnl": float(one.parts[worst]) if loses and one.parts is not None else None,
                    "detail": one.detail,
                }
            )  # fmt: skip
    return terms.conform(pl.DataFrame(rows, schema=terms.schema()))


def outcomes(book: Book, market: Market, scenarios: Sequence[Scenario] = ()) -> list[Outcome]:
    """Every scenario on one book: historical, factor, user."""
    past = [
        historical(book, market.model, w, market.windows[w.name])
        for w in WINDOWS
        if len(market.windows.get(w.name, ())) >= LEAST
    ]
    return [*past, *shocks(book, market.model), *(user(book, market, s) for s in scenarios)]


def historical(
    book: Book, model: RiskModel, window: Window, returns: Mapping[str, float]
) -> Outcome:
    """The window's returns on the book; see the module for what stands in for a missing one."""
    own = np.array([name in returns for name in book.ids], dtype=np.bool_)
    moves = np.array([returns.get(name, 0.0) for name in book.ids])
    seen = [name for name in model.ids if name in returns]
    detail = f"{window.start} to {window.end}; {int(own.sum())} of {len(own)} names had prices"
    covered, rest = _shares(book, own)
    if rest > 0:
        B, _, _ = model.align(book.ids)
        moves = np.where(own, moves, B @ _factor_moves(model, seen, returns))
        detail += (
            f"; {100 * rest:.0f} % of the weight moves as the risk model of {model.date} expects, given "
            f"{len(seen)} names with prices"
        )
    return Outcome(
        window.name, window.title, "historical", book.weights * moves, covered, rest, detail
    )


def shocks(book: Book, model: RiskModel) -> list[Outcome]:
    """The market down, and each factor up and down."""
    out = []
    for x in MARKET:
        name = f"market_minus_{round(-100 * x)}"
        title = f"Market −{round(-100 * x)} %"
        out.append(_expected(book, model, name, title, "factor", _Given().market(model, x)))
    for k, factor in enumerate(model.factors):
        sigma = _sigma(model, k)
        for sign, word, mark in ((1.0, "plus", "+"), (-1.0, "minus", "−")):
            given = _Given().factor(model, k, sign * SIGMAS * sigma)
            name = f"{factor}_{word}_{SIGMAS:g}s"
            title = f"{factor} {mark}{SIGMAS:g} σ of {MONTH} sessions"
            out.append(_expected(book, model, name, title, "factor", given))
    return out


def user(book: Book, market: Market, scenario: Scenario) -> Outcome:
    """A scenario of one's own; without a number where it names something that is not there."""
    model = market.model
    symbols = {s: i for i, s in sorted(market.symbols.items())}
    missing = scenario.unknown(symbols, set(market.sectors.values()), model.factors)
    if missing:
        words = f"cannot be computed: {'; '.join(missing)}"
        return Outcome(scenario.name, scenario.title, "user", None, None, None, words)
    named = {
        name: scenario.sectors[sector]
        for name, sector in sorted(market.sectors.items())
        if sector in scenario.sectors
    }
    named |= {symbols[s]: x for s, x in scenario.symbols.items()}
    given = _Given()
    if scenario.market is not None:
        given.market(model, scenario.market)
    for factor, x in sorted(scenario.factors.items()):
        k = model.factors.index(factor)
        given.factor(model, k, x * _sigma(model, k))
    if scenario.propagate:
        for name in sorted(set(named) & set(model.ids)):
            given.name(model, name, named[name])
    return _expected(book, model, scenario.name, scenario.title, "user", given, named)


class _Given:
    """Returns that are stated: loadings on factors and on specific returns, and values."""

    def __init__(self) -> None:
        self.factors: list[Floats] = []
        self.specific: list[Floats] = []
        self.values: list[float] = []

    def _add(self, loading: Floats, own: Floats, value: float) -> _Given:
        self.factors.append(loading)
        self.specific.append(own)
        self.values.append(value)
        return self

    def market(self, model: RiskModel, value: float) -> _Given:
        """1/N of the model's names returns ``value``."""
        n = len(model.ids)
        return self._add(model.B.mean(axis=0), np.full(n, 1.0 / n), value)

    def factor(self, model: RiskModel, k: int, value: float) -> _Given:
        """Factor k returns ``value``."""
        unit = np.zeros(len(model.factors))
        unit[k] = 1.0
        return self._add(unit, np.zeros(len(model.ids)), value)

    def name(self, model: RiskModel, name: str, value: float) -> _Given:
        """A name of the model returns ``value``."""
        own = np.zeros(len(model.ids))
        own[model.index[name]] = 1.0
        return self._add(model.B[model.index[name]], own, value)

    def moves(self, model: RiskModel, ids: Sequence[str]) -> Floats:
        """Expected return of each of ``ids`` given everything stated."""
        B, _, known = model.align(ids)
        if not self.values:
            return np.zeros(len(ids))
        L, S, y = np.array(self.factors), np.array(self.specific), np.array(self.values)
        variance = model.d**2
        covariance = L @ model.F @ L.T + (S * variance) @ S.T
        solved = np.linalg.lstsq(covariance, y, rcond=1e-12)[0]
        specific = (S * variance).T @ solved
        rows = np.array([model.index.get(i, 0) for i in ids])
        moved: Floats = B @ (model.F @ (L.T @ solved)) + np.where(known, specific[rows], 0.0)
        return moved


def _expected(
    book: Book,
    model: RiskModel,
    name: str,
    title: str,
    kind: str,
    given: _Given,
    named: Mapping[str, float] | None = None,
) -> Outcome:
    """Stated returns where there are some, expected ones elsewhere."""
    named = named or {}
    moves = given.moves(model, book.ids)
    moves = np.array([named.get(i, x) for i, x in zip(book.ids, moves.tolist(), strict=True)])
    known = np.array([i in model.index or i in named for i in book.ids], dtype=np.bool_)
    covered, rest = _shares(book, known)
    detail = (
        f"the rest as the risk model of {model.date} expects"
        if given.values
        else "nothing else moves"
    )
    if held := [i for i in book.ids if i in named]:
        detail = f"{len(held)} held names move as stated, {detail}"
    if rest > 0:
        detail += (
            f"; {100 * rest:.0f} % of the weight is unknown to it and moves with its average name"
        )
    return Outcome(name, title, kind, book.weights * moves, covered, rest, detail)


def _factor_moves(model: RiskModel, seen: Sequence[str], returns: Mapping[str, float]) -> Floats:
    """Expected factor returns given those of the names ``seen``."""
    rows = [model.index[name] for name in seen]
    B, weight = model.B[rows], 1.0 / model.d[rows] ** 2
    r = np.array([returns[name] for name in seen])
    G = (B * weight[:, None]).T @ B
    moves: Floats = np.linalg.solve(
        np.eye(len(model.factors)) + model.F @ G, model.F @ (B.T @ (weight * r))
    )
    return moves


def _sigma(model: RiskModel, k: int) -> float:
    return math.sqrt(max(float(model.F[k, k]), 0.0) * MONTH)


def _shares(book: Book, own: np.ndarray) -> tuple[float, float]:
    gross = np.abs(book.weights)
    total = float(gross.sum())
    return float(gross[own].sum()) / total, float(gross[~own].sum()) / total
