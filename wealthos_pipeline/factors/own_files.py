"""Writing a quant's own factors down, and trying what is written before it is in its place."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import own
from wealthos_pipeline.factors.library import Fault, Library, load


@dataclass(frozen=True, slots=True)
class Entry:
    """A factor to write down; without ``expression`` a Python file."""

    name: str
    family: str
    direction: int
    title: str
    reference: str
    expression: str | None


def written(entry: Entry, folder: Path) -> tuple[Path, str]:
    """The file that will hold ``entry``, and its text: a new one, or what is there with lines added.

    FactorError where the file is there and cannot be added to without losing what somebody wrote.
    """
    for part in (entry.name, entry.family):
        if not re.fullmatch(r"[A-Za-z]\w*", part):
            raise FactorError(f"{part!r} cannot be a name; use letters, digits and _")
    if entry.expression is None:
        path = folder / f"{entry.name}.py"
        if path.exists():
            raise FactorError(f"{path.name} is there already")
        return path, _python(entry)
    path = folder / f"{entry.family}.yaml"
    if not path.exists():
        head = f"family: {entry.family}\nasset_class: equity\nfactors:\n"
        return path, head + _lines(entry, "  ")
    old = path.read_text("utf-8")
    body = _body(path, old)
    names = body.get("factors") or {}
    if entry.name in names:
        raise FactorError(f"{path.name} has a factor {entry.name!r} already")
    inner = re.search(r"^factors:[^\n]*\n(?:\s*#[^\n]*\n|\s*\n)*([ \t]+)\S", old, re.M)
    text = old.rstrip("\n") + "\n" + _lines(entry, inner.group(1) if inner else "  ")
    try:
        after: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        after = None
    if after != {**body, "factors": {**names, entry.name: _fields(entry)}}:
        raise FactorError(
            f"{path.name} cannot be added to: its last part is not `factors:`. Write there by hand:\n"
            + _lines(entry, "  ")
        )
    return path, text


def tried(folder: Path, texts: Mapping[str, str]) -> Library:
    """The library as it would be with the files ``texts`` (name → text) in ``folder``."""
    with tempfile.TemporaryDirectory() as aside:
        for path in own.files(folder):
            (Path(aside) / path.name).write_bytes(path.read_bytes())
        for name, text in texts.items():
            (Path(aside) / name).write_text(text, "utf-8")
        return load(("all",), Path(aside), strict=False)


def of_file(folder: Path, file: Path | None) -> tuple[list[Fault], list[Factor]]:
    """Faults and usable factors of ``file`` (as if it lay in ``folder``), or of all own files."""
    if file is None:
        library = load(("all",), folder, strict=False)
        return list(library.faults), [f for f in library.factors.values() if "own" in f.sets]
    library = tried(folder, {file.name: file.read_text("utf-8")})
    faults = [f for f in library.faults if f.home == file.name]
    try:
        names = {f.name for f in own.read(file)} - {f.factor for f in faults}
    except FactorError:
        names = set()
    return faults, [f for f in library.factors.values() if f.name in names and "own" in f.sets]


def _body(path: Path, text: str) -> dict[str, Any]:
    try:
        body = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise FactorError(f"{path.name} is not YAML: {error}. Nothing is added to it") from error
    if not isinstance(body, dict):
        raise FactorError(f"{path.name} holds no mapping. Nothing is added to it")
    return body


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        "expression": entry.expression, "direction": entry.direction, "title": entry.title,
        "reference": entry.reference,
    }  # fmt: skip


def _lines(entry: Entry, indent: str) -> str:
    dumped = yaml.safe_dump({entry.name: _fields(entry)}, sort_keys=False, allow_unicode=True,
                            width=10_000)  # fmt: skip
    return "".join(f"{indent}{line}\n" for line in dumped.splitlines())


def _python(entry: Entry) -> str:
    return f'''"""{entry.title}."""

import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

SESSIONS = 20


def {entry.name}(frame: pl.DataFrame) -> pl.DataFrame:
    """Return over {{SESSIONS}} sessions: change this.

    frame: date, slot (number of the session), instrument_id, open, high, low, close, volume,
    dollar_volume, raw_close. Look back by ``slot``, not by rows: an instrument can have gaps.
    """
    before = frame.select("instrument_id", pl.col("slot") + SESSIONS, then="close")
    both = frame.join(before, on=["instrument_id", "slot"], how="left")
    return both.select("date", "instrument_id", value=pl.col("close") / pl.col("then") - 1)


FACTORS = (
    Factor(
        name={entry.name!r},
        asset_class=AssetClass.EQUITY,
        family={entry.family!r},
        direction={entry.direction},
        title={entry.title!r},
        reference={entry.reference!r},
        function={entry.name},
        lookback=SESSIONS,
    ),
)
'''
