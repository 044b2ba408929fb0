"""What a portfolio held at the close of each session, as weights: what risk and attribution start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.accounts import CASH
from wealthos_pipeline.portfolio.marks import Marks
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats


@dataclass(frozen=True, eq=False)
class Held:
    """One portfolio at the closes of ``rows`` (of a Panel), after the fills of the session.

    rows: T panel rows, ascending, one a row of ``portfolio.nav``. columns: N panel columns of what it held on
    any of them. weights: T × N, shares × last close over net asset value, 0 where nothing is held; negative
    for shorts. cash: T, its share of net asset value. nav: T, currency. Weights and cash add up to 1 but
    for the rounding of values to 1/10,000. Closes at which a portfolio owed more than it had are left out.
    """

    mandate: str
    run_kind: str
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: Floats
    cash: Floats
    nav: Floats


def of(
    positions: pl.DataFrame, nav: pl.DataFrame, panel: Panel, calendar: TradingCalendar
) -> list[Held]:
    """Each mandate and run kind of ``nav``, in order; sessions outside the panel are left out.

    positions: ``portfolio.positions`` from the last snapshot at or before the first date of ``nav``. nav:
    ``portfolio.nav``. PortfolioError where the panel lacks something that is held.
    """
    close = Marks.of(panel).close
    code = {name: i for i, name in enumerate(panel.ids)}
    keys = ["mandate", "run_kind"]
    snapshots = positions.filter(pl.col("instrument_id") != CASH).partition_by(keys, as_dict=True)
    dates = positions.select(*keys, "date").unique().sort("date").partition_by(keys, as_dict=True)
    out = []
    for key, part in sorted(nav.sort("date").partition_by(keys, as_dict=True).items()):
        rows = np.array([panel.row(calendar.slot(d)) for d in part["date"]], dtype=np.int64)
        inside = (rows >= 0) & (rows < len(panel.dates)) & (part["nav"].to_numpy() > 0.0)
        if key not in dates:
            continue
        days = dates[key]["date"]
        shots = np.array([panel.row(calendar.slot(d)) for d in days], dtype=np.int64)
        last = np.searchsorted(shots, rows, side="right") - 1  # the snapshot of each close
        inside &= last >= 0
        rows, last = rows[inside], last[inside]
        if not len(rows):
            continue
        used = np.unique(last)
        mine = snapshots[key] if key in snapshots else positions.clear()
        mine = mine.filter(pl.col("date").is_in(days.gather(used).to_list()))
        columns, units = _shares(mine, days, code, str(key[0]), used)
        held = units[np.searchsorted(used, last)]
        worth = part["nav"].to_numpy()[inside]
        value = np.where(held != 0.0, held * close[np.ix_(rows, columns)], 0.0)
        cash = part["cash"].to_numpy()[inside] / worth
        out.append(
            Held(str(key[0]), str(key[1]), rows, columns, value / worth[:, None], cash, worth)
        )
    return out


def _shares(
    rows: pl.DataFrame, days: pl.Series, code: dict[str, int], mandate: str, used: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats]:
    """Panel columns of what the snapshots ``used`` (numbers in ``days``) hold, and shares by snapshot."""
    names = rows["instrument_id"].unique().sort().to_list()
    lost = [name for name in names if name not in code]
    if lost:
        day = rows.filter(pl.col("instrument_id") == lost[0])["date"].min()
        raise PortfolioError(
            f"{mandate} holds {lost[0]} on {day!s}, which has no price among those given; hand in prices "
            "of everything that is held"
        )
    columns = np.unique(np.array([code[name] for name in names], dtype=np.int64))
    at = {day: k for k, day in enumerate(days.gather(used).to_list())}
    units = np.zeros((len(used), len(columns)))
    where = {name: int(np.searchsorted(columns, code[name])) for name in names}
    for day, name, amount in rows.select("date", "instrument_id", "units").iter_rows():
        units[at[day], where[name]] = amount
    return columns, units
