"""Are today's values of a factor like those before? Coverage, distribution and sign of the newest dates.

What is looked for is a fault of the data or of a program: names that lost their values, a column of
constants, units or signs that changed overnight. A market that moved is not one, so each day is
compared with how much the days before differed among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import TradingCalendar

CHECKS = {
    "coverage": "share of names with a value, against the median of the 60 sessions before",
    "distribution": "values by deciles of the 252 sessions before; all alike where they were not",
    "sign_flip": "rank correlation with the session before, where it was high until then",
}
"""Each check in words."""

LOOK = 5
"""Newest dates that are looked at, at most."""

TRAILING = 60
"""Sessions before a date whose coverage is usual."""

YEAR = 252
EVERY = 21
"""Of the year before, sessions whose number is divisible by this stand for it."""

KEPT = 0.8
"""Share of the usual coverage below which it is a fault."""

SHIFT = 0.5
"""Population stability index above which a distribution is another one."""

WORSE = 1.5
"""And above so many times the largest index of the sessions of the year before."""

NAMES, FEW = 50, 5
"""Names from which deciles are compared; names below which nothing can be said of a distribution."""

STEADY, FLIPPED = 0.5, -0.5
"""Usual rank correlation with the session before, and the one that is a flip."""

PAIRS = 10
"""Pairs of sessions whose median rank correlation is the usual one."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that is not as it should be: ``value`` where at least (``least``) or at most was expected.

    names: with a value or a row on the date, of which ``affected`` are what the finding is about.
    """

    check: str
    factor: str
    date: date
    value: float
    expected: float
    affected: int
    names: int
    words: str


@dataclass(frozen=True)
class Health:
    """What was found on the dates looked at, and what is usual.

    table: ``factor``, ``last`` (newest date with a value), ``share`` (of names on the newest date),
    ``usual`` (median share of the sessions before it), ``line`` (list: median value by session).
    """

    dates: tuple[date, ...]
    names: int
    findings: tuple[Finding, ...]
    table: pl.DataFrame


def wanted(last: date, calendar: TradingCalendar) -> tuple[date, list[date]]:
    """Rows that ``examine`` needs for a table that ends on ``last``: the first of the dates that it needs
    one and all, and the dates before it that stand for the year."""
    dense = calendar.offset(last, -(LOOK + TRAILING))
    year = calendar.sessions(calendar.offset(last, -(LOOK + YEAR)), calendar.offset(dense, -1))
    return dense, [d for d in year if calendar.slot(d) % EVERY == 0]


def examine(
    rows: pl.DataFrame,
    factors: Sequence[str],
    calendar: TradingCalendar,
    *,
    start: date | None = None,
) -> Health:
    """Look at the newest dates (≥ ``start``, at most ``LOOK``) of a family's values.

    rows: ``date, instrument_id`` and the columns ``factors``, for the dates of ``wanted``. A date with
    nothing before it is not judged. Nulls and values that are not finite are missing.
    """
    ordered = rows.sort("date", "instrument_id")
    days = ordered["date"].unique(maintain_order=True).to_list()
    empty = pl.DataFrame(schema={"factor": pl.String, "last": pl.Date, "share": pl.Float64,
                                 "usual": pl.Float64, "line": pl.List(pl.Float64)})  # fmt: skip
    if not days:
        return Health((), 0, (), empty)
    ids = ordered["instrument_id"].unique().sort()
    code = ordered["instrument_id"].cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int64)
    cuts = np.flatnonzero(np.diff(ordered["date"].to_physical().to_numpy())) + 1
    off = np.concatenate([[0], cuts, [ordered.height]])
    begin = wanted(days[-1], calendar)[0]
    dense = [d >= begin for d in days]
    looked = [i for i, d in enumerate(days) if dense[i] and (start is None or d >= start)][-LOOK:]
    alive = _alive(np.diff(off))
    findings: list[Finding] = []
    lines = []
    for name in factors:
        column = ordered[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        column = np.where(np.isfinite(column), column, np.nan)
        have = np.array([np.count_nonzero(~np.isnan(column[a:b])) for a, b in _spans(off)])
        share = have / alive
        if alive[-1] < FEW:
            share = _lasting(share)
        for i in looked:
            before = [k for k in range(i) if dense[k]][-TRAILING:]
            findings += _coverage(name, days[i], share[i], alive[i], share[before])
            findings += _distribution(name, days, i, off, column, dense)
            if before and before[-1] == i - 1:
                findings += _sign_flip(name, days, i, off, code, column, dense)
        lines.append(_line(name, days, off, column, share, dense))
    return Health(
        tuple(days[i] for i in looked),
        int(alive[-1]),
        tuple(findings),
        pl.DataFrame(lines, schema=empty.schema, orient="row"),
    )


def _spans(off: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(off[:-1].tolist(), off[1:].tolist(), strict=True))


def _alive(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Names that should have a value by date: the most rows of the date and the four before it, so that
    a name without a bar counts as one without a value."""
    out = rows.copy()
    for back in range(1, 5):
        out[back:] = np.maximum(out[back:], rows[:-back])
    return out


