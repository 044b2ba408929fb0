"""``wealthos factors explain``, ``new`` and ``check``: from an idea to a column of the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from wealthos_pipeline.factors.admission import Verdict
    from wealthos_pipeline.factors.library import Fault
    from wealthos_pipeline.utils.config import Settings


def explain(
    what: Annotated[
        list[str],
        typer.Argument(metavar="NAME|EXPR...", help="Factors or expressions: one plan for all."),
    ],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show how expressions are computed: shared parts, lookback, fields, cost."""
    from wealthos_pipeline.cli.factors_subject import ADHOC, resolve
    from wealthos_pipeline.cli.output import emit, facts, note, table
    from wealthos_pipeline.core.errors import FactorError
    from wealthos_pipeline.factors import expression as language
    from wealthos_pipeline.factors import plan

    settings = options.load(root)
    found = [resolve(w, settings) for w in what]
    if without := [f.name for f in found if not f.expression]:
        raise FactorError(
            f"{', '.join(without)}: given as a Python function; there is no plan to show"
        )
    several = sum(f.name == ADHOC for f in found) > 1
    trees = {
        f"{f.name} {i}" if several and f.name == ADHOC else f.name: language.parse(
            f.expression or "", f.name
        )
        for i, f in enumerate(found, 1)
    }
    rows = plan.rows(trees)
    back = [
        None
        if any(r.lookback is None for r in rows)
        else max((r.lookback or 0 for r in rows), default=0)
    ][0]
    fields = sorted({f for r in rows for f in r.fields})
    series = sorted({" ".join(k).strip() for t in trees.values() for k in language.series(t)})
    cost = sum(r.cost for r in rows)
    if as_json:
        steps = [
            {"step": r.step, "op": r.op, "args": r.args, "lookback": r.lookback, "shared": r.shared,
             "fields": r.fields, "outputs": r.outputs, "all_names": r.all_names, "cost_ns": r.cost}
            for r in rows
        ]  # fmt: skip
        emit({"expressions": {n: str(t) for n, t in trees.items()}, "lookback": back, "fields": fields,
              "series": series, "cost_ns": cost, "steps": steps})  # fmt: skip
        return
    shared = sum(r.shared > 1 and r.op[0] != "$" for r in rows)
    facts(
        [
            *((n, f.expression) for n, f in zip(trees, found, strict=True)),
            ("lookback", "all of history" if back is None else f"{back} sessions before the date"),
            ("fields", ", ".join(f"${f}" for f in fields) or "none"),
            *([("series", ", ".join(series))] if series else []),
            ("steps", f"{len(rows)}, each computed once" + (f"; {shared} used more than once" if shared else "")),
            *([("cost", f"about {cost:.3g} ns a bar on one core: {cost / 1000:.2g} s for a million bars")] if cost else []),
        ],
        title="Plan",
    )  # fmt: skip
    table(
        ["step", "computes", "lookback", "used", "ns", ""],
        [
            [
                f"#{r.step}", r.words, "all" if r.lookback is None else str(r.lookback or ""),
                f"{r.shared}×" if r.shared > 1 else "", f"{r.cost:.3g}" if r.cost else "",
                "; ".join([*(["all names of the date"] if r.all_names else []),
                           *([f"= {', '.join(r.outputs)}"] if r.outputs else [])]),
            ]
            for r in rows
        ],
        right=("lookback", "used", "ns"),
        dim=[i for i, r in enumerate(rows) if r.op.startswith("$")],
    )  # fmt: skip
    note(
        "#k: what another step gives; lookback: sessions before the date; ns: a bar, on one core, estimated"
    )


