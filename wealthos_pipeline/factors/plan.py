"""From trees to a plan: every distinct sub-expression once, in order, with how far back it is needed.

Levels: a cross-sectional operator needs all names of a date, so it ends a level; within a level each
block of instruments is computed on its own. What ``Mask`` computes of another instrument is a plan of
its own and a leaf of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wealthos_pipeline.factors import costs, expression
from wealthos_pipeline.factors.expression import Node, walk
from wealthos_pipeline.factors.operators import EXPANDING, OPERATORS


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan.

    args: indices of the steps that it reads. level: 0 where no cross-section is below it.
    history: sessions before the first date asked for at which its values are still needed.
    lookback: sessions of input before a date that its value depends on.
    """

    node: Node
    args: tuple[int, ...]
    level: int
    history: int
    lookback: int

    @property
    def is_cross(self) -> bool:
        return self.node.op in OPERATORS and OPERATORS[self.node.op].kind == "cross"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which each follows what it reads; outputs: name → step."""

    steps: tuple[Step, ...]
    outputs: Mapping[str, int]

    @property
    def levels(self) -> int:
        return 1 + max((s.level for s in self.steps), default=0)

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(f for i in self.outputs.values()
                         for f in expression.fields(self.steps[i].node))  # fmt: skip

    def needed(self, targets: list[int], given: frozenset[int]) -> list[int]:
        """Steps to compute for ``targets`` when ``given`` are there already, in order."""
        want: set[int] = set()
        stack = [t for t in targets if t not in given]
        while stack:
            i = stack.pop()
            if i not in want:
                want.add(i)
                stack.extend(a for a in self.steps[i].args if a not in given and a not in want)
        return sorted(want)


def plan(trees: Mapping[str, Node]) -> Plan:
    """One plan for several expressions that share what they have in common."""
    index: dict[Node, int] = {}
    nodes: list[Node] = []
    for tree in trees.values():
        for node in walk(tree, into_others=False):
            if node not in index:
                index[node] = len(nodes)
                nodes.append(node)
    args = [tuple(index[a] for a in n.args) if n.op != "Mask" else () for n in nodes]
    level = [0] * len(nodes)
    back = [0] * len(nodes)
    for i, n in enumerate(nodes):
        crosses = n.op in OPERATORS and OPERATORS[n.op].kind == "cross"
        level[i] = max((level[a] for a in args[i]), default=0) + crosses
        if n.op == "Mask":
            back[i] = expression.lookback(n)
            continue
        market = n.op == "Field" and n.params[0] == "market_ret"
        back[i] = min(EXPANDING, n.reach + market + max((back[a] for a in args[i]), default=0))
    history = [0] * len(nodes)
    for i in range(len(nodes) - 1, -1, -1):
        for a in args[i]:
            history[a] = min(EXPANDING, max(history[a], history[i] + nodes[i].reach))
    steps = tuple(Step(n, args[i], level[i], history[i], back[i]) for i, n in enumerate(nodes))
    return Plan(steps, {name: index[tree] for name, tree in trees.items()})


@dataclass(frozen=True, slots=True)
class Row:
    """One step in words.

    step: its number. op, args: as written, ``#k`` for what another step gives. lookback: sessions of
    input before a date; None is all of history. shared: steps and results that use it. fields: price
    fields below it. outputs: names of the results that it is. cost, floor: nanoseconds a cell on one
    core, estimated and at least (``costs``).
    """

    step: int
    op: str
    args: tuple[str, ...]
    lookback: int | None
    shared: int
    fields: tuple[str, ...]
    outputs: tuple[str, ...]
    all_names: bool
    cost: float
    floor: float

    @property
    def words(self) -> str:
        return f"{self.op}({', '.join(self.args)})" if self.args else self.op


def rows(trees: Mapping[str, Node]) -> tuple[Row, ...]:
    """The plan as rows, constants left out."""
    p = plan(trees)
    users = [0] * len(p.steps)
    for s in p.steps:
        for a in set(s.args):
            users[a] += 1
    names: dict[int, list[str]] = {}
    for name, i in p.outputs.items():
        names.setdefault(i, []).append(name)
        users[i] += 1
    out, walks = [], set()
    for i, s in enumerate(p.steps):
        node = s.node
        if node.op == "Const":
            continue
        leaf = node.op in ("Field", "Label")
        inside = [f"#{a}" if p.steps[a].node.args else str(p.steps[a].node) for a in s.args]
        inside += [str(a) for a in node.args] if node.op == "Mask" else []
        inside += [] if leaf else node.literals
        walk_ = costs.walk_of(node)
        joined = walk_ is not None and walk_ in walks
        walks.add(walk_)
        out.append(
            Row(
                step=i,
                op=str(node) if leaf else node.op,
                args=tuple(inside),
                lookback=None if s.lookback >= EXPANDING else s.lookback,
                shared=users[i],
                fields=tuple(sorted(expression.fields(node))),
                outputs=tuple(names.get(i, ())),
                all_names=s.is_cross,
                cost=costs.JOINED if joined else costs.nanoseconds(node),
                floor=costs.floor(node),
            )
        )
    return tuple(out)


def explain(trees: Mapping[str, Node]) -> str:
    """The plan in words: one line a distinct sub-expression, with what shares it."""
    p, table = plan(trees), rows(trees)
    back = max((expression.lookback(t) for t in trees.values()), default=0)
    history = "all of history" if back >= EXPANDING else f"{back} sessions"
    total = sum(r.cost for r in table)
    head = (
        f"{len(p.steps)} steps, lookback {history}, "
        f"fields {', '.join('$' + f for f in sorted(p.fields)) or 'none'}; "
        f"about {total:.3g} ns a bar on one core, {total / 1000:.2g} s for a million"
    )
    return "\n".join([head, *map(_line, table)])


def _line(row: Row) -> str:
    notes = ["all of history" if row.lookback is None else f"lookback {row.lookback}"]
    notes = notes if row.lookback != 0 else []
    notes += [f"shared by {row.shared}"] if row.shared > 1 else []
    notes += ["all names of the date"] if row.all_names else []
    notes += [f"{row.cost:.3g} ns"]
    notes += [f"→ {', '.join(row.outputs)}"] if row.outputs else []
    return f"#{row.step} {row.words}  {'; '.join(notes)}"