def _lasting(share: Values) -> Values:
    """The mean of a date and the four before it: of one or two names, a day without a value is no fault."""
    return np.array([share[max(0, i - 4) : i + 1].mean() for i in range(len(share))])


def _coverage(name: str, day: date, share: float, alive: int, before: Values) -> list[Finding]:
    if len(before) < 2:
        return []
    usual = float(np.median(before))
    if usual == 0 or share >= KEPT * usual:
        return []
    without = round((1 - share) * alive)
    words = f"{share:.0%} of {alive} names have a value; usual are {usual:.0%}"
    return [Finding("coverage", name, day, float(share), KEPT * usual, without, int(alive), words)]


def _distribution(
    name: str, days: Sequence[date], i: int, off: NDArray[np.int64], column: Values,
    dense: Sequence[bool],
) -> list[Finding]:  # fmt: skip
    today = _known(column[off[i] : off[i + 1]])
    first_dense = dense.index(True)
    sampled = [*range(first_dense), *range(first_dense, i, EVERY)]
    parts = [_known(column[off[k] : off[k + 1]]) for k in sampled]
    parts = [p for p in parts if len(p) >= FEW]
    n = len(today)
    if n < FEW or not parts:
        return []
    pool = np.sort(np.concatenate(parts))
    alike = today.min() == today.max()
    if alike and min(np.ptp(p) for p in parts) > 0:
        words = f"all {n} values are {today[0]:g}; they were never all alike"
        return [Finding("distribution", name, days[i], 0.0, 1.0, n, n, words)]
    if n < NAMES:
        return _median_shift(name, days[i], today, parts)
    edges = np.unique(np.quantile(pool, np.arange(1, 10) / 10, method="lower"))
    usual = _shares(pool, edges)
    found = stability(_shares(today, edges), usual, n)
    among = max(stability(_shares(p, edges), usual, len(p)) for p in parts)
    bound = max(SHIFT, WORSE * among)
    if found <= bound:
        return []
    words = (
        f"stability index {found:.2f}; among the sessions of the year before at most {among:.2f}"
    )
    return [Finding("distribution", name, days[i], found, bound, n, n, words)]


def _median_shift(
    name: str, day: date, today: Values, parts: Sequence[Values]
) -> list[Finding]:  # fmt: skip
    """Few names: the median today lies far outside those of the sessions before."""
    medians = np.array([np.median(p) for p in parts])
    spread = float(np.median([np.subtract(*np.quantile(p, [0.75, 0.25])) for p in parts]))
    middle = float(np.median(today))
    away = max(medians.min() - middle, middle - medians.max(), 0.0)
    bound = 3 * max(spread, float(np.ptp(medians)))
    if bound == 0 or away <= bound:
        return []
    words = f"median {middle:g}; in the year before between {medians.min():g} and {medians.max():g}"
    return [Finding("distribution", name, day, away, bound, len(today), len(today), words)]


