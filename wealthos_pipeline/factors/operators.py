"""The words of the factor language: every operator with its arguments, meaning and kernel.

This is a table and nothing else: the parser reads the arguments, the planner the reach into the
past, the engine the kernel. Kernels live in ``kernels/`` and are imported when first used.

Common to all. A value that is not a finite number is missing (NaN): division by zero, the logarithm
of what is not positive. Comparisons and logic give 1 or 0; a missing operand counts as false.
A window of ``n`` covers the last ``n`` sessions of the exchange, today included, cut at the
instrument's first session; sessions without a bar count as missing. ``n = 0`` is everything since
that first session (Qlib's expanding window). ``min_periods`` observations are needed (Qlib's default,
1, or what the statistic itself needs). A cross-section holds the names that have a bar on the date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

Kind = Literal["element", "shift", "window", "decay", "cross", "other"]
"""How an operator reaches: one cell, a cell n sessions ago, a window, a decaying window, all names of
a date, another instrument."""

EXPANDING = 1_000_000
"""Sessions that an expanding window reaches back: more than any calendar has, so all of history."""

LONGEST_WINDOW = 20_000
"""Sessions of the longest window, some eighty years; for all of history there is n = 0."""

LABELS = ("sector", "exchange", "currency")
"""Words that name a group of instruments, as ``clean.instruments`` describes them on the date."""

DROPPED = 2.0**-24
"""Weight below which a decaying window is cut: half a unit in the last place of a Float32."""


@dataclass(frozen=True, slots=True)
class Param:
    """A literal argument after the expressions, e.g. a window. default: None where it must be given."""

    name: str
    type: Literal["int", "float"]
    least: float = -math.inf
    most: float = math.inf
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    inputs: number of expressions; params: literals that follow them.
    kernel, mode: ``module:function`` under ``factors.kernels`` and its variant.
    least: observations that the statistic itself needs.
    group: takes the name of a group after its first expression. more: further expressions at most.
    """

    name: str
    kind: Kind
    inputs: int
    doc: str
    kernel: str
    mode: int = 0
    params: tuple[Param, ...] = ()
    least: int = 1
    group: bool = False
    more: int = 0

    @property
    def signature(self) -> str:
        if self.kind == "other":
            return f"{self.name}(x, 'instrument')"
        words = ", ".join(["x", "y", "z"][: self.inputs])
        words += "[, group]" if self.group else ""
        words += "[, y, …]" if self.more else ""
        for p in self.params:
            words += f", {p.name}" + ("" if p.default is None else f"={p.default:g}")
        if self.windowed:
            words += ", min_periods=…"
        return f"{self.name}({words})"

    @property
    def windowed(self) -> bool:
        """Does it take ``min_periods``?"""
        return self.kind in ("window", "decay")

    def reach(self, params: tuple[float, ...]) -> int:
        """Sessions before today that this operator looks at."""
        if self.kind in ("shift", "window", "decay") and params[0] == 0:
            return EXPANDING
        if self.kind == "shift":
            return int(params[0])
        if self.kind == "window":
            return int(params[0]) - 1
        if self.kind == "decay":
            return decay_length(params[0]) - 1
        return 0


def decay_length(span: float) -> int:
    """Sessions of an exponential window whose dropped weight stays below ``DROPPED``.

    ``span`` ≥ 1 is Qlib's (and pandas') span, α = 2 / (span + 1); in (0, 1) it is α itself.
    """
    keep = decay_keep(span)
    return 1 if keep == 0 else math.ceil(math.log(DROPPED) / math.log(keep))


def decay_keep(span: float) -> float:
    """1 − α: weight of a session relative to the next one."""
    alpha = 2.0 / (span + 1.0) if span >= 1 else span
    return 1.0 - alpha


_N = Param("n", "int", least=0, most=LONGEST_WINDOW)
_SPAN = Param("n", "float", least=0, most=LONGEST_WINDOW)


def _window(
    name: str, doc: str, kernel: str, mode: int = 0, *, inputs: int = 1, least: int = 1,
    extra: tuple[Param, ...] = (),
) -> Operator:  # fmt: skip
    return Operator(name, "window", inputs, doc, kernel, mode, (_N, *extra), least)


