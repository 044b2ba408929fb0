"""What counts as a trial, and how many there were.

Whoever picks the best of many must say of how many. A trial is a configuration whose result somebody could look at:
a model's definition, one configuration that a search tried, a factor's formula, a backtested mandate. What it is
called, its title and its sign do not make another one; nor does newer data. The functions here give rows of
``record.trials``; they never change one that is there.

``counted`` is the raw number that a result has to be deflated by, ``deflation`` also how many independent ones that
is: trials whose returns are known by their correlations (``stats.trials``), each of the others as one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

import numpy as np
import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.core.model import ModelSpec
from wealthos_pipeline.stats import trials as stats
from wealthos_pipeline.stats.sharpe import sharpe_ratio

Subject = Literal["model", "factor", "portfolio"]

COUNTS: Mapping[Subject, tuple[str, ...]] = {
    "model": ("model", "search", "factor"),
    "factor": ("factor", "model", "search"),
    "portfolio": ("backtest", "model", "search"),
}
"""Kinds of trials among which a result of each subject was picked: a model is made of factors that were looked at,
a portfolio of models."""

_NOT_TRIED = {"name", "title", "note", "live", "overrides"}
"""Of a mandate: words, and what concerns live trading only."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trial showed: sessions looked at, the Sharpe ratio by session, the mean rank IC; NaN: not known."""

    first: date | None = None
    last: date | None = None
    observations: int | None = None
    sharpe: float = math.nan
    rank_ic: float = math.nan


@dataclass(frozen=True, eq=False)
class Block:
    """Returns of trials of one kind, (T, k); each is of ``overlap`` sessions and given every session (or 1)."""

    returns: np.ndarray
    overlap: int = 1


def model_id(spec: ModelSpec) -> str:
    """Trial of a model's definition; its name is no part of it."""
    body = json.loads(spec.definition)
    return _digest("model", {k: v for k, v in body.items() if k != "name"})


def factor_id(factor: Factor) -> str:
    """Trial of a factor: of its formula without blanks, else of the code that it is computed by."""
    if factor.expression is None:
        return _digest("factor", factor.definition_hash)
    return _digest("factor", ["".join(factor.expression.split()), factor.basis])


def mandate_id(mandate: Mandate) -> str:
    """Trial of a mandate's definition, without its name and what concerns live trading only."""
    return _digest("backtest", mandate.model_dump(mode="json", exclude=_NOT_TRIED))


