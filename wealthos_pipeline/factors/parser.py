"""Text of the factor language to a tree.

The grammar is Python's for expressions, with ``$field``, the operators of ``operators.py`` as
functions, ``+ - * / **``, comparisons, ``& | ~``. Nothing is ever evaluated by Python. Every refusal
shows the line with a caret under the place, what was found and what was expected.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.expression import Node, walk
from wealthos_pipeline.factors.operators import (
    ELSEWHERE,
    EXPANDING,
    FIELDS,
    LABELS,
    LONGEST_WINDOW,
    OPERATORS,
    REFUSED,
    SPELLINGS,
    Operator,
    Param,
    nearest,
)  # fmt: skip

LONGEST = 20_000
"""Characters of an expression; longer ones are refused."""

DEEPEST = 150
"""Levels of nesting; deeper ones are refused."""

SLOWEST = 200_000
"""Sessions of the longest exponential window."""

_BINARY: dict[type[ast.AST], str] = {
    ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.Pow: "Power",
    ast.BitAnd: "And", ast.BitOr: "Or", ast.Gt: "Gt", ast.GtE: "Ge", ast.Lt: "Lt", ast.LtE: "Le",
    ast.Eq: "Eq", ast.NotEq: "Ne",
}  # fmt: skip

_FOREIGN: dict[type[ast.AST], str] = {
    ast.BitXor: "^ is not part of the language; a power is written **",
    ast.Mod: "% is not part of the language",
    ast.FloorDiv: "// is not part of the language; a division is written /",
    ast.LShift: "<< is not part of the language",
    ast.RShift: ">> is not part of the language",
    ast.MatMult: "@ is not part of the language",
    ast.Lambda: "lambda is not part of the language; a factor in Python is a function in a file of its own",
    ast.IfExp: "'x if c else y' is not part of the language; write If(c, x, y)",
    ast.Attribute: "'.name' is not part of the language; fields are written $name",
    ast.Tuple: "a list of values is not part of the language",
    ast.Starred: "* before an argument is not part of the language",
    ast.GeneratorExp: "loops are not part of the language",
    ast.JoinedStr: "f-strings are not part of the language",
    ast.In: "'in' is not part of the language",
    ast.NotIn: "'not in' is not part of the language",
    ast.Is: "'is' is not part of the language; write ==",
    ast.IsNot: "'is not' is not part of the language; write !=",
}


class Parser:
    """Reads one text. fields: names allowed after ``$`` besides those of ``FIELDS``."""

    def __init__(self, text: str, name: str, fields: frozenset[str]) -> None:
        self.original, self.name, self.fields = text, name, fields
        self.text = re.sub(r"\s", " ", text)
        self.depth = 0

    def parse(self) -> Node:
        """The tree; FactorError for whatever cannot be read."""
        text = self.text
        if not text.strip():
            raise self._fault("the expression is empty", 0)
        if len(text) > LONGEST:
            raise FactorError(f"{self.name}: {len(text)} characters; at most {LONGEST} are read")
        self._refuse_unknown_characters()
        # "$close" becomes "_close": as long, so that columns stay, and no operator starts with "_"
        code = _outside_quotes(text, lambda part: part.replace("$", "_"))
        try:
            tree = ast.parse(code.lstrip(), mode="eval")
        except SyntaxError as error:
            # an expression that ends too early is reported without a place
            place = error.offset - 1 + self._indent if error.offset else len(text)
            words = str(error.msg).split(". Perhaps")[0].split(". Maybe")[0]
            if "forgot a comma" in str(error.msg):
                words += "; is a comma missing?"
            if self.text[place : place + 1] == "=":
                words += "; a comparison is written =="
            raise self._fault(f"cannot be read ({words})", min(place, len(text))) from None
        except (RecursionError, MemoryError):
            raise FactorError(f"{self.name}: the expression is nested too deeply") from None
        node = self._node(tree.body)
        if not any(n.op in ("Field", "Series", "Statement") for n in walk(node)):
            raise self._fault("reads no field; write for example $close", 0)
        return node

    @property
    def _indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def _refuse_unknown_characters(self) -> None:
        if found := re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", self.text):  # in quotes too
            raise self._fault(f"{found.group()!r} is not part of the language", found.start())
        outside = _outside_quotes(self.text, lambda part: part, quoted=lambda q: " " * len(q))
        if found := re.search(r"\$\$\w*", outside):
            words = f"{found.group()!r}: figures of reports are written Statement('revenue', 'ttm')"
            raise self._fault(words, found.start())
        if found := re.search(r"(?<![\w$])_\w*|[^\x20-\x7e]|[@#;\\\[\]{}`?!](?!=)", outside):
            raise self._fault(f"{found.group()!r} is not part of the language", found.start())
        if found := re.search(r"\$(?!\w)|\w\$", outside):
            if found.group() == "$":
                raise self._fault("a field's name is expected after $", found.start())
            raise self._fault("an operator is expected before $", found.start() + 1)

    def _fault(self, message: str, place: int) -> FactorError:
        """The error that shows the line around character ``place`` of the text."""
        begin = max(self.original.rfind("\n", 0, place), self.original.rfind("\r", 0, place)) + 1
        end = min((e for e in (self.original.find(c, place) for c in "\n\r") if e >= 0),
                  default=len(self.original))  # fmt: skip
        lines = len(re.findall(r"\r\n|\n|\r", self.original[:begin])) + 1
        where = f"line {lines}, " if re.search(r"[\n\r]", self.original.strip()) else ""
        first, last = max(begin, place - 60), min(end, place + 60)
        shown = ("…" if first > begin else "") + self.text[first:last] + ("…" if last < end else "")
        caret = " " * (place - first + (1 if first > begin else 0)) + "^"
        return FactorError(
            f"{self.name}, {where}column {place - begin + 1}: {message}\n  {shown}\n  {caret}"
        )

    def _stop(self, message: str, node: ast.AST) -> FactorError:
        code = self.text.lstrip().encode()
        column = len(code[: getattr(node, "col_offset", 0)].decode("utf-8", "ignore"))
        return self._fault(message, column + self._indent)

    def _node(self, node: ast.expr) -> Node:
        if self.depth >= DEEPEST:
            raise self._stop(
                f"the expression is nested too deeply: {DEEPEST} levels are read", node
            )
        self.depth += 1
        try:
            return self._read(node)
        finally:
            self.depth -= 1

    def _read(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant(value=value):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._stop(f"a number or a field is expected, found {value!r}", node)
                return self._const(float(value) if abs(value) < 1e308 else math.inf, node)
            case ast.Name(id=name) if name.startswith("_"):
                return self._field(name[1:], node)
            case ast.Name(id=name):
                raise self._stop(self._unknown_word(name), node)
            case ast.UnaryOp(op=ast.USub()):
                inner = self._node(node.operand)
                return (
                    self._const(-_value(inner), node)
                    if inner.op == "Const"
                    else Node("Neg", (inner,))
                )
            case ast.UnaryOp(op=ast.UAdd()):
                return self._node(node.operand)
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                return Node("Not", (self._node(node.operand),))
            case ast.BinOp() if type(node.op) in _BINARY:
                return self._binary(_BINARY[type(node.op)], node.left, node.right, node)
            case ast.BoolOp():
                op = "And" if isinstance(node.op, ast.And) else "Or"
                out = self._node(node.values[0])
                for operand in node.values[1:]:
                    out = Node(op, (out, self._node(operand)))
                return out
            case ast.Compare() if len(node.ops) > 1:
                raise self._stop(
                    "comparisons cannot be chained; put each in brackets and join them with &: "
                    "($a > 1) & ($a < 2)", node,
                )  # fmt: skip
            case ast.Compare() if type(node.ops[0]) in _BINARY:
                return self._binary(
                    _BINARY[type(node.ops[0])], node.left, node.comparators[0], node
                )
            case ast.Call(func=ast.Name()):
                return self._call(node)
        kind: type[ast.AST] = type(node.op) if isinstance(node, ast.BinOp) else type(node)
        kind = type(node.ops[0]) if isinstance(node, ast.Compare) else kind
        raise self._stop(_FOREIGN.get(kind, "this is not part of the language"), node)

    def _unknown_word(self, name: str) -> str:
        if name in LABELS:
            takers = ", ".join(o.name for o in OPERATORS.values() if o.group)
            return f"{name} is a group and no number; it stands in second place of {takers}"
        if name in OPERATORS:
            return f"{name} is an operator and needs its arguments: {OPERATORS[name].signature}"
        hint = nearest(name, [*FIELDS, *self.fields]) or nearest(name, [*OPERATORS, *LABELS])
        return f"unknown word {name!r}; fields are written $name{hint}"

    def _const(self, value: float, node: ast.AST) -> Node:
        if not math.isfinite(value):
            raise self._stop("this number is too large", node)
        return Node("Const", (), (value + 0.0,))  # 0 and -0 are one step of a plan: one zero

    def _binary(self, op: str, left: ast.expr, right: ast.expr, node: ast.AST) -> Node:
        return self._checked(op, (self._node(left), self._node(right)), node, right)

    def _checked(self, op: str, args: tuple[Node, ...], node: ast.AST, last: ast.AST) -> Node:
        """A node of two operands: no division by a literal 0, constants folded."""
        if op == "Div" and args[1].op == "Const" and _value(args[1]) == 0:
            raise self._stop("division by 0: every value would be missing", last)
        if len(args) == 2 and all(a.op == "Const" for a in args) and op in _FOLDED:
            try:
                return self._const(_FOLDED[op](*map(_value, args)), node)
            except OverflowError:
                return self._const(math.inf, node)
            except (ZeroDivisionError, TypeError, ValueError):
                raise self._stop("this has no value", node) from None
        return Node(op, args)

    def _field(self, name: str, node: ast.AST) -> Node:
        if name in self.fields:
            return Node("Field", (), (name,))
        if name not in FIELDS:
            words = ["$" + f for f in sorted({*FIELDS, *self.fields})]
            here = ELSEWHERE.get(name.lower(), name)
            hint = nearest("$" + here, words)
            raise self._stop(
                f"unknown field ${name}{hint}{'' if hint else '.'} Fields: {', '.join(words)}", node
            )
        macro = FIELDS[name].expression
        return (
            Parser(macro, f"${name}", self.fields).parse() if macro else Node("Field", (), (name,))
        )

    def _call(self, node: ast.Call) -> Node:
        assert isinstance(node.func, ast.Name)
        word = node.func.id
        if word in REFUSED:
            raise self._stop(f"{word} is not part of the language: {REFUSED[word]}", node)
        if word in ("Series", "Statement"):
            return self._known(word, node)
        if word in ("Mask", "ChangeInstrument"):
            return self._other(word, node)
        if word not in OPERATORS:
            words = [*OPERATORS, *SPELLINGS]
            hint = (
                f"; did you mean '${word[1:]}'?" if word.startswith("_") else nearest(word, words)
            )
            raise self._stop(f"unknown operator {word!r}{hint}", node)
        return self._operator(OPERATORS[word], node)

    def _operator(self, op: Operator, node: ast.Call) -> Node:
        given = {k.arg: k for k in node.keywords}
        names = [p.name for p in op.params] + ["group"] * op.group + ["min_periods"] * op.windowed
        if odd := [k for k in node.keywords if k.arg not in names]:
            raise self._stop(f"{op.signature} has no argument {odd[0].arg or '**'!r}", odd[0].value)
        if len(given) < len(node.keywords):
            twice = next(k for k in node.keywords if given[k.arg] is not k)
            raise self._stop(f"{twice.arg} of {op.signature} is given twice", twice.value)
        inputs, rest = node.args[: op.inputs], node.args[op.inputs :]
        args = [self._node(a) for a in inputs]
        if len(args) < op.inputs:
            raise self._count(op, node)
        if op.group:
            if rest and isinstance(rest[0], ast.Name) and not rest[0].id.startswith("_"):
                args.append(self._label(rest.pop(0)))
            elif "group" in given:
                args.append(self._label(given["group"].value))
            elif rest and not op.more:
                args.append(self._label(rest.pop(0)))
        if op.more and len(rest) > op.more:
            raise self._stop(f"{op.signature}: at most {op.more} regressors", node)
        while op.more and rest:
            args.append(self._node(rest.pop(0)))
        params: list[float] = []
        for p in op.params:
            if rest:
                params.append(self._literal(p, rest.pop(0), op))
            elif p.name in given:
                params.append(self._literal(p, given[p.name].value, op))
            elif p.default is not None:
                params.append(p.default)
            else:
                raise self._count(op, node)
        if rest:
            raise self._count(op, node)
        if op.windowed:
            params.append(self._min_periods(op, given.get("min_periods"), tuple(params)))
        return self._checked(op.name, tuple(args), node, node.args[-1]) if not params else Node(
            op.name, tuple(args), tuple(params)
        )  # fmt: skip

    def _count(self, op: Operator, node: ast.Call) -> FactorError:
        least = op.inputs + sum(p.default is None for p in op.params)
        most = op.inputs + len(op.params) + op.group + op.more
        takes = f"{least}" if least == most else f"{least} to {most}"
        plural = "argument" if takes == "1" else "arguments"
        return self._stop(f"{op.signature} takes {takes} {plural}, found {len(node.args)}", node)

    def _label(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Name) and node.id in LABELS:
            return Node("Label", (), (node.id,))
        found = f", found {node.id!r}" if isinstance(node, ast.Name) else ""
        hint = nearest(node.id, list(LABELS)) if isinstance(node, ast.Name) else ""
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            found, hint = f", found '${node.id[1:]}'", ""
        raise self._stop(f"a group is one of {', '.join(LABELS)}{found}{hint}", node)

    def _min_periods(
        self, op: Operator, given: ast.keyword | None, params: tuple[float, ...]
    ) -> float:
        if given is None:
            return float(op.least)
        reach = op.reach(params)
        most = EXPANDING if reach == EXPANDING else reach + 1
        param = Param("min_periods", "int", 1, most)
        return max(float(op.least), self._literal(param, given.value, op))

    def _literal(self, param: Param, node: ast.expr, op: Operator) -> float:
        """A number written out; 4*5 is one too."""
        tree = None if isinstance(node, ast.Name | ast.Constant) and not _number(node) else (
            self._node(node))  # fmt: skip
        if tree is None or tree.op != "Const":
            raise self._stop(f"{param.name} of {op.signature} is a number written out", node)
        value, what = _value(tree), f"{param.name} of {op.signature}"
        if param.name == "n":
            if value < 0:
                why = "no window" if op.kind in ("window", "decay") else "only labels may"
                words = "looks into the future" if op.kind == "shift" else "is negative"
                raise self._stop(f"{op.name} with n = {value:g} {words}; {why}", node)
            if value > LONGEST_WINDOW:
                raise self._stop(
                    f"{what} is at most {LONGEST_WINDOW} sessions, found {value:g}; "
                    "n = 0 is everything since the first session", node,
                )  # fmt: skip
            if param.type == "int" and value != int(value):
                raise self._stop(f"{what} is a whole number, found {value:g}", node)
            if op.kind == "window" and 0 < value < op.least:
                raise self._stop(
                    f"{op.name} needs a window of at least {op.least}, found {value:g}", node
                )
            if op.kind == "decay" and value > 0 and op.reach((value,)) > SLOWEST:
                raise self._stop(f"{what} = {value:g} forgets too slowly; n ≥ 1 is the span", node)
        if param.type == "int" and value != int(value):
            raise self._stop(f"{what} is a whole number, found {value:g}", node)
        if not param.least <= value <= param.most:
            raise self._stop(
                f"{what} is between {param.least:g} and {param.most:g}, found {value:g}", node
            )
        return value

    def _known(self, word: str, node: ast.Call) -> Node:
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        texts = [w for w in words if isinstance(w, str)]
        least = 1 if word == "Series" else 2
        if node.keywords or len(texts) != len(node.args) or not least <= len(texts) <= 2 or (
            not all(w.strip() for w in texts[:least])
        ):  # fmt: skip
            forms = "Series('name') or Series('name', 'tenor')" if word == "Series" else (
                "Statement('revenue', 'ttm')")  # fmt: skip
            raise self._stop(f"written {forms}", node)
        if word == "Statement":
            from wealthos_pipeline.factors.statements import parts

            try:
                parts(texts[1])
            except FactorError as error:
                raise self._stop(str(error), node.args[1]) from None
        return Node(word, (), (texts[0], texts[1] if len(texts) > 1 else ""))

    def _other(self, word: str, node: ast.Call) -> Node:
        form = "Mask(x, 'instrument')" if word == "Mask" else "ChangeInstrument('instrument', x)"
        args = node.args if word == "Mask" else node.args[::-1]
        if node.keywords or len(args) != 2:
            raise self._stop(f"written {form}", node)
        name = args[1]
        if not (
            isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.strip()
        ):
            raise self._stop(f"written {form}, the instrument in quotes", name)
        return Node("Mask", (self._node(args[0]),), (name.value.strip(),))


_FOLDED: dict[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Power": lambda a, b: float(a**b),
}


def _value(node: Node) -> float:
    value = node.params[0]
    assert isinstance(value, float)
    return value


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(
        node.value, bool
    )  # fmt: skip


def _outside_quotes(
    text: str, change: Callable[[str], str], quoted: Callable[[str], str] = str
) -> str:
    """``text`` with ``change`` done to what is not in quotes and ``quoted`` to what is."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", text)
    return "".join(quoted(p) if i % 2 else change(p) for i, p in enumerate(parts))
