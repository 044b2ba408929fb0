"""The factor language as trees: what an expression is, what it reads, how far back it looks.

``docs/factors/language.md`` is its reference; ``parser.py`` reads text, ``operators.py`` lists the words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from wealthos_pipeline.factors.operators import EXPANDING, OPERATORS

Literal = float | str


@dataclass(frozen=True, slots=True)
class Node:
    """One node. Leaves: ``Const`` (value), ``Field`` (name), ``Series`` (name, tenor), ``Statement``
    (metric, period) and ``Label`` (name of a group).

    Window operators carry ``min_periods`` as their last parameter; a ``Label`` among the arguments is
    the group; ``Mask`` carries the instrument.
    """

    op: str
    args: tuple[Node, ...] = ()
    params: tuple[Literal, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.op, self.args, self.params)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return Node, (self.op, self.args, self.params)

    def __str__(self) -> str:
        """As it can be read again, operators as functions."""
        if self.op in ("Field", "Label", "Const"):
            return f"${self.params[0]}" if self.op == "Field" else _written(self.params[0])
        return f"{self.op}({', '.join([*map(str, self.args), *self.literals])})"

    @property
    def literals(self) -> list[str]:
        """The parameters as written; ``min_periods`` only where it asks for more than the statistic."""
        operator = OPERATORS.get(self.op)
        if operator is None or not operator.windowed:
            return [repr(p) if isinstance(p, str) else _written(p) for p in self.params]
        more = self.params[-1] != operator.least
        words = [_written(p) for p in self.params[:-1]]
        return [*words, f"min_periods={_written(self.params[-1])}"] if more else words

    @property
    def reach(self) -> int:
        """Sessions before today that this operator alone looks at."""
        operator = OPERATORS.get(self.op)
        if operator is None or operator.kind == "other":
            return 0
        return operator.reach(tuple(float(p) for p in self.params))


def _written(value: Literal) -> str:
    if isinstance(value, str):
        return value
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def walk(node: Node, *, into_others: bool = True) -> Iterator[Node]:
    """Every distinct node below and including ``node``, children first.

    into_others: also what ``Mask`` computes for another instrument.
    """
    seen: set[Node] = set()
    stack = [(node, False)]
    while stack:
        n, done = stack.pop()
        if n in seen:
            continue
        if done:
            seen.add(n)
            yield n
            continue
        stack.append((n, True))
        if into_others or n.op != "Mask":
            stack.extend((a, False) for a in reversed(n.args))


def lookback(node: Node) -> int:
    """Sessions of history needed before the date; ``EXPANDING`` is all of it."""
    need: dict[Node, int] = {}
    for n in walk(node):
        extra = 1 if n.op == "Field" and n.params[0] == "market_ret" else 0
        need[n] = n.reach + extra + max((need[a] for a in n.args), default=0)
    return min(need[node], EXPANDING)


def fields(node: Node) -> frozenset[str]:
    """Names of the price fields that an expression reads."""
    return frozenset(str(n.params[0]) for n in walk(node) if n.op == "Field")


def series(node: Node) -> tuple[tuple[str, str], ...]:
    """``(series, tenor)`` that an expression reads, in reading order."""
    return _pairs(node, "Series")


def statements(node: Node) -> tuple[tuple[str, str], ...]:
    """``(metric, period)`` of the reports that an expression reads, in reading order."""
    return _pairs(node, "Statement")


def labels(node: Node) -> frozenset[str]:
    """Groups that an expression needs, e.g. ``sector``."""
    return frozenset(str(n.params[0]) for n in walk(node) if n.op == "Label")


def others(node: Node) -> frozenset[str]:
    """Instruments that an expression names in ``Mask``."""
    return frozenset(str(n.params[0]) for n in walk(node) if n.op == "Mask")


def _pairs(node: Node, op: str) -> tuple[tuple[str, str], ...]:
    return tuple((str(n.params[0]), str(n.params[1])) for n in walk(node) if n.op == op)


def parse(text: str, name: str = "expression", fields: Collection[str] | None = None) -> Node:
    """``text`` as a tree. FactorError shows the place with a caret and what was expected.

    fields: names that may follow ``$`` besides ``FIELDS`` (columns of a plain table); where one is in
    both, it means the column as it is.
    """
    from wealthos_pipeline.factors.parser import Parser

    return Parser(text, name, frozenset(fields or ())).parse()
