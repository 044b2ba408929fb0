"""Runs factor definitions over a price panel, in full or for some dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import groups, masks, statements
from wealthos_pipeline.factors.execution import Execution, float32
from wealthos_pipeline.factors.expression import Node, fields, parse
from wealthos_pipeline.factors.expression import lookback as lookback_of
from wealthos_pipeline.factors.expression import series as series_of
from wealthos_pipeline.factors.functions import called, frame_of
from wealthos_pipeline.factors.library import SERIES_FILL_SESSIONS, Family
from wealthos_pipeline.factors.panel import Panel, Vector, known_by_slot, layout
from wealthos_pipeline.factors.plan import Plan, plan

MARKET = "market"
"""Identity of factors that the equities have as a whole (``Factor.target``, no series read)."""

BLOCK_CELLS = 40_960
"""Cells of a block of instruments: a third of a megabyte an array."""


def compute(
    family: Family,
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    statements: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
    block_cells: int = BLOCK_CELLS,
) -> pl.DataFrame:
    """Values of one family: ``date, instrument_id`` and a Float32 column a factor.

    prices: ``clean.prices`` of all asset classes, reaching back ``family.lookback`` sessions before
    ``start`` (further does no harm). series: ``clean.series`` likewise. instruments:
    ``clean.instruments``; without it every instrument is an equity listed at its first bar given.
    statements: ``clean.fundamentals``, every version.

    Rows: one where the instrument has a bar on a date ≥ ``start`` (None: all). A factor that reads
    no price of an instrument has the identity ``series:<first series it reads>`` and a row on every
    session on which that series is known; one with a ``target`` that reads no series is the same for
    all equities and has the identity ``market``. Null: the input is missing, the window has too few
    observations, or the result is not a finite number. The bits depend on the inputs within the
    lookback alone: not on ``start``, threads, blocks or the order of rows.
    """
    return compute_all(
        [family],
        prices,
        series,
        instruments=instruments,
        statements=statements,
        calendar=calendar,
        start=start,
        threads=threads,
        block_cells=block_cells,
    )[family.table]


def compute_all(
    families: Sequence[Family],
    prices: pl.DataFrame,
    series: pl.DataFrame | None,
    *,
    instruments: pl.DataFrame | None = None,
    statements: pl.DataFrame | None = None,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
    block_cells: int = BLOCK_CELLS,
) -> dict[str, pl.DataFrame]:
    """Values of several families by table name; the panel is laid out once. See ``compute``."""
    lookback = max((f.lookback for f in families), default=0)
    market = _Market(
        prices, series, instruments, statements, calendar, start, lookback, threads, block_cells
    )
    return {f.table: f.contract.conform(_family(f, market)) for f in families}


def values(
    trees: Mapping[str, Node],
    prices: pl.DataFrame,
    series: pl.DataFrame | None = None,
    *,
    calendar: TradingCalendar,
    start: date | None = None,
    threads: int | None = None,
    block_cells: int = BLOCK_CELLS,
) -> pl.DataFrame:
    """Parsed expressions over a panel of equities: ``date, instrument_id`` and a Float32 column each.

    See ``compute``; ``tables.evaluate`` is what people call.
    """
    back = max((lookback_of(t) for t in trees.values()), default=0)
    back += SERIES_FILL_SESSIONS if any(map(series_of, trees.values())) else 0
    market = _Market(prices, series, None, None, calendar, start, back, threads, block_cells)
    return _of_instruments(AssetClass.EQUITY, trees, [], market)


def evaluate(
    expressions: Mapping[str, str],
    prices: pl.DataFrame,
    series: pl.DataFrame | None = None,
    **more: Any,
) -> pl.DataFrame:
    """``values`` of expressions as text, over ``clean.prices``; a column that is not there is null."""
    return values(
        {name: parse(text, name) for name, text in expressions.items()}, prices, series, **more
    )


class _Market:
    """The inputs of one call, laid out once and shared by its families."""

    def __init__(
        self,
        prices: pl.DataFrame,
        series: pl.DataFrame | None,
        instruments: pl.DataFrame | None,
        statements: pl.DataFrame | None,
        calendar: TradingCalendar,
        start: date | None,
        lookback: int,
        threads: int | None,
        block_cells: int,
    ) -> None:
        self.prices, self.series, self.instruments = prices, series, instruments
        self.statements = statements
        self.calendar, self.start, self.lookback = calendar, start, lookback
        self.threads = _default_threads() if threads is None else max(1, threads)
        self.block_cells = block_cells
        self.first_row = -1
        self.first_bar = 0
        if start is not None:
            self.first_row = calendar.slot(start) + (0 if calendar.is_session(start) else 1)
        self._panels: dict[AssetClass, Panel] = {}
        self._returns: tuple[int, Vector] | None = None
        self._series: dict[tuple[str, str], Vector] = {}
        self._leaves: dict[tuple[int, Node], tuple[Panel, Vector]] = {}
        self._others: dict[Node, Vector] = {}
        self.first, self.last = self._range()

    def _range(self) -> tuple[int, int]:
        """First slot at which anything may be needed, last slot with a bar."""
        days = self.prices["date"]
        if days.is_empty():
            return 0, -1
        last = self.calendar.slot(days.max())  # type: ignore[arg-type]
        begin = self.calendar.slot(days.min())  # type: ignore[arg-type]
        self.first_bar = begin
        return max(0, max(begin, self.first_row) - self.lookback), last

    def panel(self, asset_class: AssetClass) -> Panel:
        """The instruments of one class."""
        if asset_class not in self._panels:
            rows, listed = self.prices, self.listed()
            if self.instruments is not None:
                of_class = self.instruments.filter(pl.col("asset_class") == asset_class.value)
                rows = rows.join(
                    of_class.select("instrument_id").unique(), on="instrument_id", how="semi"
                )
            elif asset_class is not AssetClass.EQUITY:
                rows = rows.clear()
            self._panels[asset_class] = layout(
                rows, self.calendar, listed=listed, start=self.start, lookback=self.lookback
            )
        return self._panels[asset_class]

    def listed(self) -> dict[str, date] | None:
        """First session by instrument, where it is known."""
        if self.instruments is None:
            return None
        first = self.instruments.group_by("instrument_id").agg(pl.col("valid_from").min())
        return {str(i): d for i, d in first.iter_rows()}

    def market_return(self) -> Vector:
        """Mean return of the equities that have one, for the slots ``first`` to ``last``."""
        if self._returns is None:
            from wealthos_pipeline.factors.kernels.cross import mean_by_slot

            panel = self.panel(AssetClass.EQUITY)
            mean = np.full(self.last - self.first + 1, np.nan)
            if panel.ids:
                p = plan({"ret": parse("$ret")})
                cells = np.full(int(panel.off[-1]), np.nan)
                Execution(p, panel, self).run(into_cells={p.outputs["ret"]: cells})
                count = np.zeros(len(mean), np.int64)
                mean_by_slot(cells, panel.off, panel.lo, self.first, mean, count)
            self._returns = (self.first, mean)
        return self._returns[1]

    def known(self, key: tuple[str, str]) -> Vector:
        """A series as known, for the slots ``first`` to ``last``."""
        if key not in self._series:
            if self.series is None:
                self._series[key] = np.full(self.last - self.first + 1, np.nan)
            else:
                self._series[key] = known_by_slot(
                    self.series, *key, self.calendar, self.first, self.last
                )
        return self._series[key]

    def leaf(self, panel: Panel, node: Node) -> Vector:
        """A ``Label`` or ``Statement`` for every row of ``panel``."""
        key = (id(panel), node)
        if key not in self._leaves:
            if node.op == "Statement":
                metric, period = map(str, node.params)
                found = statements.by_row(
                    self.statements, panel.frame, metric, period, self.calendar,
                    instruments=self.instruments,
                )  # fmt: skip
            else:
                found = groups.by_row(panel.frame, self.instruments, str(node.params[0]))
            self._leaves[key] = (panel, found)
        return self._leaves[key][1]

    def other(self, node: Node) -> Vector:
        """What one instrument has (``Mask``), for the slots ``first`` to ``last``."""
        if node not in self._others:
            self._others[node] = masks.by_slot(node, self)
        return self._others[node]


def _default_threads() -> int:
    from numba import get_num_threads

    return int(get_num_threads())


def _family(family: Family, market: _Market) -> pl.DataFrame:
    """Rows of a family: those of instruments, then those of series."""
    priced: dict[str, Node] = {}
    keyed: dict[str, dict[str, Node]] = {}
    shared: dict[str, Node] = {}
    targets = {f.name: f.target for f in family.factors}
    for name, tree in family.trees.items():
        if targets[name] and not series_of(tree):
            shared[name] = tree
        elif fields(tree) - {"market_ret"} or not series_of(tree):
            priced[name] = tree
        else:
            keyed.setdefault(series_of(tree)[0][0], {})[name] = tree
    parts: list[pl.DataFrame] = []
    functions = [f for f in family.factors if f.function is not None]
    if priced or functions:
        parts.append(_of_instruments(family.asset_class, priced, functions, market))
    parts.extend(_of_series(name, trees, market) for name, trees in keyed.items())
    if shared:
        parts.append(_of_market(shared, market))
    return pl.concat(parts, how="diagonal") if parts else family.contract.empty()


def _of_instruments(
    asset_class: AssetClass, trees: Mapping[str, Node], functions: list[Factor], market: _Market
) -> pl.DataFrame:
    panel = market.panel(asset_class)
    begin = int(np.searchsorted(panel.slot, market.first_row))
    rows = panel.frame[begin:].select("date", "instrument_id")
    if trees:
        p = plan(trees)
        columns = _columns(p, panel, market, begin)
        rows = rows.with_columns(
            pl.Series(name, columns[i], nan_to_null=True) for name, i in p.outputs.items()
        )
    if functions:
        frame = frame_of(panel)
        for factor in functions:
            rows = rows.join(
                called(factor, frame),
                on=["date", "instrument_id"],
                how="left",
                maintain_order="left",
            )
    return rows


def _of_series(name: str, trees: Mapping[str, Node], market: _Market) -> pl.DataFrame:
    """Factors of the identity ``series:<name>``: rows on the sessions on which it is known."""
    size = market.last - market.first + 1
    keys = sorted({k for t in trees.values() for k in series_of(t) if k[0] == name})
    known = np.zeros(max(size, 0), bool)
    for key in keys:
        known |= ~np.isnan(market.known(key)) if size > 0 else known
    slots = market.first + np.arange(max(size, 0))
    kept = np.flatnonzero(
        known & (slots >= max(market.first_row, market.first_bar if size > 0 else 0))
    )
    days = market.calendar.frame().select("date", pl.col("slot").cast(pl.Int64))
    rows = pl.DataFrame({"slot": slots[kept]}).join(
        days, on="slot", how="left", maintain_order="left"
    )
    rows = rows.select("date", pl.lit(f"series:{name}").alias("instrument_id"))
    if rows.is_empty():
        return rows
    one = Panel(
        frame=rows.clear(),
        ids=[f"series:{name}"],
        code=np.zeros(0, np.int64),
        slot=np.zeros(0, np.int64),
        off=np.array([0, size], np.int64),
        lo=np.array([market.first], np.int64),
        by_code=np.zeros(0, np.int64),
        row_off=np.zeros(2, np.int64),
    )
    p = plan(trees)
    cells = {i: np.full(size, np.nan) for i in set(p.outputs.values())}
    Execution(p, one, market).run(into_cells=cells)
    return rows.with_columns(
        pl.Series(n, float32(cells[i][kept]), nan_to_null=True) for n, i in p.outputs.items()
    )


def _of_market(trees: Mapping[str, Node], market: _Market) -> pl.DataFrame:
    """Cross-sections of the equities that are the same for every name: one row a date, ``market``."""
    rows = _of_instruments(AssetClass.EQUITY, trees, [], market)
    first = rows.group_by("date", maintain_order=True).agg(
        pl.col(n).drop_nulls().first() for n in trees
    )
    return first.select("date", pl.lit(MARKET).alias("instrument_id"), *trees)


def _columns(p: Plan, panel: Panel, market: _Market, begin: int) -> dict[int, np.ndarray]:
    """Step → Float32 values of the rows from ``begin`` on."""
    out = {i: np.empty(len(panel.slot) - begin, np.float32) for i in p.outputs.values()}
    need = market.first_row if market.first_row >= 0 else None
    Execution(p, panel, market, need).run(into_rows=out, begin=begin)
    return out
