"""The card of a model: what it is, how it did where it could not peek, and what it must not be used for.

``gather`` reads the tables of one run; ``facts`` are the card's lines as ``models.cards``; ``model_page``
makes the page. Nothing is computed here that another table does not say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.reporting.lens import Read
from wealthos_pipeline.reporting.words import number, percent

TABLES = (
    "registry", "evaluation", "summary", "decay", "returns", "calibration", "importance", "drift", "live",
)  # fmt: skip
"""Tables of the layer ``models`` that a card is made from."""

FAMILIAR = {
    "mean_rank_ic": "mean rank IC",
    "t": "t of it, the most careful of three",
    "p_value": "p-value of t, two-sided",
    "detectable_ic": "smallest rank IC that these data can show",
    "mean_ic": "mean IC",
    "icir": "mean over standard deviation of the rank IC by date",
    "sharpe_gross": "Sharpe ratio, long-short, before costs, a year",
    "sharpe_net": "Sharpe ratio, long-short, after costs, a year",
    "long_only_net_return": "long-only return after costs, a year",
    "long_only_sharpe_net": "Sharpe ratio, long-only, after costs, a year",
    "excess_over_equal_weight": "long-only less 1/N, after costs, a year",
    "turnover": "turnover, one-way, a year",
    "psr": "probabilistic Sharpe ratio",
    "dsr": "deflated Sharpe ratio",
    "trials": "trials counted",
    "effective_trials": "effective independent trials",
    "min_track_record": "sessions that would be needed",
    "pbo": "probability of backtest overfitting",
    "spa_p": "p-value that no model beats 1/N (Hansen)",
    "calibration_slope": "slope of outcome on prediction",
    "brier": "Brier score",
    "dates": "dates with a known outcome",
}
"""Columns of ``models.summary`` in words, in the order of the card."""

_PERCENT = ("long_only_net_return", "excess_over_equal_weight")


@dataclass(frozen=True)
class Card:
    """One model of one run: its rows of each table (``tables``), how it was declared, and of what run.

    spec: None where the model is no longer declared. biases: title and detail of what is wrong with the
    data. source: where they come from, in words. run: what is known of the run, in words.
    """

    model: str
    tables: Mapping[str, pl.DataFrame]
    beside: pl.DataFrame
    spec: ModelSpec | None = None
    biases: Sequence[tuple[str, str]] = ()
    source: str = ""
    run: Sequence[tuple[str, str]] = ()

    def __getitem__(self, table: str) -> pl.DataFrame:
        return self.tables[table]

    @property
    def summary(self) -> dict[str, Any]:
        """The model's row of ``models.summary``; nulls without one."""
        rows = self["summary"]
        return rows.row(0, named=True) if rows.height else dict.fromkeys(rows.columns)

    @property
    def newest(self) -> dict[str, Any]:
        """The newest fit; of live ones if there are any."""
        fits = self["registry"].sort(
            "kind", "refit_date", "model_id", descending=[True, False, False]
        )
        live = fits.filter(pl.col("kind") == "live")
        return (live if live.height else fits).row(-1, named=True)

    @property
    def horizon(self) -> int:
        return int(self.newest["horizon"])


def gather(
    read: Read,
    model: str,
    *,
    spec: ModelSpec | None = None,
    run: Sequence[tuple[str, str]] = (),
) -> Card:
    """The card of ``model``. ModelError, with the models that there are, if it was never fitted."""
    registry = read("models.registry")
    if not registry.filter(pl.col("model") == model).height:
        there = ", ".join(registry["model"].unique().sort()) or "none"
        raise ModelError(
            f"no fit of model {model!r} in this run; there are: {there}. Add it to models.names "
            "and run, or look at a research training with `wealthos models evaluate`."
        )
    tables = {
        name: (registry if name == "registry" else read(f"models.{name}")).filter(
            pl.col("model") == model
        )
        for name in TABLES
    }
    returns = read("models.returns")
    catalog = read("meta.catalog")
    source = catalog.filter(pl.col("kind") == "source")
    biases = catalog.filter(pl.col("kind") == "bias").sort("name")
    return Card(
        model,
        tables,
        returns.filter(pl.col("book") == "equal_weight"),
        spec,
        tuple((t, d or "") for t, d in biases.select("title", "detail").iter_rows()),
        source["title"][0] if source.height else "",
        run,
    )


