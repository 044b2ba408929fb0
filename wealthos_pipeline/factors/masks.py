"""What another instrument has: ``Mask(x, 'name')``, the same for every name of a session."""

from __future__ import annotations

import logging
from datetime import date
from typing import Protocol

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.execution import Execution, Surroundings
from wealthos_pipeline.factors.expression import Node
from wealthos_pipeline.factors.groups import meant
from wealthos_pipeline.factors.operators import nearest
from wealthos_pipeline.factors.panel import Panel, Vector, layout
from wealthos_pipeline.factors.plan import plan

log = logging.getLogger(__name__)


class Market(Surroundings, Protocol):
    """The inputs of one computation, all asset classes."""

    last: int
    lookback: int
    prices: pl.DataFrame
    instruments: pl.DataFrame | None
    calendar: TradingCalendar
    start: date | None

    def panel(self, asset_class: AssetClass) -> Panel: ...

    def listed(self) -> dict[str, date] | None: ...


def by_slot(node: Node, market: Market) -> Vector:
    """``x`` of the instrument that ``Mask`` names, for the slots ``first`` to ``last``.

    Computed over that instrument alone (over its asset class where x has a cross-section), with the
    windows of the instrument itself. NaN on sessions on which it has no bar, and where nobody has the
    name (a warning says so). A window could give a value on such a session, but only until the last
    bar: whether one follows is not known on the day.
    """
    tree, name = node.args[0], str(node.params[0])
    out = np.full(market.last - market.first + 1, np.nan)
    ids = market.prices["instrument_id"].unique().to_list()
    spans = meant(name, ids, market.instruments)
    if not spans:
        log.warning(
            "no instrument has the identity or the symbol %r%s; what reads it is null",
            name, nearest(name, _names(ids, market.instruments)),
        )  # fmt: skip
    for instrument, first, last in spans:
        found = _cells(tree, instrument, market)
        if found is None:
            continue
        lo, values = found
        days = market.calendar.frame().filter(pl.col("date").is_between(first, last))["slot"]
        if days.is_empty():
            continue
        begin = max(market.first, lo, int(days[0]))
        end = min(market.last + 1, lo + len(values), int(days[-1]) + 1)
        if end > begin:
            out[begin - market.first : end - market.first] = values[begin - lo : end - lo]
    return out


def _cells(tree: Node, instrument: str, market: Market) -> tuple[int, Vector] | None:
    """First slot and values of the cells of one instrument; None where it has no bar."""
    p = plan({"x": tree})
    if p.levels > 1:
        panel = market.panel(_class_of(instrument, market.instruments))
        if instrument not in panel.ids:
            return None
    else:
        rows = market.prices.filter(pl.col("instrument_id") == instrument)
        if rows.is_empty():
            return None
        # windows are cut where those of the whole panel are
        start, back = (market.start, market.lookback) if market.start else (
            market.prices["date"].min(), 0)  # fmt: skip
        panel = layout(
            rows, market.calendar, listed=market.listed(), start=start, lookback=back,  # type: ignore[arg-type]
        )  # fmt: skip
    cells = np.full(int(panel.off[-1]), np.nan)
    Execution(p, panel, market).run(into_cells={p.outputs["x"]: cells})
    bars = np.zeros(len(cells), bool)
    bars[panel.cell] = True
    cells[~bars] = np.nan
    i = panel.ids.index(instrument)
    return int(panel.lo[i]), cells[panel.off[i] : panel.off[i + 1]]


def _class_of(instrument: str, instruments: pl.DataFrame | None) -> AssetClass:
    if instruments is None:
        return AssetClass.EQUITY
    of = instruments.filter(pl.col("instrument_id") == instrument)["asset_class"]
    return AssetClass(of[-1]) if len(of) else AssetClass.EQUITY


def _names(ids: list[str], instruments: pl.DataFrame | None) -> list[str]:
    known = [] if instruments is None or "symbol" not in instruments.columns else (
        instruments["symbol"].unique().to_list())  # fmt: skip
    return sorted({*ids, *known})
