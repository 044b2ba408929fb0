"""Speed and memory of whole runs, as a user has them; writes ``docs/benchmarks.md``.

``make bench``: the sample five times, then the large panel where it is there (``../shared/data``):
in full, and one more day on 2,500 and on 4,800 sessions of history, compared bit for bit with the
full run; then the factor engine and the portfolios beside their peers (``factors.py``, ``portfolio.py``), and models (``models.py``).
``make bench ARGS="--quick"`` leaves the panel and the peers out, ``--only factors`` (``portfolio``, ``models``) measures these
alone, and what is not measured stays on the page as it was.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Cost, Costs, machine, run

if TYPE_CHECKING:
    from wealthos_pipeline.data.storage.lake import Lake

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
SHARED = ROOT.parent / "shared" / "data"
WEALTHOS = Path(sys.executable).parent / "wealthos"
LAST = date(2024, 3, 8)
HISTORIES = {"2,500 sessions": 2500, "4,800 sessions": None}
PAIRS = 2
"""Days that are measured on each history."""
DATA_LAYER = Path(__file__).with_name("data_layer.py")
FETCHED = "basis_vintage"
"""Which day's adjustment a vendor's price has: the day of its fetch, so not a function of the data."""
SAME_LAYERS = ("clean", "factors", "models", "portfolio", "monitor")

IMPORTS = (
    "polars, pyarrow, deltalake, duckdb, numba, dagster, great_expectations, lightgbm, "
    "statsmodels.api, cvxpy, sklearn.linear_model, matplotlib.figure, plotly.graph_objects, "
    "exchange_calendars, wealthos_pipeline.definitions"
)


@dataclass(frozen=True)
class Line:
    """One line of the page. Targets are those of the project's owner; None where there is none."""

    what: str
    costs: Costs
    wall_target: float | None = None
    peak_target: float | None = None
    note: str = ""

    def row(self) -> str:
        low, high = self.costs.spread("wall")
        wall = f"{self.costs.median('wall'):.1f}"
        if len(self.costs.runs) > 1:
            wall += f" ({low:.1f}–{high:.1f})"
        peak = self.costs.spread("peak_mb")[1]
        targets = []
        if self.wall_target is not None:
            targets.append(_met(self.costs.median("wall"), self.wall_target, "s"))
        if self.peak_target is not None:
            targets.append(_met(peak, self.peak_target, "MB"))
        cells = (
            self.what, str(len(self.costs.runs)), wall, f"{self.costs.median('cpu'):.1f}",
            f"{peak:,.0f}", "; ".join(targets), self.note,
        )  # fmt: skip
        return "| " + " | ".join(cells) + " |"


def _met(found: float, target: float, unit: str) -> str:
    return f"{'met' if found <= target else '**missed**'}: at most {target:,.0f} {unit}"


