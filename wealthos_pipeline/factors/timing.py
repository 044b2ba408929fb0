"""How factors did through time: those that are the same for all names, and those of single markets.

A factor with a ``target`` has one value a date. It is judged by the rank correlation over dates between
its value and what the target returned from the next close on:

- ``market``: the mean over the equities of the total return over h sessions (``labels.forward_returns``);
- ``bond``: the 10-year par bond bought at the close of t+1 and sold h sessions later (``bond_returns``).

Returns are total, nothing is financed: a level of yields goes with the carry that it is part of. Ranks
are over all dates known, so the coefficient is a description of the past; a persistent factor whose
innovations go with returns is favoured in short samples (Stambaugh 1999), and the t does not say so.

Instruments' own factors outside equities (funds, indices) are few. Through time, each instrument's values
are ranked against its own returns and the products averaged over the instruments of a date; where a date
has ``MIN_NAMES`` with value and return, they are also ranked across the names, as equities are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.grid import Grid, grid
from wealthos_pipeline.factors.labels import forward_returns, slots
from wealthos_pipeline.factors.library import Library
from wealthos_pipeline.factors.multiple import judged
from wealthos_pipeline.stats.correlation import average_ranks
from wealthos_pipeline.stats.mean_test import mean_test

Vector = NDArray[np.float64]

UNIVERSE = "time series"
"""``universe`` of the rows of ``factors.summary`` that are made here through time."""

ACROSS = "all"
"""The same of those made across names."""

MIN_NAMES = 5
MIN_DATES = 60
"""Fewer dates with a value and a return: no row."""

LONGEST = 120
"""Sessions of the longest label of the bond: it has paid no coupon by then. Longer horizons have no row."""


def market_returns(
    prices: pl.DataFrame | Grid, horizon: int, calendar: TradingCalendar
) -> pl.DataFrame:
    """Mean total return of the names of ``prices`` over ``horizon`` sessions from the close of t+1 on.

    prices: ``instrument_id, date, tr_index``, or their grid where several horizons are asked for.
    Returns ``date, label (decimal), known_at``, a row for every date on which a name has a label.
    """
    if isinstance(prices, pl.DataFrame) and not prices["tr_index"].count():
        return forward_returns(prices, horizon, calendar).select("date", "label", "known_at")
    cells = prices if isinstance(prices, Grid) else grid(prices, calendar)
    label = cells.labels(horizon)
    known = ~np.isnan(label)
    count = known.sum(axis=1)
    # one name after the other, so that names without a label leave the sum's bits alone
    total = np.cumsum(np.where(known, label, 0.0), axis=1)[:, -1]
    days = calendar.frame().select("date", pl.col("known_at").shift(-1 - horizon))
    rows = days.slice(cells.first, len(label)).filter(pl.Series(count > 0))
    mean = total[count > 0] / count[count > 0]
    return rows.select("date", pl.Series("label", mean), "known_at")


def bond_returns(series: pl.DataFrame, horizon: int, calendar: TradingCalendar) -> pl.DataFrame:
    """Return over ``horizon`` sessions of the 10-year par bond bought at the close of t+1.

    series: ``clean.series`` with ``ust_par`` of the tenors 7Y and 10Y, percent. Returns ``date, label
    (decimal), known_at``; no row where the curve of one of the two days is missing.

    The bond pays c/2 = y/2 twice a year, y the 10-year par yield on the day of purchase, and costs 100.
    After Δ years (calendar days over 365.25; less than a half) its dirty price at the yield z is
    ``Σ_{k=1..20} (c/2) (1 + z/2)^(2Δ−k) + 100 (1 + z/2)^(2Δ−20)``, accrued coupon included; the return is
    that over 100 less 1. z is the par yield of the day of sale at 10 − Δ years, on the straight line from
    7 to 10 years: the bond stands near par, where its yield is the par yield of its maturity.
    """
    if not 1 <= horizon <= LONGEST:
        raise FactorError(f"a bond's label is of 1 to {LONGEST} sessions, found {horizon}")
    days = calendar.frame().select("date", "known_at")
    curve = days.select("date")
    stamp = [pl.col("known_at")]
    out = days
    for tenor in ("7Y", "10Y"):
        one = series.filter((pl.col("series") == "ust_par") & (pl.col("tenor") == tenor))
        one = one.select(
            "date", pl.col("value").alias(tenor), pl.col("known_at").alias(f"_{tenor}")
        )
        out = out.join(one, on="date", how="left", maintain_order="left")
        stamp.append(pl.col(f"_{tenor}"))
    curve = out.with_columns(pl.max_horizontal(stamp).alias("known_at"))
    sold = curve.select(pl.all().shift(-horizon).name.prefix("end_"))
    both = pl.concat([curve, sold], how="horizontal").with_columns(
        pl.col("date").shift(1).alias("_decided")
    )
    both = both.drop_nulls(["_decided", "10Y", "end_7Y", "end_10Y"])
    years = (both["end_date"] - both["date"]).dt.total_days().to_numpy() / 365.25
    y, z7, z10 = (both[c].to_numpy() for c in ("10Y", "end_7Y", "end_10Y"))
    z = z10 - years / 3 * (z10 - z7)
    return both.select(
        pl.col("_decided").alias("date"),
        pl.Series("label", par_bond_price(y, z, years) - 1.0),
        pl.max_horizontal("known_at", "end_known_at").alias("known_at"),
    )


def par_bond_price(coupon: Vector, y: Vector, elapsed: Vector) -> Vector:
    """Dirty price per 1 of a bond issued with 10 years, ``elapsed`` years (below a half) ago.

    coupon, y: percent a year, paid and compounded twice a year.
    """
    v = 1.0 + y / 200.0
    with np.errstate(all="ignore"):
        annuity = np.where(y == 0, 20.0, (1.0 - v**-20.0) / (v - 1.0))
    price: Vector = v ** (2.0 * elapsed) * (coupon / 200.0 * annuity + v**-20.0)
    return price


def summary(
    values_by_table: Mapping[str, pl.DataFrame],
    prices: pl.DataFrame,
    series: pl.DataFrame,
    library: Library,
    horizons: Sequence[int],
    calendar: TradingCalendar,
    end_known: datetime,
    *,
    instruments: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of ``factors.summary`` for the factors that are not of equities or have a ``target``.

    values_by_table: table of a family → its values; tables that are not there are left out. prices:
    ``clean.prices`` of all classes; instruments: ``clean.instruments``, None where all are equities.
    Labels that were not known at ``end_known`` do not count. Means are times the factor's direction;
    ``mean_spread``: mean return of the fifth of dates with the highest values less that of the lowest.
    ``coverage``: share of the rows of the identities that have any value. What has no meaning here
    (turnover, costs) is null.
    """
    equities, others = _by_class(prices, instruments)
    cells = grid(equities, calendar) if equities["tr_index"].count() else None
    labels: dict[tuple[str, int], pl.DataFrame] = {}

    def label(kind: str, h: int) -> pl.DataFrame:
        if (kind, h) not in labels:
            made = (
                bond_returns(series, h, calendar) if kind == "bond"
                else forward_returns(others, h, calendar) if kind != "market"
                else market_returns(equities if cells is None else cells, h, calendar)
            )  # fmt: skip
            labels[kind, h] = made.filter(pl.col("known_at") <= end_known)
        return labels[kind, h]

    rows = []
    for family in library.families():
        values = values_by_table.get(family.table)
        if values is None:
            continue
        for f in family.factors:
            if not f.target and family.asset_class is AssetClass.EQUITY:
                continue
            given = values.select(
                "date", "instrument_id", pl.col(f.name).cast(pl.Float64).alias("x")
            )
            own = given.drop_nulls("x")
            whose = given.filter(
                pl.col("instrument_id").is_in(own["instrument_id"].unique().implode())
            )
            share = own.height / whose.height if whose.height else math.nan
            for h in horizons:
                if f.target == "bond" and h > LONGEST:
                    continue
                rows += [
                    {**row, "coverage": share}
                    for row in _judge(f, own, label(f.target or "own", h), h, calendar)
                ]
    table = contract("factors.summary")
    if not rows:
        return table.empty()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return table.conform(judged(frame.with_columns(pl.col(pl.Float64).fill_nan(None))))