def of_models(
    specs: Iterable[ModelSpec],
    returns: pl.DataFrame | None = None,
    evaluation: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Trials of models: rows of ``record.trials`` without ``run_id`` and ``recorded_at``.

    returns: ``models.returns``; the net long-short book is what a model is seen by. evaluation: ``models.evaluation``,
    for the rank IC, and for the Sharpe ratio of the spread where there are no returns (over √horizon: labels
    overlap).
    """
    rows = []
    for spec in specs:
        seen = _book(returns, spec.name, spec.horizon) or Seen()
        judged = _rows(evaluation, model=spec.name, horizon=spec.horizon)
        if judged is not None:
            spread = judged["spread"].fill_null(math.nan).to_numpy()
            sharpe = seen.sharpe
            if math.isnan(sharpe):
                sharpe = sharpe_ratio(spread) / math.sqrt(spec.horizon)
            seen = Seen(
                seen.first or judged["date"].min(),  # type: ignore[arg-type]
                seen.last or judged["date"].max(),  # type: ignore[arg-type]
                seen.observations or judged.height,
                sharpe,
                _mean(judged["rank_ic"]),
            )
        body = json.loads(spec.definition)
        rows.append(
            _row(
                model_id(spec), "model", spec.name, spec.family, body, spec.horizon, "members", seen
            )
        )
    return _frame(rows)


def of_search(spec: ModelSpec, tried: int) -> pl.DataFrame:
    """Trials of a search: ``tried`` configurations of ``spec`` (one of which is the model itself).

    The same search on newer data tries no more; one with more configurations adds those beyond.
    """
    return _frame(
        _row(
            _digest("search", [model_id(spec), i]), "search", f"{spec.name} #{i}", spec.family,
            {"model": spec.name, "configuration": i}, spec.horizon, "members", Seen(),
        )
        for i in range(1, tried)
    )  # fmt: skip


def of_factors(
    factors: Iterable[Factor], performance: pl.DataFrame | None = None, universe: str = "members"
) -> pl.DataFrame:
    """Trials of factors. performance: ``factors.performance``; the shortest horizon there is what a factor is seen
    by, its spread's Sharpe ratio before costs over √horizon (neighbouring spreads overlap)."""
    seen = _factors_seen(performance, universe)
    rows = []
    for f in factors:
        h, found = seen.get(f.name, (None, Seen()))
        found = replace(found, rank_ic=f.direction * found.rank_ic)
        rows.append(
            _row(
                factor_id(f), "factor", f.name, f.family, _formula(f), h,
                universe if h is not None else None, found,
            )
        )  # fmt: skip
    return _frame(rows)


def of_study(
    factor: Factor, summary: pl.DataFrame, first: date | None, last: date | None
) -> pl.DataFrame:
    """Trial of a factor that a command studied. summary: of the study, one row a universe, variant and horizon."""
    rows = summary.sort("horizon", maintain_order=True).head(1).to_dicts()
    found = rows[0] if rows else {}
    rank_ic = found.get("mean_rank_ic")
    seen = Seen(first, last, found.get("dates"), math.nan, math.nan if rank_ic is None else rank_ic)
    return _frame(
        [_row(factor_id(factor), "factor", factor.name, factor.family, _formula(factor),
              found.get("horizon"), found.get("universe"), seen)]
    )  # fmt: skip


def of_backtests(mandates: Iterable[Mandate], nav: pl.DataFrame | None = None) -> pl.DataFrame:
    """Trials of mandates. nav: rows of ``portfolio.nav`` that these very definitions made, or None where they are
    made later than the trial is recorded."""
    rows = []
    for mandate in mandates:
        mine = None if nav is None else nav.filter(pl.col("mandate") == mandate.name).sort("date")
        seen = Seen() if mine is None else _seen(mine["date"], mine["return_net"])
        body = mandate.model_dump(mode="json", exclude=_NOT_TRIED, exclude_defaults=True)
        rows.append(
            _row(
                mandate_id(mandate),
                "backtest",
                mandate.name,
                mandate.objective,
                body,
                None,
                None,
                seen,
            )
        )
    return _frame(rows)


def new(
    found: Sequence[pl.DataFrame], known: Iterable[str], *, run_id: str, now: datetime
) -> pl.DataFrame:
    """Rows to append to ``record.trials`` (or ``raw.trials``): those of ``found`` that ``known`` does not have.

    Of the same trial found twice the first counts. Rows that carry a run and an instant keep them.
    """
    table = contract("record.trials")
    stamps = {"run_id": pl.lit(run_id), "recorded_at": pl.lit(now).dt.cast_time_unit("us")}
    parts = [
        f.with_columns(v.alias(k) for k, v in stamps.items() if k not in f.columns) for f in found
    ]
    if not parts:
        return table.empty()
    rows = pl.concat(
        [table.empty(), *(p.select(table.column_names) for p in parts)], how="vertical_relaxed"
    )
    rows = rows.unique("trial", keep="first", maintain_order=True)
    return table.conform(rows.filter(~pl.col("trial").is_in(list(known))))


def counted(trials: pl.DataFrame, subject: Subject) -> int:
    """How many configurations a result of ``subject`` was picked among; at least 1."""
    kinds = COUNTS[subject]
    return max(trials.filter(pl.col("kind").is_in(kinds))["trial"].n_unique(), 1)


def deflation(trials: pl.DataFrame, subject: Subject, blocks: Sequence[Block]) -> stats.Deflation:
    """What the Sharpe ratio by session of one of ``subject`` has to be deflated by.

    blocks: returns of as many of the trials as are known, a block a kind. Effective trials add up over blocks, and
    each trial of ``counted`` beyond them counts as one; the variance is of the ratios in the blocks, but of those
    over less than ``stats.SHORT`` of the longest's periods, which count as trials and no more. So the number never says
    less than what is known, and the result is a function of these returns and of the number of trials: what was
    recorded as seen does not enter.
    """
    known = [b for b in blocks if b.returns.shape[1]]
    columns = sum(b.returns.shape[1] for b in known)
    raw = max(counted(trials, subject), columns)
    effective = sum(stats.effective_trials(b.returns[:: b.overlap]) for b in known)
    return stats.Deflation(raw, max(effective + raw - columns, 1.0), _variance(known))


def _variance(blocks: Sequence[Block]) -> float:
    """Variance of an independent trial's ratio, from the trials whose record is long enough."""
    periods = [np.isfinite(b.returns).sum(axis=0) for b in blocks]
    least = stats.SHORT * max((int(n.max()) for n in periods), default=0)
    kept = [
        Block(b.returns[:, n >= least], b.overlap)
        for b, n in zip(blocks, periods, strict=True)
        if (n >= least).any()
    ]
    ratios = [stats.ratios(b.returns) / math.sqrt(b.overlap) for b in kept]
    # what likeness took away from the variance across trials: Σ ρ / T over the pairs within blocks, over all pairs
    taken = sum(
        len(r) * (len(r) - 1) * max(stats.mean_correlation(b.returns[:: b.overlap]), 0.0)
        / stats.typical_periods(b.returns)
        for b, r in zip(kept, ratios, strict=True)
    )  # fmt: skip
    columns = sum(len(r) for r in ratios)
    pairs = max(columns * (columns - 1), 1)
    return stats.trial_variance(np.concatenate([np.zeros(0), *ratios])) + taken / pairs


def spreads(performance: pl.DataFrame, horizon: int, universe: str = "members") -> Block:
    """The spreads of all factors of ``factors.performance``: a block, one column a factor, in order of name."""
    rows = performance.filter((pl.col("horizon") == horizon) & (pl.col("universe") == universe))
    if rows.is_empty():
        return Block(np.zeros((0, 0)), horizon)
    wide = rows.select("date", "factor", "spread").pivot("factor", index="date", values="spread")
    names = sorted(c for c in wide.columns if c != "date")
    return Block(wide.sort("date").select(pl.col(names).fill_null(math.nan)).to_numpy(), horizon)


def _factors_seen(performance: pl.DataFrame | None, universe: str) -> dict[str, tuple[int, Seen]]:
    if performance is None or performance.is_empty():
        return {}
    rows = performance.filter(pl.col("universe") == universe)
    if rows.is_empty():
        return {}
    h = int(rows["horizon"].min())  # type: ignore[arg-type]
    rows = rows.filter(pl.col("horizon") == h).sort("factor", "date")
    out = {}
    for (name,), part in rows.group_by("factor", maintain_order=True):
        seen = _seen(part["date"], part["spread"], overlap=h, rank_ic=_mean(part["rank_ic"]))
        out[str(name)] = (h, seen)
    return out


def _book(returns: pl.DataFrame | None, model: str, horizon: int) -> Seen | None:
    mine = _rows(returns, model=model, horizon=horizon, book="long_short")
    return None if mine is None else _seen(mine["date"], mine["net"])


def _rows(frame: pl.DataFrame | None, **equal: object) -> pl.DataFrame | None:
    if frame is None or frame.is_empty():
        return None
    mine = frame.filter(*(pl.col(k) == v for k, v in equal.items())).sort("date")
    return mine if mine.height else None


def _seen(
    days: pl.Series, values: pl.Series, *, overlap: int = 1, rank_ic: float = math.nan
) -> Seen:
    kept = values.is_not_null() & values.is_not_nan()
    if not kept.any():
        return Seen(rank_ic=rank_ic)
    days, x = days.filter(kept), values.filter(kept).to_numpy()
    return Seen(days[0], days[-1], len(x), sharpe_ratio(x) / math.sqrt(overlap), rank_ic)


def _formula(factor: Factor) -> dict[str, object]:
    return {
        "expression": factor.expression,
        "definition": factor.definition_hash,
        "direction": factor.direction,
    }


def _mean(values: pl.Series) -> float:
    x = values.drop_nulls().drop_nans().to_numpy()
    return math.fsum(x) / len(x) if len(x) else math.nan


def _row(
    trial: str, kind: str, name: str, family: str | None, params: Mapping[str, object],
    horizon: int | None, universe: str | None, seen: Seen,
) -> dict[str, object]:  # fmt: skip
    return {
        "trial": trial,
        "kind": kind,
        "name": name,
        "family": family,
        "params": json.dumps(params, sort_keys=True),
        "horizon": horizon,
        "universe": universe,
        "data": f"{seen.first}..{seen.last}" if seen.first and seen.last else None,
        "observations": seen.observations,
        "sharpe": seen.sharpe if math.isfinite(seen.sharpe) else None,
        "rank_ic": seen.rank_ic if math.isfinite(seen.rank_ic) else None,
    }


def _frame(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    schema = contract("record.trials").schema()
    own = {k: v for k, v in schema.items() if k not in ("run_id", "recorded_at")}
    return pl.DataFrame(list(rows), schema=own).unique("trial", keep="first", maintain_order=True)


def _digest(kind: str, body: object) -> str:
    text = json.dumps([kind, body], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
