"""What the library's factors were worth on real data; writes ``docs/research/factors.md``.

``make research``: the pipeline over the large panel where it is there (``../shared/data``), sets core and
extended, then the page. ``make research ARGS="--root ROOT"``: the page alone, from the published run of
ROOT; ``--print`` shows it and writes nothing.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import run as bench
from measure import run

from wealthos_pipeline import factors, load
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "research" / "factors.md"
SETS = ("core", "extended")
ENV = {
    "WEALTHOS_FACTORS__SETS": '["core", "extended"]',
    "WEALTHOS_MODELS__NAMES": '["ridge"]',
}
"""Settings of the run: every factor; models are not what is looked at."""

THROUGH_TIME = "time series"
FEW = "too few dates, or names a date, with a value and a label"


@dataclass(frozen=True)
class Published:
    """What the page is made from."""

    library: factors.Library
    summary: pl.DataFrame
    catalog: pl.DataFrame
    sessions: pl.DataFrame  # date, names

    @classmethod
    def of(cls, root: Path) -> Published:
        bars = load("clean.prices", root=root, columns=["date", "instrument_id"])
        return cls(
            factors.load(SETS, ROOT / "no own factors"),
            load("factors.summary", root=root),
            load("meta.catalog", root=root),
            bars.group_by("date").len("names").sort("date"),
        )

    def rows(self, universe: str, horizon: int) -> dict[str, dict[str, object]]:
        """Factor → its line of the summary."""
        part = self.summary.filter(universe=universe, horizon=horizon)
        return {str(r["factor"]): r for r in part.iter_rows(named=True)}

    @property
    def horizons(self) -> list[int]:
        return self.summary["horizon"].unique().sort().to_list()

    def of_class(self, equity: bool) -> list[Factor]:
        found = [
            f
            for f in self.library.factors.values()
            if (f.asset_class is AssetClass.EQUITY) == equity
        ]
        return sorted(found, key=lambda f: (f.asset_class.value, f.family, f.name))


# --- cells ---------------------------------------------------------------------------------------


def number(row: dict[str, object] | None, column: str, form: str, scale: float = 1.0) -> str:
    value = None if row is None else row[column]
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return format(value * scale, form).replace("-", "−")


def verdict(row: dict[str, object] | None, column: str) -> str:
    value = None if row is None else row[column]
    return "–" if value is None else "yes" if value else "no"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield "| " + " | ".join(names) + " |"
    yield "|" + " --- |" * len(names)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def link(f: Factor) -> str:
    page = f.table.split(".", 1)[1]
    return f"[`{f.name}`](../factors/{page}.md#{f.name})"


def sign(f: Factor) -> str:
    return "+" if f.direction > 0 else "−"


# --- the page ------------------------------------------------------------------------------------


def of_names(data: Published, horizon: int) -> Iterator[str]:
    """Equity factors: the members at the date, and beside them every name of the panel."""
    members, everyone = data.rows("members", horizon), data.rows("all", horizon)
    head = [
        "factor", "family", "sign", "rank IC", "t", "detectable", "BH", "HLZ", "spread %",
        "net of costs %", "turnover", "coverage",
    ]  # fmt: skip
    if everyone:
        head += ["rank IC, all names", "t, all names"]

    def line(f: Factor) -> list[str]:
        m, a = members.get(f.name), everyone.get(f.name)
        cells = [
            link(f), f.family, sign(f), number(m, "mean_rank_ic", ".3f"), number(m, "t", ".1f"),
            number(m, "detectable_ic", ".3f"), verdict(m, "bh_rejected"), verdict(m, "hlz_passed"),
            number(m, "mean_spread", ".2f", 100), number(m, "spread_net", ".2f", 100),
            number(m, "mean_turnover", ".2f"), number(m, "coverage", ".2f"),
        ]  # fmt: skip
        if everyone:
            cells += [number(a, "mean_rank_ic", ".3f"), number(a, "t", ".1f")]
        return cells

    equities = [f for f in data.of_class(equity=True) if f.name in members or f.name in everyone]
    yield from table(head, map(line, equities))
    yield ""
    yield count(members, "equity factors over members at the date", horizon)


def through_time(data: Published, horizon: int) -> Iterator[str]:
    """Factors of series and markets."""
    found, across = data.rows(THROUGH_TIME, horizon), data.rows("all", horizon)
    head = [
        "factor", "family", "sign", "judged by", "dates", "rank correlation", "t", "detectable", "BH",
        "HLZ", "high less low fifth %", "coverage", "across names: rank IC", "t",
    ]  # fmt: skip

    def line(f: Factor) -> list[str]:
        r, a = found.get(f.name), across.get(f.name)
        return [
            link(f), f"{f.asset_class.value} {f.family}".replace("_", " "), sign(f),
            {"market": "stocks", "bond": "10-year bond", "": "its own return"}[f.target],
            number(r, "dates", ",.0f"), number(r, "mean_rank_ic", ".3f"), number(r, "t", ".1f"),
            number(r, "detectable_ic", ".3f"), verdict(r, "bh_rejected"), verdict(r, "hlz_passed"),
            number(r, "mean_spread", ".2f", 100), number(r, "coverage", ".2f"),
            number(a, "mean_rank_ic", ".3f"), number(a, "t", ".1f"),
        ]  # fmt: skip

    rest = [f for f in data.of_class(equity=False) if f.name in found]
    yield from table(head, map(line, rest))
    yield ""
    yield count(found, "factors through time", horizon)


def count(rows: dict[str, dict[str, object]], what: str, horizon: int) -> str:
    right = sum((r["mean_rank_ic"] or 0) > 0 for r in rows.values())  # type: ignore[operator]
    believed = sum(r["bh_rejected"] is True for r in rows.values())
    hurdle = sum(r["hlz_passed"] is True for r in rows.values())
    return (
        f"Of {len(rows)} {what}, horizon {horizon}: {right} point where they were published to point, "
        f"{believed} survive Benjamini–Hochberg at 5 %, {hurdle} have |t| > 3 (either sign counts in "
        "both)."
    )


def not_computed(data: Published) -> Iterator[str]:
    judged = set(data.summary["factor"])
    catalog = data.catalog.filter(kind="factor")
    computed = set(catalog["name"])
    why = dict(catalog.select("name", "reason_missing").drop_nulls().iter_rows())
    rows = [
        (link(f), why.get(f.name) or (FEW if f.name in computed else "not in the sets of this run"))
        for f in data.library.factors.values()
        if f.name not in judged
    ]
    if rows:
        yield "\n## Not judged here\n"
        yield from table(("factor", "why"), rows)


def page(data: Published, command: str) -> Iterator[str]:
    """The Markdown page."""
    source = data.catalog.filter(kind="source").row(0, named=True)
    days = data.sessions
    yield "<!-- written by `make research`; do not edit -->\n"
    yield "# What the factors were worth\n"
    yield (
        f"{source['title']}. {days['date'][0]} to {days['date'][-1]}, {days['names'].min():,} to "
        f"{days['names'].max():,} instruments a session. Every factor of the sets core and extended that "
        f"the data allow. Made by `{command}`.\n"
    )
    yield "## Read this first\n"
    for title, detail in data.catalog.filter(kind="bias").select("title", "detail").iter_rows():
        yield f"- **{title}.** {detail}"
    yield from HOW
    for h in data.horizons:
        yield f"\n## Stocks, horizon {h} sessions\n"
        yield from of_names(data, h)
    for h in data.horizons:
        yield f"\n## Rates, credit and markets through time, horizon {h} sessions\n"
        yield from through_time(data, h)
    yield from not_computed(data)


HOW = (
    "",
    "How the numbers are made. Decisions on the close of t fill at the close of t+1; a label is known "
    "when its last bar is. All signs are times the published direction: positive is as published. "
    "*Rank IC* is the mean over dates of the rank correlation among the names. *t* is the one nearest 0 "
    "of Newey–West (2h lags), stationary bootstrap and non-overlapping dates; *detectable* is 2.8 of the "
    "largest standard error: a smaller mean would be missed one time in five or more. *BH*: "
    "Benjamini–Hochberg at 5 % over the factors of the table; *HLZ*: |t| > 3.0 (Harvey, Liu & Zhu 2016). "
    "*Spread* is top less bottom bucket over a horizon. Scores are winsorised and sector-neutral; the "
    "columns *all names* take raw values of every name of the panel, also before it was in the index and "
    "after it left: **inflated by inclusion bias**, since names are in the panel for having done well.",
    "",
    "Factors that are the same for all names are ranked over dates against the mean return of the stocks "
    "or that of the 10-year par bond ([`factors/timing.py`](../../wealthos_pipeline/factors/timing.py) "
    "has the formulas); the correlation is over the whole history and could not have been traded on.",
)


def published(scratch: Path) -> Path:
    """A root with a published run over the large panel."""
    folder = bench.panel_folder()
    if folder is None:
        raise SystemExit("the large panel (../shared/data) is not there; pass --root ROOT")
    root = scratch / "research"
    words = [*bench.panel_options(folder), *bench.clock(bench.LAST)]
    command = [str(bench.WEALTHOS), "run", "--root", str(root), *words]
    env = {**ENV, "WEALTHOS_REPORTS": str(root / "reports")}
    cost = run(command, cwd=ROOT, log=scratch / "research.log", env=env)
    print(f"the pipeline: {cost.wall:.0f} s, {cost.peak_mb:,.0f} MB", file=sys.stderr)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, help="a root with a published run; nothing is computed"
    )
    parser.add_argument("--print", action="store_true", help="show the page, write nothing")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="wealthos-research-"))
    try:
        data = Published.of(options.root or published(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = "\n".join(page(data, "make research")) + "\n"
    if options.print:
        print(text)
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