def _by_class(
    prices: pl.DataFrame, instruments: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if instruments is None:
        return prices, prices.clear()
    ids = instruments.filter(pl.col("asset_class") == AssetClass.EQUITY.value)[
        "instrument_id"
    ].unique()
    equity = pl.col("instrument_id").is_in(ids.implode())
    return prices.filter(equity), prices.filter(~equity)


def _judge(
    f: Factor, own: pl.DataFrame, label: pl.DataFrame, h: int, calendar: TradingCalendar
) -> Iterator[dict[str, object]]:
    """One row through time, and one across names where there are enough."""
    key = ["date"] if f.target else ["date", "instrument_id"]
    both = own.join(label, on=key, how="inner").sort("instrument_id", "date")
    if both.is_empty():
        return
    x, y = both["x"].to_numpy(), both["label"].to_numpy()
    slot = slots(both.select("date"), calendar)
    name = both["instrument_id"].rle_id().to_numpy().astype(np.int64)
    through = Pairs(x, y, slot, name)
    if len(np.unique(slot)) >= MIN_DATES and np.ptp(x) > 0:
        yield _row(f, h, UNIVERSE, *through.products(name), through.spread(), through.persistence())
    if not f.target:
        dates, count = np.unique(slot, return_counts=True)
        crowd = np.isin(slot, dates[count >= MIN_NAMES])
        if len(np.unique(slot[crowd])) >= MIN_DATES:
            across = Pairs(x[crowd], y[crowd], slot[crowd], name[crowd])
            yield _row(f, h, ACROSS, *across.products(across.slot), math.nan, math.nan)


class Pairs:
    """Values with the returns that followed: arrays of one length, sorted by name and session."""

    def __init__(
        self, x: Vector, y: Vector, slot: NDArray[np.int64], name: NDArray[np.int64]
    ) -> None:
        self.x, self.y, self.slot, self.name = x, y, slot, name

    def products(self, group: NDArray[np.int64]) -> tuple[Vector, Vector]:
        """By session from the first to the last, NaN where there is none: the mean over its pairs of
        the product of the standardised values, and of the standardised ranks, standardised in
        ``group``. The mean over a group's pairs is its correlation."""
        first = int(self.slot.min())
        size = int(self.slot.max()) - first + 1
        code = np.unique(group, return_inverse=True)[1]
        ranks = [_ranks_within(v, code) for v in (self.x, self.y)]
        ranked = _standard_within(ranks[0], code) * _standard_within(ranks[1], code)
        # ranks of what is all alike are exactly alike: no correlation there, of values neither
        known = np.isfinite(ranked)
        plain = _standard_within(self.x, code) * _standard_within(self.y, code)
        plain, ranked = np.where(known, plain, 0.0), np.where(known, ranked, 0.0)
        count = known.astype(np.float64)
        number = np.bincount(self.slot - first, count, size)
        with np.errstate(all="ignore"):
            return tuple(
                np.where(number > 0, np.bincount(self.slot - first, p, size) / number, np.nan)
                for p in (plain, ranked)
            )  # type: ignore[return-value]

    def spread(self) -> float:
        """Mean return of the fifth with the highest values less that of the lowest, mean over names."""
        found = []
        for part in np.split(np.arange(len(self.x)), np.flatnonzero(np.diff(self.name)) + 1):
            low, high = np.quantile(self.x[part], (0.2, 0.8))
            top, bottom = self.y[part][self.x[part] > high], self.y[part][self.x[part] <= low]
            if len(top) and len(bottom):
                found.append(math.fsum(top) / len(top) - math.fsum(bottom) / len(bottom))
        return math.fsum(found) / len(found) if found else math.nan

    def persistence(self) -> float:
        """Correlation of the ranks with those of the session before, mean over names."""
        found = []
        for part in np.split(np.arange(len(self.x)), np.flatnonzero(np.diff(self.name)) + 1):
            follows = np.flatnonzero(np.diff(self.slot[part]) == 1)
            rank = average_ranks(self.x[part])
            a, b = rank[follows], rank[follows + 1]
            if len(follows) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0:
                found.append(float(np.mean(_standard(a) * _standard(b))))
        return math.fsum(found) / len(found) if found else math.nan


def _ranks_within(v: Vector, code: NDArray[np.int64]) -> Vector:
    """Ranks of the values of each code (0, 1, …), ties averaged, from 1."""
    order = np.lexsort((v, code))
    new = np.ones(len(v), bool)
    new[1:] = (np.diff(v[order]) != 0) | (np.diff(code[order]) != 0)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(v)) - 1
    out = np.empty(len(v))
    out[order] = ((first + last) / 2.0)[np.cumsum(new) - 1]
    begin = np.cumsum(np.bincount(code)) - np.bincount(code)
    ranks: Vector = out - begin[code] + 1.0
    return ranks


