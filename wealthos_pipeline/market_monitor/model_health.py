"""Alerts about models: whether what they see and say drifts, and whether live predictions keep their promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from wealthos_pipeline.market_monitor.evidence import mean_with_overlap, signed
from wealthos_pipeline.ml.drift import LARGE
from wealthos_pipeline.ml.drift_review import PREDICTION

if TYPE_CHECKING:
    from wealthos_pipeline.market_monitor.alerts import Finding, Rule, State

SINCE: Final = 25
"""Sessions after a review for which its findings count."""

NAMED: Final = 3
"""Features that a sentence names."""


def feature_drift(state: State, rule: Rule) -> Iterator[Finding]:
    from wealthos_pipeline.market_monitor.alerts import Finding

    for model, rows in _reviewed(state):
        seen = rows.filter(pl.col("subject") != PREDICTION)
        found = seen.filter("drifted").sort("psi", "subject", descending=[True, False])
        if found.is_empty():
            continue
        worst = [f"{row['subject']} ({_words(row)})" for row in found.head(NAMED).to_dicts()]
        more = f" and {found.height - NAMED} more" if found.height > NAMED else ""
        yield Finding(
            model,
            max(_measure(row) for row in found.to_dicts()),
            float(found["psi"][0]),
            f"{model}: {found.height} of {seen.height} features were not distributed on "
            f"{rows['date'][0]} as on the dates that its fit learnt from: {', '.join(worst)}{more}; shifts "
            "that are the same for all names do not show.",
        )


def prediction_drift(state: State, rule: Rule) -> Iterator[Finding]:
    from wealthos_pipeline.market_monitor.alerts import Finding

    for model, rows in _reviewed(state):
        for row in rows.filter((pl.col("subject") == PREDICTION) & pl.col("drifted")).to_dicts():
            turnover = ""
            if row["turnover"] is not None and row["turnover_before"] is not None:
                turnover = (
                    f"; {100 * row['turnover']:.0f} % of its top fifth are new since the review before, "
                    f"{100 * row['turnover_before']:.0f} % as a rule"
                )
            yield Finding(
                model,
                _measure(row),
                row["psi"],
                f"{model}: its predictions of {row['date']} are not distributed as at the reviews before "
                f"({_words(row)}){turnover}.",
            )


def live_ic_decay(state: State, rule: Rule) -> Iterator[Finding]:
    from wealthos_pipeline.market_monitor.alerts import Finding

    rows = state.table("models.live")
    if rows is None:
        return
    rows = rows.drop_nulls(["rank_ic", "expected_rank_ic"]).sort("model", "horizon", "date")
    for (model, horizon), mine in rows.group_by("model", "horizon", maintain_order=True):
        slots = np.array([state.calendar.slot(d) for d in mine["date"]])
        came, promised = (mine[c].to_numpy() for c in ("rank_ic", "expected_rank_ic"))
        gap = np.full(slots[-1] - slots[0] + 1, np.nan)  # a session without a run keeps its place
        gap[slots - slots[0]] = came - promised
        test = mean_with_overlap(gap, int(str(horizon)))
        if test.t is None or test.mean is None:
            continue
        live = float(np.mean(came))
        yield Finding(
            f"{model}, {horizon} sessions",
            -test.t,
            live,
            f"{model}: what it issued had a mean rank IC of {signed(live, 3)} over {test.n} dates, "
            f"{signed(test.mean, 3)} against what its walk-forward record promised then (t "
            f"{signed(test.t, 1)} at {horizon} sessions).",
        )


def _reviewed(state: State) -> Iterator[tuple[str, pl.DataFrame]]:
    """(model, rows of its latest review), where that is not older than ``SINCE`` sessions."""
    rows = state.table("models.drift")
    if rows is None:
        return
    oldest = state.calendar.offset(state.day, -SINCE)
    for (model,), mine in rows.sort("model", "date").group_by("model", maintain_order=True):
        last = mine["date"][-1]
        if last >= oldest:
            yield str(model), mine.filter(pl.col("date") == last)


def _moved(row: Mapping[str, Any]) -> bool:
    """Whether names stand elsewhere, or more still, than at the review before is usual."""
    now, low, high = (row[c] for c in ("stability", "stability_low", "stability_high"))
    return None not in (now, low, high) and not low <= now <= high


def _measure(row: Mapping[str, Any]) -> float:
    """The index; a break in where names stand counts as a large one."""
    return max(row["psi"], LARGE) if _moved(row) else float(row["psi"])


def _words(row: Mapping[str, Any]) -> str:
    said = f"PSI {row['psi']:.2f}, by chance up to {row['psi_limit']:.2f}"
    if not _moved(row):
        return said
    return (
        f"correlation with the month before {signed(row['stability'], 2)}, as a rule "
        f"{signed(row['stability_low'], 2)} to {signed(row['stability_high'], 2)}"
    )
