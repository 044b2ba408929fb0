"""The tear sheet of a factor: one HTML page with everything that a study found, and no network.

Charts are drawn by ``tearsheet_charts`` as PNG and lie in the page itself.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors.study import Study
from wealthos_pipeline.factors.verdict import Verdict, verdict
from wealthos_pipeline.reporting.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Figures,
    Section,
    Table,
    Text,
    cells,
    signed,
)
from wealthos_pipeline.reporting.words import day, number, percent

ALIKE = 10
"""Other factors shown, the most alike first."""

TONES = {"strong": "", "weak": "warning", "none": "muted", "against": "critical"}


def render(
    factor: Factor,
    study: Study,
    *,
    source: str,
    biases: Sequence[tuple[str, str, str]] = (),
    correlation: pl.DataFrame | None = None,
) -> str:
    """The page. source: where the data come from, in words. biases: name, title, detail of what is wrong
    with them. correlation: ``other, correlation`` with other factors, most alike first."""
    from wealthos_pipeline.reporting import tearsheet_charts
    from wealthos_pipeline.reporting.export import _environment

    said = verdict(study)
    charts = tearsheet_charts.draw(study, said.horizon)
    sections = [
        Section("ic", "Does it rank returns?", _ranking(study, said, charts)),
        Section("money", "What would it have earned?", _money(study, said, charts)),
        Section("trade", "Can it be traded?", _trading(study, charts)),
        Section("when", "When and where", _when(study, said, charts)),
    ]
    if correlation is not None and correlation.height:
        sections.append(Section("alike", "What is it like?", _alike(correlation)))
    sections.append(
        Section("definition", "Definition and data", _definition(factor, study, source, biases))
    )
    title = "An expression" if factor.title == factor.expression else factor.title
    title = re.sub(r" \[[^\]]*\]$", "", title)
    return (
        _environment()
        .get_template("tearsheet.html.j2")
        .render(
            kind="tear sheet",
            title=title[:1].upper() + title[1:],
            name=factor.name,
            subtitle=f"{day(study.start)} to {day(study.end)} · {source}",
            formula=factor.expression or "a Python function",
            tone=said.tone,
            headline=said.headline,
            sentences=said.sentences,
            lead=_lead(study, said),
            sections=sections,
            warnings=tuple(t for _, t, _ in biases),
            images={n: base64.b64encode(png).decode() for n, png in charts.items()},
        )
    )


def write(path: Path, html: str) -> None:
    """Write the page by one rename. StorageError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.tmp")
        aside.write_text(html, "utf-8")
        os.replace(aside, path)  # noqa: PTH105  one rename
    except OSError as error:
        raise StorageError(
            f"the tear sheet cannot be written to {path}: {error.strerror or error}"
        ) from error


def _row(frame: pl.DataFrame, **key: Any) -> dict[str, Any]:
    rows = frame.filter(*(pl.col(k) == v for k, v in key.items()))
    return rows.row(0, named=True) if rows.height else dict.fromkeys(frame.columns)


def _lead(study: Study, said: Verdict) -> Figures:
    main, h = study.universes[0], said.horizon
    at = _row(study.summary, universe=main, variant="plain", horizon=h)
    money = _row(study.spread, universe=main, horizon=h)
    life = study.half_life
    names = study.coverage.filter(pl.col("universe") == main)["values"].mean()
    return Figures(
        (
            ("Rank IC", number(at["mean_rank_ic"], 3, sign=True), f"{h} sessions, times direction", ""),
            ("t", number(at["t"], 1, sign=True), f"least of three: {str(at['decided_by'] or '–').replace('_', ' ')}",
             "muted" if at["p_value"] is None or at["p_value"] > 0.05 else ""),
            ("Detectable", number(at["detectable_ic"], 3), "smallest IC that these data can show", ""),
            ("Top less bottom", percent(money["net"], 2, sign=True),
             f"after costs; {percent(money['gross'], 2, sign=True)} before", "neg" if (money["net"] or 0) < 0 else ""),
            ("Half-life", "–" if life != life else "∞" if life == float("inf") else number(life, 0),
             "sessions until half of the ranking is gone", ""),
            ("Names", number(names, 0) if isinstance(names, float) else "–", f"a date, {main}", ""),
        )
    )  # fmt: skip


