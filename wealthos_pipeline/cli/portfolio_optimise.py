"""``wealthos portfolio optimise``: decide again on the published data, with the mandate as it is now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options

if TYPE_CHECKING:
    from wealthos_pipeline.cli.portfolio_inputs import Question
    from wealthos_pipeline.portfolio.problem import Solution

Name = Annotated[str | None, typer.Argument(help="Name of a mandate.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value of the mandate, repeatable: max_turnover=0.5."),
]
File = Annotated[
    Path | None,
    typer.Option("--mandate-file", help="A mandate's YAML file instead of a name.", dir_okay=False),
]
INFEASIBLE = 3
"""Exit code where there is no portfolio: the limits contradict each other, or no answer was certified."""


def optimise(
    mandate: Name = None,
    values: Set = None,
    mandate_file: File = None,
    write_research: Annotated[
        bool,
        typer.Option(
            "--write-research",
            help="Keep the answer as Parquet files under <reports>/research/, run_kind research.",
        ),
    ] = False,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Solve a mandate on the last published data, as it is written now or changed by --set.

    Weights, trades with reasons, and a certificate; or, where the limits contradict each other, which ones
    do and how far each would have to give. Live tables stay as they are. Ends with code 3 without an answer.
    """
    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.utils.written import pairs

    settings = options.load(root)
    chosen = named(settings, mandate, mandate_file)
    chosen = inputs.changed(chosen, pairs(values or []))
    question = inputs.ask(open_last(settings), chosen)
    found = inputs.solved(question)
    body = answer(question, found)
    files = _write(question, found, settings.reports) if write_research else []
    if files:
        body["files"] = [str(f) for f in files]
    if as_json:
        emit(body)
    else:
        show(body, files)
    if found.status not in ("optimal", "softened", "rule"):
        raise typer.Exit(INFEASIBLE)


def named(settings: Any, mandate: str | None, file: Path | None) -> Any:
    """The mandate that was asked for by name or by file; ConfigError for neither and for both."""
    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.core.errors import ConfigError

    if (mandate is None) == (file is None):
        raise ConfigError(
            "name a mandate or give --mandate-file, one of them. `wealthos portfolio mandates` lists "
            "what there is."
        )
    return inputs.from_file(file) if file is not None else inputs.written(settings, str(mandate))


def answer(q: Question, found: Solution) -> dict[str, Any]:
    """Everything that was found, as plain data."""
    from wealthos_pipeline.portfolio import diagnosis, whatif

    p = q.problem
    if found.status == "softened":  # what binds are the values that the limits came to have
        from wealthos_pipeline.portfolio import softening

        loosened = softening.least(p)
        q = q if loosened is None else replace(q, problem=loosened.problem)
    acts = found.status in whatif.ANSWERED
    conflict = diagnosis.conflict(p) if found.status in ("infeasible", "softened") else None
    w = found.weights
    return {
        "mandate": q.mandate.name,
        "title": q.mandate.title,
        "date": q.situation.date,
        "status": found.status,
        "message": q.named(found.message),
        "warning": q.warning,
        "certificate": {
            "status": found.status,
            "violation": found.violation,
            "gap": found.gap,
            "objective": found.objective,
            "solver": found.solver,
            "iterations": found.iterations,
            "seconds": found.seconds,
            "run_id": q.run.manifest.run_id,
            "inputs": q.versions,
        },
        "nav": q.situation.nav,
        "currency": q.mandate.base_currency,
        "volatility": p.volatility(w),
        "tracking_error": p.volatility(w - p.benchmark),
        "turnover": p.turnover(w) if acts else 0.0,
        "expected_return": float(p.alpha @ w),
        "horizon": p.horizon,
        "conflict": None
        if conflict is None
        else {
            "limits": [x.data() | {"words": q.named(x.words)} for x in conflict.limits],
            "further": [[x.data() for x in c.limits] for c in conflict.further],
            "words": [q.named(s) for s in conflict.sentences],
        },
        "given_way": [q.named(x) for x in found.given_way],
        "notes": [q.named(n) for n in p.notes],
        "limits": [
            {"key": x.key, "limit": q.named(x.limit), "value": x.value, "unit": x.unit,
             "price": x.per_unit, "words": q.named(x.words)}
            for x in whatif.prices(q.problem, found)
        ],
        "weights": weights(q, found) if acts else [],
        "trades": trades(q, found) if acts else [],
    }  # fmt: skip


def weights(q: Question, found: Solution) -> list[dict[str, Any]]:
    """Names that are held before or after, heaviest first."""
    import numpy as np

    from wealthos_pipeline.portfolio import reasons

    p, w = q.problem, found.weights
    sigma = p.covariance_times(w)
    variance = float(w @ sigma)
    rows = np.flatnonzero((np.abs(w) > 1e-9) | (np.abs(p.w0) > 1e-9))
    still = {
        int(i): text
        for i, text in zip(rows, reasons.of_untraded(p, w, found.parts, rows), strict=True)
        if abs(w[i] - p.w0[i]) <= 1e-9
    }
    out = [
        {
            "symbol": q.symbol(p.ids[i]),
            "instrument_id": p.ids[i],
            "sector": q.situation.labels.sector.get(p.ids[i]),
            "before": float(p.w0[i]),
            "weight": float(w[i]),
            "benchmark": float(p.benchmark[i]),
            "alpha": float(p.alpha[i]),
            "risk_share": float(w[i] * sigma[i] / variance) if variance > 0 else 0.0,
            "untraded": q.named(still[int(i)]) if int(i) in still else None,
        }
        for i in rows
    ]
    return sorted(out, key=lambda r: (-float(r["weight"]), str(r["symbol"])))  # type: ignore[arg-type]


