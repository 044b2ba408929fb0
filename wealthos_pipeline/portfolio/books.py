"""What is held at one close, by portfolio: where stress, liquidity and risk contributions start from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio import held as holdings
from wealthos_pipeline.portfolio.panel import Panel, build
from wealthos_pipeline.portfolio.problem import Floats


@dataclass(frozen=True, eq=False)
class Book:
    """One portfolio at the close of ``date``.

    ids: what is held, ascending, n of them. weights: n, fractions of net asset value; the rest is cash.
    nav: currency; None where it is not known.
    """

    mandate: str
    run_kind: str
    date: date
    ids: tuple[str, ...]
    weights: Floats
    nav: float | None

    @property
    def gross(self) -> float:
        """Sum of absolute weights, added in the order of the names."""
        return float(np.abs(self.weights).sum())


def backtest(
    positions: pl.DataFrame,
    nav: pl.DataFrame,
    prices: pl.DataFrame | Panel,
    calendar: TradingCalendar,
    dates: Collection[date],
) -> list[Book]:
    """Books of the closes of ``dates`` for which ``nav`` has a row; those of cash alone have no names.

    Inputs as for ``held.of``.
    """
    panel = build(prices, calendar)
    wanted = set(dates)
    rows = nav.filter(pl.col("date").is_in(sorted(wanted)))
    if not panel.dates or not rows.height:
        return []
    out = []
    for book in holdings.of(positions, rows, panel, calendar):
        for t, row in enumerate(book.rows.tolist()):
            day = panel.dates[row]
            if day not in wanted:
                continue
            there = np.flatnonzero(book.weights[t])
            ids = tuple(panel.ids[i] for i in book.columns[there])
            weights = np.ascontiguousarray(book.weights[t, there])
            out.append(Book(book.mandate, book.run_kind, day, ids, weights, float(book.nav[t])))
    return out


def live(
    targets: pl.DataFrame, trades: pl.DataFrame, day: date, *, after: bool = False
) -> list[Book]:
    """What each live mandate holds at the close of ``day`` (``weight_before`` of ``portfolio.targets``), or
    with ``after`` what it would hold.

    nav: from any trade of the decision, whose value is its change of weight times it; None without one.
    """
    mine = targets.filter((pl.col("run_kind") == "live") & (pl.col("date") == day))
    done = trades.filter((pl.col("run_kind") == "live") & (pl.col("date") == day))
    out = []
    for (mandate,), part in (
        mine.sort("mandate", "instrument_id")
        .partition_by("mandate", as_dict=True, maintain_order=True)
        .items()
    ):
        rows = part.filter(pl.col("weight" if after else "weight_before") != 0.0)
        change = (
            done.filter(pl.col("mandate") == mandate)
            .with_columns((pl.col("weight") - pl.col("weight_before")).alias("change"))
            .sort(pl.col("change").abs(), "instrument_id", descending=[True, False])
        )
        known = change.height and change["change"][0] != 0.0
        out.append(
            Book(
                str(mandate),
                "live",
                day,
                tuple(rows["instrument_id"]),
                rows["weight" if after else "weight_before"].to_numpy(),
                float(change["value"][0] / change["change"][0]) if known else None,
            )
        )
    return out
