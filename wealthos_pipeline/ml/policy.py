"""When a challenger becomes champion: the policy, as a person writes it in YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils import written
from wealthos_pipeline.utils.config import ModelSettings, inputs_dir

DEFAULT_SLOT = "alpha"
"""The slot that ``model: champion`` of a mandate means."""

CHAMPION = "champion"
"""What a mandate writes in place of a model's name; ``champion:SLOT`` for another slot."""

NAME = r"^[a-z][a-z0-9_]{0,39}$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Slot(_Part):
    """What has to be true before the champion of one slot changes."""

    title: str = Field("", description="one line for people")
    candidates: tuple[str, ...] = Field((), description="models that compete; empty: models.names")
    initial: str | None = Field(None, description="first champion; None: the first candidate")
    horizon: int | None = Field(None, ge=1, le=252, description="None: models.horizon")
    review: Literal["month", "quarter"] = Field(
        "quarter", description="reviews are on the first session of each"
    )
    automatic: bool = Field(True, description="false: the policy only recommends")
    min_dates: int = Field(756, ge=60, description="dates on which both were judged out of sample")
    min_improvement: float = Field(
        0.005, ge=0, description="mean daily rank IC of the challenger less the champion's"
    )
    min_t: float = Field(
        3.0,
        ge=1,
        description="of that difference; with k challengers at 1/k of its error rate. At 3.0 some 1 % of "
        "equal challengers are promoted in 8 years of quarterly reviews",
    )
    min_psr: float | None = Field(
        None, gt=0, lt=1, description="probabilistic Sharpe ratio of the long-short net returns"
    )
    min_deflated_sharpe: float | None = Field(
        None, gt=0, lt=1, description="the same, deflated by the number of candidates"
    )
    min_sessions_between_changes: int = Field(252, ge=0)

    @property
    def hash(self) -> str:
        """16 hex digits over everything but the title."""
        body = json.dumps(self.model_dump(mode="json", exclude={"title"}), sort_keys=True)
        return hashlib.blake2b(body.encode(), digest_size=8).hexdigest()


class Policy(_Part):
    """The slots by name, each complete: candidates, initial champion and horizon are said."""

    slots: dict[str, Slot] = Field(default_factory=lambda: {DEFAULT_SLOT: Slot()})


def file(settings: ModelSettings) -> Path:
    """Where the policy is."""
    return settings.promotion or inputs_dir() / "promotion.yaml"


def load(settings: ModelSettings, known: Sequence[str]) -> Policy:
    """The policy of ``file(settings)``, completed by the settings.

    known: models that exist (``ml.specs.available``). Without ``models.promotion`` and without the
    file, one slot ``alpha`` with the defaults. ConfigError lists every fault: unreadable YAML, unknown
    keys, values out of range, models that do not exist, an initial champion that is no candidate.
    """
    path = file(settings)
    body: Any = {}
    if path.is_file():
        body = _yaml(path)
    elif settings.promotion is not None:
        raise ConfigError(
            f"models.promotion: there is no file {path}; correct the path, or leave the setting out for "
            "the defaults"
        )
    try:
        policy = Policy.model_validate(body)
    except ValidationError as error:
        faults = written.faults(error, Policy)
    else:
        slots = {name: _complete(slot, settings) for name, slot in sorted(policy.slots.items())}
        faults = [f for name, slot in slots.items() for f in _faults(name, slot, known)]
        if not slots:
            faults = ["slots is empty; leave it out for the defaults"]
        policy = Policy(slots=slots)
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the promotion policy {path} cannot be used:\n{lines}")
    return policy


def slot_of(model: str) -> str | None:
    """The slot that a mandate's ``model`` stands for; None where it names a model itself."""
    if model == CHAMPION:
        return DEFAULT_SLOT
    head, colon, slot = model.partition(":")
    return slot if colon and head == CHAMPION else None


def _complete(slot: Slot, settings: ModelSettings) -> Slot:
    candidates = slot.candidates or tuple(dict.fromkeys(settings.names))
    return slot.model_copy(
        update={
            "candidates": candidates,
            "initial": slot.initial or next(iter(candidates), None),
            "horizon": slot.horizon or settings.horizon,
        }
    )


def _faults(name: str, slot: Slot, known: Sequence[str]) -> list[str]:
    import re

    faults = []
    if not re.match(NAME, name):
        faults.append(f"slots.{name}: a slot's name is lower-case letters, digits and _")
    unknown = [c for c in slot.candidates if c not in known]
    if unknown:
        faults.append(
            f"slots.{name}.candidates: no model is called {', '.join(unknown)}; there are: "
            f"{', '.join(sorted(known))}"
        )
    twice = sorted({c for c in slot.candidates if slot.candidates.count(c) > 1})
    if twice:
        faults.append(f"slots.{name}.candidates: {', '.join(twice)} is there twice")
    if slot.initial not in slot.candidates:
        faults.append(
            f"slots.{name}.initial: {slot.initial!r} is none of the candidates "
            f"({', '.join(slot.candidates)})"
        )
    return faults


def _yaml(path: Path) -> Any:
    try:
        body = written.read(path)
    except ConfigError as error:
        raise ConfigError(f"the promotion policy {path} {error}") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise ConfigError(
            f"the promotion policy {path} holds a {type(body).__name__}; expected `slots:` with a name "
            "and keys such as candidates, review, min_t"
        )
    slots = body.get("slots")
    if isinstance(slots, dict):  # `alpha:` with nothing under it has the defaults
        body = body | {"slots": {str(k): {} if v is None else v for k, v in slots.items()}}
    return body