def trades(q: Question, found: Solution) -> list[dict[str, Any]]:
    """What is traded, largest first, each with its reason and the contributions to it."""
    import numpy as np

    from wealthos_pipeline.portfolio import reasons

    p, w = q.problem, found.weights
    change = w - p.w0
    rows = np.flatnonzero(np.abs(change) > 1e-9)
    words = reasons.of_trades(p, w, found.parts, rows)
    parts = None if found.parts is None else reasons.contributions(p, w, found.parts)
    out = []
    for i, reason in zip(rows.tolist(), words, strict=True):
        value = float(change[i]) * q.situation.nav
        price = q.situation.close.get(p.ids[i])
        out.append(
            {
                "symbol": q.symbol(p.ids[i]),
                "instrument_id": p.ids[i],
                "side": "buy" if change[i] > 0 else "sell",
                "before": float(p.w0[i]),
                "weight": float(w[i]),
                "value": value,
                "units": value / price if price else None,
                "cost": abs(value) * float(p.cost[i]),
                "contributions": {}
                if parts is None
                else {name: float(x[i]) for name, x in parts.items()},
                "reason": q.named(reason),
            }
        )
    return sorted(out, key=lambda r: (-abs(float(r["value"])), str(r["symbol"])))  # type: ignore[arg-type]


def show(body: dict[str, Any], files: list[Path]) -> None:
    """Print an answer for people."""
    from wealthos_pipeline.cli.output import cell, facts, note, program, table

    proof = body["certificate"]
    solved = body["status"] in ("optimal", "softened")
    lines: list[tuple[str, object]] = [
        ("decided at the close of", body["date"]),
        ("status", body["status"]),
    ]
    if solved:
        lines += [
            ("certified", f"violation {proof['violation']:.0e}, gap {proof['gap']:.0e}, "
             f"{proof['iterations']} iterations of {proof['solver']}, {1e3 * proof['seconds']:.0f} ms"),
            ("objective", f"{1e4 * proof['objective']:.2f} bp over {body['horizon']} sessions"
             if abs(proof["objective"]) < 0.5 else cell(proof["objective"])),
        ]  # fmt: skip
    if body["weights"]:
        lines += [
            ("volatility", f"{body['volatility']:.1%} a year, forecast"),
            ("tracking error", f"{body['tracking_error']:.1%} a year against the benchmark"),
            ("turnover", f"{body['turnover']:.1%} one-way"),
        ]
    lines.append(("run", proof["run_id"]))
    read = sum(v is not None for v in proof["inputs"].values())
    lines.append(("inputs", f"{read} tables of that run, with their versions in --json"))
    facts(lines, title=f"{body['mandate']}: {body['title']}")
    if body["given_way"]:
        table(["what gave way"], [[x] for x in body["given_way"]])
    if body["conflict"] is not None:
        heading = "These limits contradict each other; changing one is enough"
        if body["status"] == "softened":
            heading = "The contradiction that made them give way"
        table(["limit"], [[x] for x in body["conflict"]["words"]], title=heading)
    elif body["status"] == "failed":
        note(body["message"])
    if body["limits"]:
        table(
            ["what binds", "worth"],
            [[x["limit"], x["words"].removeprefix(f"{x['limit']}: ")] for x in body["limits"]],
            title="Limits that bind, dearest first",
        )
    if body["weights"]:
        seen = [r for r in body["weights"] if max(abs(r["weight"]), abs(r["before"])) > 5e-5]
        table(
            ["symbol", "sector", "before", "weight", "alpha", "share of risk", "left alone because"],
            [
                [r["symbol"], r["sector"] or "–", f"{r['before']:.1%}", f"{r['weight']:.1%}",
                 f"{r['alpha']:+.2%}", f"{r['risk_share']:.1%}",
                 (r["untraded"] or "").partition(": ")[2]]
                for r in seen
            ],
            title="Weights",
            right=("before", "weight", "alpha", "share of risk"),
        )  # fmt: skip
    if body["trades"]:
        table(
            ["symbol", "value", "cost", "why"],
            [
                [r["symbol"], f"{r['value']:+,.0f}", f"{r['cost']:,.0f}", r["reason"]]
                for r in body["trades"]
            ],
            title=f"Trades ({body['currency']})",
            right=("value", "cost"),
        )
    for text in (*body["notes"], *([body["warning"]] if body["warning"] else [])):
        note(text)
    for file in files:
        note(f"written: {file}")
    if solved:
        note(f"what if: {program()} portfolio whatif {body['mandate']}")


def _write(q: Question, found: Solution, reports: Path) -> list[Path]:
    """The rows of the live tables with ``run_kind`` research, aside from the lake."""
    import polars as pl

    from wealthos_pipeline.portfolio import decision

    made = decision.decide(q.mandate, q.situation, run_kind="live")
    folder = reports / "research" / f"{q.mandate.name}-{q.situation.date}"
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for name in ("targets", "solves", "trades", "binding"):
        frame: pl.DataFrame = getattr(made, name)
        path = folder / f"{name}.parquet"
        frame.with_columns(pl.lit("research").alias("run_kind")).write_parquet(path)
        out.append(path)
    return out
