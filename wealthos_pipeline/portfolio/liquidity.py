"""How long it takes to sell what is held.

A name's dollar volume is the median of the last 20 sessions', known at the close, of which at least half
must be there. At ``participation`` of it a day, names are sold side by side: after t days
``Σ min(v_i, t · participation · V_i)`` of the value is sold. Days are not rounded. What has no known volume is left
out of the days and stated by weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.books import Book
from wealthos_pipeline.portfolio.problem import Floats

SESSIONS = 20
SHARES = (0.5, 0.9, 1.0)


def volumes(prices: pl.DataFrame, day_slot: int) -> dict[str, float]:
    """Median daily dollar volume of the 20 sessions that end with ``day_slot``, by instrument; absent where
    fewer than half of them have one, or it is 0. prices: ``instrument_id, slot, dollar_volume``."""
    window = prices.filter(pl.col("slot").is_between(day_slot - SESSIONS + 1, day_slot))
    found = (
        window.filter(pl.col("dollar_volume").is_finite())
        .group_by("instrument_id")
        .agg(pl.len().alias("n"), pl.col("dollar_volume").median().alias("volume"))
        .filter((pl.col("n") >= SESSIONS // 2) & (pl.col("volume") > 0))
    )
    return dict(found.select("instrument_id", "volume").iter_rows())


def days_to_sell(value: Floats, capacity: Floats, share: float) -> float:
    """Days until ``share`` of the values is sold; value, capacity (a day): n, above 0; at least one.

    What is sold rises by straight lines that break where a name is sold out: exact, no search.
    """
    days = value / capacity
    order = np.argsort(days, kind="stable")
    finished = np.cumsum(value[order])
    left = np.cumsum(capacity[order][::-1])[::-1]
    at = days[order]
    before = np.concatenate([[0.0], finished[:-1]])
    goal = share * float(finished[-1])
    sold = before + at * left  # when each name is sold out
    k = min(int(np.searchsorted(sold, goal * (1 - 1e-12))), len(at) - 1)
    return float(min((goal - before[k]) / left[k], at[-1])) if share < 1 else float(at[-1])


def liquidity(
    books: Iterable[Book],
    prices: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    participation: float = 0.2,
) -> pl.DataFrame:
    """Rows of ``portfolio.liquidity``; a book without a known value or of cash alone has none.

    prices: ``instrument_id, slot, dollar_volume`` of the 20 sessions up to each book's date.
    ValueError for a participation outside (0, 1].
    """
    if not 0 < participation <= 1:
        raise ValueError(f"participation is {participation}, expected a share above 0 and up to 1")
    terms = contract("portfolio.liquidity")
    known: dict[object, Mapping[str, float]] = {}
    rows: list[dict[str, Any]] = []
    for book in books:
        if book.nav is None or not book.ids:
            continue
        if book.date not in known:
            known[book.date] = volumes(prices, calendar.slot(book.date))
        rows.append(_of_one(book, book.nav, known[book.date], participation))
    return terms.conform(pl.DataFrame(rows, schema=terms.schema()))


def _of_one(
    book: Book, nav: float, volume: Mapping[str, float], participation: float
) -> dict[str, Any]:
    gross = np.abs(book.weights)
    inside = np.array([name in volume for name in book.ids], dtype=np.bool_)
    row: dict[str, Any] = {
        "mandate": book.mandate,
        "run_kind": book.run_kind,
        "date": book.date,
        "participation": participation,
        "known_weight": float(gross[inside].sum()),
        "unknown_weight": float(gross[~inside].sum()),
    }
    if inside.any():
        names = [name for name in book.ids if name in volume]
        value = gross[inside] * nav
        capacity = participation * np.array([volume[name] for name in names])
        for share in SHARES:
            row[f"days_{round(100 * share)}"] = days_to_sell(value, capacity, share)
        row["slowest"] = names[int(np.argmax(value / capacity))]
    return row
