"""``wealthos factors evaluate`` and ``tearsheet``: any expression looked at from all sides, at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.factors_subject import Asked, Bars
    from wealthos_pipeline.core.factor import Factor
    from wealthos_pipeline.factors.study import Study
    from wealthos_pipeline.utils.config import Settings

What = Annotated[
    str, typer.Argument(metavar="NAME|EXPR", help="Name of a factor, or an expression.")
]
Horizons = Annotated[
    list[int] | None,
    typer.Option("--horizon", min=1, help="Sessions, repeatable (default: 1 to 120)."),
]
Direction = Annotated[
    int | None,
    typer.Option(
        "--direction",
        help="+1 or -1: what is expected of high values (default: as declared, or 1).",
    ),
]
Who = Annotated[str, typer.Option("--universe", help="members (at the date, beside all) or all.")]
From = Annotated[str | None, typer.Option("--from", help="First date of values.")]
To = Annotated[str | None, typer.Option("--to", help="Nothing known after this session is used.")]
Costs = Annotated[
    float, typer.Option("--costs", min=0.0, help="One-way costs in basis points of what is traded.")
]
Panel = Annotated[
    Path | None,
    typer.Option(
        "--panel", help="Parquet or CSV with a name, a date, close, … a row: instead of a published run.",
        dir_okay=False,
    ),
]  # fmt: skip


def evaluate(
    what: What,
    horizons: Horizons = None,
    direction: Direction = None,
    universe: Who = "members",
    start: From = None,
    end: To = None,
    costs: Costs = 10.0,
    panel: Panel = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge a factor or any expression on the published data: no run is needed.

    Rank IC with the most careful of three t-statistics, decay, buckets, costs, years, regimes.
    """
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.factors.verdict import verdict

    settings = options.load(root)
    factor, bars, asked = _asked(
        what, horizons, direction, universe, start, end, costs, panel, settings
    )
    study, _ = _looked(factor, bars, asked, None if panel is not None else settings)
    if as_json:
        emit(_body(factor, study, bars))
        return
    _show(factor, study, bars)
    said = verdict(study)
    if factor.expression and said.tone in ("strong", "weak", "against"):
        note("the same as a page: wealthos factors tearsheet")