def stability(shares: Values, usual: Values, n: int) -> float:
    """Population stability index Σ (p − q) ln(p / q), in nats; empty classes count as half a name.

    Siddiqi, Credit Risk Scorecards (2006), ch. 8: from 0.25 on a change to look into.
    """
    least = 0.5 / n
    p, q = np.maximum(shares, least), np.maximum(usual, least)
    return float(((p - q) * np.log(p / q)).sum())


def _shares(values: Values, edges: Values) -> Values:
    place = np.searchsorted(edges, values, side="left")
    out: Values = np.bincount(place, minlength=len(edges) + 1) / len(values)
    return out


def _sign_flip(
    name: str, days: Sequence[date], i: int, off: NDArray[np.int64], code: NDArray[np.int64],
    column: Values, dense: Sequence[bool],
) -> list[Finding]:  # fmt: skip
    found, n = _with_before(i, off, code, column)
    if not found < FLIPPED:
        return []
    first = dense.index(True) + 1
    earlier = [_with_before(k, off, code, column)[0] for k in range(max(first, i - PAIRS), i)]
    known = [c for c in earlier if not np.isnan(c)]
    usual = float(np.median(known)) if known else np.nan
    if not usual > STEADY:
        return []
    words = f"rank correlation {found:+.2f} with the session before; usual is {usual:+.2f}"
    return [Finding("sign_flip", name, days[i], found, FLIPPED, n, n, words)]


def _with_before(
    i: int, off: NDArray[np.int64], code: NDArray[np.int64], column: Values
) -> tuple[float, int]:
    """Rank correlation of the names of date ``i`` with the date before, and their number; NaN where it
    is not defined."""
    a, b, c = (int(off[k]) for k in (i - 1, i, i + 1))
    _, first, second = np.intersect1d(code[a:b], code[b:c], assume_unique=True, return_indices=True)
    x, y = column[a:b][first], column[b:c][second]
    both = ~(np.isnan(x) | np.isnan(y))
    n = int(both.sum())
    if n < 2 * FEW:
        return np.nan, n
    x, y = _ranks(x[both]), _ranks(y[both])
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return (float((x * y).sum()) / size if size else np.nan), n


def _ranks(values: Values) -> Values:
    """Ranks with ties averaged."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    top = np.cumsum(count)
    out: Values = (top - (count - 1) / 2)[place]
    return out


def _known(values: Values) -> Values:
    return values[~np.isnan(values)]


def _line(
    name: str, days: Sequence[date], off: NDArray[np.int64], column: Values, share: Values,
    dense: Sequence[bool],
) -> tuple[str, date | None, float, float, list[float | None]]:  # fmt: skip
    """A row of ``Health.table``."""
    shown = [k for k in range(len(days)) if dense[k]][-TRAILING:]
    parts = [_known(column[off[k] : off[k + 1]]) for k in shown]
    medians = [float(np.median(p)) if len(p) else None for p in parts]
    with_value = [days[k] for k, p in zip(shown, parts, strict=True) if len(p)]
    usual = float(np.median(share[shown[:-1]])) if len(shown) > 1 else float(share[-1])
    return name, with_value[-1] if with_value else None, float(share[-1]), usual, medians


def monthly_ic(performance: pl.DataFrame) -> dict[str, list[float | None]]:
    """Factor → mean rank IC by month (not directed), members at the date, longest horizon; months in order.

    performance: ``factor, universe, horizon, date, rank_ic``. A month without a known IC is None.
    """
    rows = performance.filter(pl.col("universe") == "members")
    if rows.is_empty():
        return {}
    rows = rows.filter(pl.col("horizon") == pl.col("horizon").max()).sort("factor", "date")
    months = (
        rows.group_by("factor", pl.col("date").dt.truncate("1mo").alias("month"))
        .agg(pl.col("rank_ic").mean())
        .sort("factor", "month")
    )
    return {
        str(name): part["rank_ic"].to_list()
        for (name,), part in months.group_by("factor", maintain_order=True)
    }
