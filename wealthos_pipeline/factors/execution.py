"""Executes a plan over a panel: level by level, block by block, a thread a block.

A block of instruments goes through all steps of a level while its arrays are in the cache;
cross-sections join the blocks. What a value is depends on neither blocks nor threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from wealthos_pipeline.factors import sections
from wealthos_pipeline.factors.expression import Node
from wealthos_pipeline.factors.kernels import kernel_of
from wealthos_pipeline.factors.operators import OPERATORS, decay_keep, decay_length
from wealthos_pipeline.factors.panel import Panel, Vector
from wealthos_pipeline.factors.plan import Plan


class Surroundings(Protocol):
    """What is the same for every instrument, by slot from ``first`` on, and the budgets."""

    first: int
    threads: int
    block_cells: int

    def known(self, key: tuple[str, str]) -> Vector: ...

    def market_return(self) -> Vector: ...

    def leaf(self, panel: Panel, node: Node) -> Vector:
        """A ``Label`` or ``Statement`` for every row of the panel, Float64."""
        ...

    def other(self, node: Node) -> Vector:
        """A ``Mask``: what one instrument has, for every name."""
        ...


@dataclass
class Execution:
    """One plan over one panel.

    need: first slot asked for; None is all. cross: whole-panel results of cross-sectional steps.
    """

    plan: Plan
    panel: Panel
    around: Surroundings
    need: int | None = None
    cross: dict[int, Vector] = field(default_factory=dict)

    def run(
        self,
        *,
        into_rows: Mapping[int, np.ndarray] | None = None,
        begin: int = 0,
        into_cells: Mapping[int, Vector] | None = None,
    ) -> None:
        """Level by level: blocks of instruments, then the cross-sections that end the level."""
        steps = self.plan.steps
        wanted = {**(into_rows or {}), **(into_cells or {})}
        if not self.panel.ids:
            return
        for level in range(self.plan.levels):
            ending = [i for i, s in enumerate(steps) if s.is_cross and s.level == level + 1]
            whole: dict[int, Vector] = {
                a: np.full(int(self.panel.off[-1]), np.nan)
                for i in ending
                for a in steps[i].args
                if a not in self.cross
            }
            ready = [i for i in wanted if steps[i].level == level]
            self._blocks(
                {**whole, **{i: into_cells[i] for i in ready if into_cells and i in into_cells}},
                {i: into_rows[i] for i in ready if into_rows and i in into_rows},
                begin,
            )
            for i in ending:
                inputs = [self.cross[a] if a in self.cross else whole[a] for a in steps[i].args]
                need = None if self.need is None else self.need - steps[i].history
                self.cross[i] = sections.join(
                    steps[i].node, inputs, self.panel, need, self.around.threads
                )

    def _blocks(
        self, cells: Mapping[int, Vector], rows: Mapping[int, np.ndarray], begin: int
    ) -> None:
        from wealthos_pipeline.factors.kernels.rows import store

        targets = [*cells, *(i for i in rows if i not in cells)]
        if not targets:
            return
        todo = self.plan.needed(targets, frozenset(self.cross))
        self._prepare(todo)
        cell_of_row = self.panel.cell

        bundles = _bundles(self.plan, todo)
        last_use = {a: i for i in todo for a in self.plan.steps[i].args}

        def one(block: tuple[int, int]) -> None:
            _Block(self, *block, cell_of_row, begin, store).run(
                todo, bundles, last_use, cells, rows
            )

        blocks = self.panel.blocks(self.around.block_cells)
        if self.around.threads == 1 or len(blocks) == 1:
            for block in blocks:
                one(block)
        else:
            with ThreadPoolExecutor(self.around.threads) as pool:
                list(pool.map(one, blocks))

    def _prepare(self, todo: list[int]) -> None:
        """Load kernels and shared inputs before threads start."""
        for i in todo:
            node = self.plan.steps[i].node
            if node.op == "Mask":
                self.around.other(node)
            elif node.op in OPERATORS:
                kernel_of(node.op)
            elif node.op == "Series":
                self.around.known((str(node.params[0]), str(node.params[1])))
            elif node.op == "Field" and node.params[0] == "market_ret":
                self.around.market_return()
            elif node.op in ("Label", "Statement"):
                self.around.leaf(self.panel, node)
        nodes = [self.plan.steps[i].node for i in todo]
        names = {str(n.params[0]) for n in nodes if n.op == "Field"}
        self.panel.prepare(sorted(names - {"market_ret"}))


class _Block:
    """Some instruments' cells on their way through the steps of a level."""

    def __init__(
        self,
        run: Execution,
        i0: int,
        i1: int,
        cell_of_row: Any,
        begin: int,
        store: Callable[..., None],
    ) -> None:
        panel = run.panel
        self.plan, self.panel, self.around = run.plan, panel, run.around
        self.cross, self.need, self.store = run.cross, run.need, store
        self.begin, self.end = int(panel.off[i0]), int(panel.off[i1])
        self.off = panel.off[i0 : i1 + 1] - self.begin
        self.lo = panel.lo[i0:i1].copy()
        self.size = self.end - self.begin
        self.values: dict[int, Vector | float] = {}
        # in order of date, so that neighbours are written together
        self.rows = np.sort(panel.by_code[panel.row_off[i0] : panel.row_off[i1]])
        self.cells = cell_of_row[self.rows] - self.begin
        first = int(np.searchsorted(self.rows, begin))
        self.kept, self.kept_cells = self.rows[first:] - begin, self.cells[first:].copy()

    def run(
        self,
        todo: list[int],
        bundles: Mapping[int, list[int]],
        last_use: Mapping[int, int],
        cells: Mapping[int, Vector],
        rows: Mapping[int, np.ndarray],
    ) -> None:
        """Every step; what is wanted goes to ``cells`` and ``rows`` as soon as it is known."""
        steps, values = self.plan.steps, self.values
        given = [i for i in {*cells, *rows} if i in self.cross]
        with np.errstate(all="ignore"):
            for i in [*given, *todo]:
                if i not in values and i not in self.cross:
                    self._compute(i, bundles)
                if i in cells:
                    cells[i][self.begin : self.end] = self._vector(i)
                if i in rows:
                    self.store(self._vector(i), self.kept_cells, self.kept, rows[i])
                if i not in last_use:
                    values.pop(i, None)
                for a in steps[i].args if i in todo else ():
                    if last_use[a] == i:
                        values.pop(a, None)

    def _operand(self, i: int) -> Vector | float:
        return self.cross[i][self.begin : self.end] if i in self.cross else self.values[i]

    def _vector(self, i: int) -> Vector:
        v = self._operand(i)
        return v if isinstance(v, np.ndarray) else np.full(self.size, v)

    def _compute(self, i: int, bundles: Mapping[int, list[int]]) -> None:
        step = self.plan.steps[i]
        node = step.node
        if node.op == "Const":
            self.values[i] = float(node.params[0])
        elif node.op == "Field" and node.params[0] != "market_ret":
            self.values[i] = self._spread(self.panel.values(str(node.params[0])))
        elif node.op in ("Label", "Statement"):
            self.values[i] = self._spread(self.around.leaf(self.panel, node))
        elif node.op in ("Field", "Series", "Mask"):
            self.values[i] = self._by_slot(node)
        elif OPERATORS[node.op].kind == "element":
            operands = [self._operand(a) for a in step.args]
            if not any(isinstance(v, np.ndarray) for v in operands):
                operands[0] = np.full(self.size, operands[0])
            self.values[i] = kernel_of(node.op)(*operands)
        elif OPERATORS[node.op].kind == "window":
            self._windows(bundles[i])
        else:
            out = np.empty(self.size)
            inputs = [self._vector(a) for a in step.args]
            need = -1 if self.need is None else self.need - step.history
            _call(node, inputs, self.off, self.lo, need, out)
            self.values[i] = out

    def _windows(self, bundle: list[int]) -> None:
        """Steps that one walk over the windows gives together."""
        steps = [self.plan.steps[i] for i in bundle]
        node = steps[0].node
        # 0 is everything so far: one block from slot 0 on, longer than the calendar, never left
        window = int(node.params[0]) or int((self.lo + np.diff(self.off)).max()) + 1
        need = -1 if self.need is None else self.need - max(s.history for s in steps)
        asked = np.array([_asked(s.node) for s in steps])
        out = np.empty((len(bundle), self.size))
        inputs = [self._vector(a) for a in steps[0].args]
        kernel_of(node.op)(*inputs, self.off, self.lo, need, window, asked, out)
        self.values.update(zip(bundle, out, strict=True))

    def _spread(self, by_row: Vector) -> Vector:
        """Values of the panel's rows in their cells."""
        out = np.full(self.size, np.nan)
        out[self.cells] = by_row[self.rows]
        return out

    def _by_slot(self, node: Node) -> Vector:
        """A market-wide value for every cell."""
        if node.op == "Series":
            source = self.around.known((str(node.params[0]), str(node.params[1])))
        elif node.op == "Mask":
            source = self.around.other(node)
        else:
            source = self.around.market_return()
        off, lo = self.off, self.lo
        at = np.arange(off[-1]) - np.repeat(off[:-1] - lo, np.diff(off)) - self.around.first
        out = np.full(len(at), np.nan)
        inside = (at >= 0) & (at < len(source))
        out[inside] = source[at[inside]]
        return out


