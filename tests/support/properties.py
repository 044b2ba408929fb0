"""The three properties of time (docs/time.md) as functions of a pipeline.

A *pipeline* is any callable from raw rows and an instant to tables. The checkers know nothing of how it
works, so the tests can hand them the real one and ones with a planted leak. A breach raises ``LeakError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from synthetic import RawMarket

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.data.processors.calendar import TradingCalendar


class LeakError(AssertionError):
    """A property of time does not hold; the message names table, column and rows."""


@dataclass(frozen=True)
class Result:
    """Tables that a pipeline made, with their contracts."""

    tables: Mapping[str, pl.DataFrame]
    contracts: Mapping[str, TableContract] = field(default_factory=dict)


Pipeline = Callable[[RawMarket, datetime], Result]

LATEST_ONLY = {
    "models.predictions": pl.col("kind") == "live",
    "models.registry": pl.col("kind") == "live",
    "portfolio.targets": pl.col("run_kind") == "live",
    "portfolio.solves": pl.col("run_kind") == "live",
    "portfolio.trades": pl.col("run_kind") == "live",
    "portfolio.binding": pl.col("run_kind") == "live",
    "portfolio.compliance": pl.col("run_kind") == "live",
    "portfolio.risk_contributions": pl.col("run_kind") == "live",
    "portfolio.liquidity": pl.col("run_kind") == "live",
    "portfolio.orders": pl.lit(True),
    "portfolio.order_lists": pl.lit(True),
    "portfolio.calendar": pl.lit(True),
    "portfolio.stress": pl.lit(True),
    "portfolio.paths": pl.lit(True),
    "monitor.opportunities": pl.lit(True),
}
"""Rows that exist for the latest session only and are replaced the day after, by design."""

EXTRA_AT_THE_END = {
    "portfolio.risk_exposures", "portfolio.risk_factors", "portfolio.risk_contributions", "portfolio.liquidity",
}  # fmt: skip
"""Estimated at month ends and, besides, at the latest session."""

OF_A_RUN = {"meta.certificates", "meta.fits"}
"""Of a run and its clock, not of the data."""

OPEN_ENDED = {
    "clean.instruments": ["valid_to"],
    "clean.membership": ["valid_to"],
    "clean.gaps": ["until"],
}
"""Ends of intervals: null until they happen (docs/decisions/0007)."""


# --- what was known ------------------------------------------------------------------------------


def raw_known(raw: RawMarket, at: datetime, calendar: TradingCalendar) -> RawMarket:
    """A market that physically holds only what could have been known at ``at``.

    The first version of a bar was known after its close, a later version when it was fetched; a
    monthly value not before its month had ended.
    """
    return replace(raw, prices=_first_by_rule(raw.prices, ["symbol"], at, calendar),
                   series=_first_by_rule(raw.series, ["series", "tenor"], at, calendar))  # fmt: skip


def without_later_revisions(raw: RawMarket, at: datetime) -> RawMarket:
    """All bars, future ones too, but no correction that was fetched after ``at``."""

    def keep(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
        first = pl.col("fetched_at") == pl.col("fetched_at").min().over([*key, "date"])
        return frame.filter(first | (pl.col("fetched_at") <= at))

    return replace(
        raw, prices=keep(raw.prices, ["symbol"]), series=keep(raw.series, ["series", "tenor"])
    )


def _first_by_rule(
    frame: pl.DataFrame, key: list[str], at: datetime, calendar: TradingCalendar
) -> pl.DataFrame:
    last = calendar.last_known(at)
    first = pl.col("fetched_at") == pl.col("fetched_at").min().over([*key, "date"])
    public = pl.col("date") <= last
    if "frequency" in frame.columns:
        ended = pl.col("date").dt.month_end() < last
        public &= (pl.col("frequency") != "month") | ended
    return frame.filter(pl.when(first).then(public).otherwise(pl.col("fetched_at") <= at))


def known(
    frame: pl.DataFrame, contract: TableContract, at: datetime, calendar: TradingCalendar
) -> pl.DataFrame:
    """The rows of a result that were known at ``at``, by the rule of their contract."""
    if contract.known == "column":
        return frame.filter(pl.col("known_at") <= at)
    if contract.known == "bar" and contract.date_column:
        return frame.filter(pl.col(contract.date_column) <= calendar.last_known(at))
    return frame.clear()


# --- the properties ------------------------------------------------------------------------------


def no_peeking(
    pipeline: Pipeline, raw: RawMarket, at: datetime, end: datetime, calendar: TradingCalendar
) -> dict[str, int]:
    """Rows known at ``at``: the same bits with all later data present as without them.

    Returns the number of rows compared by table.
    """
    with_future = pipeline(without_later_revisions(raw, at), end)
    without = pipeline(raw_known(raw, at, calendar), at)
    return _same_when_known(with_future, without, at, calendar, f"peeking at {at:%Y-%m-%d %H:%M}")


def no_repainting(
    pipeline: Pipeline,
    raw: RawMarket,
    earlier: datetime,
    later: datetime,
    calendar: TradingCalendar,
) -> dict[str, int]:
    """Rows known at ``earlier`` are the same at ``later``, up to the first corrected bar."""
    before = pipeline(raw_known(raw, earlier, calendar), earlier)
    after = pipeline(raw_known(raw, later, calendar), later)
    changed = first_correction(raw, earlier, later)
    words = f"repainting between {earlier:%Y-%m-%d} and {later:%Y-%m-%d}"
    return _same_when_known(after, before, earlier, calendar, words, until=changed)


def first_correction(raw: RawMarket, earlier: datetime, later: datetime) -> date | None:
    """Date of the first bar whose correction was fetched in (earlier, later]."""
    first = pl.col("fetched_at") == pl.col("fetched_at").min().over(["symbol", "date"])
    inside = (pl.col("fetched_at") > earlier) & (pl.col("fetched_at") <= later)
    return raw.prices.filter(~first & inside)["date"].min()  # type: ignore[return-value]


def no_basis(
    pipeline: Pipeline,
    raw: RawMarket,
    at: datetime,
    scale: Mapping[str, float],
    tables: Iterable[str],
    *,
    relative: float | None = None,
    unadjusted: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, int]:
    """``tables`` do not change when whole price histories are multiplied.

    scale: symbol → factor; with ``relative`` None (powers of two) not a bit may change, else values
    may differ by that much. unadjusted: table → columns that say that they need the traded price.
    """
    plain, scaled = pipeline(raw, at), pipeline(rescaled(raw, scale), at)
    counts = {}
    for name in tables:
        contract = plain.contracts[name]
        skip = list((unadjusted or {}).get(name, ()))
        left, right = plain.tables[name].drop(skip), scaled.tables[name].drop(skip)
        words = f"the basis of prices: {name}"
        counts[name] = same_rows(left, right, contract.key, words, relative=relative)
    return counts


def rescaled(raw: RawMarket, scale: Mapping[str, float]) -> RawMarket:
    """Prices and dividends of each symbol times its factor, volumes divided by it."""
    by = pl.col("symbol").replace_strict(dict(scale), default=1.0, return_dtype=pl.Float64)
    prices = raw.prices.with_columns(
        *(pl.col(c) * by for c in ("open", "high", "low", "close", "adj_close", "dividend")),
        pl.col("volume") / by,
    )
    return replace(raw, prices=prices)


# --- comparing -----------------------------------------------------------------------------------


def _same_when_known(
    full: Result,
    cut: Result,
    at: datetime,
    calendar: TradingCalendar,
    words: str,
    *,
    until: date | None = None,
) -> dict[str, int]:
    counts = {}
    last = calendar.last_known(at)
    for name, contract in full.contracts.items():
        if contract.known == "none" or name not in cut.tables:
            continue
        left = known(full.tables[name], contract, at, calendar)
        right = known(cut.tables[name], contract, at, calendar)
        if name in LATEST_ONLY:
            left, right = left.filter(~LATEST_ONLY[name]), right.filter(~LATEST_ONLY[name])
        day = contract.date_column
        if name in EXTRA_AT_THE_END and day is not None:
            right = right.join(left.select(day).unique(), on=day, how="semi")
        if until is not None and day is not None:
            left, right = left.filter(pl.col(day) < until), right.filter(pl.col(day) < until)
        drop = OPEN_ENDED.get(name, [])
        counts[name] = same_rows(
            left.drop(drop), right.drop(drop), contract.key, f"{words}: {name}"
        )
    if not any(counts.values()):
        raise LeakError(f"{words}: nothing was known by {last}, so nothing was compared")
    return counts


def same_rows(
    left: pl.DataFrame,
    right: pl.DataFrame,
    key: tuple[str, ...],
    words: str,
    *,
    relative: float | None = None,
) -> int:
    """Rows of two frames compared bit for bit; LeakError names the first difference."""
    keys = list(key)
    for here, there, what in ((left, right, "vanish"), (right, left, "appear")):
        extra = here.join(there, on=keys, how="anti", nulls_equal=True)
        if extra.height:
            raise LeakError(f"{words}: {extra.height} rows {what} on the other side, "
                       f"such as {extra.select(keys).sort(keys).row(0)}")  # fmt: skip
    left, right = left.sort(keys), right.sort(keys)
    for column in left.columns:
        differ = _differences(left[column], right[column], relative)
        if differ.any():
            i = int(np.flatnonzero(differ)[0])
            raise LeakError(
                f"{words}.{column}: {int(differ.sum())} of {left.height} rows differ, such as "
                f"{left.select(keys).row(i)}: {left[column][i]!r} against {right[column][i]!r}"
            )
    return left.height


def _differences(a: pl.Series, b: pl.Series, relative: float | None) -> np.ndarray:
    nulls = (a.is_null() != b.is_null()).to_numpy()
    if not a.dtype.is_float():
        return nulls | (~a.eq_missing(b)).to_numpy()
    x, y = (s.fill_null(0.0).to_numpy() for s in (a, b))
    both_nan = np.isnan(x) & np.isnan(y)
    if relative is not None:
        return nulls | ~(both_nan | np.isclose(x, y, rtol=relative, atol=relative))
    bits = np.uint32 if x.dtype == np.float32 else np.uint64
    return nulls | (~both_nan & (x.view(bits) != y.view(bits)))


# --- random instants -----------------------------------------------------------------------------


def instants(
    calendar: TradingCalendar, start: date, end: date, count: int, seed: int
) -> list[datetime]:
    """``count`` random instants in [start, end]: at night, at noon, at and just after the close."""
    rng = np.random.default_rng(seed)
    days = calendar.sessions(start, end)
    out = []
    for i in range(count):
        day = days[int(rng.integers(len(days)))]
        shift = (0, -1, 1, -240, 600)[i % 5]
        out.append(calendar.known_at(day) + timedelta(minutes=shift))
    return out