def new(
    name: Annotated[str, typer.Argument(help="Name: a column in SQL.")],
    expression: Annotated[
        str | None, typer.Argument(metavar="EXPR", help="Expression; not with --python.")
    ] = None,
    family: Annotated[
        str, typer.Option("--family", help="Family: its table and its file.")
    ] = "own",
    direction: Annotated[
        int, typer.Option("--direction", help="+1 or -1: what is expected of high values.")
    ] = 1,
    title: Annotated[
        str | None, typer.Option("--title", help="What it is, in a few words.")
    ] = None,
    reference: Annotated[str, typer.Option("--reference", help="Where it comes from.")] = "own",
    python: Annotated[
        bool, typer.Option("--python", help="Write a Python file that runs, to be changed.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a factor of your own down; it is refused where it could not be used."""
    from wealthos_pipeline.cli.output import emit, note, out
    from wealthos_pipeline.core.errors import ConfigError, FactorError
    from wealthos_pipeline.factors import own_files
    from wealthos_pipeline.utils.config import inputs_dir

    if direction not in (-1, 1):
        raise ConfigError(f"--direction is 1 or -1, found {direction}")
    if python == bool((expression or "").strip()):
        raise ConfigError(
            f"give either an expression, `wealthos factors new {name} 'Mean($ret, 20)'`, or --python"
        )
    entry = own_files.Entry(
        name,
        family,
        direction,
        title or name.replace("_", " "),
        reference,
        expression and expression.strip(),
    )
    folder = inputs_dir() / "factors"
    path, text = own_files.written(entry, folder)
    faults = [f for f in own_files.tried(folder, {path.name: text}).faults if f.home == path.name]
    if faults:
        raise FactorError("\n".join([f"{name} is not written:", *(f"  {f.text}" for f in faults)]))
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, "utf-8")
    aside.replace(path)
    if as_json:
        emit({"factor": name, "file": str(path), "table": f"factors.equity_{family}"})
        return
    out().print(f"{name} is in {path}", markup=False)
    note(f"look at it now: `wealthos factors evaluate {name}`")
    if python:
        note(f"change its function, then: `wealthos factors check {path.name}`")
    note(
        f"the next `wealthos run` puts it into factors.equity_{family}, the catalog and the scores"
    )


def check(
    file: Annotated[
        Path | None, typer.Argument(help="One file; all own files without it.", show_default=False)
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Check own factors: every fault, and on published data whether any looks ahead.

    Each is computed with the future cut off, with no more history than it asks for, and twice.
    """
    from wealthos_pipeline.cli.output import emit, note, table
    from wealthos_pipeline.core.errors import FactorError, NoManifestError
    from wealthos_pipeline.factors import own_files
    from wealthos_pipeline.utils.config import inputs_dir

    settings = options.load(root)
    folder = inputs_dir() / "factors"
    faults, mine = own_files.of_file(folder, _file(file, folder) if file is not None else None)
    try:
        verdicts = _verdicts(mine, settings) if mine else []
        untried = ""
    except NoManifestError:
        verdicts, untried = [], "not tried: nothing is published yet (`wealthos run`)"
    rows = [_row(v) for v in verdicts]
    if untried:
        rows = [
            {"factor": f.name, "ok": True, "reason": untried, "names": None, "sessions": None}
            for f in mine
        ]
    if as_json:
        emit(
            {
                "faults": [{"file": f.home, "factor": f.factor, "fault": f.text} for f in faults],
                "factors": rows,
            }
        )
    else:
        if rows:
            table(
                ["factor", "", "tried on", "remark"],
                [
                    [
                        r["factor"], "admitted" if r["ok"] and not untried else "–" if r["ok"] else "refused",
                        f"{r['names']} names, {r['sessions']} sessions" if r["names"] else "–",
                        r["reason"] or "",
                    ]
                    for r in rows
                ],
            )  # fmt: skip
        elif not faults:
            note(f"there are no factors in {folder}: `wealthos factors new` writes one")
    bad = [_said(f) for f in faults] + [
        f"{r['factor']}: {r['reason']}" for r in rows if not r["ok"]
    ]
    if bad:
        raise FactorError(
            "\n".join([f"{len(bad)} own {'factor' if len(bad) == 1 else 'factors'} cannot be used:",
                       *(f"  - {b}" for b in bad)]))  # fmt: skip


def _file(file: Path, folder: Path) -> Path:
    from wealthos_pipeline.core.errors import ConfigError

    found = next((p for p in (file, folder / file) if p.is_file()), None)
    if found is None:
        raise ConfigError(f"there is no file {file}, nor {folder / file}")
    return found


def _said(fault: Fault) -> str:
    return fault.text if fault.text.startswith(fault.home) else f"{fault.home}: {fault.text}"


def _verdicts(mine: list[Any], settings: Settings) -> list[Verdict]:
    from wealthos_pipeline.cli.published import calendar, open_last
    from wealthos_pipeline.data.processors.membership import traded
    from wealthos_pipeline.factors import admission

    run = open_last(settings)
    market = admission.Market(
        traded(run.read("clean.prices")),
        run.read("clean.series"),
        run.read("clean.instruments"),
        calendar(settings),
        run.read("clean.fundamentals"),
    )
    return [admission.examine(f, market) for f in mine]


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "factor": verdict.factor.name, "ok": verdict.admitted, "reason": verdict.reason,
        "names": verdict.names, "sessions": verdict.sessions, "cuts": verdict.cuts,
    }  # fmt: skip
