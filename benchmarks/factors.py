"""The factor engine beside Qlib, alphalens and plain Polars, and by itself: the section of the page.

Every side is a process of its own on the same files and the same two threads. Before anything is
timed each side writes its values once and they are compared; then the sides take turns, ``repeats``
times. Peak memory is that of the largest process; Qlib's loader has two beside its parent.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import CommandError, Cost, Costs, machine, run

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
SIDES = ROOT / "benchmarks" / "factor_sides.py"
KERNELS = ROOT / "benchmarks" / "kernels.py"
QLIB, ALPHALENS = (
    ROOT / ".peers" / "qlib" / "bin" / "python",
    ROOT / ".peers" / "venv" / "bin" / "python",
)
sys.path.insert(0, str(PEERS))

THREADS = dict.fromkeys(("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "2")  # fmt: skip
MISPLACED = ("IMAX", "IMIN", "IMXD")
"""Where Qlib is wrong in windows with gaps (its issue 2352): not compared."""


@dataclass(frozen=True)
class Sizes:
    """Names and sessions of each measurement."""

    paired: tuple[int, int] = (500, 2500)
    large: tuple[int, int] = (3000, 2500)
    short: int = 500


SMALL = Sizes((40, 300), (120, 620), 560)


@dataclass
class Side:
    """One way of doing the same thing."""

    title: str
    command: list[str]
    costs: list[Cost] = field(default_factory=list)
    phases: list[dict[str, float]] = field(default_factory=list)

    def phase(self, name: str) -> float:
        values = sorted(p[name] for p in self.phases)
        return values[len(values) // 2]

    def spread(self, name: str) -> str:
        values = sorted(p[name] for p in self.phases)
        middle = f"{values[len(values) // 2]:.2f}"
        return middle + (f" ({values[0]:.2f}–{values[-1]:.2f})" if len(values) > 1 else "")

    @property
    def whole(self) -> Costs:
        return Costs(tuple(self.costs))


class FactorBench:
    """Executes the sides under a scratch folder; ``lines`` is Markdown."""

    def __init__(self, scratch: Path, repeats: int, sizes: Sizes) -> None:
        self.scratch, self.repeats, self.sizes = scratch, repeats, sizes
        self.lines: list[str] = []
        scratch.mkdir(parents=True, exist_ok=True)

    def run(self) -> list[str]:
        """All measurements that the machine allows; what it does not is said."""
        self.say("\n## Factors\n")
        self.say(
            f"Measured on {machine()}, "
            'by `make bench ARGS="--only factors"`. Seeded walks on New York sessions, 1.5 % '
            "of the bars missing. Two threads on every side, outputs compared before timing, "
            f"{self.repeats} runs a side in turn; median (least–most). Warm: kernels in the cache on disk."
        )
        self.alpha158()
        self.evaluation()
        self.large()
        self.days()
        self.kernels()
        return self.lines

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    # --- processes ---

    def once(self, side: Side, out: Path, *more: str, env: Mapping[str, str] | None = None) -> Cost:
        log = self.scratch / f"{out.name}.log"
        words = [str(out) if w == "OUT" else w for w in side.command]
        cost = run([*words, *more], cwd=ROOT, log=log, env={**THREADS, **(env or {})})
        side.costs.append(cost)
        side.phases.append(json.loads(out.with_suffix(".json").read_text()))
        return cost

    def turns(self, sides: Sequence[Side]) -> None:
        for turn in range(self.repeats):
            for i, side in enumerate(sides):
                self.once(side, self.scratch / f"timed-{turn}-{i}")

    def ours(self, name: str, folder: Path) -> list[str]:
        return [sys.executable, str(SIDES), name, str(folder), "OUT"]

    def bars(self, title: str, names: int, sessions: int, suspended: float | None = None) -> Path:
        """A folder with ``bars.parquet`` and ``listed.parquet``."""
        import panels
        import polars as pl

        folder = self.scratch / title
        if not folder.exists():
            folder.mkdir()
            share = panels.SUSPENDED if suspended is None else suspended
            frame = panels.seeded(names, sessions, share)
            frame.write_parquet(folder / "bars.parquet")
            first = frame.group_by("instrument_id").agg(valid_from=pl.col("date").min())
            first.with_columns(asset_class=pl.lit("equity")).sort("instrument_id").write_parquet(
                folder / "listed.parquet"
            )
        return folder

    # --- measurements ---

    def alpha158(self) -> None:
        """Alpha158 by the engine, by Polars expressions, by Qlib's loader."""
        import panels
        import polars as pl

        names, sessions = self.sizes.paired
        folder = self.bars("paired", names, sessions)
        sides = [
            Side("engine", self.ours("engine", folder)),
            Side("Polars expressions", self.ours("plain", folder)),
        ]
        self.say(f"\n### Alpha158, {names} names × {sessions:,} sessions\n")
        if QLIB.exists():
            panels.write_qlib(pl.read_parquet(folder / "bars.parquet"), folder / "data")
            sides.append(
                Side(
                    "Qlib 0.9.7, 2 kernels",
                    [str(QLIB), "-W", "ignore", str(PEERS / "qlib_side.py"), str(folder / "data"),
                     "OUT", "alpha158", "--whole", "--kernels", "2"],
                )
            )  # fmt: skip
        else:
            self.say("Qlib was not there (`make check-peers` installs it).\n")
        for i, side in enumerate(sides):
            self.once(side, self.scratch / f"kept-{i}", *(["--keep"] if i < 2 else []))
        self.say(self._compared([s.title for s in sides]))
        for side in sides:
            side.costs.clear()
            side.phases.clear()
        if len(sides) > 2:
            sides[2].command.append("--keep-none")
        self.turns(sides)
        self.say("")
        self._table(sides, "compute", {"wall": "load_seconds"}, targets=(12, 8, 0.5))
        cold = Side("engine", self.ours("engine", folder))
        cache = self.scratch / "no-cache"
        self.once(cold, self.scratch / "cold", env={"NUMBA_CACHE_DIR": str(cache)})
        self.say(
            f"\nCold, every kernel compiled anew (once after an upgrade): {cold.costs[0].wall:.1f} s, "
            f"{cold.costs[0].cpu:.1f} CPU s."
        )

    def _compared(self, titles: list[str]) -> str:
        """How far the sides' values agree, as a sentence; CommandError where they do not."""
        import numpy as np
        import polars as pl
        from qlib_compare import _floats, _same

        key = ["date", "instrument_id"]
        mine = pl.read_parquet(self.scratch / "kept-0.parquet").sort(key)
        words = []
        for i, title in enumerate(titles[1:], 1):
            if i == 1:
                peer = pl.read_parquet(self.scratch / "kept-1.parquet")
            else:
                peer = pl.read_parquet(self.scratch / f"kept-{i}-0.parquet").rename(
                    {"datetime": "date", "instrument": "instrument_id"}
                ).with_columns(pl.col("date").cast(pl.Date))  # fmt: skip
            peer = mine.select(key).join(peer, on=key, how="left", maintain_order="left")
            cells = good = 0
            for c in mine.columns[2:]:
                if i == 2 and c.startswith(MISPLACED):
                    continue
                b = _floats(peer[c])
                known = b[np.isfinite(b)]
                spread = float(np.median(np.abs(known - np.median(known)))) if len(known) else 0.0
                same, _ = _same(_floats(mine[c]), b, spread)
                cells, good = cells + len(same), good + int(same.sum())
            share = good / cells
            if share < 0.998:
                raise CommandError(f"{title}: only {share:.3%} of the values agree with ours")
            left = " without IMAX, IMIN, IMXD (Qlib issue 2352)" if i == 2 else ""
            words.append(f"{title}: {share:.4%} of {cells:,} values{left}")
        (self.scratch / "kept-0.parquet").unlink()
        return (
            "Values equal to the engine's within 1e-5 of the value or the column's median absolute "
            f"deviation: {'; '.join(words)}. What is left is Float32 between operators (`make check-peers`)."
        )

    def _table(
        self, sides: list[Side], phase: str, other: Mapping[str, str], targets: tuple[float, ...]
    ) -> None:
        self.say("| | compute phase, wall s | whole process, wall s | CPU s | peak MB |")
        self.say("| --- | --- | --- | --- | --- |")
        key = {s.title: phase if phase in s.phases[0] else other["wall"] for s in sides}
        for s in sides:
            low, high = s.whole.spread("wall")
            self.say(
                f"| {s.title} | {s.spread(key[s.title])} | {s.whole.median('wall'):.1f} ({low:.1f}–{high:.1f}) "
                f"| {s.whole.median('cpu'):.1f} | {s.whole.spread('peak_mb')[1]:,.0f} |"
            )
        mine = sides[0]
        for s in sides[1:]:
            faster = s.phase(key[s.title]) / mine.phase(key[mine.title])
            less = s.whole.median("cpu") / mine.whole.median("cpu")
            memory = mine.whole.spread("peak_mb")[1] / s.whole.spread("peak_mb")[1]
            words = f"{faster:.1f} × faster in the compute phase, {less:.1f} × less CPU, {memory:.2f} × the memory"
            if s is sides[-1] and len(sides) > 2:
                want = zip(
                    (faster, less, -memory), (targets[0], targets[1], -targets[2]), strict=True
                )
                met = ["met" if a >= b else "**missed**" for a, b in want]
                words += (
                    f" (asked for: {targets[0]:g} × {met[0]}, {targets[1]:g} × {met[1]}, "
                    f"{targets[2]:g} × {met[2]})"
                )
            self.say(f"\nAgainst {s.title}: {words}.")

    def evaluation(self) -> None:
        """One factor judged: IC, quantile returns, turnover, autocorrelation."""
        import polars as pl
        from factor_sides import SIGNAL

        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.engine import evaluate

        names, sessions = self.sizes.paired
        folder = self.bars("judged", names, sessions, 0.0)
        import panels

        bars = panels.as_clean(pl.read_parquet(folder / "bars.parquet"))
        signal = evaluate({"factor": SIGNAL}, bars, calendar=TradingCalendar("XNYS")).drop_nulls()
        last = bars["date"].unique().sort()[-10]
        signal.filter(pl.col("date") < last).write_parquet(folder / "signal.parquet")
        sides = [
            Side("`study`", self.ours("judge", folder)),
            Side("Polars expressions", self.ours("judge_plain", folder)),
        ]
        self.say(f"\n### One factor judged, {names} names × {sessions:,} sessions\n")
        if ALPHALENS.exists():
            command = [
                str(ALPHALENS),
                "-W",
                "ignore",
                str(PEERS / "alphalens_side.py"),
                str(folder),
                "OUT",
            ]
            sides.append(Side("alphalens-reloaded 0.5.1", command))
        else:
            self.say("alphalens was not there (`make check-peers` installs it).\n")
        found = []
        for i, side in enumerate(sides):
            self.once(side, self.scratch / f"judged-{i}", "--keep")
            frame = pl.read_parquet(self.scratch / f"judged-{i}.parquet").cast(
                {"date": pl.Date, "horizon": pl.Int32}
            )
            found.append(frame)
            side.costs.clear()
            side.phases.clear()
        for frame, side in zip(found[1:], sides[1:], strict=True):
            both = found[0].join(frame, on=["horizon", "date"], suffix="_peer").drop_nulls()
            gap = float((both["rank_ic"] - both["rank_ic_peer"]).abs().max())  # type: ignore[arg-type]
            if gap > 1e-9 or both.height < 0.9 * found[0].height:
                raise CommandError(
                    f"{side.title}: rank ICs differ by {gap:.2g} on {both.height} dates"
                )
        self.say(
            f"Horizons 1, 5 and 10, filled at the close of the value. Rank ICs of {found[0].height:,} dates and "
            "horizons agree to 1e-9; buckets, turnover and autocorrelation: `make check-peers`. `study` "
            "gives three t-statistics, decay, monotonicity, coverage and results by year besides.\n"
        )
        self.turns(sides)
        self.say(
            "| | wall s after import and reading | CPU s after them | whole process, CPU s | peak MB |"
        )
        self.say("| --- | --- | --- | --- | --- |")
        for s in sides:
            self.say(
                f"| {s.title} | {s.spread('compute')} | {s.spread('compute_cpu')} "
                f"| {s.whole.median('cpu'):.1f} | {s.whole.spread('peak_mb')[1]:,.0f} |"
            )
        for s in sides[1:]:
            ratio = s.phase("compute_cpu") / sides[0].phase("compute_cpu")
            met = (
                f" (asked for: 8 × {'met' if ratio >= 8 else '**missed**'})"
                if s is sides[-1]
                else ""
            )
            self.say(f"\nAgainst {s.title}: {ratio:.1f} × less CPU{met if len(sides) > 2 else ''}.")

    def large(self) -> None:
        """Alpha158 on a wide market, computed, and into the lake."""
        names, sessions = self.sizes.large
        folder = self.bars("large", names, sessions)
        self.say(f"\n### Alpha158, {names:,} names × {sessions:,} sessions, by blocks of dates\n")
        for old in ("lake", "floor"):
            shutil.rmtree(folder / old, ignore_errors=True)
        side = {n: Side(n, self.ours(n, folder)) for n in ("large", "lake", "floor")}
        for name, s in side.items():
            self.once(s, self.scratch / name)
            if name == "lake":
                size = sum(f.stat().st_size for f in (folder / "lake").rglob("*.parquet"))
                shutil.rmtree(folder / "lake")
        shutil.rmtree(folder / "floor", ignore_errors=True)
        rows = side["large"].phase("rows")
        compute, write = side["large"].phase("compute"), side["lake"].phase("write")
        parquet, ready = side["floor"].phase("parquet"), side["floor"].phase("lake")
        self.say("| what | wall s | rows/s | peak MB | asked for |")
        self.say("| --- | --- | --- | --- | --- |")
        for words, seconds, s, least in (
            ("compute", compute, "large", 250_000),
            ("compute and write to the lake", write, "lake", 90_000),
            ("floor: the lake write of ready frames", ready, "", 0),
            ("floor: Polars' Parquet write of ready frames", parquet, "", 0),
        ):
            speed = rows / seconds
            peak = side[s].whole.spread("peak_mb")[1] if s else 0.0
            asked = ""
            if least:
                good = speed >= least and peak <= 4096
                asked = f"{'met' if good else '**missed**'}: {least:,} rows/s, 4,096 MB"
            self.say(
                f"| {words} | {seconds:.1f} | {speed:,.0f} | {f'{peak:,.0f}' if s else ''} | {asked} |"
            )
        self.say(
            f"\n{rows:,.0f} rows × 158 columns, {size / 2**30:.1f} GB in the lake; computing and writing takes "
            f"{write / (compute + ready):.2f} × the sum of both."
        )

    def days(self) -> None:
        """One more session on a short and a long history."""
        names, sessions = self.sizes.large
        self.say(f"\n### One new day, {names:,} names, `core` and `alpha158`\n")
        sides = []
        for title, count in (("short", self.sizes.short), ("large", sessions)):
            folder = self.bars(title, names, count)
            self.once(
                Side("prepare", self.ours("prepare", folder)), self.scratch / f"prepare-{title}"
            )
            sides.append(Side(f"{count:,} sessions of history", self.ours("day", folder)))
            shutil.copytree(folder / "day", folder / "before", dirs_exist_ok=True)
        for turn in range(min(self.repeats, 3)):
            for i, side in enumerate(sides):
                folder = Path(side.command[3])
                shutil.rmtree(folder / "day")
                shutil.copytree(folder / "before", folder / "day")
                self.once(side, self.scratch / f"day-{turn}-{i}")
        self.say("| | wall s after import | CPU s | rows | factors | asked for |")
        self.say("| --- | --- | --- | --- | --- | --- |")
        for s in sides:
            good = "met" if s.phase("day") <= 3 else "**missed**"
            self.say(
                f"| {s.title} | {s.spread('day')} | {s.phase('day_cpu'):.2f} | {s.phase('rows'):,.0f} "
                f"| {s.phase('factors'):,.0f} | {good}: at most 3 s |"
            )
        growth = sides[1].phase("day") / sides[0].phase("day") - 1
        self.say(
            f"\nReading the lookback, computing, replacing the day in each table; {growth:+.0%} on the longer history."
        )

    def kernels(self) -> None:
        """Each kernel beside its floor, as ``kernels.py`` says it."""
        if not KERNELS.exists():
            return
        log = self.scratch / "kernels.log"
        run([sys.executable, str(KERNELS)], cwd=ROOT, log=log, env=THREADS)
        self.say("\n### Kernels and their floors\n")
        for line in log.read_text("utf-8").splitlines():
            self.say(line)


def section(scratch: Path, repeats: int, small: bool = False) -> Iterator[str]:
    """Lines of the page's section on factors."""
    os.environ.update({k: v for k, v in THREADS.items() if k not in os.environ})
    yield from FactorBench(scratch / "factors", repeats, SMALL if small else Sizes()).run()
