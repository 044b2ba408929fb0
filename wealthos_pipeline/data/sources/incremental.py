"""What of a vendor's bars is missing, and what the overlap with the stored ones says.

Each symbol is asked from some sessions before its last stored bar. The bars that come again are
compared with the stored ones after both were brought back to traded prices by the splits that each
fetch knew:

- the same: nothing happened, or a listed split moved the basis. The rows go in as given; cleaning
  un-adjusts them;
- some bars differ: they were restated. The rows go in; the history keeps both versions;
- every bar, or every bar before a day, differs by one constant factor: a basis that nothing explains.
  The symbol is fetched again in full, so that its rows have one basis;
- the adjusted closes differ by one constant factor: a new dividend must explain it, or the symbol is
  fetched again in full too.

Nothing is ever deleted: what a vendor stops giving stays, and a notice says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.units import MINOR
from wealthos_pipeline.data.sources.base import Request

Floats = NDArray[np.float64]

EXACT = 1e-6
"""Relative difference that passing through Float32 leaves."""
DIVIDEND_SLACK = 0.1
"""Share of a dividend's move by which vendors' factors differ among themselves."""
LISTED = 3
"""Days that a notice names."""

_COMPARED = ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")
_SPELLED = {whole: code for code, whole in reversed(MINOR.items())}
_SAME_UNIT = {code: _SPELLED[whole] for code, whole in MINOR.items()}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a symbol that people should read; ``kept`` is what stands in its place."""

    symbol: str
    reason: str
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the overlap says. refused: rows that must not go in. again: symbol → why it is to be fetched
    again in full."""

    refused: frozenset[str]
    again: Mapping[str, str]
    notices: tuple[Notice, ...]


def last_bars(stored: pl.DataFrame, request: Request) -> dict[str, date]:
    """Symbol → its last stored session; rows dated in the future or after the end do not count."""
    today = request.now.date()
    past = stored.filter(pl.col("date") <= min(request.end or today, today))
    return dict(past.group_by("symbol").agg(pl.col("date").max()).iter_rows())


def starts(
    symbols: Sequence[str], last: Mapping[str, date], request: Request, overlap: int
) -> dict[str, date | None]:
    """Symbol → first session to ask for: ``overlap`` before its last bar; None is everything."""
    out: dict[str, date | None] = {}
    moved: dict[date, date] = {}
    for symbol in symbols:
        day = None if request.full else last.get(symbol)
        if day is None:
            out[symbol] = request.start
            continue
        if day not in moved:
            moved[day] = request.calendar.offset(day, -overlap)
        first = moved[day]
        out[symbol] = first if request.start is None else max(first, request.start)
    return out


def judge(fetched: pl.DataFrame, stored: pl.DataFrame, request: Request) -> Verdict:
    """Compare the rows of ``raw.prices`` that came with those that are stored (latest versions)."""
    past = stored.filter(pl.col("date") <= request.now.date())
    refused = {} if request.full else _other_currency(fetched, past)
    fetched = fetched.filter(~pl.col("symbol").is_in(list(refused)))
    again: dict[str, str] = {}
    for symbol, new, old in _changed(fetched, past):
        reason = unexplained(new, old)
        if reason is not None and not request.full:
            again[symbol] = reason
    notices = [Notice(s, r, _through(past, s)) for s, r in refused.items()]
    notices += _dropped(fetched, past, request)
    notices += _late(fetched, past, request)
    return Verdict(frozenset(refused), again, tuple(notices))


def unexplained(new: pl.DataFrame, old: pl.DataFrame) -> str | None:
    """Why the bars of one symbol that came again have another basis than the stored ones and nothing
    in the vendor's own list explains it; None where something does, or where single bars differ.

    new, old: rows of ``raw.prices`` of one symbol, sorted by date.
    """
    late = _late_split(new, old)
    if late is not None:
        return late
    days, i, j = np.intersect1d(new["date"].to_numpy(), old["date"].to_numpy(), return_indices=True)
    if not len(days):
        return None
    closes = _traded(new)[i], _traded(old)[j]
    ratio, slack = _ratios(new["close"].to_numpy()[i], old["close"].to_numpy()[j], *closes)
    factor = _constant(ratio, slack)
    if factor is not None:
        return (
            f"prices are {factor:.6g} times those given before and no split in the vendor's list "
            "explains it"
        )
    if not _all_same(ratio, slack):
        return None  # restated bars: their adjusted closes moved with them
    adjusted = _numbers(new, "adj_close")[i], _numbers(old, "adj_close")[j]
    # adjusted closes know every split in the list, also where the closes are as traded
    scale = _known_splits(new)[i], _known_splits(old)[j]
    ratio, slack = _ratios(*adjusted, adjusted[0] * scale[0], adjusted[1] * scale[1])
    paid = _paid(new, old, days)
    left = ratio / paid
    slack = slack + DIVIDEND_SLACK * np.abs(1.0 - paid) + 1e-4 * (paid != 1.0)
    factor = _constant(left, slack)
    if factor is not None:
        return (
            f"adjusted closes are {factor:.6g} times those given before and no new dividend in the "
            "vendor's list explains it"
        )
    return None


def _changed(
    fetched: pl.DataFrame, stored: pl.DataFrame
) -> list[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Symbols of which a bar came with another value: their rows, new and stored, by date."""
    key = ["symbol", "date"]
    before = stored.select(*key, *(pl.col(n).alias(f"_{n}") for n in _COMPARED))
    both = fetched.join(before, on=key, how="inner")
    other = pl.any_horizontal(pl.col(n).ne_missing(pl.col(f"_{n}")) for n in _COMPARED)
    names = both.filter(other)["symbol"].unique().sort()
    if not names.len():
        return []
    new, old = (
        f.filter(pl.col("symbol").is_in(names.implode()))
        .sort(key)
        .partition_by("symbol", as_dict=True)
        for f in (fetched, stored)
    )
    return [(s, new[(s,)], old[(s,)]) for s in names]


