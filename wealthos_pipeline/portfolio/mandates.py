"""Mandates from YAML files: what each portfolio may do, as a person writes it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.core.portfolio import Mandate
from wealthos_pipeline.utils import written
from wealthos_pipeline.utils.config import inputs_dir

RESERVED = ("equal_weight", "cash")
"""Names that the pipeline uses itself: the benchmark, and money among the holdings."""


def load(folder: Path | None = None) -> list[Mandate]:
    """Every ``*.yaml`` and ``*.yml`` of ``folder`` (None: ``data/inputs/mandates``), by name.

    A folder without files gives an empty list. Raises ConfigError with every fault of every file:
    unreadable YAML, unknown keys, values out of range, bounds that cross, a name used twice or
    reserved; and when the folder is not there.
    """
    folder = inputs_dir() / "mandates" if folder is None else folder
    if not folder.is_dir():
        raise ConfigError(
            f"the folder of mandates {folder} does not exist; make it and put one YAML file a "
            "mandate into it, or set portfolio.mandates"
        )
    faults: list[str] = []
    found: dict[str, tuple[str, Mandate]] = {}
    for path in written.files(folder):
        mandate, wrong = _read(path)
        faults += [f"{path.name}: {fault}" for fault in wrong]
        if mandate is None:
            continue
        if mandate.name in found:
            faults.append(
                f"{path.name}: name {mandate.name!r} is already used by "
                f"{found[mandate.name][0]}; give each mandate its own"
            )
        else:
            found[mandate.name] = (path.name, mandate)
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ConfigError(f"the mandates in {folder} cannot be used:\n{lines}")
    return [mandate for _, (_, mandate) in sorted(found.items())]


def factors_bound(folder: Path | None = None) -> tuple[str, ...]:
    """Factors whose exposure some mandate of ``folder`` bounds, by name; none where files are faulty.

    What a run reads is declared before it starts, and ``load`` tells of the faults when it does.
    """
    try:
        found = load(folder)
    except ConfigError:
        return ()
    return tuple(sorted({e.factor for m in found for e in m.exposures}))


def _read(path: Path) -> tuple[Mandate | None, list[str]]:
    """The mandate of one file, or everything that is wrong with it."""
    try:
        body = written.keys(path, "name, title, objective, max_weight")
        mandate = Mandate.model_validate(body)
    except ConfigError as error:
        return None, [str(error)]
    except ValidationError as error:
        return None, written.faults(error, Mandate)
    return mandate, _contradictions(mandate)


def _contradictions(mandate: Mandate) -> list[str]:
    """Faults that can be seen without a universe."""
    faults = []
    if mandate.name in RESERVED:
        faults.append(f"name {mandate.name!r} is reserved; choose another")
    if mandate.objective == "equal_weight":
        faults.append("objective 'equal_weight' is the benchmark's; it runs without a file")
    if mandate.long_only and mandate.min_weight is not None and mandate.min_weight < 0:
        faults.append(
            f"long_only with min_weight {mandate.min_weight}: set long_only to false or raise it"
        )
    if mandate.budget and mandate.cash_buffer >= mandate.budget:
        faults.append(
            f"cash_buffer {mandate.cash_buffer} leaves nothing of budget {mandate.budget}"
        )
    shares = sum(mandate.risk_budget.values())
    if mandate.risk_budget and abs(shares - 1.0) > 1e-9:
        faults.append(f"risk_budget sums to {shares:g}; expected shares that sum to 1")
    if mandate.risk_budget and mandate.objective != "risk_budget":
        faults.append("risk_budget belongs to the objective risk_budget")
    for e in mandate.exposures:
        if e.min_exposure is None and e.max_exposure is None:
            faults.append(f"exposure {e.factor!r} has neither min_exposure nor max_exposure")
    twice = [o.symbol for o in mandate.overrides]
    for symbol in sorted({x for x in twice if twice.count(x) > 1}):
        faults.append(f"{symbol} is overridden twice; keep one of them")
    names = [g.name for g in mandate.groups]
    for group in mandate.groups:
        given = (group.sector is not None, group.label is not None, bool(group.symbols))
        if sum(given) != 1:
            faults.append(
                f"group {group.name!r} needs a sector or symbols, or a label with its value, and one "
                "of them only"
            )
        if (group.label is None) != (group.value is None):
            faults.append(f"group {group.name!r}: label and value belong together")
        if group.min_weight is None and group.max_weight is None:
            faults.append(f"group {group.name!r} has neither min_weight nor max_weight")
        if names.count(group.name) > 1:
            faults.append(f"group {group.name!r} is there twice")
        if None not in (lo := group.min_weight, hi := group.max_weight) and lo > hi:  # type: ignore[operator]
            faults.append(f"group {group.name!r}: min_weight {lo} is above max_weight {hi}")
    return faults