def _cross(name: str, doc: str, mode: int) -> Operator:
    return Operator(name, "cross", 1, doc, "cross:by_date", mode, group=True)


def _element(name: str, inputs: int, doc: str) -> Operator:
    return Operator(name, "element", inputs, doc, f"element:{name.lower()}")


_TABLE = (
    _element("Add", 2, "x + y"),
    _element("Sub", 2, "x − y"),
    _element("Mul", 2, "x × y"),
    _element("Div", 2, "x / y; missing where y is 0"),
    _element("Neg", 1, "−x"),
    _element("Abs", 1, "absolute value"),
    _element("Sign", 1, "−1, 0 or 1"),
    _element("Log", 1, "natural logarithm; missing where x ≤ 0"),
    _element("Power", 2, "x to the power of y"),
    _element("Greater", 2, "the larger of x and y; missing if either is"),
    _element("Less", 2, "the smaller of x and y; missing if either is"),
    _element("Gt", 2, "1 where x > y"),
    _element("Ge", 2, "1 where x ≥ y"),
    _element("Lt", 2, "1 where x < y"),
    _element("Le", 2, "1 where x ≤ y"),
    _element("Eq", 2, "1 where x = y"),
    _element("Ne", 2, "1 where x and y are both there and differ"),
    _element("And", 2, "1 where both are true (not 0)"),
    _element("Or", 2, "1 where one is true (not 0)"),
    _element("Not", 1, "1 where x is false or missing"),
    _element("If", 3, "y where x is true, z where it is false, missing where it is missing"),
    Operator("Ref", "shift", 1, "x of n sessions ago; n = 0: the first x there was", "shift:shift", 0, (_N,)),
    Operator("Delta", "shift", 1, "x minus Ref(x, n)", "shift:shift", 1, (_N,)),
    _window("Sum", "sum", "moments:sums", 0),
    _window("Mean", "mean", "moments:sums", 1),
    _window("Count", "number of observations; never missing", "moments:sums", 2),
    _window("Var", "variance (n − 1)", "moments:spread", 0, least=2),
    _window("Std", "standard deviation (n − 1)", "moments:spread", 1, least=2),
    _window("Skew", "skewness, bias-corrected; missing if constant", "moments:shape", 0, least=3),
    _window("Kurt", "excess kurtosis, bias-corrected; missing if constant", "moments:shape", 1, least=4),
    _window("Max", "largest", "order:extremes", 0),
    _window("Min", "smallest", "order:extremes", 1),
    _window("IdxMax", "place in the window (1 = oldest session) of the first largest", "order:extremes", 2),
    _window("IdxMin", "place in the window (1 = oldest session) of the first smallest", "order:extremes", 3),
    _window("Quantile", "q-quantile, linear", "order:ordered", extra=(Param("q", "float", 0, 1),)),
    _window("Med", "median", "order:ordered"),
    _window("Mad", "mean absolute deviation from the mean", "order:deviations"),
    _window("Rank", "rank of today in the window, average of ties, in (0, 1]", "order:ordered", 1),
    _window("WMA", "mean with weights 1 (oldest session) … n (today)", "decay:linear"),
    Operator("EMA", "decay", 1, "exponential mean of span n ≥ 1, or of weight 0 < n < 1 for today, over a finite "
             "window; n = 0: the span is the number of sessions so far", "decay:exponential", 0, (_SPAN,)),
    _window("Slope", "slope of x on the session number", "pairs:trend", 0, least=2),
    _window("Rsquare", "R² of x on the session number; missing if constant", "pairs:trend", 1, least=2),
    _window("Resi", "today's residual of x on the session number", "pairs:trend", 2, least=2),
    _window("Corr", "correlation; missing if either is constant", "pairs:pair", 0, inputs=2, least=2),
    _window("Cov", "covariance (n − 1)", "pairs:pair", 1, inputs=2, least=2),
    _window("Beta", "slope of x on y", "pairs:pair", 2, inputs=2, least=2),
    _window("BetaResi", "today's residual of x on y", "pairs:pair", 3, inputs=2, least=2),
    _window("BetaStd", "standard deviation (n − 2) of the residuals of x on y", "pairs:pair", 4, inputs=2, least=3),
    _cross("CSRank", "rank among the names, average of ties, in (0, 1]", 0),
    _cross("CSZScore", "z-score (n − 1) among the names; missing if all are alike", 1),
    _cross("CSDemean", "x minus its mean over the names", 2),
    _cross("CSMean", "mean over the names, for every name", 3),
    Operator("CSWinsorize", "cross", 1, "x clipped at median ± k × median absolute deviation of the names; "
             "as it is where that deviation is 0", "cross:by_date", 4,
             (Param("k", "float", least=0, most=1e6, default=5.0),)),
    Operator("Neutralize", "cross", 1, "what is left of x after least squares on the groups' means and y, …",
             "neutral:neutral", group=True, more=12),
    Operator("Mask", "other", 1, "x of one instrument (its identity, or its symbol on the date) for every name; missing on sessions without its bar", ""),
)  # fmt: skip

