"""Looking for the future where it must not be: in features, and in splits.

Two features leak in two ways. One holds what comes (tomorrow's return): its information coefficient is
higher than honest features have, and is gone when the feature is taken one session late. Another was made
with data of later dates (standardised over the whole history): its IC says nothing, but computing it
again from what existed at a date gives other numbers. A split leaks if a training label's interval
reaches into the test side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml.panels import KEY, date_offsets
from wealthos_pipeline.ml.splitters import Fold, certified
from wealthos_pipeline.stats.correlation import average_ranks

if TYPE_CHECKING:
    from wealthos_pipeline.ml.datasets import Training

IMPOSSIBLE = 0.15
"""A mean rank IC that no honest feature of a liquid market has (0.00–0.03 is what there is)."""

COLLAPSE = 0.5
"""A feature one session late keeps nearly all of its IC if its horizon is many sessions; half is lost only
by one that knows the session in between."""

MIN_T = 4.0
"""t-statistic from which on an IC and its loss are no luck."""

MIN_DATES = 20
"""Fewer dates with an IC say nothing."""

Recompute = Callable[[date], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What was looked at and what was found, in words; no finding: nothing that these tests can see."""

    features: tuple[str, ...]
    looked: tuple[str, ...]
    findings: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        if self.clean:
            return f"no leak found in {len(self.features)} features; looked at: {'; '.join(self.looked)}"
        return "\n".join(f"- {words}" for words in self.findings)


def leak_report(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    features: Sequence[str] | None = None,
    recompute: Recompute | None = None,
    cuts: Iterable[date] = (),
    rows: Training | None = None,
    folds: Sequence[Fold] = (),
) -> LeakReport:
    """Look for the future in ``features`` and, where given, in ``folds`` of ``rows``.

    scores: ``date, instrument_id`` and the features (None: all others). labels: ``factors.labels``.
    recompute: gives the same columns as of a date, made from nothing later; compared at each of
    ``cuts`` with what ``scores`` says of that date, bit for bit.
    """
    names = (
        tuple(c for c in scores.columns if c not in KEY) if features is None else tuple(features)
    )
    findings = by_information(scores, labels, names)
    looked = [f"rank IC with the label, at once and one session late, of {len(names)} features"]
    days = list(cuts)
    if recompute is not None:
        findings += by_truncation(scores, recompute, days, names)
        looked.append(f"computed again from what existed on {len(days)} dates")
    if folds:
        if rows is None:
            raise ModelError("leak_report needs the rows that the folds are of")
        findings += by_split(rows, folds)
        looked.append(f"label intervals of {len(folds)} folds")
    return LeakReport(names, tuple(looked), tuple(findings))


def by_information(
    scores: pl.DataFrame, labels: pl.DataFrame, features: Sequence[str]
) -> list[str]:
    """Features whose rank IC is impossible, or is lost by taking them one session late."""
    found = []
    days = scores.select(pl.col("date").unique().sort())
    later = dict(zip(days["date"], days["date"].shift(-1), strict=True))
    held = labels.filter(pl.col("label").is_finite()).select(*KEY, "label")
    for name in features:
        at_once = _rank_ic(scores.select(*KEY, pl.col(name).alias("x")), held)
        moved = scores.select(
            pl.col("date").replace_strict(later, default=None, return_dtype=pl.Date),
            "instrument_id",
            pl.col(name).alias("x"),
        ).drop_nulls("date")
        late = _rank_ic(moved, held)
        both = at_once.join(late, on="date", suffix="_late")
        if both.height < MIN_DATES:
            continue
        now, then = both["ic"].to_numpy(), both["ic_late"].to_numpy()
        mean, lost = float(np.mean(now)), now - then
        sure = _t(now) > MIN_T
        collapsed = sure and abs(np.mean(then)) < COLLAPSE * abs(mean) and _t(lost) > MIN_T
        if sure and abs(mean) >= IMPOSSIBLE:
            words = f"a mean rank IC of {mean:+.3f} with the label on {both.height} dates is more than a feature can know"  # fmt: skip
            if collapsed:
                words += f"; one session late it is {np.mean(then):+.3f}"
            found.append(f"{name}: {words}. It holds returns of after its date: look at its shifts")
        elif collapsed:
            found.append(
                f"{name}: its mean rank IC of {mean:+.3f} falls to {np.mean(then):+.3f} when the feature is "
                f"taken one session late (t of the loss {_t(lost):.1f}, {both.height} dates). It knows the "
                "next session, or forgets within one: look at its shifts"
            )
    return found


def by_truncation(
    scores: pl.DataFrame, recompute: Recompute, cuts: Sequence[date], features: Sequence[str]
) -> list[str]:
    """Features that come out otherwise when nothing later than their date exists."""
    found = []
    if not cuts:
        raise ModelError(
            "by_truncation needs at least one date at which features are computed again"
        )
    for name in features:
        worst: tuple[int, date, str, float, float] | None = None
        changed, compared = 0, 0
        for day in cuts:
            on_day = pl.col("date") == day
            now = scores.filter(on_day).select("instrument_id", pl.col(name).alias("now"))
            then = recompute(day).filter(on_day).select("instrument_id", pl.col(name).alias("then"))
            rows = now.join(then, on="instrument_id", how="full", coalesce=True).sort(
                "instrument_id"
            )
            differs = rows.filter(~pl.col("now").eq_missing(pl.col("then")))
            compared, changed = compared + rows.height, changed + differs.height
            if differs.height and worst is None:
                who, a, b = differs.row(0)
                worst = (differs.height, day, who, a, b)
        if worst is not None:
            _, day, who, a, b = worst
            found.append(
                f"{name}: {changed} of {compared} values on {len(cuts)} dates are others when nothing later "
                f"than the date exists, for example {who} on {day}: {_value(a)} with what came later, "
                f"{_value(b)} without. It is made with data of later dates"
            )
    return found


def by_split(rows: Training, folds: Sequence[Fold]) -> list[str]:
    """Folds whose training labels overlap their test labels, or that train on what they test."""
    found = []
    for i, fold in enumerate(folds, 1):
        shared = np.intersect1d(fold.train, fold.test)
        if len(shared):
            found.append(f"fold {i}: {len(shared)} rows are on the training and on the test side")
            continue
        try:
            certified(rows, fold, f"fold {i}")
        except ModelError as error:
            found.append(str(error))
    return found


def _rank_ic(scores: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """``date, ic``: Spearman correlation by date, where at least five names have both and they differ."""
    both = scores.filter(pl.col("x").is_finite()).join(labels, on=KEY).sort(KEY)
    x, y = both["x"].cast(pl.Float64).to_numpy(), both["label"].to_numpy()
    edges = date_offsets(both["date"].to_numpy())
    days, out = [], []
    for a, b in pairwise(edges):
        if b - a >= 5 and np.ptp(x[a:b]) > 0 and np.ptp(y[a:b]) > 0:
            days.append(both["date"][int(a)])
            out.append(float(np.corrcoef(average_ranks(x[a:b]), average_ranks(y[a:b]))[0, 1]))
    return pl.DataFrame({"date": days, "ic": out}, schema={"date": pl.Date, "ic": pl.Float64})


def _t(values: np.ndarray) -> float:
    """|t| of the mean, with the variance of means of blocks of 21 dates where there are ten of them."""
    size = 21 if len(values) >= 210 else 1
    cut = values[: len(values) // size * size].reshape(-1, size).mean(axis=1)
    spread = float(np.std(cut, ddof=1))
    return abs(float(np.mean(cut))) / (spread / np.sqrt(len(cut))) if spread > 0 else np.inf


def _value(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