def _ranking(study: Study, said: Verdict, charts: dict[str, bytes]) -> tuple[Block, ...]:
    rows = []
    ordered = study.summary.to_dicts()
    for u in study.universes:
        for v in study.variants:
            for r in ordered:
                if (r["universe"], r["variant"]) != (u, v):
                    continue
                strong = r["p_value"] is not None and r["p_value"] <= 0.05
                rows.append(
                    cells(
                        Cell(_over(study, u, v), "" if (u, v) == (study.universes[0], "plain") else "muted"),
                        Cell(str(r["horizon"]), "strong" if r["horizon"] == said.horizon else ""),
                        signed(number(r["mean_rank_ic"], 4, sign=True)),
                        f"{number(r['low'], 3, sign=True)} … {number(r['high'], 3, sign=True)}",
                        Cell(number(r["t"], 1, sign=True), "strong" if strong else "muted"),
                        number(r["t_newey_west"], 1, sign=True),
                        number(r["t_bootstrap"], 1, sign=True),
                        number(r["t_non_overlapping"], 1, sign=True),
                        number(r["detectable_ic"], 3),
                        number(r["icir"], 2, sign=True),
                        percent(r["positive"], 0),
                        f"{r['dates']:,}",
                    )
                )  # fmt: skip
    labels = ("horizon", "rank IC", "95 % interval", "t", "Newey–West", "bootstrap", "apart", "detectable",
              "ICIR", "positive", "dates")  # fmt: skip
    return (
        *_charts(charts, ("cumulative_ic", "Cumulative rank IC", f"Rank IC at {said.horizon} sessions by date, times "
                  "direction, added up; below it the mean of the last 252."),
                 ("decay", "Rank IC by horizon", "Mean rank IC by horizon with 95 % intervals of the most careful "
                  "standard error; grey: what this panel cannot tell from nothing.")),
        Table(
            (Column("over", right=False), *(Column(x) for x in labels)),
            tuple(rows),
            title="By horizon, universe and variant",
            note="Every number is times the factor's direction. t is the one nearest 0 of three: Newey–West with "
            "2h lags, the stationary bootstrap, and dates that lie a horizon apart. Detectable: a true IC of "
            "this size would be seen, at 5 % two-sided, four times in five. Neutral variants: ranks less what sectors, or "
            "liquidity, explain of them.",
        ),
    )  # fmt: skip


def _over(study: Study, universe: str, variant: str) -> str:
    if variant != "plain":
        return f"{variant}-neutral"
    if universe == "all" and "members" in study.universes:
        return "all names, inflated by inclusion bias"
    return "members at the date" if universe == "members" else "all names"


def _money(study: Study, said: Verdict, charts: dict[str, bytes]) -> tuple[Block, ...]:
    rows = tuple(
        cells(
            _over(study, r["universe"], "plain"),
            str(r["horizon"]), signed(percent(r["gross"], 2, sign=True)),
            number(r["t_gross"], 1, sign=True), percent(r["renewal"], 0), percent(r["cost"], 2),
            signed(percent(r["net"], 2, sign=True)), number(r["t_net"], 1, sign=True),
            number(_row(study.monotonicity, universe=r["universe"], horizon=r["horizon"])["spearman"], 2, sign=True),
        )
        for u in study.universes
        for r in study.spread.filter(pl.col("universe") == u).sort("horizon").to_dicts()
    )  # fmt: skip
    labels = ("horizon", "gross", "t", "renewed", "cost", "net", "t net", "monotone")
    return (
        *_charts(charts, ("buckets", "Mean return by bucket", f"Mean return over {said.horizon} sessions, less the mean of "
                  "all names, lowest values on the left; the last bars: top less bottom times direction, before and "
                  "after costs."),
                 ("cumulative", "Growth by bucket", "Growth of 1 by bucket, changed every session, log scale, before costs; "
                  "below it top less bottom times direction, days added up, before and after costs.")),
        Table(
            (Column("over", right=False), *(Column(x) for x in labels)), rows,
            title="Top less bottom bucket, times direction, a horizon",
            note=f"{study.buckets} buckets. Costs: {study.costs_bp:g} basis points one-way of what is traded; renewed: "
            "share of names replaced after a horizon, mean of both legs. No borrowing fees, no impact. Monotone: "
            "rank correlation of the bucket's number and its mean return.",
        ),
    )  # fmt: skip


