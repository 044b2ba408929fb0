"""Checks of the machine, and where each setting came from."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from wealthos_pipeline.utils.config import Settings

Status = Literal["ok", "warn", "fail"]
MASK = "********"
LOW_DISK = 5e9
"""Bytes: below this a full run on a large panel may not fit."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do where it is not well."""

    name: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its value in words (secrets masked) and the layer that it came from."""

    name: str
    value: str
    origin: str


def machine(root: Path) -> list[Check]:
    """Everything that can be checked without opening the lake."""
    return [
        python(),
        packages(),
        libgomp(),
        time_zones(),
        disk(root),
        writable(root),
        memory(),
        Check("network", "ok", "needed by vendors only, not by the sources sample and files"),
        Check("browser", "ok", "not needed: charts are drawn without one"),
    ]


def python() -> Check:
    """The interpreter; its version is checked when the program is installed."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", "ok", found)


def packages() -> Check:
    """The packages whose versions decide what a file means."""
    have, missing = [], []
    for name in ("polars", "duckdb", "deltalake", "dagster", "numpy", "numba"):
        try:
            have.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "fail", f"missing: {', '.join(missing)}", "run `make setup`")
    return Check("packages", "ok", ", ".join(have))


def libgomp() -> Check:
    """The OpenMP runtime that LightGBM's wheel expects from the system."""
    found = ctypes.util.find_library("gomp")
    if found is None and platform.system() == "Linux":
        return Check(
            "libgomp", "fail", "not found", "LightGBM needs it: `apt-get install libgomp1`"
        )
    return Check("libgomp", "ok", found or "not needed on this system")


def time_zones() -> Check:
    """Time zone data, for exchange hours."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        return Check(
            "time zones", "fail", "America/New_York is unknown", "`apt-get install tzdata`"
        )
    return Check("time zones", "ok", "America/New_York is known")


def disk(root: Path) -> Check:
    """Free space where the lake lies."""
    place = _existing(root)
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free at {root}"
    if free < LOW_DISK:
        return Check("disk", "warn", found, "free some space before a full run on a large panel")
    return Check("disk", "ok", found)


def writable(root: Path) -> Check:
    """Whether the root can be written to."""
    place = _existing(root)
    if os.access(place, os.W_OK):
        return Check(
            "root", "ok", str(root) if root.exists() else f"{root} (made by the first run)"
        )
    return Check("root", "fail", f"{place} cannot be written", "choose another with --root")


def memory() -> Check:
    """Memory that is there."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{total / 1e9:.0f} GB, {cores} cores"
    if total < 4e9:
        return Check("memory", "warn", found, "the sample needs 1.5 GB, 600 stocks need 6 GB")
    return Check("memory", "ok", found)


def keys(settings: Settings) -> list[Check]:
    """Which vendors' keys are set; never their values, nor how long they are."""
    used = (settings.source.name, *settings.source.also)
    out = []
    for name in type(settings.keys).model_fields:
        variable = f"WEALTHOS_KEYS__{name.upper()}"
        if not settings.keys.lacks(name):
            out.append(Check(f"key {name}", "ok", f"{MASK} ({variable})"))
        elif name in used:
            out.append(Check(f"key {name}", "fail", "not set", f"set {variable}"))
        else:
            out.append(Check(f"key {name}", "ok", f"not set; {variable} would be read"))
    return out


def origins(flags: Mapping[str, Any], settings: Settings) -> list[Origin]:
    """Every leaf of ``settings`` with the layer that gave it: flag, environment, file, default.

    ``flags`` are the nested overrides of the command line. Secrets are masked.
    """
    layers = (
        ("flag", dict(flags)),
        ("environment", dict(EnvSettingsSource(Settings)())),
        ("wealthos.toml", dict(TomlConfigSettingsSource(Settings)())),
    )
    return [
        Origin(".".join(path), _words(value), _layer(path, layers))
        for path, value in _leaves(settings)
    ]


def _leaves(model: BaseModel, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    out: list[tuple[tuple[str, ...], object]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            out += _leaves(value, (*path, name))
        else:
            out.append(((*path, name), value))
    return out


def _layer(path: tuple[str, ...], layers: tuple[tuple[str, dict[str, Any]], ...]) -> str:
    for name, body in layers:
        found: Any = body
        for step in path:
            if not isinstance(found, Mapping) or step not in found:
                break
            found = found[step]
        else:
            if name == "environment":
                return f"environment ({'WEALTHOS_' + '__'.join(path).upper()})"
            return name
    return "default"


def _words(value: object) -> str:
    if isinstance(value, SecretStr):
        return MASK
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def _existing(path: Path) -> Path:
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return place
