"""Figures of reports as known on a session: ``Statement('total_assets', 'year')``.

*As known* means: of every version that was published by the session's close plus lag, the last one of
the latest period. A restatement counts from its own publication on, a figure that the vendor took back
is not there (the period before it counts), a late filing changes nothing before it is filed.

``period``: ``year``, ``quarter``, ``ttm`` (twelve months) or ``point``, and how many periods back:
``year-1`` is the year before the latest one known, ``quarter-4`` and ``ttm-4`` the same quarter a year
earlier. What lies back is found by its date, ``NEAR`` days more or less, among what was known on the same
session: a fiscal year that was moved has no year before it. Twelve months that no vendor gives are the
sum of the four latest quarters, where these follow one another.

A figure stands for ``STALE`` days from the end of its period; then it is missing.

Counts of shares are given in the session's shares, and figures a share likewise: multiplied (divided) by
the splits since publication. In which currency: a figure in another one than the instrument trades in is
missing, since prices and figures are set against each other.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.expression import Node

Vector = NDArray[np.float64]

STALE = {"quarter": 400, "ttm": 400, "point": 400, "year": 550}
"""Calendar days after the end of its period for which a figure stands."""

MONTHS = {"quarter": 3, "ttm": 3, "year": 12}
"""Months between a figure and the one before it; a point has none before it."""

NEAR = 31
"""Days by which the end of an earlier period may differ from the whole months (52-week years)."""

SHARES = frozenset({"shares_outstanding", "shares_basic", "shares_diluted"})
A_SHARE = frozenset({"eps_basic", "eps_diluted"})

_MONTH = 365.25 / 12
_FORM = re.compile(r"(year|quarter|ttm|point)(?:-([1-9]\d?))?")


def parts(period: str) -> tuple[str, int]:
    """``("year", 1)`` of ``year-1``; FactorError for what is no period."""
    found = _FORM.fullmatch(period)
    if found is None or (found[1] == "point" and found[2]):
        raise FactorError(
            f"no period {period!r} of a statement; there are year, quarter, ttm and point, and the "
            "ones before the latest as year-1, quarter-4, …"
        )
    return found[1], int(found[2] or 0)


def reach(metric: str, period: str) -> int:
    """Sessions of prices before a date that a figure needs: for the splits since its publication."""
    kind, back = parts(period)
    if metric not in SHARES | A_SHARE:
        return 0
    return math.ceil(_days(kind, back) * 253 / 365.25) + 1


def _days(kind: str, back: int) -> float:
    """Calendar days before a date within which the periods end that its figure is made of."""
    return STALE[kind] + NEAR + (back * MONTHS.get(kind, 0) + 9 * (kind == "ttm")) * _MONTH


def oldest(keys: Iterable[tuple[str, str]], day: date) -> date:
    """Earliest end of a period that the figures ``(metric, period)`` may be made of on ``day``."""
    back = max((_days(*parts(period)) for _, period in keys), default=0.0)
    return day - timedelta(days=math.ceil(back))


def possible(tree: Node, metrics: Collection[str]) -> bool:
    """Whether an expression can have values where only ``metrics`` are reported.

    Of ``If(x == x, x, y)``, the first that is there, one is enough.
    """
    if tree.op == "Statement":
        return tree.params[0] in metrics
    if tree.op == "If" and tree.args[0] == Node("Eq", (tree.args[1], tree.args[1])):
        return any(possible(a, metrics) for a in tree.args[1:])
    return all(possible(a, metrics) for a in tree.args)


def by_row(
    statements: pl.DataFrame | None,
    frame: pl.DataFrame,
    metric: str,
    period: str,
    calendar: TradingCalendar,
    *,
    instruments: pl.DataFrame | None = None,
) -> Vector:
    """The figure known at each row of ``frame``, Float64 in the order of the rows; NaN: none.

    statements: ``clean.fundamentals``, every version. frame: ``instrument_id, date`` and, for shares,
    ``split_index``. instruments: ``clean.instruments``, for the currency; without it none is compared.
    """
    kind, back = parts(period)
    out = np.full(frame.height, np.nan)
    if statements is None or not frame.height:
        return out
    kinds = ("ttm", "quarter") if kind == "ttm" else (kind,)
    rows = statements.filter((pl.col("metric") == metric) & pl.col("period").is_in(kinds))
    oldest = frame["date"].min() - timedelta(days=math.ceil(_days(kind, back)))  # type: ignore[operator]
    rows = rows.filter(pl.col("period_end") >= oldest)
    if instruments is not None and metric not in SHARES:
        rows = _in_currency(rows, instruments)
    rows = rows.sort("instrument_id", "known_at", "period_end", "period")
    if rows.is_empty():
        return out
    power = (metric in SHARES) - (metric in A_SHARE)
    days = calendar.frame()
    place = days["date"].search_sorted(frame["date"]).to_numpy()
    known = days["known_at"].dt.epoch("us").to_numpy()[place]
    day = frame["date"].to_physical().to_numpy().astype(np.int64)
    split = np.ones(frame.height)
    if power and "split_index" in frame.columns:
        split = frame["split_index"].to_numpy()
    where = _places(frame)
    for (name,), mine in rows.group_by("instrument_id", maintain_order=True):
        if (at := where.get(str(name))) is None:
            continue
        versions = _versions(mine, known[at], split[at], power)
        when, ends, values = _timeline(versions, kind, back)
        last = np.searchsorted(when, known[at], side="right") - 1
        fresh = (last >= 0) & (day[at] - ends[np.maximum(last, 0)] <= STALE[kind])
        found = values[np.maximum(last, 0)] * split[at] ** power
        out[at] = np.where(fresh & np.isfinite(found), found, np.nan)
    return out


def _places(frame: pl.DataFrame) -> dict[str, NDArray[np.int64]]:
    """Instrument → its rows in the order of dates."""
    order = (
        frame.select("instrument_id", "date").with_row_index("_row").sort("instrument_id", "date")
    )
    groups = order.group_by("instrument_id", maintain_order=True).agg(pl.col("_row"))
    return {str(i): rows.to_numpy().astype(np.int64) for i, rows in zip(*groups, strict=True)}


def _in_currency(rows: pl.DataFrame, instruments: pl.DataFrame) -> pl.DataFrame:
    """``rows`` whose currency is that of the instrument's prices, or is not said."""
    traded = (
        instruments.sort("instrument_id", "valid_from")
        .group_by("instrument_id", maintain_order=True)
        .agg(pl.col("currency").last().alias("_traded"))
    )
    same = (pl.col("currency") == pl.col("_traded")).fill_null(value=True)
    value = pl.when(same).then("value").alias("value")
    return rows.join(traded, on="instrument_id", how="left").with_columns(value).drop("_traded")


