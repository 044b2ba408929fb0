"""``wealthos models evaluate``: a model from all sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.models_subject import Subject

Horizon = Annotated[
    int | None, typer.Option("--horizon", min=1, help="Sessions; default: the model's own.")
]
_YEAR = 252


def evaluate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Model of the run, or a training's folder name.")
    ],
    horizon: Horizon = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge a model from all sides: ICs with intervals, decay, books after costs, calibration, years.

    Everything is out of sample; t is the most careful of three.
    """
    from wealthos_pipeline.cli.models_subject import at_horizon, subject
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import open_last

    run = open_last(options.load(root))
    made = subject(run, name)
    body = collect(made, at_horizon(made, horizon))
    if as_json:
        emit(body)
    else:
        _show(body)


def collect(made: Subject, horizon: int) -> dict[str, Any]:
    """The whole evaluation as plain data; what the tables do not hold is empty."""
    import polars as pl

    from wealthos_pipeline.stats.mean_test import mean_test

    def rows(table: str) -> pl.DataFrame:
        return made.read(table).filter(pl.col("horizon") == horizon)

    judged = rows("evaluation").sort("date")
    tests = {
        column: mean_test(judged[column].fill_null(float("nan")).to_numpy(), horizon)
        for column in ("ic", "rank_ic")
    }
    summary = rows("summary")
    body: dict[str, Any] = {
        "name": made.name,
        "model": made.model,
        "training": made.training,
        "horizon": horizon,
        "first": judged["date"].min(),
        "last": judged["date"].max(),
        "ics": [
            {
                "what": column,
                "dates": t.observations,
                "mean": t.mean,
                "low": t.mean - t.half_width,
                "high": t.mean + t.half_width,
                "t": t.t,
                "p_value": t.p_value,
                "decided_by": t.decided_by or None,
                "detectable": t.detectable,
            }
            for column, t in tests.items()
        ],
        "summary": summary.row(0, named=True) if summary.height else None,
        "decay": rows("decay").drop("model", "horizon", "known_at").sort("lag").to_dicts(),
        "books": _books(rows("returns"), made.model),
        "calibration": rows("calibration")
        .drop("model", "horizon", "known_at")
        .sort("bin")
        .to_dicts(),
        "years": _years(judged, rows("returns"), made.model),
    }
    return body


def headline(summary: dict[str, Any] | None) -> list[tuple[str, object]]:
    """The numbers that decide, for people."""
    from wealthos_pipeline.cli.output import cell

    if summary is None:
        return []
    s = summary

    def number(name: str, spec: str) -> str:
        return cell(s.get(name), spec)

    return [
        ("mean rank IC", f"{number('mean_rank_ic', '+.4f')} over {number('dates', ',')} dates, "
         f"t {number('t', '+.1f')} ({s.get('decided_by') or 'too few dates'}), detectable from "
         f"{number('detectable_ic', '.4f')}"),
        ("IC, ICIR", f"{number('mean_ic', '+.4f')}, {number('icir', '+.3f')}"),
        ("long-short", f"Sharpe {number('sharpe_gross', '+.2f')} before costs, "
         f"{number('sharpe_net', '+.2f')} after; turnover {number('turnover', '.1f')} × a year"),
        ("long only", f"{number('long_only_net_return', '+.1%')} a year after costs, "
         f"{number('excess_over_equal_weight', '+.1%')} beside 1/N"),
        ("luck", f"PSR {number('psr', '.2f')}, deflated {number('dsr', '.2f')} after "
         f"{number('trials', ',')} trials ({number('effective_trials', '.0f')} independent), PBO "
         f"{number('pbo', '.2f')}, SPA p {number('spa_p', '.2f')}"),
        ("verdict", s.get("verdict") or "–"),
    ]  # fmt: skip


def _books(returns: pl.DataFrame, model: str) -> list[dict[str, Any]]:
    """Books of the model, and those that it stands beside over the same sessions, a year."""
    import polars as pl

    from wealthos_pipeline.stats.sharpe import sharpe_ratio

    mine = returns.filter(pl.col("model") == model)
    if mine.is_empty():
        return []
    beside = returns.filter(pl.col("model").is_in(["momentum", "reversal", "equal_weight"]))
    span = pl.col("date").is_between(mine["date"].min(), mine["date"].max())
    rows = []
    for frame in (mine, beside.filter(span)):
        for (name, book), part in frame.sort("model", "book", "date").group_by(
            "model", "book", maintain_order=True
        ):
            net = part["net"].to_numpy()
            rows.append(
                {
                    "model": name,
                    "book": book,
                    "sessions": part.height,
                    "gross": float(part["gross"].to_numpy().mean()) * _YEAR,
                    "cost": float(part["cost"].to_numpy().mean()) * _YEAR,
                    "net": float(net.mean()) * _YEAR,
                    "volatility": float(net.std(ddof=1)) * _YEAR**0.5 if len(net) > 1 else None,
                    "sharpe_net": sharpe_ratio(net) * _YEAR**0.5,
                    "turnover": float(part["turnover"].to_numpy().mean()) * _YEAR,
                }
            )
    return rows