def _trading(study: Study, charts: dict[str, bytes]) -> tuple[Block, ...]:
    main = study.universes[0]
    auto = study.autocorrelation.filter(pl.col("universe") == main)
    told = ", ".join(
        f"{number(v, 2)} after {lag}"
        for lag, v in auto.select("lag", "rank_autocorrelation").iter_rows()
    )
    mean = (
        study.turnover.filter(pl.col("universe") == main)
        .select(pl.col("top", "bottom").mean())
        .row(0)
    )
    return (
        Text(
            f"Of the top bucket {percent(mean[0])} changes a session, of the bottom one {percent(mean[1])}. "
            f"Rank autocorrelation: {told} sessions."
        ),
        *_charts(charts, ("turnover", "Turnover and coverage", "One-way turnover a session, mean of 63; below it the share "
                  "of names with a value."),
                 ("persistence", "Rank autocorrelation", "Mean correlation of a date's ranks with those so many sessions "
                  "later; dashed: half of the order is left.")),
    )  # fmt: skip


def _when(study: Study, said: Verdict, charts: dict[str, bytes]) -> tuple[Block, ...]:
    blocks: list[Block] = [
        *_charts(charts, ("years", "Rank IC by year", f"Mean rank IC by calendar year at {said.horizon} sessions."))
    ]  # fmt: skip
    for name, frame, title in (
        ("regime", study.by_regime, "By regime (filtered, as known at the date)"),
        ("sector", study.by_sector, "Within sectors"),
    ):
        rows = frame.filter(pl.col("horizon") == said.horizon).to_dicts()
        if rows:
            blocks.append(
                Table(
                    (Column(name, right=False), Column("rank IC"), Column("t"), Column("names"), Column("dates")),
                    tuple(
                        cells(str(r[name]), signed(number(r["mean_rank_ic"], 3, sign=True)),
                              number(r["t"], 1, sign=True), number(r["names"], 0), f"{r['dates']:,}")
                        for r in rows
                    ),
                    title=title,
                )
            )  # fmt: skip
    return tuple(blocks)


def _alike(correlation: pl.DataFrame) -> tuple[Block, ...]:
    return (
        Table(
            (Column("factor", right=False), Column("correlation")),
            tuple(
                cells(str(n), signed(number(c, 2, sign=True)))
                for n, c in correlation.head(ALIKE).select("other", "correlation").iter_rows()
            ),
            title="The most alike of the library",
            note="Mean correlation of ranks by date; of scores, direction not applied.",
        ),
    )


def _definition(
    factor: Factor, study: Study, source: str, biases: Sequence[tuple[str, str, str]]
) -> tuple[Block, ...]:
    expected = "high" if study.direction > 0 else "low"
    rows = [
        ("Name", factor.name),
        ("Formula", factor.expression or "a Python function"),
        ("Reference", factor.reference),
        ("Direction", f"{expected} values are expected to do well"),
        ("Missing means", factor.nan_means),
        ("Bought", "at the close of the session after the value's" if study.delay else "at the value's own close"),
        ("Data", source),
        ("Last label known", str(study.known_at or "–")),
    ]  # fmt: skip
    rows += [(k.replace("_", " ").capitalize(), why) for k, why in study.notes.items()]
    blocks: list[Block] = [
        Table(
            (Column("", right=False), Column("", right=False)),
            tuple(cells(Cell(k, "muted"), v) for k, v in rows),
        )
    ]
    blocks += [Text(f"{title}. {detail}", "muted") for _, title, detail in biases]
    return tuple(blocks)


def _charts(charts: dict[str, bytes], *wanted: tuple[str, str, str]) -> tuple[Block, ...]:
    return tuple(Chart(n, alt, caption) for n, alt, caption in wanted if n in charts)