def _bundles(plan: Plan, todo: list[int]) -> dict[int, list[int]]:
    """Step → the windowed steps that share its walk: one kernel, the same inputs and window."""
    shared: dict[tuple[object, ...], list[int]] = {}
    for i in todo:
        step = plan.steps[i]
        operator = OPERATORS.get(step.node.op)
        if operator is not None and operator.kind == "window":
            lowest = operator.kernel == "order:extremes" and operator.mode % 2
            key = (operator.kernel, lowest, step.args, step.node.params[0])
            shared.setdefault(key, []).append(i)
    return {i: bundle for bundle in shared.values() for i in bundle}


def _asked(node: Node) -> tuple[float, float, float]:
    """Mode, least observations and the statistic's own parameter."""
    own = 0.5 if node.op == "Med" else float(node.params[1]) if len(node.params) > 2 else 0.0
    return float(OPERATORS[node.op].mode), float(node.params[-1]), own


def _call(node: Node, inputs: list[Vector], off: Any, lo: Any, need: int, out: Vector) -> None:
    """A shift or a decay over a block."""
    kernel = kernel_of(node.op)
    operator = OPERATORS[node.op]
    params = [float(p) for p in node.params]
    if params[0] == 0:
        from wealthos_pipeline.factors.kernels import expanding

        if operator.kind == "shift":
            expanding.first(*inputs, off, operator.mode, out)
        else:
            expanding.exponential(*inputs, off, lo, need, int(params[-1]), out)
    elif operator.kind == "shift":
        kernel(*inputs, off, int(params[0]), operator.mode, out)
    else:
        span, least = params
        kernel(*inputs, off, lo, need, decay_length(span), int(least), decay_keep(span), out)


def float32(values: Vector) -> np.ndarray:
    """Rounded once; what overflows is missing."""
    with np.errstate(all="ignore"):
        out = values.astype(np.float32)
    out[~np.isfinite(out)] = np.nan
    return out