@dataclass(frozen=True, slots=True)
class _Version:
    """One thing said: when (µs), of which period (days since 1970), and the figure (NaN: taken back)."""

    at: int
    end: int
    value: float
    quarter: bool


def _versions(mine: pl.DataFrame, known: Vector, split: Vector, power: int) -> Iterator[_Version]:
    """What was said of one instrument; shares in those of its first bar (see ``split_index``)."""
    at = mine["known_at"].dt.epoch("us").to_numpy()
    value = mine["value"].fill_null(math.nan).to_numpy()
    if power:
        value = value / split[np.maximum(np.searchsorted(known, at, side="right") - 1, 0)] ** power
    end = mine["period_end"].to_physical().to_list()
    quarter = (mine["period"] == "quarter").to_list()
    for row in zip(at.tolist(), end, value.tolist(), quarter, strict=True):
        yield _Version(*row)


@dataclass(slots=True)
class _Book:
    """Figures known so far: by end of period, and the ends in order."""

    values: dict[int, float] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)

    def put(self, end: int, value: float) -> None:
        if value == value:
            if end not in self.values:
                insort(self.ends, end)
            self.values[end] = value
        elif self.values.pop(end, None) is not None:
            self.ends.remove(end)

    def near(self, end: int, months: int) -> int | None:
        """The end of a period nearest to ``months`` before ``end``; None if none is within ``NEAR``."""
        wanted = end - months * _MONTH
        i = bisect_left(self.ends, wanted)
        found = min(self.ends[max(0, i - 1) : i + 1], key=lambda e: abs(e - wanted), default=None)
        return found if found is not None and abs(found - wanted) <= NEAR else None

    def year_to(self, end: int) -> float:
        """Sum of the quarter that ends on ``end`` and the three before it; NaN if one is missing."""
        ends = [self.near(end, 3 * k) for k in range(4)]
        if None in ends or len(set(ends)) < 4:
            return math.nan
        return math.fsum(self.values[e] for e in ends if e is not None)


def _timeline(
    versions: Iterator[_Version], kind: str, back: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Vector]:
    """When the answer changed (µs), the end of the latest period then, and the figure asked for."""
    book, quarters = _Book(), _Book()
    when: list[int] = []
    ends: list[int] = []
    values: list[float] = []
    for v in versions:
        if v.quarter and kind == "ttm":
            quarters.put(v.end, v.value)
        else:
            book.put(v.end, v.value)
        end, value = _latest(book, quarters, kind, back)
        when.append(v.at)
        ends.append(end)
        values.append(value)
    return np.array(when, np.int64), np.array(ends, np.int64), np.array(values)


def _latest(book: _Book, quarters: _Book, kind: str, back: int) -> tuple[int, float]:
    """End of the latest period known, and the figure ``back`` periods before it."""
    latest = max((b.ends[-1] for b in (book, quarters) if b.ends), default=None)
    if latest is None:
        return -(10**6), math.nan
    if kind == "ttm" and latest not in book.values and math.isnan(quarters.year_to(latest)):
        latest = book.ends[-1] if book.ends else latest
    end: int | None = latest
    if back:
        months = back * MONTHS[kind]
        end = book.near(latest, months)
        if end is None and kind == "ttm":
            end = quarters.near(latest, months)
    if end is None:
        return latest, math.nan
    return latest, book.values[end] if end in book.values else quarters.year_to(end)
