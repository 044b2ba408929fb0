"""Whether every unit of money is accounted for: events against positions, values and prices."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio.marks import Marks
from wealthos_pipeline.portfolio.money import CASH, TICKS, Ticks, ticks
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats

RESIDUALS = ("cash", "value", "profit", "shares")


def reconcile(
    events: pl.DataFrame,
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: Panel,
) -> pl.DataFrame:
    """What does not add up, session by session: zeros.

    One row a mandate, run kind and date of ``nav`` but the first of each (of which only the value can be
    judged; an opening deposit is judged against nothing before it): ``cash``, ``value``, ``profit`` in ticks,
    Int64, and ``shares``, the largest absolute difference of a name's shares from its events:

    - cash: its change less Σ amounts;
    - value: net asset value less cash less Σ round(shares × last close);
    - profit: change of net asset value less deposits, less Σ over names of the change of their value and
      of their events' amounts, less the amounts of no name (interest);
    - shares: those of the close before, with the units of sales, purchases, splits and delistings in order.

    events, positions, nav: rows of the three tables; positions from the last snapshot before the first
    row of nav. prices: a panel that has everything held.
    """
    closes = Marks.of(prices).close
    rows = {day: k for k, day in enumerate(prices.dates)}
    code = {name: i for i, name in enumerate(prices.ids)}
    out: list[tuple[str, str, date, int, int, int, float]] = []
    keys = ["mandate", "run_kind"]
    mine = events.partition_by(*keys, as_dict=True)
    shots = positions.partition_by(*keys, as_dict=True)
    for key, part in sorted(nav.sort("date").partition_by(*keys, as_dict=True).items()):
        told = mine.get(key, events.clear()).sort("date", "seq").partition_by("date", as_dict=True)
        held = shots.get(key, positions.clear()).partition_by("date", as_dict=True)
        first: date = part["date"][0]
        earlier = [day for (day,) in held if day < first]
        shares = _shares(held.get((max(earlier),)) if earlier else None, code)
        before: tuple[int, int, Ticks] | None = None
        for day, worth, cash in part.select("date", "nav", "cash").iter_rows():
            whole, coins = ticks(worth), ticks(cash)
            log = told.get((day,))
            replayed = shares.copy()
            amounts = np.zeros(len(code) + 1, dtype=np.int64)
            deposits = 0
            if log is not None:
                for kind, name, units, amount in log.select(
                    "kind", "instrument_id", "units", "amount"
                ).iter_rows():
                    i = len(code) if name is None else code[name]
                    if kind in ("deposit", "withdrawal"):
                        deposits += amount
                    amounts[i] += amount
                    if kind in ("buy", "sell", "split", "delisting"):
                        replayed[i] += units
            if (day,) in held:
                shares = _shares(held[(day,)], code)
            k = rows[day]
            where = np.flatnonzero(shares)
            values = np.zeros(len(code) + 1, dtype=np.int64)
            values[where] = np.rint(shares[where] * closes[k, where] * TICKS).astype(np.int64)
            value = whole - coins - int(values.sum())
            off = float(np.abs(shares - replayed).max(initial=0.0))
            if before is not None:
                moved = coins - before[1] - int(amounts.sum())
                gain = int((values - before[2]).sum()) + int(amounts.sum()) - deposits
                profit = whole - before[0] - deposits - gain
                out.append((*key, day, moved, value, profit, off))  # type: ignore[arg-type]
            elif deposits:
                moved = coins - int(amounts.sum())
                gain = int(values.sum()) + int(amounts.sum()) - deposits
                out.append((*key, day, moved, value, whole - deposits - gain, off))  # type: ignore[arg-type]
            before = whole, coins, values
    schema = {
        "mandate": pl.String, "run_kind": pl.String, "date": pl.Date,
        "cash": pl.Int64, "value": pl.Int64, "profit": pl.Int64, "shares": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(out, schema=schema, orient="row")


def _shares(part: pl.DataFrame | None, code: dict[str, int]) -> Floats:
    out = np.zeros(len(code))
    if part is None:
        return out
    for name, units in part.select("instrument_id", "units").iter_rows():
        if name == CASH:
            continue
        if name not in code:
            raise PortfolioError(
                f"{name} is held and has no price among those given; hand in prices of everything held"
            )
        out[code[name]] = units
    return out


def faults(
    residuals: pl.DataFrame, nav: pl.DataFrame, sessions: list[date] | None = None
) -> list[str]:
    """What is wrong with the accounts, in words; empty where every unit of money is accounted for.

    residuals: of ``reconcile``. nav: the same rows. sessions: those of the exchange; a session between a
    mandate's first and last without a value is a fault.
    """
    out = []
    for name in RESIDUALS:
        bad = residuals.filter(pl.col(name) != 0).sort("date")
        if bad.height:
            mandate, day, value = bad.select("mandate", "date", name).row(0)
            unit = "shares" if name == "shares" else "1/10,000 of the currency"
            out.append(
                f"{bad.height} sessions whose {name} does not add up, first {mandate} on {day}: "
                f"{value:+g} {unit}, expected 0"
            )
    for (mandate, kind), part in sorted(
        nav.partition_by("mandate", "run_kind", as_dict=True).items()
    ):
        days = part["date"].sort()
        if not part["nav"].is_finite().all():
            out.append(f"{mandate} ({kind}): a net asset value is not finite")
        ruined = part.filter(pl.col("nav") <= 0.0).sort("date")
        if ruined.height:
            day, value = ruined.select("date", "nav").row(0)
            out.append(
                f"{mandate} ({kind}): {ruined.height} sessions with a net asset value of 0 or less, first {day}: "
                f"{value:,.2f}. It lost more than it had; returns and weights after that are not defined"
            )
        if sessions is not None and days.len():
            expected = [d for d in sessions if days[0] <= d <= days[-1]]
            missing = sorted(set(expected) - set(days.to_list()))
            if missing:
                out.append(
                    f"{mandate} ({kind}): {len(missing)} sessions have no net asset value, first "
                    f"{missing[0]}"
                )
    return out
