"""Stress scenarios that a person writes: one YAML file each in ``data/inputs/scenarios``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils import written
from wealthos_pipeline.utils.config import inputs_dir


class Scenario(BaseModel):
    """What happens, at once, to the holdings of a close.

    market: return of 1/N of the risk model's names. factors: moves of risk factors in standard deviations of
    21 sessions. sectors, symbols: returns; a symbol's counts before its sector's. What is not named moves as the risk
    model expects it to, given the market and the factors; with ``propagate``, given the named returns too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    market: float | None = Field(None, gt=-1, le=10)
    factors: dict[str, float] = Field(default_factory=dict)
    sectors: dict[str, float] = Field(default_factory=dict)
    symbols: dict[str, float] = Field(default_factory=dict)
    propagate: bool = False

    @model_validator(mode="after")
    def _sensible(self) -> Scenario:
        faults = []
        if self.market is None and not (self.factors or self.sectors or self.symbols):
            faults.append("nothing happens; write market, factors, sectors or symbols")
        for kind, moves in (("sectors", self.sectors), ("symbols", self.symbols)):
            faults += [
                f"{kind}: {name} moves by {value}, expected a return of −1 or more (−0.2 is −20 %)"
                for name, value in moves.items()
                if not -1 <= value <= 10
            ]
        faults += [
            f"factors: {name} moves by {value} standard deviations, expected at most 25 either way"
            for name, value in self.factors.items()
            if not abs(value) <= 25
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def unknown(
        self, symbols: Collection[str], sectors: Collection[str], factors: Collection[str]
    ) -> list[str]:
        """What is named and not there, in words."""
        asked = (
            ("symbol", self.symbols, symbols),
            ("sector", self.sectors, sectors),
            ("risk factor", self.factors, factors),
        )
        return [
            f"no {kind} {name!r}"
            + (f"; there are {', '.join(sorted(there))}" if kind != "symbol" else "")
            for kind, named, there in asked
            for name in sorted(named)
            if name not in there
        ]


def load(folder: Path | None = None) -> list[Scenario]:
    """Every ``*.yaml`` and ``*.yml`` of ``folder`` (None: ``data/inputs/scenarios``), by name; files that begin
    with ``_`` are examples. No folder, no scenarios. ConfigError lists every fault of every file.
    """
    folder = inputs_dir() / "scenarios" if folder is None else folder
    paths = [p for p in written.files(folder) if not p.name.startswith("_")]
    return read(paths)


def read(paths: Collection[Path]) -> list[Scenario]:
    """The scenarios of these files, by name. ConfigError lists every fault of every file."""
    faults: list[str] = []
    found: dict[str, tuple[str, Scenario]] = {}
    for path in paths:
        try:
            body = written.keys(path, "name, title, market, sectors, symbols")
            one = Scenario.model_validate(body)
        except ConfigError as error:
            faults.append(f"{path.name}: {error}")
            continue
        except ValidationError as error:
            faults += [f"{path.name}: {fault}" for fault in written.faults(error, Scenario)]
            continue
        if one.name in found:
            faults.append(
                f"{path.name}: name {one.name!r} is already used by {found[one.name][0]}; give each its own"
            )
        else:
            found[one.name] = (path.name, one)
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the stress scenarios cannot be used:\n{lines}")
    return [one for _, (_, one) in sorted(found.items())]
