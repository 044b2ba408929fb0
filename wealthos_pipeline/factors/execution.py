"""Executes a plan over a panel: level by level, block by block, a thread a block.

A block of instruments goes through all steps of a level while its arrays are in the cache;
cross-sections join the blocks. What a value is depends on neither blocks nor threads.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        targets = [*cells, *(i for i in rows if i not in cells)]
        if not targets:
            return
        todo = self.plan.needed(targets, frozenset(self.cross))
        self._prepare(todo)
        cell_of_row = self.panel.cell

        def one(block: tuple[int, int]) -> None:
            i0, i1 = block
            a, b = int(self.panel.off[i0]), int(self.panel.off[i1])
            mine = self.panel.by_code[self.panel.row_off[i0] : self.panel.row_off[i1]]
            values = self._block(todo, set(targets), i0, i1, mine, cell_of_row)
            for i, target in cells.items():
                target[a:b] = values[i]
            if rows:
                kept = mine[mine >= begin]
                where = cell_of_row[kept] - a
                for i, column in rows.items():
                    v = values[i]
                    column[kept - begin] = float32(
                        v[where] if isinstance(v, np.ndarray) else np.full(len(where), v)
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
            elif node.op == "Field":
                self.panel.values(str(node.params[0]))
            elif node.op in ("Label", "Statement"):
                self.around.leaf(self.panel, node)

    def _block(
        self, todo: list[int], targets: set[int], i0: int, i1: int, rows: Any, cell_of_row: Any
    ) -> dict[int, Vector | float]:
        panel, steps = self.panel, self.plan.steps
        off = panel.off[i0 : i1 + 1] - panel.off[i0]
        lo = panel.lo[i0:i1].copy()
        size = int(off[-1])
        last_use = {a: i for i in todo for a in steps[i].args}
        values: dict[int, Vector | float] = {}
        cell = cell_of_row[rows] - panel.off[i0]

        def operand(i: int) -> Vector | float:
            if i in self.cross:
                return self.cross[i][panel.off[i0] : panel.off[i1]]
            return values[i]

        def vector(i: int) -> Vector:
            v = operand(i)
            return v if isinstance(v, np.ndarray) else np.full(size, v)

        with np.errstate(all="ignore"):
            for i in todo:
                step = steps[i]
                node = step.node
                if node.op == "Const":
                    values[i] = float(node.params[0])
                elif node.op == "Field" and node.params[0] != "market_ret":
                    flat = np.full(size, np.nan)
                    flat[cell] = panel.values(str(node.params[0]))[rows]
                    values[i] = flat
                elif node.op in ("Label", "Statement"):
                    flat = np.full(size, np.nan)
                    flat[cell] = self.around.leaf(panel, node)[rows]
                    values[i] = flat
                elif node.op in ("Field", "Series", "Mask"):
                    values[i] = self._by_slot(node, off, lo)
                elif OPERATORS[node.op].kind == "element":
                    kernel = kernel_of(node.op)
                    operands = [operand(a) for a in step.args]
                    if not any(isinstance(v, np.ndarray) for v in operands):
                        operands[0] = np.full(size, operands[0])
                    values[i] = kernel(*operands)
                else:
                    out = np.empty(size)
                    inputs = [vector(a) for a in step.args]
                    need = -1 if self.need is None else self.need - step.history
                    _call(node, inputs, off, lo, need, out)
                    values[i] = out
                for a in step.args:
                    if last_use[a] == i and a not in targets:
                        values.pop(a, None)
        return {i: operand(i) for i in targets}

    def _by_slot(self, node: Node, off: Any, lo: Any) -> Vector:
        """A market-wide value for every cell of a block."""
        if node.op == "Series":
            source = self.around.known((str(node.params[0]), str(node.params[1])))
        elif node.op == "Mask":
            source = self.around.other(node)
        else:
            source = self.around.market_return()
        at = np.arange(off[-1]) - np.repeat(off[:-1] - lo, np.diff(off)) - self.around.first
        out = np.full(len(at), np.nan)
        inside = (at >= 0) & (at < len(source))
        out[inside] = source[at[inside]]
        return out


def _call(node: Node, inputs: list[Vector], off: Any, lo: Any, need: int, out: Vector) -> None:
    """One windowed kernel over a block."""
    kernel = kernel_of(node.op)
    operator = OPERATORS[node.op]
    params = [float(p) for p in node.params]
    if params[0] == 0 and operator.kind in ("shift", "decay"):
        from wealthos_pipeline.factors.kernels import expanding

        if operator.kind == "shift":
            expanding.first(*inputs, off, operator.mode, out)
        else:
            expanding.exponential(*inputs, off, lo, need, int(params[-1]), out)
        return
    # longer than the calendar: one block from slot 0 on, never left
    window = int(params[0]) or int((lo + np.diff(off)).max()) + 1
    if operator.kind == "shift":
        kernel(*inputs, off, window, operator.mode, out)
    elif operator.kind == "decay":
        span, least = params
        kernel(*inputs, off, lo, need, decay_length(span), int(least), decay_keep(span), out)
    elif node.op in ("Quantile", "Med"):
        q = params[1] if node.op == "Quantile" else 0.5
        kernel(*inputs, off, lo, need, window, int(params[-1]), q, out)
    else:
        kernel(*inputs, off, lo, need, window, int(params[-1]), operator.mode, out)


def float32(values: Vector) -> np.ndarray:
    """Rounded once; what overflows is missing."""
    with np.errstate(all="ignore"):
        out = values.astype(np.float32)
    out[~np.isfinite(out)] = np.nan
    return out