def _late_split(new: pl.DataFrame, old: pl.DataFrame) -> str | None:
    """A split that came into the list after bars with a later basis had been stored without it."""
    vintage = old["basis_vintage"].max()
    if vintage is None:
        return None
    told = dict(
        old.filter(pl.col("split_ratio").is_not_null()).select("date", "split_ratio").iter_rows()
    )
    for day, ratio in new.select("date", "split_ratio").iter_rows():
        if ratio is not None and ratio != 1.0 and told.get(day, ratio) != ratio and day <= vintage:
            return f"a split of {day} ({ratio:g} for 1) came into the vendor's list later"
    return None


def _traded(frame: pl.DataFrame) -> Floats:
    """Closes as traded: times the splits after the bar that its fetch knew (ex-date up to its basis).
    Closes without a basis are as traded."""
    return _numbers(frame, "close") * _later_splits(frame, date.min)


def _known_splits(frame: pl.DataFrame) -> Floats:
    """The splits after the bar that its adjusted close contains."""
    return _later_splits(frame, date.max)


def _later_splits(frame: pl.DataFrame, no_basis: date) -> Floats:
    """Product of the splits after each bar up to its basis (``no_basis`` where there is none)."""
    out = np.ones(frame.height)
    days = frame["date"].to_numpy()
    basis = frame["basis_vintage"].fill_null(no_basis).to_numpy()
    ratio = frame["split_ratio"].fill_null(1.0).to_numpy()
    for at in np.flatnonzero((ratio != 1.0) & (ratio > 0.0)):
        out = np.where((days < days[at]) & (basis >= days[at]), out * ratio[at], out)
    return out


