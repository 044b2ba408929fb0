"""Books of names in overlapping cohorts: what they earn, what they trade, what they hold.

A book has h tranches of 1/h of its capital. The one formed from the scores of session t is bought at the
close of t+1 and held, drifting, until the close of t+1+h, when the tranche is put back to 1/h of the capital in
the names of the scores of t+h (Jegadeesh & Titman 1993). So a day's return takes the last h + 1 cohorts and
nothing older: every cohort starts from the same capital, gains are taken out and losses made up at its
renewal, and this trading is paid for as all other.

A name without a bar at the close of t+1, or with only the terminal bar of a delisting, is not bought: its part
is cash for that cohort. A gap is valued at the last bar, and sold at that value. A delisted name earns its terminal
return, is cash from then on and costs nothing to leave. Cash earns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wealthos_pipeline.factors.grid import Grid
from wealthos_pipeline.ml.evaluation.sections import Flags, Floats, Ints, Order


@dataclass(frozen=True, slots=True)
class Positions:
    """Names at one close: rows of the grid, and codes and values of as many names in each."""

    rows: Ints
    codes: Ints
    values: Floats


@dataclass(frozen=True, eq=False)
class Leg:
    """One side of a book: a cohort a session in equal parts, each worth 1/h at its start, sign included.

    sign: 1 long, −1 short. value: (sessions, h + 1) of the cohort bought at the close of the session, 0 to h sessions later. bought,
    left: positions at its start and at its end, in blocks; what was delisted is left out of the latter.
    held: names that any cohort holds at each close (sessions, names).
    """

    sign: int
    value: Floats
    bought: tuple[Positions, ...]
    left: tuple[Positions, ...]
    held: Flags


@dataclass(frozen=True, eq=False)
class Book:
    """What a book did by session: returns of the value at the close before, see ``models.returns``.

    known: sessions that have a row: there were scores on one of the h sessions before the last h, so that the
    book is built up, and it is worth something.
    """

    gross: Floats
    cost: Floats
    turnover: Floats
    names: Ints
    long: Floats
    short: Floats
    known: Flags


def lookback(horizon: int) -> int:
    """Sessions before the first row asked for that scores and prices must reach back to."""
    return 2 * horizon + 2


def delisted(cells: Grid) -> Flags:
    """Whether the last bar of a name at each session was the terminal one of a delisting."""
    out: Flags = cells.bar & ~cells.traded
    for r in range(1, len(out)):
        out[r] |= out[r - 1] & ~cells.bar[r]
    return out


def fifths(score: Floats, sign: int) -> Iterator[tuple[Ints, Ints]]:
    """Top (sign 1) or bottom (−1) fifth of each session by score: rows, and codes (rows, k)."""
    for rows, bottom, top in Order.of(score).fifths():
        yield rows, top if sign > 0 else bottom


def leg(
    chosen: Iterable[tuple[Ints, Ints]], cells: Grid, gone: Flags, horizon: int, sign: int
) -> Leg:
    """Cohorts of ``chosen`` names (rows of the scores, codes) in equal parts, long (sign 1) or short (−1)."""
    sessions = len(cells.index)
    value = np.zeros((sessions, horizon + 1))
    held = np.zeros((sessions + 1, cells.index.shape[1]), dtype=np.int32)
    bought: list[Positions] = []
    left: list[Positions] = []
    for rows, codes in chosen:
        inside = rows + 1 < sessions
        start, code = rows[inside] + 1, codes[inside]
        at = start[:, None], code
        filled = cells.traded[at]
        entry = np.where(filled, cells.index[at], 1.0)
        part = np.where(filled, sign / horizon / code.shape[1], 0.0)
        for j in range(horizon + 1):
            n = int(np.searchsorted(start, sessions - j))
            now = start[:n] + j
            growth = cells.index[now[:, None], code[:n]] / entry[:n]
            worth = part[:n] * np.where(filled[:n], growth, 0.0)
            value[start[:n], j] = worth.sum(axis=1)
            if j == 0:
                bought.append(Positions(now, code, worth))
            elif j == horizon:
                gone_now = gone[now[:, None], code[:n]]
                left.append(Positions(now, code[:n], np.where(gone_now, 0.0, worth)))
                held[now[:, None], code[:n]] -= filled[:n]
        held[at] += filled
    holding = (np.cumsum(held[:sessions], axis=0) > 0) & ~gone
    return Leg(sign, value, tuple(bought), tuple(left), holding)


def book(legs: Sequence[Leg], scored: Flags, horizon: int, rate: float) -> Book:
    """The book of ``legs``. scored: sessions with scores. rate: cost of what is traded."""
    sessions = len(scored)
    value = np.zeros((sessions, horizon + 1))
    sides = {1: np.zeros(sessions), -1: np.zeros(sessions)}
    for one in legs:
        value = value + one.value
        for j in range(horizon):
            sides[one.sign][1 + j :] += np.abs(one.value[: sessions - 1 - j, j])
    worth, earned = np.ones(sessions), np.zeros(sessions)
    for j in range(horizon):
        grown = value[:, j] - value[:, 0]
        worth[1 + j :] += grown[: sessions - 1 - j]
        earned[1 + j :] += (value[:, j + 1] - value[:, j])[: sessions - 1 - j]
    alive = worth > 0
    worth = np.where(alive, worth, np.nan)
    traded = _traded(legs, sessions) / worth
    held = np.zeros(legs[0].held.shape, dtype=bool)
    for one in legs:
        held |= one.held
    names = np.zeros(sessions, dtype=np.int64)
    names[1:] = held.sum(axis=1)[:-1]
    return Book(
        earned / worth, rate * traded, 0.5 * traded, names, sides[1] / worth, sides[-1] / worth,
        _known(scored, horizon) & alive,
    )  # fmt: skip


def _traded(legs: Sequence[Leg], sessions: int) -> Floats:
    """Bought and sold at each close, of the book's capital: the tranche renewed, old against new."""
    names = legs[0].held.shape[1]
    old, new = np.zeros((sessions, names)), np.zeros((sessions, names))
    for one in legs:
        for p in one.bought:
            new[p.rows[:, None], p.codes] += p.values
        for p in one.left:
            old[p.rows[:, None], p.codes] += p.values
    out = np.zeros(sessions)
    for one in legs:
        for p in one.bought:
            change = np.abs(p.values - old[p.rows[:, None], p.codes])
            out[p.rows] += np.where(p.values == 0.0, 0.0, change).sum(axis=1)
        for p in one.left:
            apart = new[p.rows[:, None], p.codes] == 0.0
            out[p.rows] += np.where(apart, np.abs(p.values), 0.0).sum(axis=1)
    return out


def _known(scored: Flags, horizon: int) -> Flags:
    """Sessions d with scores on one of d − 2h … d − 1 − h."""
    count = np.concatenate([[0], np.cumsum(scored)])
    d = np.arange(len(scored))
    low, high = np.clip(d - 2 * horizon, 0, None), np.clip(d - horizon, 0, None)
    out: Flags = count[high] > count[low]
    return out