def tearsheet(
    what: What,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write.", show_default="<reports>/factors/NAME.html"
        ),
    ] = None,
    horizons: Horizons = None,
    direction: Direction = None,
    universe: Who = "members",
    start: From = None,
    end: To = None,
    costs: Costs = 10.0,
    panel: Panel = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the tear sheet of a factor or any expression: one HTML page that needs no network."""
    from wealthos_pipeline.cli.output import emit, size
    from wealthos_pipeline.cli.output import out as console
    from wealthos_pipeline.factors.verdict import verdict
    from wealthos_pipeline.reporting import tearsheet as sheet

    settings = options.load(root)
    factor, bars, asked = _asked(
        what, horizons, direction, universe, start, end, costs, panel, settings
    )
    study, _ = _looked(factor, bars, asked, None if panel is not None else settings)
    others = None if panel is not None else _others(factor, settings)
    html = sheet.render(factor, study, source=bars.source, biases=bars.biases, correlation=others)
    path = out or settings.reports / "factors" / f"{factor.name}.html"
    sheet.write(path, html)
    said = verdict(study)
    if as_json:
        emit({"file": str(path), "verdict": said.headline, "tone": said.tone})
    else:
        console().print(said.headline, markup=False)
        console().print(f"{path} ({size(path)})", markup=False)
    if open_:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


def _asked(
    what: str, horizons: list[int] | None, direction: int | None, universe: str, start: str | None,
    end: str | None, costs: float, panel: Path | None, settings: Settings,
) -> tuple[Factor, Bars, Asked]:  # fmt: skip
    from wealthos_pipeline.cli import factors_subject as subject
    from wealthos_pipeline.cli.published import calendar, day, open_last
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.factors.study import HORIZONS

    if direction not in (None, -1, 1):
        raise ConfigError(f"--direction is 1 or -1, found {direction}")
    if universe not in ("members", "all"):
        raise ConfigError(f"--universe is members or all, found {universe!r}")
    factor = subject.resolve(what, settings, direction)
    sessions = calendar(settings)
    bars = (
        subject.table(panel, sessions)
        if panel is not None
        else subject.published(open_last(settings), sessions, factor)
    )
    asked = subject.Asked(
        tuple(horizons) if horizons else HORIZONS, day(start, "--from"), day(end, "--to"), costs,
        universe == "all",
    )  # fmt: skip
    return factor, bars, asked


def _looked(
    factor: Factor, bars: Bars, asked: Asked, settings: Settings | None
) -> tuple[Study, pl.DataFrame]:
    """The study; that it was made is recorded where it is of the published run of a root (``settings``)."""
    from wealthos_pipeline.cli.factors_subject import look

    study, values = look(factor, bars, asked)
    if settings is not None:
        from wealthos_pipeline.cli.published import open_last
        from wealthos_pipeline.cli.trials import count
        from wealthos_pipeline.ml import trials

        count(open_last(settings), trials.of_study(factor, study.summary, study.start, study.end))
    return study, values


def _others(factor: Factor, settings: Settings) -> pl.DataFrame | None:
    """``other, correlation`` of the factors most like this one, where a run knows them."""
    import polars as pl

    from wealthos_pipeline.cli.published import open_last

    rows = open_last(settings).read("factors.correlation")
    if rows.is_empty():
        return None
    name = factor.name
    mine = rows.filter((pl.col("factor") == name) | (pl.col("other") == name)).select(
        pl.when(pl.col("factor") == name).then("other").otherwise("factor").alias("other"), "correlation"
    )  # fmt: skip
    return mine.drop_nulls().sort(pl.col("correlation").abs(), "other", descending=[True, False])


def _body(factor: Factor, study: Study, bars: Bars) -> dict[str, Any]:
    """Everything of a study but the frames by date."""
    from wealthos_pipeline.factors.verdict import verdict

    said = verdict(study)
    names = ("summary", "decay", "quantiles", "spread", "monotonicity", "autocorrelation", "by_year",
             "by_regime", "by_sector")  # fmt: skip
    return {
        "factor": factor.name, "expression": factor.expression, "direction": study.direction,
        "verdict": {"horizon": said.horizon, "tone": said.tone, "headline": said.headline,
                    "sentences": said.sentences},
        "source": bars.source, "from": study.start, "to": study.end, "known_at": study.known_at,
        "universes": study.universes, "variants": study.variants, "buckets": study.buckets,
        "costs_bp": study.costs_bp, "half_life": study.half_life, "notes": study.notes,
        "biases": [{"name": n, "title": t, "detail": d} for n, t, d in bars.biases],
        **{n: getattr(study, n).to_dicts() for n in names},
    }  # fmt: skip


def _show(factor: Factor, study: Study, bars: Bars) -> None:
    """The report for a terminal."""
    import polars as pl

    from wealthos_pipeline.cli.output import cell, facts, note, table
    from wealthos_pipeline.factors.verdict import verdict

    said = verdict(study)
    main, h = study.universes[0], said.horizon
    sign = "high values are expected to do well" if study.direction > 0 else (
        "low values are expected to do well: every number is times −1")  # fmt: skip
    facts(
        [
            *([("formula", factor.expression)] if factor.expression else []),
            ("direction", sign),
            ("dates", f"{study.start} … {study.end}; bought at the close of the session after"),
            ("data", bars.source),
            ("verdict", said.headline),
            *[("", s) for s in said.sentences],
        ],
        title=factor.title if factor.expression != factor.title else "Expression",
    )
    rows = study.summary.sort("horizon", maintain_order=True).to_dicts()
    several = len({(r["universe"], r["variant"]) for r in rows}) > 1
    shown = [
        r for r in rows if (r["variant"] == "plain" and r["universe"] == main) or r["horizon"] == h
    ]
    shown.sort(key=lambda r: (r["variant"] != "plain", r["universe"] != main, r["horizon"]))
    table(
        ["horizon", *(["over"] if several else []), "rank IC", "95 % interval", "", "t", "decided by",
         "detectable", "ICIR", "dates"],
        [
            [
                str(r["horizon"]),
                *([_over(r["universe"], r["variant"], study)] if several else []),
                cell(r["mean_rank_ic"], "+.4f"),
                f"{cell(r['low'], '+.3f')} … {cell(r['high'], '+.3f')}",
                bar(r["mean_rank_ic"], max(abs(x["mean_rank_ic"] or 0.0) for x in shown)),
                cell(r["t"], "+.1f"),
                str(r["decided_by"] or "–").replace("_", " "),
                cell(r["detectable_ic"], ".4f"),
                cell(r["icir"], "+.2f"),
                cell(r["dates"]),
            ]
            for r in shown
        ],
        title="Rank IC, times direction",
        right=("horizon", "rank IC", "t", "detectable", "ICIR", "dates"),
        dim=[i for i, r in enumerate(shown) if r["p_value"] is None or r["p_value"] > 0.05],
    )  # fmt: skip
    quantiles = study.quantiles.filter((pl.col("universe") == main) & (pl.col("horizon") == h))
    most = max((abs(v) for v in quantiles["mean_excess"].drop_nulls()), default=0.0)
    table(
        ["bucket", "return", "over the mean", ""],
        [
            [
                f"{r['bucket']}{' lowest values' if r['bucket'] == 1 else ' highest values' if r['bucket'] == 5 else ''}",
                cell(r["mean_return"], "+.2%"), cell(r["mean_excess"], "+.2%"),
                bar(r["mean_excess"], most),
            ]
            for r in quantiles.sort("bucket").to_dicts()
        ],
        title=f"Mean return over {h} sessions, by value",
        right=("return", "over the mean"),
    )  # fmt: skip
    _rest(study, main, h)
    for kind, why in study.notes.items():
        note(f"{kind.replace('_', ' ')}: {why}")
    for _, title, _ in bars.biases:
        note(f"bias of the data: {title}")


def _rest(study: Study, main: str, h: int) -> None:
    """Costs, persistence, years, regimes, sectors."""
    import polars as pl

    from wealthos_pipeline.cli.output import cell, facts, table

    at = (pl.col("universe") == main) & (pl.col("horizon") == h)
    spread = study.spread.filter(at).to_dicts()
    turnover = study.turnover.filter(pl.col("universe") == main)
    mono = study.monotonicity.filter(at).to_dicts()
    auto = study.autocorrelation.filter(pl.col("universe") == main)
    coverage = study.coverage.filter(pl.col("universe") == main)
    pairs: list[tuple[str, object]] = []
    if spread:
        s = spread[0]
        pairs.append(
            ("top less bottom", f"{cell(s['gross'], '+.2%')} gross, {cell(s['net'], '+.2%')} after "
             f"{study.costs_bp:g} bp (t {cell(s['t_gross'], '+.1f')}, {cell(s['t_net'], '+.1f')})"))  # fmt: skip
    if mono:
        pairs.append(("monotonicity", cell(mono[0]["spearman"], "+.2f")))
    day = (
        turnover.select(pl.mean_horizontal("top", "bottom").mean()).item()
        if turnover.height
        else None
    )
    pairs += [
        ("turnover a session", cell(day, ".1%")),
        ("rank autocorrelation", ", ".join(
            f"{cell(v, '.2f')} after {lag}" for lag, v in auto.select("lag", "rank_autocorrelation").iter_rows())),
        ("half-life", f"{cell(study.half_life, '.0f')} sessions"),
        ("coverage", cell(coverage["share"].mean(), ".0%")),
        ("names a date", cell(coverage["values"].mean(), ".0f")),
    ]  # fmt: skip
    if not sys.stdout.isatty():
        sys.stdout.write("\n")
    facts(pairs, title="To trade it")
    for name, frame, title in (
        ("year", study.by_year, "By year"),
        ("regime", study.by_regime, "By regime"),
        ("sector", study.by_sector, "Within sectors"),
    ):
        rows = frame.filter(pl.col("horizon") == h).to_dicts()
        if not rows:
            continue
        most = max(abs(r["mean_rank_ic"] or 0.0) for r in rows)
        table(
            [name, "rank IC", "", "names", "dates"],
            [
                [
                    str(r[name]), cell(r["mean_rank_ic"], "+.3f"), bar(r["mean_rank_ic"], most),
                    cell(r["names"], ".0f"), cell(r["dates"]),
                ]
                for r in rows
            ],
            title=f"{title}, rank IC at {h} sessions",
            right=("rank IC", "names", "dates"),
        )  # fmt: skip


def _over(universe: str, variant: str, study: Study) -> str:
    inflated = universe == "all" and "members" in study.universes
    who = (
        "all (inflated by inclusion)"
        if inflated
        else f"{universe} names"
        if universe == "all"
        else universe
    )
    return who if variant == "plain" else f"{variant}-neutral"


def bar(value: float | None, most: float, half: int = 9) -> str:
    """``value`` as a bar to the right or left of a line, ``most`` being the full width."""
    if value is None or value != value or not most:
        return " " * half + "│"
    n = round(half * min(1.0, abs(value) / most))
    return (" " * half + "│" + "█" * n) if value >= 0 else (" " * (half - n) + "█" * n + "│")