def _years(judged: pl.DataFrame, returns: pl.DataFrame, model: str) -> list[dict[str, Any]]:
    import polars as pl

    year = pl.col("date").dt.year().alias("year")
    by_year = judged.group_by(year).agg(
        pl.len().alias("dates"),
        pl.col("n").mean().alias("names"),
        pl.col("rank_ic").mean(),
        (pl.col("rank_ic") > 0).mean().alias("share_positive"),
        pl.col("spread").mean(),
    )
    books = returns.filter((pl.col("model") == model) & (pl.col("book") == "long_short"))
    net = books.group_by(year).agg(pl.col("net").sum().alias("long_short_net"))
    return by_year.join(net, on="year", how="left").sort("year").to_dicts()


def _show(body: dict[str, Any]) -> None:
    from wealthos_pipeline.cli.output import cell, facts, note, table

    about = "" if body["training"] is None else f", a training on {body['training']['universe']}"
    facts(
        [
            (
                "judged",
                f"{body['first']} … {body['last']}, outcomes over {body['horizon']} sessions",
            ),
            *headline(body["summary"]),
        ],
        title=f"{body['name']}{about}",
    )
    table(
        ["what", "dates", "mean", "95 % interval", "t", "p", "decided by", "detectable"],
        [
            [
                {"ic": "IC", "rank_ic": "rank IC"}[r["what"]], cell(r["dates"]), cell(r["mean"], "+.4f"),
                f"{cell(r['low'], '+.4f')} … {cell(r['high'], '+.4f')}", cell(r["t"], "+.2f"),
                cell(r["p_value"], ".3f"), r["decided_by"] or "–", cell(r["detectable"], ".4f"),
            ]
            for r in body["ics"]
        ],
        title="Information coefficients",
        right=("dates", "mean", "t", "p", "detectable"),
    )  # fmt: skip
    if body["decay"]:
        table(
            ["outcome over", "dates", "rank IC", "t"],
            [
                [f"{r['lag']} sessions", cell(r["dates"]), cell(r["mean_rank_ic"], "+.4f"), cell(r["t"], "+.1f")]
                for r in body["decay"]
            ],
            title="Decay",
            right=("dates", "rank IC", "t"),
        )  # fmt: skip
    if body["books"]:
        table(
            ["model", "book", "gross", "costs", "net", "volatility", "net Sharpe", "turnover"],
            [
                [
                    r["model"], r["book"].replace("_", " "), cell(r["gross"], "+.1%"), cell(r["cost"], ".1%"),
                    cell(r["net"], "+.1%"), cell(r["volatility"], ".1%"), cell(r["sharpe_net"], "+.2f"),
                    cell(r["turnover"], ".1f"),
                ]
                for r in body["books"]
            ],
            title="Books, a year",
            right=("gross", "costs", "net", "volatility", "net Sharpe", "turnover"),
        )  # fmt: skip
    if body["calibration"]:
        table(
            ["tenth", "names", "predicted", "came", "± se"],
            [
                [
                    str(r["bin"]), cell(r["n"]), cell(r["mean_prediction"], "+.4f"),
                    cell(r["mean_outcome"], "+.4f"), cell(r["se"], ".4f"),
                ]
                for r in body["calibration"]
            ],
            title="Calibration: tenths of each date's names by prediction",
            right=("tenth", "names", "predicted", "came", "± se"),
        )  # fmt: skip
    table(
        ["year", "dates", "names", "rank IC", "above 0", "spread", "long-short net"],
        [
            [
                str(r["year"]), cell(r["dates"]), cell(r["names"], ".0f"), cell(r["rank_ic"], "+.4f"),
                cell(r["share_positive"], ".0%"), cell(r["spread"], "+.2%"), cell(r["long_short_net"], "+.1%"),
            ]
            for r in body["years"]
        ],
        title="By year",
        right=("year", "dates", "names", "rank IC", "above 0", "spread", "long-short net"),
    )  # fmt: skip
    if body["training"] is not None and body["training"]["universe"] == "all":
        note("trained on all names: inflated by inclusion bias")
