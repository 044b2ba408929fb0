"""What a model is, as a person writes it in YAML or Python."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LabelKind = Literal["forward", "excess", "rank", "volatility_scaled", "direction"]

Value = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weighting(_Part):
    """How much each training row counts, beside "every date counts the same"."""

    uniqueness: bool = Field(
        False,
        description="by the mean uniqueness of the label's interval (López de Prado 2018, ch. 4)",
    )
    half_life: float | None = Field(
        None,
        gt=0,
        description="sessions before the fit after which a row counts half; none: no decay",
    )


class Range(_Part):
    """Values that a search may choose from: an interval, or a list."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="evenly on the logarithm")
    integer: bool = False
    choices: tuple[Value, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Range:
        interval = self.low is not None and self.high is not None
        if interval == bool(self.choices):
            raise ValueError("give low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and not (self.low is not None and self.low > 0):
            raise ValueError("log needs low above 0")
        return self


class Search(_Part):
    """Nested tuning: parameters are chosen inside the training side of each fit."""

    trials: int = Field(20, ge=1, le=1000, description="configurations that are tried")
    folds: int = Field(4, ge=2, le=20, description="purged folds within the training side")
    embargo: int = Field(0, ge=0, description="further sessions left out after each test block")
    space: dict[str, Range] = Field(description="parameter → the values that it may take")


class ModelSpec(_Part):
    """One model: what it learns, from what, how, and with what it is compared.

    Windows are in sessions. ``features``: names of score columns, or patterns such as ``momentum_*``;
    all of them without any. ``members``: models that a ``stacked`` one combines.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    title: str = ""
    note: str = ""
    family: str = Field(description="see `wealthos models families`")
    label: LabelKind = Field("rank", description="what is learnt of the forward return")
    horizon: int = Field(20, ge=1, le=252, description="sessions of the label")
    features: tuple[str, ...] = ("*",)
    window: Literal["rolling", "expanding"] = "rolling"
    train_sessions: int = Field(2520, ge=60, description="of a rolling window")
    min_train_sessions: int = Field(756, ge=60)
    every: int = Field(5, ge=1, description="train on slots divisible by this")
    weighting: Weighting = Weighting()
    params: dict[str, Value] = Field(default_factory=dict, description="of the family")
    members: tuple[str, ...] = ()
    search: Search | None = None
    seed: int = 7

    @property
    def definition(self) -> str:
        """JSON of everything that can change a fit; not how the model is called in words."""
        body = self.model_dump(mode="json", exclude={"title", "note"})
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @property
    def spec_hash(self) -> str:
        """16 hex digits over ``definition``."""
        return hashlib.blake2b(self.definition.encode(), digest_size=8).hexdigest()
