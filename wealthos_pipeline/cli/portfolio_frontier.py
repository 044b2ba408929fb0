"""``wealthos portfolio frontier``: what risk buys under a mandate's limits, and where the portfolio stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.cli.portfolio_optimise import File, Name, Set, named


def frontier(
    mandate: Name = None,
    points: Annotated[int, typer.Option("--points", min=2, max=500, help="Portfolios on it.")] = 25,
    values: Set = None,
    mandate_file: File = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Write the chart as a picture.", dir_okay=False)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Write the chart as a page that needs no network.", dir_okay=False
        ),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the efficient frontier under all the limits, before and after costs.

    Beside it the present portfolio, the target, the benchmark and 1/N. Expected returns are those of
    the mandate's model, also where its objective is about risk alone.
    """
    import numpy as np
    import polars as pl

    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.core.mandate import USES_ALPHA
    from wealthos_pipeline.portfolio import frontier as front
    from wealthos_pipeline.portfolio import whatif
    from wealthos_pipeline.reporting import frontier_chart as chart
    from wealthos_pipeline.utils.written import pairs

    settings = options.load(root)
    chosen = inputs.changed(named(settings, mandate, mandate_file), pairs(values or []))
    run = open_last(settings)
    question = inputs.ask(run, chosen)
    found = inputs.solved(question)
    seeing = question
    if chosen.objective not in (*USES_ALPHA, "black_litterman"):
        seeing = inputs.ask(run, chosen.model_copy(update={"objective": "mean_variance"}))
    p = seeing.problem
    gross, net = front.trace(p, points), front.trace(p, points, costs=True)
    target = None
    if found.status in whatif.ANSWERED:
        at = dict(zip(question.problem.ids, found.weights, strict=True))
        target = np.array([at.get(i, 0.0) for i in p.ids])
    beside = front.marks(p, target)
    marks = front.measured(p, np.array(list(beside.values())), costs=False).with_columns(
        pl.Series("name", list(beside), dtype=pl.String)
    )
    curves = {"before costs": gross.points, "after costs": net.points}
    title = f"{chosen.name} on {seeing.situation.date}: efficient frontier"
    if png is not None:
        chart.write(png, chart.png(curves, marks, title))
    if page is not None:
        chart.write(page, chart.page(curves, marks, title))
    written = [str(path) for path in (png, page) if path is not None]
    if as_json:
        names = seeing.symbols
        emit(
            {
                "mandate": chosen.name,
                "date": seeing.situation.date,
                "horizon": p.horizon,
                "left_out": list(gross.left_out),
                "curves": {
                    name: [
                        row | {"weights": _weights(f, i, names)}
                        for i, row in enumerate(f.points.iter_rows(named=True))
                    ]
                    for name, f in (("gross", gross), ("net", net))
                },
                "marks": marks.drop("point").to_dicts(),
                "files": written,
            }
        )
        return
    _show(net.points, marks, title, points)
    if gross.left_out:
        note("takes no part, as it needs whole numbers: " + "; ".join(gross.left_out))
    if gross.points.height == 1:
        note("no name is expected to return more than another, so there is one point")
    for file in written:
        note(f"written: {file}")
    if not written:
        note(f"as a picture: wealthos portfolio frontier {chosen.name} --html frontier.html")


def _weights(found: Any, at: int, symbols: Any) -> dict[str, float]:
    return {
        symbols.get(i, i): float(w)
        for i, w in zip(found.ids, found.weights[at], strict=True)
        if abs(w) > 1e-6
    }


def _show(points: Any, marks: Any, title: str, count: int) -> None:
    from wealthos_pipeline.cli.output import table

    headings = ["portfolio", "volatility", "return, a year", "cost, a year", "turnover", "names"]

    def cells(name: str, r: dict[str, Any]) -> list[str]:
        year = r["expected_return_year"] / r["expected_return"] if r["expected_return"] else 0.0
        return [
            name, f"{r['volatility']:.2%}", f"{r['expected_return_year']:+.3%}",
            f"{r['cost'] * year:.3%}", f"{r['turnover']:.1%}", str(r["names"]),
        ]  # fmt: skip

    step = max(1, (count - 1) // 12)
    rows = list(points.iter_rows(named=True))
    shown = sorted({*range(0, len(rows), step), len(rows) - 1})
    table(
        headings,
        [cells(str(rows[i]["point"] + 1), rows[i]) for i in shown],
        title=f"{title}, after costs",
        right=headings[1:],
    )
    table(
        headings,
        [cells(r["name"], r) for r in marks.iter_rows(named=True)],
        title="Beside it, before costs",
        right=headings[1:],
    )
