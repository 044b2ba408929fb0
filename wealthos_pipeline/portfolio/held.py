"""What a portfolio held at the close of each session, as weights: what risk and attribution start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.accounts import Marks
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.problem import Floats
from wealthos_pipeline.portfolio.value_at_risk import Span, spans


@dataclass(frozen=True, eq=False)
class Held:
    """One portfolio at the closes of ``rows`` (of a Panel), after the fills of the session.

    rows: T panel rows, ascending, one a row of ``portfolio.nav``. columns: N panel columns of what it ever
    held. weights: T × N, fractions of net asset value, 0 where nothing is held. cash: T, the rest.
    nav: T, currency.
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
    """Each mandate and run kind of ``nav``, in order.

    positions: ``portfolio.positions`` from the last snapshot at or before the first date of ``nav``. nav:
    ``portfolio.nav``. PortfolioError where the panel lacks something that is held.
    """
    marks = Marks.of(panel)
    grouped: dict[tuple[str, str], list[Span]] = {}
    for piece in spans(positions, nav, panel, calendar):
        grouped.setdefault((piece.mandate, piece.run_kind), []).append(piece)
    out = []
    for (mandate, run_kind), pieces in sorted(grouped.items()):
        rows = np.concatenate([np.arange(s.start, s.stop) for s in pieces])
        columns = np.unique(np.concatenate([s.columns for s in pieces]))
        value = np.zeros((len(rows), len(columns)))
        cash = np.empty(len(rows))
        at = 0
        for s in pieces:
            n = s.stop - s.start
            where = np.searchsorted(columns, s.columns)
            value[at : at + n, where] = marks.tr[s.start : s.stop, s.columns] * s.units
            cash[at : at + n] = s.cash
            at += n
        # one name after the other: a name held at another time adds 0 and leaves the bits alone
        total = cash.copy()
        for column in value.T:
            total += column
        out.append(
            Held(mandate, run_kind, rows, columns, value / total[:, None], cash / total, total)
        )
    return out