OPERATORS: Mapping[str, Operator] = MappingProxyType({o.name: o for o in _TABLE})

SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "ChangeInstrument": "ChangeInstrument('instrument', x): the same as Mask(x, 'instrument')",
        "Series": "Series('name', 'tenor'): a value of clean.series as known on the session",
        "Statement": "Statement('metric', 'period'): a figure of clean.fundamentals as known on the session; "
        "period is year, quarter, ttm (twelve months) or point, and year-1, quarter-4, … for one before",
    }
)
"""Words that are written like operators and have a grammar of their own."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "TResample": "a value by week or month would be known before its period ends; take a window, "
        "e.g. Mean(x, 5) for a week and Sum(x, 21) for a month",
        "P": "figures of reports are written Statement('revenue', 'ttm')",
        "PRef": "figures of reports are written Statement('revenue', 'ttm')",
        "PFeature": "figures of reports are written Statement('revenue', 'ttm')",
        "Feature": "a field is written $name, e.g. $close",
        "Rolling": "write the statistic itself, e.g. Mean(x, 20) or Std(x, 20)",
    }
)
"""Qlib's words that are not part of the language, with what to write instead."""


@dataclass(frozen=True, slots=True)
class Field:
    """A ``$field`` of the price panel. columns: what it needs of ``clean.prices``."""

    name: str
    columns: tuple[str, ...]
    doc: str
    expression: str | None = None


_FIELDS = (
    Field("close", ("tr_index",), "forward-chained total-return index"),
    Field("open", ("open", "close", "tr_index"), "open on the scale of $close"),
    Field("high", ("high", "close", "tr_index"), "high on the scale of $close"),
    Field("low", ("low", "close", "tr_index"), "low on the scale of $close"),
    Field("volume", ("volume", "split_index"), "volume in shares of the first bar's basis"),
    Field("vwap", ("vwap", "close", "tr_index"), "volume-weighted average price on the scale of $close (no source gives it yet)"),
    Field("raw_open", ("open",), "open as traded"),
    Field("raw_high", ("high",), "high as traded"),
    Field("raw_low", ("low",), "low as traded"),
    Field("raw_close", ("close",), "close as traded"),
    Field("raw_volume", ("volume",), "volume as traded"),
    Field("raw_vwap", ("vwap",), "volume-weighted average price as traded (no source gives it yet)"),
    Field("dollar_volume", ("dollar_volume",), "close × volume, currency"),
    Field("ret", ("tr_index",), "total return since the session before", "$close / Ref($close, 1) - 1"),
    Field("market_ret", ("tr_index",), "mean $ret of the equities that have one on the date"),
)  # fmt: skip

FIELDS: Mapping[str, Field] = MappingProxyType({f.name: f for f in _FIELDS})


ELSEWHERE = {
    "change": "ret", "return": "ret", "returns": "ret", "pct_change": "ret",
    "amount": "dollar_volume", "adj_close": "close", "adjclose": "close", "price": "close",
}  # fmt: skip
"""What other programs call a field."""


def nearest(word: str, words: list[str]) -> str:
    """``"; did you mean 'X'?"`` or an empty text."""
    lower = {w.lower(): w for w in words}
    found = get_close_matches(word.lower(), list(lower), n=1, cutoff=0.5)
    return f"; did you mean {lower[found[0]]!r}?" if found else ""
