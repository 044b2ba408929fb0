"""``wealthos models compare``: is one better than the other, and is the choice worth anything?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.cli.models_evaluate import Horizon
from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.ml.comparison import Comparison
    from wealthos_pipeline.stats.mean_test import MeanTest


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="A B [C…]", help="Models of the run, or trainings.")
    ],
    horizon: Horizon = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare models on the dates that they share: paired tests, and what choosing the best is worth.

    PBO: how often the best of them in one half of the history is below the middle in the other. SPA: whether
    any of their long-only books beats 1/N once the number of them is counted.
    """
    import polars as pl

    from wealthos_pipeline.cli.models_subject import at_horizon, subject
    from wealthos_pipeline.cli.output import emit
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.ml import comparison

    if len(set(names)) < 2:
        raise ConfigError(f"two models at least are compared, found {', '.join(names)}")
    run = open_last(options.load(root))
    subjects = {made.name: made for made in (subject(run, n) for n in names)}
    h = horizon
    for made in subjects.values():
        h = at_horizon(made, h)
    assert h is not None

    def named(name: str, model: str, frame: pl.DataFrame) -> pl.DataFrame:
        called = pl.when(pl.col("model") == model).then(pl.lit(name)).otherwise("model")
        return frame.with_columns(called.alias("model"))

    evaluations = {
        n: s.read("evaluation").filter(pl.col("horizon") == h).sort("date")
        for n, s in subjects.items()
    }
    returns = {n: named(n, s.model, s.read("returns")) for n, s in subjects.items()}
    found = comparison.compare(evaluations, returns, h)
    if not found.pairs:
        raise ConfigError(
            f"{', '.join(subjects)} share no date with a known outcome over {h} sessions"
        )
    if as_json:
        emit(_body(found))
    else:
        _show(found)


def _body(found: Comparison) -> dict[str, Any]:
    return {
        "horizon": found.horizon,
        "pairs": [
            {
                "a": p.a, "b": p.b, "first": p.first, "last": p.last, "rank_ic": _test(p.rank_ic),
                "net": None if p.net is None else _test(p.net),
            }
            for p in found.pairs
        ],
        "pbo": found.pbo,
        "spa_p": found.spa_p,
    }  # fmt: skip


def _test(t: MeanTest) -> dict[str, Any]:
    return {
        "dates": t.observations, "difference": t.mean, "low": t.mean - t.half_width,
        "high": t.mean + t.half_width, "t": t.t, "p_value": t.p_value, "detectable": t.detectable,
    }  # fmt: skip


def _show(found: Comparison) -> None:
    from wealthos_pipeline.cli.output import cell, note, table
    from wealthos_pipeline.ml.comparison import annual

    rows = []
    for p in found.pairs:
        t = p.rank_ic
        rows.append(
            [
                f"{p.a} − {p.b}", cell(t.observations), cell(t.mean, "+.4f"),
                f"{cell(t.mean - t.half_width, '+.4f')} … {cell(t.mean + t.half_width, '+.4f')}",
                cell(t.t, "+.2f"), cell(t.p_value, ".3f"), cell(t.detectable, ".4f"),
                "–" if p.net is None else cell(annual(p.net), "+.1%"),
                "–" if p.net is None else cell(p.net.t, "+.2f"),
            ]
        )  # fmt: skip
    columns = [
        "pair", "dates", "rank IC", "95 % interval", "t", "p", "detectable", "long-short net a year", "its t",
    ]  # fmt: skip
    table(columns, rows, title=f"Differences at {found.horizon} sessions", right=columns[1:])
    luck = "too little data" if math.isnan(found.pbo) else f"{found.pbo:.2f}"
    spa = "too little data" if math.isnan(found.spa_p) else f"{found.spa_p:.2f}"
    note(f"PBO of choosing the best: {luck} (0.5 is noise); SPA p-value against 1/N: {spa}")
    if len(found.pairs) > 1:
        note(f"{len(found.pairs)} pairs are compared: one of 20 equals looks different at p = 0.05")
