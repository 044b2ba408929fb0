"""Runs a command and says what it cost: wall seconds, CPU seconds, peak resident memory."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1024 * (1 if sys.platform.startswith("linux") else 1024)
"""``ru_maxrss`` counts kilobytes on Linux, bytes on macOS."""


class CommandError(RuntimeError):
    """The command ended with another exit code than 0."""


@dataclass(frozen=True)
class Cost:
    """One execution. ``peak_mb`` is the largest resident set of the process or a child of its own."""

    wall: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True)
class Costs:
    """Several executions of the same command."""

    runs: tuple[Cost, ...]

    def median(self, field: str) -> float:
        return statistics.median(getattr(r, field) for r in self.runs)

    def spread(self, field: str) -> tuple[float, float]:
        values = [getattr(r, field) for r in self.runs]
        return min(values), max(values)


def run(
    command: Sequence[str], *, cwd: Path, log: Path, env: Mapping[str, str] | None = None
) -> Cost:
    """Execute ``command``, its output into ``log``; CommandError shows the log's end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # a process begins with its parent's peak, so a small one stands between this one and the command
    watched = subprocess.run(
        [sys.executable, "-S", __file__, str(log), *command], cwd=cwd,
        env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    code, wall, cpu, peak = json.loads(watched.stdout)
    if code != 0:
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
        raise CommandError(f"{' '.join(command)} ended with {code}:\n{tail}")
    return Cost(wall, cpu, peak / MB)


def watch(log: str, command: Sequence[str]) -> str:
    """Run ``command`` from a process that holds nothing: exit code, wall, CPU, ``ru_maxrss`` as JSON."""
    with Path(log).open("wb") as out:
        begun = time.monotonic()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return json.dumps([child.returncode, wall, cpu, usage.ru_maxrss])


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {cores} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.stdout.write(watch(sys.argv[1], sys.argv[2:]))
