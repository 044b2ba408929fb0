"""``wealthos diff``: what changed between two runs, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from wealthos_pipeline.reporting.diff import Diff


def diff(
    run_a: Annotated[
        str, typer.Argument(help="Earlier run: its id, the id's beginning, or previous.")
    ] = "previous",
    run_b: Annotated[str, typer.Argument(help="Later run: id, beginning, or last.")] = "last",
    rows: Annotated[int, typer.Option("--limit", "-n", min=1, help="Moves to show an owner.")] = 10,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain what changed from RUN_A to RUN_B.

    Every issued prediction and target is split into code or configuration, restated bars, new
    bars, model and holdings, by computing it again with one cause after another. What is left is
    shown as residual.
    """
    from wealthos_pipeline import factors
    from wealthos_pipeline.cli.lookup import find_run
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import calendar, open_lake
    from wealthos_pipeline.core.errors import NoManifestError
    from wealthos_pipeline.data.storage.manifest import history
    from wealthos_pipeline.portfolio import mandates
    from wealthos_pipeline.reporting.diff import compare
    from wealthos_pipeline.utils.config import inputs_dir

    settings = options.load(root)
    lake = open_lake(settings)
    runs = history(lake)
    if len(runs) < 2 and run_a == "previous":
        raise NoManifestError(
            f"there {'is one run' if runs else 'is no run'} under {settings.root}: nothing to "
            "compare with yet. Run again when there is new data."
        )
    library = factors.load(settings.factors.sets, settings.factors.own, strict=False)
    found = compare(
        lake,
        find_run(run_a, runs),
        find_run(run_b, runs),
        settings=settings,
        calendar=calendar(settings),
        library=library,
        mandates=mandates.load(settings.portfolio.mandates or inputs_dir() / "mandates"),
    )
    if as_json:
        emit(as_data(found))
        return
    show(found, _symbols(found, lake), rows)


def as_data(found: Diff) -> dict[str, Any]:
    """The difference as plain data."""
    from dataclasses import asdict

    return {
        "a": {"run_id": found.a.run_id, "as_of": found.a.as_of},
        "b": {"run_id": found.b.run_id, "as_of": found.b.as_of},
        **asdict(found.facts),
        "moves": found.frame().to_dicts(),
        "notes": list(found.notes),
    }


def _symbols(found: Diff, lake: Any) -> dict[str, str]:
    from wealthos_pipeline.data.storage.manifest import Snapshot

    rows = Snapshot(lake, found.b).read("clean.instruments").sort("instrument_id", "valid_from")
    return dict(rows.select("instrument_id", "symbol").iter_rows())


def show(found: Diff, symbols: dict[str, str], most: int) -> None:
    """Print the difference for a person."""
    import polars as pl

    from wealthos_pipeline.cli.output import facts, frame, note, out, short_run

    f = found.facts
    pairs: list[tuple[str, object]] = [
        ("from", f"{short_run(found.a.run_id)}, data through {found.a.as_of}"),
        ("to", f"{short_run(found.b.run_id)}, data through {found.b.as_of}"),
        ("bars", f"{f.bars.new:,} new, {f.bars.restated:,} restated, {f.bars.vanished:,} gone"),
        ("tables", _some([t.table for t in f.tables], "no table changed")),
        ("code", "the same" if f.code is None else f"{f.code[0]} → {f.code[1]}"),
        ("packages", "the same" if f.packages is None else "another lock file"),
    ]
    if f.bars.instruments:
        names = [symbols.get(i, i) for i in f.bars.instruments]
        pairs.append(("restated", _some(names, "")))
    if f.past_changed:
        pairs.append(("past changed in", ", ".join(f.past_changed)))
    pairs += [(f"setting {s.name}", f"{s.before} → {s.after}") for s in f.settings]
    if f.stages:
        pairs.append(("stages redefined", _some(list(f.stages), "")))
    for fit in f.fits:
        same = "the same fit" if not fit.changed else f"{fit.before or '–'} → {fit.after or '–'}"
        pairs.append((f"model {fit.model}", same))
    if f.holdings:
        pairs.append(("holdings", f"{len(f.holdings)} supplied positions differ"))
    facts(pairs, title="What changed")
    moves = found.frame()
    if not moves.height:
        out().print("\nNo issued prediction or target moved.")
    for (kind, owner), part in moves.group_by("kind", "owner", maintain_order=True):
        used = [
            c
            for c in part.columns[6:]
            if part[c].abs().max() >= (5e-5 if kind == "target" else 5e-3)  # type: ignore[operator]
        ]
        shown = part.head(most).with_columns(pl.col("instrument_id").replace(symbols).alias("name"))
        spec = "+.2%" if kind == "target" else "+.2f"
        columns = ["name", "before", "after", "change", *used]
        formats = dict.fromkeys(columns, spec) | dict.fromkeys(("before", "after"), spec[1:])
        what = "weights" if kind == "target" else "z"
        frame(
            shown.select(columns),
            title=f"{kind} {owner}: {what}, {shown.height} of {part.height} that moved",
            formats=formats,
        )
    for text in found.notes:
        note(text)


def _some(names: list[str], none: str, most: int = 6) -> str:
    if not names:
        return none
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