def facts(card: Card) -> pl.DataFrame:
    """The card as rows of ``models.cards``: ``model, section, item, value`` (words), ``number``."""
    rows: list[tuple[str, str, str, float | None]] = []
    fit, summary = card.newest, card.summary
    params = json.loads(fit["params"])
    features = json.loads(fit["features"])
    rows.append(("model", "title", (card.spec and card.spec.title) or card.model, None))
    rows.append(("model", "family", str(fit.get("family") or params.get("family") or "–"), None))
    if card.spec is not None and card.spec.note:
        rows.append(("model", "note", " ".join(card.spec.note.split()), None))
    rows.append(("model", "horizon", f"{fit['horizon']} sessions", float(fit["horizon"])))
    rows += [("parameters", k, _text(v), _float(v)) for k, v in sorted(params.items())]
    rows.append(("data", "features", ", ".join(features), float(len(features))))
    rows += [
        ("data", "newest fit", fit["model_id"], None),
        ("data", "trained on", f"{fit['train_start']} to {fit['train_cutoff']}", None),
        ("data", "rows", number(fit["rows"], 0), float(fit["rows"])),
        ("data", "hash of the rows", str(fit["data_hash"] or "–"), None),
        ("data", "hash of the fit", fit["artefact_hash"], None),
        ("data", "fits", number(card["registry"].height, 0), float(card["registry"].height)),
    ]
    if summary.get("verdict"):
        rows.append(("result", "verdict", summary["verdict"], None))
    rows += [
        ("result", words, _shown(name, summary[name]), _float(summary[name]))
        for name, words in FAMILIAR.items()
        if summary.get(name) is not None
    ]
    rows += [("limits", title, detail, None) for title, detail in limits(card)]
    table = contract("models.cards")
    frame = pl.DataFrame(
        [(card.model, i, *row) for i, row in enumerate(rows)],
        schema={
            "model": pl.String, "place": pl.Int32, "section": pl.String, "item": pl.String,
            "value": pl.String, "number": pl.Float64,
        },
        orient="row",
    )  # fmt: skip
    return table.conform(frame.select(table.column_names))


def limits(card: Card) -> tuple[tuple[str, str], ...]:
    """What the numbers do not say, as (title, sentence)."""
    s, fit = card.summary, card.newest
    out = []
    if s.get("detectable_ic") is not None:
        out.append(
            (
                "Power",
                f"a mean rank IC below {number(s['detectable_ic'], 3)} would be missed one time in five or "
                "more on these data",
            )
        )
    if s.get("trials") is not None:
        out.append(
            (
                "Trials",
                f"{number(s['trials'], 0)} models, searches and factors were looked at in this root; what was "
                "tried elsewhere, or deleted, is not counted",
            )
        )
    out.append(
        (
            "Costs",
            "books pay a flat cost a trade; no borrowing fees, no market impact, no capacity limit",
        )
    )
    out.append(
        (
            "Refits",
            "the record is of fits made once a year; the live fit is made every week and is judged by what it "
            "issued only",
        )
    )
    stale = card["registry"].filter(pl.col("stale_since").is_not_null()).height
    if stale:
        out.append(
            ("Restated data", f"{stale} fits stand though rows that they saw were restated since")
        )
    if not fit["rows"]:
        out.append(("Training", "the fit has no rows"))
    return (*out, *card.biases)


def _shown(name: str, value: float) -> str:
    if name in _PERCENT:
        return percent(value, 1, sign=True)
    if name in ("psr", "dsr", "pbo"):
        return percent(value, 0)
    return number(value, 0 if name in ("trials", "dates", "min_track_record") else 3)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
