"""What a family of models is: its words, its parameters, and how a predictor is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wealthos_pipeline.utils.names import close

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import LabelKind, ModelSpec, Value
    from wealthos_pipeline.ml.predictors.base import Predictor

    Members = Sequence[tuple[ModelSpec, Predictor]]
    Build = Callable[[ModelSpec, Mapping[str, Value], int, Members], Predictor]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a family.

    default: used where a specification leaves it out; its type is the parameter's type (a whole number
    also stands for a number). low, high: bounds, inclusive; ``above``: exclusive lower bound. choices:
    what a text may be.
    """

    name: str
    default: Value
    title: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The type in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, int):
            return "whole number"
        return "number" if isinstance(self.default, float) else "text"

    @property
    def bounds(self) -> str:
        """What it may be, in words; empty: anything of its type."""
        if self.choices:
            return ", ".join(self.choices)
        parts = [f"above {self.above:g}"] if self.above is not None else []
        if self.low is not None:
            parts.append(f"at least {self.low:g}")
        if self.high is not None:
            parts.append(f"at most {self.high:g}")
        return ", ".join(parts)

    def read(self, value: Value) -> Value:
        """``value`` in the parameter's type. ValueError says what is wrong with it, in words."""
        found = f"found {value!r}"
        if isinstance(self.default, bool) or isinstance(value, bool):
            if not (isinstance(self.default, bool) and isinstance(value, bool)):
                raise ValueError(f"{self.name} must be {self._expected}, {found}")
            return value
        if isinstance(self.default, str) or isinstance(value, str):
            if not (isinstance(self.default, str) and value in self.choices):
                raise ValueError(f"{self.name} must be {self._expected}, {found}")
            return value
        whole = isinstance(self.default, int)
        outside = (
            not math.isfinite(value)
            or (self.low is not None and not value >= self.low)
            or (self.high is not None and not value <= self.high)
            or (self.above is not None and not value > self.above)
        )
        if outside or (whole and value != int(value)):
            raise ValueError(f"{self.name} must be {self._expected}, {found}")
        return int(value) if whole else float(value)

    @property
    def _expected(self) -> str:
        if self.choices:
            return f"one of {self.bounds}"
        return f"a {self.kind} {self.bounds}".strip() if self.kind != "true or false" else self.kind


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models.

    title: what it is, a few words. learns: what a fit is, a sentence or two. use: when to take it.
    source: where it comes from. labels: kinds of label that it can learn; empty: every kind.
    combines: whether it combines members. probability: whether predictions are probabilities of a return
    above 0, to be judged as such; what other families make of the label ``direction`` is a score.
    """

    name: str
    title: str
    learns: str
    use: str
    source: str
    parameters: tuple[Parameter, ...]
    build: Build
    labels: tuple[LabelKind, ...] = ()
    combines: bool = False
    probability: bool = False

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)

    def defaults(self) -> dict[str, Value]:
        return {p.name: p.default for p in self.parameters}

    def read(self, params: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
        """Every parameter's value, in the family's order, and all that is wrong with ``params``."""
        faults = []
        known = self.defaults()
        for name in params:
            if name not in known:
                near = close(name, known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                there = f"there are: {', '.join(known)}" if known else "it has none"
                faults.append(f"family {self.name} has no parameter {name!r}{hint}; {there}")
        for p in self.parameters:
            if p.name in params:
                try:
                    known[p.name] = p.read(params[p.name])
                except ValueError as error:
                    faults.append(f"family {self.name}: {error}")
        return known, faults

    def faults(self, spec: ModelSpec) -> list[str]:
        """All that keeps ``spec`` from being a model of this family, in words."""
        found = self.read(spec.params)[1]
        if self.labels and spec.label not in self.labels:
            found.append(
                f"family {self.name} learns the label {' or '.join(self.labels)}, found {spec.label!r}; "
                f"write label: {self.labels[0]}"
            )
        return found