def _standard_within(v: Vector, code: NDArray[np.int64]) -> Vector:
    """Values less their code's mean, over its deviation (ddof 0); not finite where that is 0."""
    size = np.bincount(code)
    apart = v - (np.bincount(code, v) / size)[code]
    with np.errstate(all="ignore"):
        out: Vector = apart / np.sqrt(np.bincount(code, apart * apart) / size)[code]
    return out


def _standard(v: Vector) -> Vector:
    out: Vector = (v - v.mean()) / v.std()
    return out


def _row(
    f: Factor,
    h: int,
    universe: str,
    plain: Vector,
    ranked: Vector,
    spread: float,
    persistence: float,
) -> dict[str, object]:
    test = mean_test(ranked * f.direction, h)
    kept = plain[np.isfinite(plain)]
    deviation = float(np.std(ranked[np.isfinite(ranked)], ddof=1)) if len(kept) > 1 else math.nan
    halves = 0.0 < persistence < 1.0
    return {
        "factor": f.name,
        "universe": universe,
        "horizon": h,
        "dates": test.observations,
        "mean_ic": math.fsum(kept) / len(kept) * f.direction if len(kept) else math.nan,
        "mean_rank_ic": test.mean,
        "t_newey_west": test.t_newey_west,
        "t_non_overlapping": test.t_non_overlapping,
        "t_bootstrap": test.t_bootstrap,
        "t": test.t,
        "p_value": test.p_value,
        "detectable_ic": test.detectable,
        "icir": test.mean / deviation if universe == ACROSS and deviation else math.nan,
        "mean_spread": spread * f.direction,
        "rank_autocorrelation": persistence,
        "half_life": math.log(0.5) / math.log(persistence) if halves else math.nan,
    }
