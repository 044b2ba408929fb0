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

``*.py``: a tuple ``FACTORS`` of ``core.factor.Factor``; what a function gets and gives back stands in
``factors.functions``. Names that begin with ``_`` or ``.`` are left alone.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import DIGEST, Factor


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


def files(folder: Path) -> list[Path]:
    """The files that hold factors, by name; a folder that is not there has none."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in (".yaml", ".yml", ".py") and not path.name.startswith(("_", "."))
    ]


def read(path: Path) -> list[Factor]:
    """The factors of one file, in set ``own``; FactorError says what is wrong with it."""
    return _from_python(path) if path.suffix == ".py" else _from_yaml(path)


def _from_yaml(path: Path) -> list[Factor]:
    try:
        body = _File.model_validate(yaml.safe_load(_text(path)) or {})
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
    """Compiled from the text as it is now: a cached compilation may be of an older one."""
    text = _text(path)
    module = ModuleType(f"_own_factors_{path.stem}")
    module.__file__ = str(path)
    vars(module)[DIGEST] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    sys.modules[module.__name__] = module  # dataclasses look their module up
    linecache.checkcache(str(path))
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    except SyntaxError as error:
        raise FactorError(
            f"{path.name} is not Python: {error.msg} (line {error.lineno})"
        ) from error
    except (Exception, SystemExit) as error:  # exit() would end the whole run
        raise FactorError(f"{path.name} fails when it is imported: {error!r}") from error
    found = getattr(module, "FACTORS", None)
    if not isinstance(found, tuple | list) or not all(isinstance(f, Factor) for f in found):
        raise FactorError(
            f"{path.name} has no FACTORS, a tuple of wealthos_pipeline.core.factor.Factor"
        )
    return [as_own(f) for f in found]


def as_own(factor: Factor) -> Factor:
    """``factor`` in the set ``own``, which belongs to every run."""
    return replace(factor, sets=tuple(dict.fromkeys((*factor.sets, "own"))))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FactorError(f"{path.name} cannot be read: {error}") from error
