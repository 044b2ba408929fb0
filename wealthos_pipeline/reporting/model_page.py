"""The page of a model's card: one HTML file that needs no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

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
from wealthos_pipeline.reporting.model_card import Card, facts, limits
from wealthos_pipeline.reporting.words import day, number, percent, sentence

SHOWN = 15
"""Features of the table of importance, and fits of the table of fits."""


def render(card: Card) -> str:
    """The page: one file, no network."""
    from wealthos_pipeline.reporting import model_card_charts
    from wealthos_pipeline.reporting.export import _environment

    charts = model_card_charts.draw(card)
    s, fit = card.summary, card.newest
    sections = [
        Section("ic", "Does it rank returns?", _ranking(card, charts)),
        Section("money", "What would it have earned?", _money(card, charts)),
        Section(
            "calibration", "Are its scores to be taken at their word?", _calibration(card, charts)
        ),
        Section("importance", "What does it look at?", _importance(card, charts)),
        Section("now", "Is it still itself?", _now(card, charts)),
        Section("made", "How it was made", _made(card)),
        Section("limits", "What this card does not say", _limits(card)),
    ]
    title = (card.spec and card.spec.title) or card.model
    known = [t for t, _ in card.biases]
    return (
        _environment()
        .get_template("tearsheet.html.j2")
        .render(
            title=title,
            kind="model card",
            name=card.model,
            subtitle=f"{card.horizon} sessions · newest fit {day(fit['refit_date'])} · {card.source}",
            formula=f"{fit.get('family') or card.model} · {fit['model_id']}",
            tone=_tone(s),
            headline=sentence(s.get("verdict") or "no outcome of its predictions is known yet"),
            sentences=_sentences(card),
            lead=_lead(s),
            sections=[x for x in sections if x.blocks],
            warnings=known,
            images={n: base64.b64encode(png).decode() for n, png in charts.items()},
        )
    )


def _tone(s: Mapping[str, Any]) -> str:
    if s.get("t") is None:
        return "none"
    if (s.get("dsr") or 0.0) > 0.95 and s["t"] >= 1.96:
        return "strong"
    return "against" if s["t"] <= -1.96 else "weak" if s["t"] >= 1.96 else "none"


def _sentences(card: Card) -> list[str]:
    s, out = card.summary, []
    if card.spec is not None and card.spec.note:
        out.append(" ".join(card.spec.note.split()))
    if s.get("sharpe_net") is not None:
        out.append(
            f"Long the best fifth and short the worst it had a Sharpe ratio of {number(s['sharpe_gross'], 2)} a "
            f"year before costs and {number(s['sharpe_net'], 2)} after, at a one-way turnover of "
            f"{number(s['turnover'], 1)} times a year."
        )
    if s.get("excess_over_equal_weight") is not None:
        out.append(
            f"Long only, its best fifth made {percent(s['long_only_net_return'], 1)} a year after costs, "
            f"{percent(s['excess_over_equal_weight'], 1, sign=True)} beside 1/N of the same names."
        )
    if s.get("dsr") is not None:
        out.append(
            f"With {number(s['trials'], 0)} trials counted ({number(s['effective_trials'], 1)} of them independent) "
            f"the probability that its true Sharpe ratio is above what luck alone shows is {percent(s['dsr'], 0)}."
        )
    return out


def _lead(s: Mapping[str, Any]) -> Figures:
    weak = "muted" if s.get("p_value") is None or s["p_value"] > 0.05 else ""
    return Figures(
        (
            ("Rank IC", number(s.get("mean_rank_ic"), 3, sign=True), f"{number(s.get('dates'), 0)} dates", ""),
            ("t", number(s.get("t"), 1, sign=True), f"least of three: {str(s.get('decided_by') or '–').replace('_', ' ')}", weak),
            ("Detectable", number(s.get("detectable_ic"), 3), "smallest IC that these data can show", ""),
            ("Sharpe, net", number(s.get("sharpe_net"), 2, sign=True), "long-short, a year, after costs",
             "neg" if (s.get("sharpe_net") or 0.0) < 0 else ""),
            ("Deflated", percent(s.get("dsr"), 0), f"of {number(s.get('trials'), 0)} trials", ""),
            ("Overfitting", percent(s.get("pbo"), 0), "of choosing the best of these models", ""),
        )
    )  # fmt: skip


def _ranking(card: Card, charts: Mapping[str, bytes]) -> tuple[Block, ...]:
    rows = card["decay"].filter(pl.col("horizon") == card.horizon).sort("lag")
    table = Table(
        (Column("sessions ahead"), Column("rank IC"), Column("t"), Column("p"), Column("dates")),
        tuple(
            cells(
                Cell(str(r["lag"]), "strong" if r["lag"] == card.horizon else ""),
                signed(number(r["mean_rank_ic"], 4, sign=True)),
                number(r["t"], 1, sign=True), number(r["p_value"], 2), number(r["dates"], 0),
            )
            for r in rows.iter_rows(named=True)
        ),
        title="Against returns of other lengths",
        note="t is the one nearest 0 of Newey–West with 2h lags, the stationary bootstrap and dates that lie "
        "a horizon apart.",
    )  # fmt: skip
    return (
        *_charts(charts, ("cumulative_ic", "Cumulative rank IC", "Rank IC by date, added up; below it the mean of the "
                          "last 252. Every prediction was made by a fit that could not have seen its outcome."),
                 ("years", "Rank IC by year", "Mean rank IC by calendar year."),
                 ("decay", "Rank IC by length of the outcome", "Mean rank IC against returns of other lengths, with 95 % "
                  "intervals.")),
        *((table,) if rows.height else ()),
    )  # fmt: skip


def _money(card: Card, charts: Mapping[str, bytes]) -> tuple[Block, ...]:
    rows = []
    ours = card["returns"].filter(pl.col("horizon") == card.horizon)
    for book in ("long_short", "long_only"):
        part = ours.filter(pl.col("book") == book)
        if part.height:
            rows.append(_book(book.replace("_", " "), part))
    bench = card.beside.filter(pl.col("horizon") == card.horizon)
    if bench.height and rows:
        since = ours["date"].min()
        rows.append(_book("1/N of the same names", bench.filter(pl.col("date") >= since)))
    table = Table(
        (Column("book", right=False), Column("return a year"), Column("volatility"), Column("Sharpe, gross"),
         Column("Sharpe, net"), Column("cost a year"), Column("turnover a year"), Column("days")),
        tuple(rows),
        note="Returns and costs are arithmetic, times 252. The book is renewed in as many parts as the horizon has "
        "sessions, one a session; the score of a close is traded at the next one. Costs are flat, one-way; no "
        "borrowing fees, no impact.",
    )  # fmt: skip
    return (
        *_charts(charts, ("growth", "What the books made", "Long-short: days added up, before and after costs; below it "
                          "growth of 1 of the long-only book after costs, and of 1/N.")),
        *((table,) if rows else ()),
    )  # fmt: skip


def _book(name: str, rows: pl.DataFrame) -> tuple[Cell, ...]:
    net, gross = (rows[c].to_numpy() for c in ("net", "gross"))
    spread = [float(x.std(ddof=1)) if len(x) > 1 else math.nan for x in (net, gross)]
    ratio = [
        float(x.mean()) / s * math.sqrt(252) if s > 0 else math.nan
        for x, s in zip((net, gross), spread, strict=True)
    ]
    return cells(
        name, signed(percent(float(net.mean()) * 252, 1, sign=True)), percent(spread[0] * math.sqrt(252), 1),
        number(ratio[1], 2, sign=True), signed(number(ratio[0], 2, sign=True)),
        percent(float(rows["cost"].to_numpy().mean()) * 252, 1),
        number(float(rows["turnover"].fill_null(0.0).to_numpy().mean()) * 252, 1), number(rows.height, 0),
    )  # fmt: skip


def _calibration(card: Card, charts: Mapping[str, bytes]) -> tuple[Block, ...]:
    rows = card["calibration"].filter(pl.col("horizon") == card.horizon)
    if rows.is_empty():
        return ()
    slope = card.summary.get("calibration_slope")
    words = (
        "Predictions are sorted into ten groups over all dates. If the scores mean what they say, outcomes rise "
        "with them."
    )
    if slope is not None:
        words += (
            f" A score higher by 1 went with an outcome higher by {percent(slope, 2, sign=True)}."
        )
    return (
        *_charts(charts, ("calibration", "Outcome by score", "Mean outcome of each tenth of the predictions, with two "
                          "standard errors either way.")),
        Text(words),
    )  # fmt: skip


def _importance(card: Card, charts: Mapping[str, bytes]) -> tuple[Block, ...]:
    newest = card["importance"]
    if newest.is_empty():
        return ()
    last = newest.select(pl.col("refit_date").max()).item()
    by = {
        method: {
            r["feature"]: r
            for r in newest.filter(
                (pl.col("method") == method)
                & (pl.col("refit_date") == pl.col("refit_date").filter(pl.col("method") == method).max())
            ).iter_rows(named=True)
        }
        for method in ("permutation", "gain", "shap")
    }  # fmt: skip
    order = sorted(
        {f for rows in by.values() for f in rows},
        key=lambda f: (*(-_value(by[m], f) for m in ("permutation", "shap", "gain")), f),
    )
    totals = {
        m: sum(r["value"] for r in rows.values() if r["value"] is not None)
        for m, rows in by.items()
    }

    def share(method: str, feature: str) -> str:
        row, total = by[method].get(feature), totals[method]
        return percent(row["value"] / total, 1) if row and total else "–"

    rows = []
    for feature in order[:SHOWN]:
        found = by["permutation"].get(feature)
        rows.append(
            cells(
                feature,
                number(found["value"], 4, sign=True) if found else "–",
                number(found["se"], 4) if found else "–",
                share("gain", feature),
                share("shap", feature),
            )
        )
    return (
        *_charts(charts, ("importance", "Importance on data that the fit had not seen", "Loss of rank IC when a feature is "
                          "shuffled within each date, with two standard errors either way.")),
        Table(
            (Column("feature", right=False), Column("loss of rank IC"), Column("standard error"), Column("share of gain"),
             Column("share of SHAP")),
            tuple(rows),
            title=f"The {len(rows)} first of {len(order)} features, fit of {day(last)}",
            note="Loss: rank IC out of sample less that with the feature shuffled within dates; features that say the "
            "same can replace each other and seem worth nothing alone. Gain and SHAP say what the fit uses, not "
            "whether it helps.",
        ),
    )  # fmt: skip


def _value(rows: Mapping[str, Mapping[str, Any]], feature: str) -> float:
    row = rows.get(feature)
    return float(row["value"]) if row and row["value"] is not None else -math.inf


def _now(card: Card, charts: Mapping[str, bytes]) -> tuple[Block, ...]:
    out: list[Block] = []
    live = card["live"].drop_nulls("rank_ic")
    if live.height:
        mean = float(live["rank_ic"].to_numpy().mean())
        out.append(
            Text(
                f"Of what was issued, {live.height} dates have a known outcome: mean rank IC "
                f"{number(mean, 3, sign=True)}, out of sample before {number(card.summary.get('mean_rank_ic'), 3, sign=True)}."
            )
        )
    else:
        out.append(Text("No prediction that was issued has a known outcome yet.", "muted"))
    drift = card["drift"].drop_nulls("psi")
    if drift.height:
        last = drift.filter(pl.col("date") == pl.col("date").max())
        worst = last.sort("psi", "subject", descending=[True, False]).head(8)
        out.append(
            Table(
                (Column("subject", right=False), Column("PSI"), Column("rows"), Column("reference rows")),
                tuple(
                    cells(r["subject"].replace("_", " "), number(r["psi"], 3), number(r["rows"], 0),
                          number(r["reference_rows"], 0))
                    for r in worst.iter_rows(named=True)
                ),
                title=f"Largest changes of distribution, {day(last['date'][0])}",
                note="Population stability index against the rows trained on; by rule of thumb 0.1 is worth a look, "
                "0.25 a change.",
            )
        )  # fmt: skip
    return tuple(out)


def _made(card: Card) -> tuple[Block, ...]:
    rows = [
        (r["item"], r["value"])
        for r in facts(card).filter(pl.col("section").is_in(["model", "parameters", "data"])).iter_rows(named=True)
    ]  # fmt: skip
    rows += list(card.run)
    fits = card["registry"].sort("refit_date", "kind", descending=True).head(SHOWN)
    return (
        Table(
            (Column("", right=False), Column("", right=False)),
            tuple(cells(Cell(k.replace("_", " ").capitalize(), "muted"), v) for k, v in rows),
        ),
        Table(
            (Column("fit", right=False), Column("kind", right=False), Column("trained on", right=False), Column("rows"),
             Column("hash", right=False)),
            tuple(
                cells(day(r["refit_date"]), r["kind"].replace("_", " "), f"{r['train_start']} … {r['train_cutoff']}",
                      number(r["rows"], 0), r["artefact_hash"])
                for r in fits.iter_rows(named=True)
            ),
            title=f"The last {fits.height} of {card['registry'].height} fits",
        ),
    )  # fmt: skip


def _limits(card: Card) -> tuple[Block, ...]:
    return tuple(Text(f"{title}: {detail.rstrip('.')}.") for title, detail in limits(card))


def _charts(charts: Mapping[str, bytes], *wanted: tuple[str, str, str]) -> tuple[Block, ...]:
    return tuple(Chart(n, alt, caption) for n, alt, caption in wanted if n in charts)
