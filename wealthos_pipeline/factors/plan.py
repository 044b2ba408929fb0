"""From trees to a plan: every distinct sub-expression once, in order, with how far back it is needed.

Levels: a cross-sectional operator needs all names of a date, so it ends a level; within a level each
block of instruments is computed on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wealthos_pipeline.factors.expression import Node, walk
from wealthos_pipeline.factors.operators import OPERATORS


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
        return frozenset(str(s.node.params[0]) for s in self.steps if s.node.op == "Field")

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
        for node in walk(tree):
            if node not in index:
                index[node] = len(nodes)
                nodes.append(node)
    args = [tuple(index[a] for a in n.args) for n in nodes]
    level = [0] * len(nodes)
    back = [0] * len(nodes)
    for i, n in enumerate(nodes):
        crosses = n.op in OPERATORS and OPERATORS[n.op].kind == "cross"
        level[i] = max((level[a] for a in args[i]), default=0) + crosses
        market = n.op == "Field" and n.params[0] == "market_ret"
        back[i] = n.reach + market + max((back[a] for a in args[i]), default=0)
    history = [0] * len(nodes)
    for i in range(len(nodes) - 1, -1, -1):
        for a in args[i]:
            history[a] = max(history[a], history[i] + nodes[i].reach)
    steps = tuple(Step(n, args[i], level[i], history[i], back[i]) for i, n in enumerate(nodes))
    return Plan(steps, {name: index[tree] for name, tree in trees.items()})


def explain(trees: Mapping[str, Node]) -> str:
    """The plan in words: one line a distinct sub-expression, with what shares it."""
    p = plan(trees)
    users = [0] * len(p.steps)
    for s in p.steps:
        for a in s.args:
            users[a] += 1
    names: dict[int, list[str]] = {}
    for name, i in p.outputs.items():
        names.setdefault(i, []).append(name)
    lines = [f"{len(p.steps)} steps, lookback {max(s.lookback for s in p.steps)} sessions, "
             f"fields {', '.join('$' + f for f in sorted(p.fields)) or 'none'}"]  # fmt: skip
    for i, s in enumerate(p.steps):
        if s.node.op == "Const":
            continue
        words = f"#{i} {s.node.op}"
        inside = [str(p.steps[a].node) if not p.steps[a].args else f"#{a}" for a in s.args]
        inside += [f"{v:g}" if isinstance(v, float) else repr(v) for v in s.node.params]
        if inside:
            words += f"({', '.join(inside)})"
        notes = [f"lookback {s.lookback}"] if s.lookback else []
        notes += [f"shared by {users[i]}"] if users[i] > 1 else []
        notes += ["all names of the date"] if s.is_cross else []
        notes += [f"→ {', '.join(names[i])}"] if i in names else []
        lines.append(f"{words}  {'; '.join(notes)}".rstrip())
    return "\n".join(lines)