class Bench:
    """Executes runs under a scratch folder and keeps what they cost."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.lines: list[Line] = []
        self.remarks: list[str] = []
        self.parts: list[tuple[str, str, str]] = []

    def wealthos(self, root: Path, *options: str) -> Cost:
        """One ``wealthos run``; reports go beside the root."""
        number = len(list(self.scratch.glob("*.log")))
        cost = run(
            [str(WEALTHOS), "run", "--root", str(root), *options],
            cwd=ROOT,
            log=self.scratch / f"{number:02d}-{root.name}.log",
            env={"WEALTHOS_REPORTS": str(root / "reports")},
        )
        print(
            f"  {root.name}: {cost.wall:.1f} s, {cost.cpu:.1f} CPU s, {cost.peak_mb:,.0f} MB",
            flush=True,
        )
        return cost

    def fresh(self, name: str) -> Path:
        root = self.scratch / name
        shutil.rmtree(root, ignore_errors=True)
        return root

    def add(self, line: Line) -> None:
        self.lines.append(line)

    # --- what is measured ---

    def imports(self, repeats: int) -> None:
        command = [sys.executable, "-c", f"import {IMPORTS}"]
        log = self.scratch / "imports.log"
        costs = Costs(tuple(run(command, cwd=ROOT, log=log) for _ in range(repeats)))
        self.add(Line("importing everything that a run imports", costs))

    def sample(self, repeats: int) -> None:
        print(f"sample, {repeats} runs from nothing", flush=True)
        costs = Costs(tuple(self.wealthos(self.fresh("sample")) for _ in range(repeats)))
        self.add(Line("`wealthos run`, sample, from nothing", costs, 60, 1536))
        again = Costs((self.wealthos(self.scratch / "sample"),))
        self.add(Line("the same again, nothing new", again))

    def panel(self, repeats: int) -> None:
        folder = panel_folder()
        if folder is None:
            self.remarks.append(
                "The large panel (`../shared/data`) was not there; its lines were skipped."
            )
            print("large panel: skipped, ../shared/data is not there")
            return
        last, before = sessions_at_the_end()
        print(f"615-stock panel, {repeats} full runs", flush=True)
        full = self.scratch / "panel-full"
        options = panel_options(folder)
        costs = Costs(
            tuple(
                self.wealthos(self.fresh(full.name), *options, *clock(last)) for _ in range(repeats)
            )
        )
        self.add(
            Line("`wealthos run`, 615 stocks × 4,800 sessions, from nothing", costs, 360, 6144)
        )
        starts = {}
        for words, count in HISTORIES.items():
            print(f"{words}, all but one day", flush=True)
            root = self.fresh(f"panel-{count or 'all'}")
            starts[words] = () if count is None else ("--start", first_of(count).isoformat())
            self.wealthos(root, *options, *clock(before), *starts[words])
        days = self.days(starts, options, last)
        for words, costs in days.items():
            self.add(Line(f"one more day, {words} of history", costs, 40.0))
        same, compared = differing_tables(full, self.scratch / "panel-all")
        self.remarks.append(
            f"One more day against the full run: {compared} tables compared by content, "
            + ("all equal bit for bit." if not same else f"**different: {', '.join(same)}**.")
        )
        short, long = days.values()
        growth = long.median("wall") / short.median("wall") - 1
        self.remarks.append(
            f"4,800 sessions of history against 2,500, pairs in turn: {growth:+.0%} wall "
            f"({'within' if growth <= 0.2 else '**beyond**'} the 20 % allowed), "
            f"{long.median('cpu') / short.median('cpu') - 1:+.0%} CPU."
        )
        self.data(folder, full)

    def days(
        self, starts: dict[str, tuple[str, ...]], options: tuple[str, ...], last: date
    ) -> dict[str, Costs]:
        """One more day on each history, in turn, each time from the same root."""
        made: dict[str, list[Cost]] = {words: [] for words in starts}
        for turn in range(PAIRS):
            for words, count in HISTORIES.items():
                root = self.scratch / f"panel-{count or 'all'}"
                kept = root.with_name(f"{root.name}-before")
                if turn == 0:
                    shutil.copytree(root, kept, symlinks=True)
                else:
                    shutil.rmtree(root)
                    shutil.copytree(kept, root, symlinks=True)
                print(f"one more day on {words}", flush=True)
                made[words].append(self.wealthos(root, *options, *clock(last), *starts[words]))
        return {words: Costs(tuple(costs)) for words, costs in made.items()}

    # --- the data layer by itself ---

    def part(self, name: str, argument: Path) -> dict[str, float]:
        """What ``data_layer.py`` says of one part."""
        print(f"data layer: {name}", flush=True)
        log = self.scratch / f"data-{name}.log"
        run([sys.executable, str(DATA_LAYER), name, str(argument)], cwd=ROOT, log=log)
        found: dict[str, float] = json.loads(log.read_text("utf-8").splitlines()[-1])
        return found

    def data(self, folder: Path, root: Path) -> None:
        c = self.part("clean", folder / "prices" / "sp500_ohlcv_2005_2024.parquet")
        a = self.part("asof", root)
        i = self.part("increment", self.fresh("increment"))
        self.parts = [
            (
                f"cleaning {c['rows']:,.0f} bars (`prices.clean`)",
                f"{c['cpu']:.1f} CPU s, {c['wall']:.1f} s, peak {c['peak_mb']:,.0f} MB",
                _met(c["cpu"], 15, "CPU s") + "; " + _met(c["peak_mb"], 2048, "MB"),
            ),
            (
                f"all {c['checks']:.0f} checks of them, after imports",
                f"{c['check_cpu']:.1f} CPU s, {c['check_wall']:.1f} s",
                _met(c["check_cpu"], 10, "CPU s"),
            ),
            (
                f"one more day of {i['rows']:,.0f} symbols from `yahoo` on loopback, without the "
                "vendor's limit",
                f"{i['cpu']:.1f} CPU s of our own, {i['wall']:.1f} s",
                _met(i["cpu"], 10, "CPU s"),
            ),
            *(
                (
                    f"the as-of view of all bars against the plain table, {words}",
                    f"{a[f'{name}_ratio']:.2f} × ({1000 * a[f'{name}_asof']:.0f} ms against "
                    f"{1000 * a[f'{name}_plain']:.0f} ms)",
                    _met(a[f"{name}_ratio"], 2, "×"),
                )
                for name, words in (("sql", "SQL"), ("python", "Python"))
            ),
        ]


def panel_folder() -> Path | None:
    return SHARED if (SHARED / "prices" / "sp500_ohlcv_2005_2024.parquet").exists() else None


def panel_options(folder: Path) -> tuple[str, ...]:
    reference = folder / "reference"
    return (
        "--source", "files",
        "--path", str(folder / "prices" / "sp500_ohlcv_2005_2024.parquet"),
        "--sectors", str(reference / "sp500_constituents_2025-08.csv"),
        "--membership", str(reference / "sp500_ticker_start_end.csv"),
        "--rates", str(folder / "treasury"),
        "--vix", str(folder / "vix" / "vix-daily.csv"),
    )  # fmt: skip


def sessions_at_the_end() -> tuple[date, date]:
    """The last session of the panel and the one before."""
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    return LAST, TradingCalendar("XNYS").offset(LAST, -1)


def first_of(sessions: int) -> date:
    """First day of a history of that many sessions."""
    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    return TradingCalendar("XNYS").offset(LAST, 1 - sessions)


def clock(last: date) -> tuple[str, ...]:
    """The evening of ``last``: the same instant in every run, so that contents can be compared."""
    return "--end", last.isoformat(), "--now", f"{last.isoformat()}T23:00:00+00:00"


def differing_tables(a: Path, b: Path) -> tuple[list[str], int]:
    """Tables of two roots whose contents differ, and how many were compared."""
    left, right = opened(a), opened(b)
    names = [t for t in left.tables() if t.split(".")[0] in SAME_LAYERS]
    names += [t for t in right.tables() if t.split(".")[0] in SAME_LAYERS and t not in names]
    return [t for t in sorted(names) if not same(left, right, t)], len(names)


def same(left: Lake, right: Lake, table: str) -> bool:
    """Equal contents; of back-adjusted bars all but the day of the fetch they came with."""
    if left.content_hash(table) == right.content_hash(table):
        return True
    contract = left.contract(table)
    if FETCHED not in contract.column_names:
        return False
    kept = [c for c in contract.column_names if c != FETCHED]
    return left.read(table, columns=kept).equals(right.read(table, columns=kept), null_equal=True)


def opened(root: Path) -> Lake:
    """The lake under ``root`` with all factor tables declared."""
    from wealthos_pipeline import factors
    from wealthos_pipeline.data.storage.lake import Lake
    from wealthos_pipeline.utils.config import inputs_dir, load_settings

    library = factors.load(load_settings().factors.sets, inputs_dir() / "factors")
    lake = Lake(root)
    lake.register(*(f.contract for f in library.families()), *factors.scores_contracts(library))
    return lake


def page(bench: Bench) -> Iterator[str]:
    """The Markdown page."""
    yield "<!-- written by `make bench`; do not edit -->\n"
    yield "# Benchmarks\n"
    yield f"Measured on {machine()}. Whole processes, imports included; median (least–most)."
    yield "Seconds do not travel to other machines; ratios do.\n"
    yield "| what | runs | wall s | CPU s | peak MB | target | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (line.row() for line in bench.lines)
    yield ""
    yield from (f"- {remark}" for remark in bench.remarks)
    if bench.parts:
        yield "\n## The data layer by itself\n"
        yield "| what | found | target |"
        yield "| --- | --- | --- |"
        yield from (f"| {' | '.join(part)} |" for part in bench.parts)


SECTIONS = ("factors", "portfolio", "models")
"""Parts of the page that are measured by a module of that name; each stands between its own marks."""


def written(runs: str | None, sections: dict[str, str]) -> str:
    """The page with what was measured now, and what was measured before of the rest."""
    old = PAGE.read_text("utf-8") if PAGE.exists() else ""
    before = old.partition(f"<!-- {SECTIONS[0]} -->")[0]
    text = (before if runs is None else runs).rstrip("\n") + "\n"
    for name in SECTIONS:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        kept = old.partition(begin)[2].partition(end)[0]
        body = sections.get(name, kept).strip("\n")
        if body:
            text += f"\n{begin}\n\n{body}\n\n{end}\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the sample only")
    parser.add_argument("--only", choices=("runs", *SECTIONS), help="one part of the page")
    parser.add_argument(
        "--small", action="store_true", help="peers: to see that it works; writes no page"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs of the sample, of each side of a pair"
    )
    parser.add_argument("--panel-repeats", type=int, default=1, help="full runs of the panel")
    parser.add_argument("--scratch", type=Path, help="folder for the runs (some 5 GB); kept")
    options = parser.parse_args()
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="wealthos-bench-"))
    runs, sections = None, {}
    try:
        if options.only in (None, "runs"):
            bench = Bench(scratch)
            bench.imports(min(options.repeats, 3))
            bench.sample(options.repeats)
            if options.quick:
                bench.remarks.append("The large panel was left out (`--quick`).")
            else:
                bench.panel(options.panel_repeats)
            runs = "\n".join(page(bench)) + "\n"
        for name in SECTIONS:
            if options.only == name or not (options.only or options.quick):
                section = importlib.import_module(name).section
                sections[name] = "\n".join(section(scratch, options.repeats, options.small))
    finally:
        if options.scratch is None:
            shutil.rmtree(scratch, ignore_errors=True)
    text = written(runs, sections)
    if not options.small:
        PAGE.write_text(text, "utf-8")
    print("\n" + text)


if __name__ == "__main__":
    main()
