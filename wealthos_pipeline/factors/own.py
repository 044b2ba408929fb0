"""A quant's own factors: files of expressions or of Python functions.

``*.yaml``::

    family: own                # optional; the table is factors.<asset class>_<family>
    asset_class: equity        # optional
    factors:
      quiet_momentum: Ref($close, 21) / Ref($close, 252) - 1
      dear_days:
        expression: Mean($close > Mean($close, 20), 60)
        direction: -1
        title: Share of days above the 20-day mean

``*.py``: a tuple ``FACTORS`` of ``core.factor.Factor``. Names that begin with ``_`` or ``.`` are
left alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    expression: str
    direction: int = 1
    title: str | None = None
    reference: str = "own"
    nan_means: str = "fewer observations than the window asks for"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "own"
    asset_class: AssetClass = AssetClass.EQUITY
    factors: dict[str, str | _Entry]


def read_folder(folder: Path) -> Iterator[tuple[str, Factor]]:
    """``(file name, factor)`` of every file in ``folder``; a folder that is not there has none."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.suffix in (".yaml", ".yml"):
            yield from ((path.name, f) for f in _from_yaml(path))
        elif path.suffix == ".py":
            yield from ((path.name, f) for f in _from_python(path))


def _from_yaml(path: Path) -> list[Factor]:
    try:
        body = _File.model_validate(yaml.safe_load(path.read_text("utf-8")) or {})
    except yaml.YAMLError as error:
        raise FactorError(f"{path.name} is not YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise FactorError(
            f"{path.name}: {faults}. Expected: factors: with name: expression lines"
        ) from error
    out = []
    for name, entry in body.factors.items():
        e = _Entry(expression=entry) if isinstance(entry, str) else entry
        out.append(
            Factor(
                name=name,
                asset_class=body.asset_class,
                family=body.family,
                direction=e.direction,
                title=e.title or name.replace("_", " "),
                reference=e.reference,
                expression=e.expression,
                nan_means=e.nan_means,
                sets=("own",),
            )
        )
    return out


def _from_python(path: Path) -> list[Factor]:
    spec = importlib.util.spec_from_file_location(f"_own_factors_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise FactorError(f"{path.name} fails when it is imported: {error!r}") from error
    found = getattr(module, "FACTORS", None)
    if not isinstance(found, tuple | list) or not all(isinstance(f, Factor) for f in found):
        raise FactorError(
            f"{path.name} has no FACTORS, a tuple of wealthos_pipeline.core.factor.Factor"
        )
    return [replace(f, sets=tuple(dict.fromkeys((*f.sets, "own")))) for f in found]
