"""The factor language: text to an immutable tree.

The grammar is Python's for expressions, with ``$field``, the operators of ``operators.py`` as
functions, ``+ - * / **``, comparisons, ``& | ~``, and ``Series('name', 'tenor')`` for a value of
``clean.series`` as known on the session. Nothing is ever evaluated by Python.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.operators import FIELDS, OPERATORS, Operator, Param, nearest

LONGEST = 20_000
"""Characters of an expression; longer ones are refused."""

Literal = float | str


@dataclass(frozen=True, slots=True)
class Node:
    """One node. Leaves are ``Const`` (value), ``Field`` (name) and ``Series`` (name, tenor).

    Window operators carry ``min_periods`` as their last parameter.
    """

    op: str
    args: tuple[Node, ...] = ()
    params: tuple[Literal, ...] = ()

    def __str__(self) -> str:
        if self.op == "Const":
            return f"{self.params[0]:g}"
        if self.op == "Field":
            return f"${self.params[0]}"
        if self.op == "Series":
            return f"Series({', '.join(map(repr, self.params))})"
        words = [*map(str, self.args), *(f"{p:g}" for p in self.params if isinstance(p, float))]
        return f"{self.op}({', '.join(words)})"

    @property
    def reach(self) -> int:
        """Sessions before today that this operator alone looks at."""
        operator = OPERATORS.get(self.op)
        return operator.reach(tuple(float(p) for p in self.params)) if operator else 0


def walk(node: Node) -> Iterator[Node]:
    """Every distinct node below and including ``node``, children first."""
    seen: set[Node] = set()

    def visit(n: Node) -> Iterator[Node]:
        if n in seen:
            return
        for a in n.args:
            yield from visit(a)
        if n not in seen:
            seen.add(n)
            yield n

    yield from visit(node)


def lookback(node: Node) -> int:
    """Sessions of history needed before the date."""
    need: dict[Node, int] = {}
    for n in walk(node):
        extra = 1 if n.op == "Field" and n.params[0] == "market_ret" else 0
        need[n] = n.reach + extra + max((need[a] for a in n.args), default=0)
    return need[node]


def fields(node: Node) -> frozenset[str]:
    """Names of the price fields that an expression reads."""
    return frozenset(str(n.params[0]) for n in walk(node) if n.op == "Field")


def series(node: Node) -> tuple[tuple[str, str], ...]:
    """``(series, tenor)`` that an expression reads, in reading order."""
    return tuple((str(n.params[0]), str(n.params[1])) for n in walk(node) if n.op == "Series")


def parse(text: str, name: str = "expression") -> Node:
    """``text`` as a tree. FactorError shows the place with a caret and what was expected."""
    return _Parser(text, name).parse()


_BINARY: dict[type[ast.AST], str] = {
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.Div: "Div",
    ast.Pow: "Power",
    ast.BitAnd: "And",
    ast.BitOr: "Or",
    ast.Gt: "Gt",
    ast.GtE: "Ge",
    ast.Lt: "Lt",
    ast.LtE: "Le",
    ast.Eq: "Eq",
    ast.NotEq: "Ne",
}


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def parse(self) -> Node:
        text = self.text
        if not text.strip():
            self._fail("the expression is empty", 0)
        if len(text) > LONGEST:
            raise FactorError(f"{self.name}: {len(text)} characters; at most {LONGEST} are read")
        if "\n" in text or "\t" in text:
            text = self.text = re.sub(r"\s", " ", text)
        self._refuse_unknown_characters()
        # "$close" becomes "_close": as long, so that columns stay, and no operator starts with "_"
        try:
            tree = ast.parse(text.replace("$", "_").lstrip(), mode="eval")
        except SyntaxError as error:
            # an expression that ends too early is reported without a place
            place = error.offset - 1 + self._indent if error.offset else len(text)
            self._fail(f"cannot be read ({error.msg})", place)
        except (RecursionError, MemoryError):
            raise FactorError(f"{self.name}: the expression is nested too deeply") from None
        try:
            node = self._node(tree.body)
        except RecursionError:
            raise FactorError(f"{self.name}: the expression is nested too deeply") from None
        if all(n.op in ("Const",) or n.args for n in walk(node)):
            self._fail("reads no field; write for example $close", 0)
        return node

    @property
    def _indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def _refuse_unknown_characters(self) -> None:
        outside = re.sub(r"'[^']*'|\"[^\"]*\"", lambda m: " " * len(m.group()), self.text)
        if found := re.search(r"(?<![\w$])_\w*|[^\x20-\x7e]|[@#;:\\\[\]{}`?!](?!=)", outside):
            self._fail(f"{found.group()!r} is not part of the language", found.start())
        if found := re.search(r"\$(?!\w)", outside):
            self._fail("a field's name is expected after $", found.start())

    def _fail(self, message: str, column: int) -> None:
        start = max(0, column - 60)
        end = min(len(self.text), column + 60)
        shown = (
            ("…" if start else "") + self.text[start:end] + ("…" if end < len(self.text) else "")
        )
        caret = " " * (column - start + (1 if start else 0)) + "^"
        raise FactorError(f"{self.name}, column {column + 1}: {message}\n  {shown}\n  {caret}")

    def _stop(self, message: str, node: ast.AST) -> FactorError:
        column = getattr(node, "col_offset", 0) + self._indent
        try:
            self._fail(message, column)
        except FactorError as error:
            return error
        raise AssertionError

    def _node(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=value):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._stop(f"a number or a field is expected, found {value!r}", node)
                return Node("Const", (), (float(value),))
            case ast.Name(id=name) if name.startswith("_"):
                return self._field(name[1:], node)
            case ast.Name(id=name):
                hint = nearest(name, list(FIELDS)) or nearest(name, list(OPERATORS))
                raise self._stop(f"unknown word {name!r}; fields are written $name{hint}", node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as v)):
                return Node("Const", (), (-float(v),))
            case ast.UnaryOp(op=ast.USub()):
                return Node("Neg", (self._node(node.operand),))
            case ast.UnaryOp(op=ast.UAdd()):
                return self._node(node.operand)
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                return Node("Not", (self._node(node.operand),))
            case ast.BinOp() if type(node.op) in _BINARY:
                return self._binary(_BINARY[type(node.op)], node.left, node.right)
            case ast.BoolOp():
                op = "And" if isinstance(node.op, ast.And) else "Or"
                out = self._node(node.values[0])
                for operand in node.values[1:]:
                    out = Node(op, (out, self._node(operand)))
                return out
            case ast.Compare() if len(node.ops) > 1:
                raise self._stop("comparisons cannot be chained; join two with &", node)
            case ast.Compare() if type(node.ops[0]) in _BINARY:
                return self._binary(_BINARY[type(node.ops[0])], node.left, node.comparators[0])
            case ast.Call(func=ast.Name()):
                return self._call(node)
        raise self._stop("this is not part of the language", node)

    def _binary(self, op: str, left: ast.expr, right: ast.expr) -> Node:
        return _folded(Node(op, (self._node(left), self._node(right))))

    def _field(self, name: str, node: ast.AST) -> Node:
        if name not in FIELDS:
            hint = nearest(name, list(FIELDS))
            raise self._stop(
                f"unknown field ${name}{hint} Fields: {', '.join('$' + f for f in FIELDS)}", node
            )
        macro = FIELDS[name].expression
        return parse(macro, f"${name}") if macro else Node("Field", (), (name,))

    def _call(self, node: ast.Call) -> Node:
        assert isinstance(node.func, ast.Name)
        word = node.func.id
        if word == "Series":
            return self._series(node)
        if word not in OPERATORS:
            raise self._stop(
                f"unknown operator {word!r}{nearest(word, [*OPERATORS, 'Series'])}", node
            )
        op = OPERATORS[word]
        least, most = op.inputs + len(op.params), op.inputs + len(op.params)
        if not least <= len(node.args) <= most:
            raise self._stop(
                f"{op.signature} takes {least} arguments, found {len(node.args)}", node
            )
        inputs = tuple(self._node(a) for a in node.args[: op.inputs])
        given = [
            self._literal(p, a, op) for p, a in zip(op.params, node.args[op.inputs :], strict=True)
        ]
        if op.kind in ("window", "decay"):
            given.append(self._min_periods(op, node, op.reach(tuple(given)) + 1))
        elif node.keywords:
            raise self._stop(f"{op.signature} takes no named argument", node)
        return Node(word, inputs, tuple(given))

    def _min_periods(self, op: Operator, node: ast.Call, window: int) -> float:
        needed = float(op.least)
        for keyword in node.keywords:
            if keyword.arg != "min_periods":
                raise self._stop(f"{op.signature} has no argument {keyword.arg!r}", node)
            param = Param("min_periods", "int", 1, window)
            needed = max(needed, self._literal(param, keyword.value, op))
        return needed

    def _literal(self, param: Param, node: ast.expr, op: Operator) -> float:
        try:
            value = ast.literal_eval(node)
        except ValueError:
            value = None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._stop(f"{param.name} of {op.signature} is a number written out", node)
        if param.name == "n" and op.kind == "shift" and value < 0:
            raise self._stop(f"{op.name} with n = {value:g} looks into the future", node)
        if param.type == "int" and value != int(value):
            raise self._stop(f"{param.name} of {op.signature} is a whole number", node)
        if not param.least <= value <= param.most or (op.kind == "decay" and value <= 0):
            bounds = f"at least {param.least:g}" if param.most == float("inf") else (
                f"between {param.least:g} and {param.most:g}")  # fmt: skip
            raise self._stop(f"{param.name} of {op.signature} is {bounds}, found {value:g}", node)
        return float(value)

    def _series(self, node: ast.Call) -> Node:
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if node.keywords or len(words) != len(node.args) or not 1 <= len(words) <= 2 or not all(
            isinstance(w, str) and w.replace("$", "") for w in words[:1]
        ):  # fmt: skip
            raise self._stop("written Series('name') or Series('name', 'tenor')", node)
        return Node("Series", (), (str(words[0]), str(words[1]) if len(words) > 1 else ""))


def _folded(node: Node) -> Node:
    """Arithmetic of two constants done at once; anything else as it is."""
    a, b = (n.params[0] if n.op == "Const" else None for n in node.args)
    if not isinstance(a, float) or not isinstance(b, float):
        return node
    if node.op == "Add":
        return Node("Const", (), (a + b,))
    if node.op == "Sub":
        return Node("Const", (), (a - b,))
    if node.op == "Mul":
        return Node("Const", (), (a * b,))
    if node.op == "Div" and b != 0:
        return Node("Const", (), (a / b,))
    return node