def _numbers(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()


def _ratios(given: Floats, stored: Floats, new: Floats, old: Floats) -> tuple[Floats, Floats]:
    """new/old, and by how much each may differ from 1 for the rounding of what was given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = new / old
        slack = EXACT + _half_digit(given) / np.abs(given) + _half_digit(stored) / np.abs(stored)
    ok = np.isfinite(ratio) & (new > 0) & (old > 0)
    return np.where(ok, ratio, np.nan), np.where(ok, slack, np.nan)


def _half_digit(values: Floats) -> float:
    """Half of the last decimal that ``values`` are rounded to; 0 where they are not."""
    known = values[np.isfinite(values)]
    for digits in range(2, 7):
        if np.allclose(known, np.round(known, digits), rtol=0.0, atol=1e-9):
            return float(0.5 * 10.0**-digits) * 1.01
    return 0.0


def _constant(ratio: Floats, slack: Floats) -> float | None:
    """The one factor ≠ 1 by which at least two bars differ: all of them, most of them, or all before a
    day. None where there is none."""
    known = np.isfinite(ratio)
    r, s = ratio[known], slack[known]
    moved = np.abs(r - 1.0) > s
    if moved.sum() < 2:
        return None
    factor = float(np.median(r[moved]))
    same = np.abs(r / factor - 1.0) <= s
    before = int(np.flatnonzero(moved)[-1]) + 1
    if same.sum() * 2 > len(r) or (same[:before].all() and before >= 2):
        return factor
    return None


def _all_same(ratio: Floats, slack: Floats) -> bool:
    known = np.isfinite(ratio)
    return bool((np.abs(ratio[known] - 1.0) <= slack[known]).all())


def _paid(new: pl.DataFrame, old: pl.DataFrame, days: NDArray[np.datetime64]) -> Floats:
    """What dividends that are new in the list leave of the adjusted closes before them."""

    def amounts(frame: pl.DataFrame) -> Floats:  # as paid: a split moved the basis of older ones
        return np.nan_to_num(
            _numbers(frame, "dividend") * _traded(frame) / _numbers(frame, "close")
        )

    told = dict(zip(old["date"].to_numpy(), amounts(old), strict=True))
    dates, closes = new["date"].to_numpy(), _traded(new)
    left = np.ones(len(days))
    for at, amount in enumerate(amounts(new)):
        more = amount - told.get(dates[at], 0.0)
        if at and abs(more) > EXACT * max(amount, 1.0) and np.isfinite(closes[at - 1]):
            left = np.where(days < dates[at], left * (1.0 - more / closes[at - 1]), left)
    return left


def _other_currency(fetched: pl.DataFrame, stored: pl.DataFrame) -> dict[str, str]:
    """Symbols whose bars came in another currency than those stored."""
    unit = pl.col("currency").replace(_SAME_UNIT)
    was = stored.sort("date").group_by("symbol").agg(unit.drop_nulls().last().alias("_was"))
    now = fetched.select("symbol", unit.alias("_now")).drop_nulls().unique()
    other = (
        now.join(was, on="symbol").filter(pl.col("_now") != pl.col("_was")).sort("symbol", "_now")
    )
    return {
        s: f"prices came in {now} and are stored in {was}; not taken. If the listing changed its "
        "currency, run with --full"
        for s, now, was in other.iter_rows()
    }


def _dropped(fetched: pl.DataFrame, stored: pl.DataFrame, request: Request) -> list[Notice]:
    """Bars that were given before and lie in the range that came, and did not come."""
    ranges = fetched.group_by("symbol").agg(pl.col("date").min().alias("_first"))
    asked = stored.join(ranges, on="symbol").filter(pl.col("date") >= pl.col("_first"))
    if request.end is not None:
        asked = asked.filter(pl.col("date") <= request.end)
    gone = asked.join(fetched, on=["symbol", "date"], how="anti").sort("symbol", "date")
    return [
        Notice(
            s,
            f"the vendor no longer gives the {_bars(days)}, which it gave before",
            f"the {_bars(days)} as given before",
        )
        for s, days in gone.group_by("symbol", maintain_order=True).agg("date").iter_rows()
    ]


def _late(fetched: pl.DataFrame, stored: pl.DataFrame, request: Request) -> list[Notice]:
    """Symbols without the bar of the last session that could be known."""
    due = request.calendar.last_known(request.now)
    if request.end is not None:
        due = min(due, request.calendar.offset(request.end, 0))
    have = pl.concat([f.select("symbol", "date") for f in (fetched, stored)])
    last = (
        have.filter(pl.col("date") <= request.now.date())
        .group_by("symbol")
        .agg(pl.col("date").max())
        .join(fetched.select("symbol").unique(), on="symbol")
        .filter(pl.col("date") < due)
        .sort("symbol")
    )
    return [Notice(s, f"no bar of {due} yet", f"bars through {day}") for s, day in last.iter_rows()]


def _bars(days: Sequence[date]) -> str:
    shown = ", ".join(map(str, days[:LISTED]))
    more = f" and {len(days) - LISTED} more" if len(days) > LISTED else ""
    return f"{'bar' if len(days) == 1 else 'bars'} of {shown}{more}"


def _through(stored: pl.DataFrame, symbol: str) -> str | None:
    last = stored.filter(pl.col("symbol") == symbol)["date"].max()
    return None if last is None else f"bars through {last!s}"
