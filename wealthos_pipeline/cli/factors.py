"""``wealthos factors``: what is defined, and how it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import factors_define, factors_study, options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.core.factor import Factor
    from wealthos_pipeline.utils.config import Settings

group = typer.Typer(no_args_is_help=True, help="Factors: definitions and how they did.")

Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Factor set, repeatable (default: the settings').")
]


@group.command("list")
def list_(
    sets: Sets = None,
    family: Annotated[str | None, typer.Option("--family", help="One family only.")] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """List the factors with their mean rank IC over what is known, where a run is published."""
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import cell, emit, note, table

    settings = options.load(root, factors={"sets": tuple(sets) if sets else None})
    defined = _library(settings)
    if family is not None:
        wanted = find(
            "family", family, {f.family for f in defined.values()}, "wealthos factors list"
        )
        defined = {n: f for n, f in defined.items() if f.family == wanted}
    summary, reasons = _results(settings)
    alike = _clusters(settings)
    rows = [
        _row(f, _best(summary, f.name), reasons.get(f.name), alike.get(f.name, {}))
        for f in defined.values()
    ]
    if as_json:
        emit(rows)
        return
    judged = [r for r in rows if r["horizon"]]
    if not judged:
        table(
            ["factor", "family", "title", "reference"],
            [[r["name"], r["family"], r["title"], r["reference"]] for r in rows],
        )
        note("nothing is known of their performance yet: wealthos run")
        return
    table(
        ["factor", "family", "title", "rank IC", "t", "", "cluster", "coverage"],
        [
            [
                r["name"],
                r["family"],
                r["reason_missing"] or r["title"],
                cell(r["mean_rank_ic"], "+.4f"),
                cell(r["t"], "+.1f"),
                _marks(r),
                cell(r["cluster"]),
                cell(r["coverage"], ".0%"),
            ]
            for r in rows
        ],
        right=("rank IC", "t", "cluster", "coverage"),
        dim=[i for i, r in enumerate(rows) if not r["horizon"]],
    )
    horizon = max(r["horizon"] for r in judged)
    least = [r["detectable_ic"] for r in judged if r["detectable_ic"] is not None]
    note(
        f"mean rank IC at {horizon} sessions, times the factor's direction; t: the most careful of three; "
        "B: still there at a false-discovery rate of 5 % over the library, H: as sure as |t| above 3.0 of many "
        "dates; factors of one "
        "cluster say much the same"
        + (f"; these data cannot show an IC below {min(least):.3f}" if least else "")
    )


@group.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a factor.")],
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show one factor: formula, source, performance at every horizon, last values."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.cli.output import emit, facts, frame, note

    settings = options.load(root)
    defined = _library(settings)
    factor = defined[find("factor", name, defined, "wealthos factors list")]
    summary, reasons = _results(settings)
    alike = _clusters(settings).get(factor.name, {})
    body = _definition(factor) | {
        "reason_missing": reasons.get(factor.name),
        "most_alike": f"{alike['nearest']} ({alike['nearest_correlation']:+.2f}), cluster {alike['cluster']}"
        if alike.get("nearest")
        else None,
    }
    rows = None if summary is None else summary.filter(pl.col("factor") == factor.name)
    last = _last_values(settings, factor) if summary is not None else None
    if as_json:
        performance = [] if rows is None else rows.drop("factor").to_dicts()
        values = [] if last is None else last.to_dicts()
        emit(body | {"performance": performance, "last_values": values})
        return
    facts([(k.replace("_", " "), v) for k, v in body.items() if v], title=factor.title)
    if rows is not None and rows.height:
        said = rows.select(
            "universe",
            "horizon",
            "dates",
            pl.col("mean_rank_ic").alias("rank IC"),
            pl.coalesce("t", "t_newey_west").alias("t"),
            pl.col("t_newey_west").alias("NW"),
            pl.col("t_non_overlapping").alias("apart"),
            pl.col("bh_rejected").alias("BH"),
            pl.col("hlz_passed").alias("HLZ"),
            pl.col("detectable_ic").alias("detectable"),
            pl.col("mean_spread").alias("spread"),
            pl.col("mean_turnover").alias("turnover"),
            "coverage",
        )
        formats = {"rank IC": "+.4f", "detectable": ".4f", "spread": "+.2%", "t": "+.1f"}
        formats |= {"NW": "+.1f", "apart": "+.1f", "turnover": ".0%", "coverage": ".0%"}
        frame(said, title="Performance", formats=formats)
        note(
            "t: the most careful of NW (Newey–West), apart (dates that do not overlap) and the bootstrap; "
            "BH: still there at a false-discovery rate of 5 % over the library; HLZ: as sure as |t| above 3.0 of "
            "many dates; members: by score, within sectors; all: by raw value; "
            "spread: top less bottom fifth"
        )
    if last is not None and last.height:
        frame(last, title=f"Highest and lowest on {last['date'][0]}")


group.command()(factors_study.evaluate)
group.command()(factors_study.tearsheet)
group.command()(factors_define.explain)
group.command()(factors_define.new)
group.command()(factors_define.check)


def _library(settings: Settings) -> dict[str, Factor]:
    """The factors of a run; what is wrong with own files is told and left out."""
    from wealthos_pipeline import factors as room
    from wealthos_pipeline.cli.output import note

    library = room.load(settings.factors.sets, settings.factors.own, strict=False)
    for fault in library.faults:
        note(f"left out: {fault.text}")
    return dict(library.factors)


def _results(settings: Settings) -> tuple[pl.DataFrame | None, dict[str, str]]:
    """``factors.summary`` and why factors are missing; None where nothing is published."""
    import polars as pl

    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import NoManifestError

    try:
        run = open_last(settings)
    except NoManifestError:
        return None, {}
    catalog = run.read("meta.catalog").filter(
        (pl.col("kind") == "factor") & pl.col("reason_missing").is_not_null()
    )
    reasons = dict(catalog.select("name", "reason_missing").iter_rows())
    return run.read("factors.summary"), reasons


def _best(summary: pl.DataFrame | None, name: str) -> dict[str, Any]:
    """The row of the longest horizon over the members at the date."""
    import polars as pl

    if summary is None:
        return {}
    rows = summary.filter(pl.col("factor") == name).sort("horizon", "universe", descending=True)
    return rows.row(0, named=True) if rows.height else {}


def _clusters(settings: Settings) -> dict[str, dict[str, Any]]:
    """Factor → its row of ``factors.clusters``; empty where no run has one."""
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.errors import NoManifestError

    try:
        rows = open_last(settings).read("factors.clusters")
    except NoManifestError:
        return {}
    return {r["factor"]: r for r in rows.iter_rows(named=True)}


def _marks(row: dict[str, Any]) -> str:
    return ("B" if row["bh_rejected"] else "") + ("H" if row["hlz_passed"] else "")


def _row(
    factor: Factor, result: dict[str, Any], reason: str | None, alike: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": factor.name,
        "asset_class": factor.asset_class.value,
        "family": factor.family,
        "title": factor.title,
        "reference": factor.reference,
        "direction": factor.direction,
        "horizon": result.get("horizon"),
        "mean_rank_ic": result.get("mean_rank_ic"),
        "t": result["t_newey_west"] if result.get("t") is None and result else result.get("t"),
        "bh_rejected": result.get("bh_rejected"),
        "hlz_passed": result.get("hlz_passed"),
        "target": factor.target,
        "sets": list(factor.sets),
        "cluster": alike.get("cluster"),
        "nearest": alike.get("nearest"),
        "detectable_ic": result.get("detectable_ic"),
        "coverage": result.get("coverage"),
        "reason_missing": reason,
    }


def _definition(factor: Factor) -> dict[str, Any]:
    from wealthos_pipeline.factors.definition import lookback

    return {
        "name": factor.name,
        "table": factor.table,
        "expression": factor.expression,
        "direction": f"{factor.direction:+d}",
        "lookback": f"{lookback(factor)} sessions",
        "reference": factor.reference,
        "sets": ", ".join(factor.sets),
        "target": {
            "bond": "judged over time, by the 10-year bond",
            "market": "judged over time, by the market",
        }.get(factor.target),
        "missing_means": factor.nan_means,
        "definition": factor.definition_hash,
    }


def _last_values(settings: Settings, factor: Factor, n: int = 5) -> pl.DataFrame | None:
    """The ``n`` highest and lowest values of the last date that has any."""
    import polars as pl

    from wealthos_pipeline.cli.published import open_last

    run = open_last(settings)
    if factor.table not in run.snapshot.tables():
        return None
    values = (
        run.snapshot.scan(factor.table)
        .select("date", "instrument_id", factor.name)
        .filter(pl.col(factor.name).is_not_null() & pl.col(factor.name).is_not_nan())
    )
    day = values.select(pl.col("date").max()).collect().item()
    if day is None:
        return None
    rows = values.filter(pl.col("date") == day).collect().sort(factor.name, "instrument_id")
    symbols = run.symbols()
    rows = rows.with_columns(pl.col("instrument_id").replace(symbols).alias("symbol")).select(
        "date", "symbol", factor.name
    )
    ends = rows if rows.height <= 2 * n else pl.concat([rows.head(n), rows.tail(n)])
    return ends.reverse()
