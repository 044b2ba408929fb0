"""What the models and factors have shown: rank ICs with conservative t values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.market_monitor.evidence import mean_with_overlap, plain_title
from wealthos_pipeline.reporting.lens import Lens, groups
from wealthos_pipeline.reporting.report import Skill
from wealthos_pipeline.utils.config import Settings

RECENT = 252


def models(lens: Lens) -> tuple[Skill, ...]:
    """One row a model, from walk-forward predictions whose outcome is known."""
    rows = lens("models.evaluation", "model", "horizon", "date", "rank_ic", "spread", "known_at")
    fits = lens("models.registry", "model", "kind", "refit_date", "train_start", "train_cutoff")
    out = []
    for model, mine in groups(rows, "model", ["date"]):
        fit = fits.filter(pl.col("model") == model).sort("refit_date", "kind")
        fitted = ""
        if fit.height:
            last = fit.row(-1, named=True)
            fitted = (
                f"{fit.height} fits; the last on {last['refit_date']} from {last['train_start']} "
                f"to {last['train_cutoff']}"
            )
        out.append(_skill(model, model, mine, int(mine["horizon"][0]), 1, fitted))
    return tuple(out)


def factors(lens: Lens, defined: Sequence[Factor], settings: Settings) -> tuple[Skill, ...]:
    """One row a factor, at the model's horizon where it is measured, members' ICs where they are.

    ICs are times the factor's direction; without its definition the sign is the formula's.
    """
    rows = lens(
        "factors.performance",
        "factor",
        "universe",
        "horizon",
        "date",
        "rank_ic",
        "spread",
        "known_at",
    )
    known = {f.name: f for f in defined}
    out = []
    for name, every in groups(rows, "factor", ["universe", "horizon", "date"]):
        universes = sorted(set(every["universe"]))
        universe = "members" if "members" in universes else universes[0]
        horizons = sorted(set(every["horizon"]))
        horizon = settings.models.horizon if settings.models.horizon in horizons else horizons[-1]
        mine = every.filter((pl.col("universe") == universe) & (pl.col("horizon") == horizon))
        factor = known.get(name)
        title = plain_title(factor.title) if factor else name
        out.append(_skill(name, title, mine, horizon, factor.direction if factor else 1, ""))
    return tuple(sorted(out, key=lambda s: (-(s.all.mean or 0.0), s.name)))


def _skill(
    name: str, title: str, rows: pl.DataFrame, horizon: int, direction: int, fitted: str
) -> Skill:
    """``spread`` is stored with its direction already applied."""
    ic = rows["rank_ic"].cast(pl.Float64).to_numpy() * direction
    seen = np.flatnonzero(np.isfinite(ic))
    recent = ic[seen[-RECENT] :] if len(seen) > RECENT else ic
    spread = rows["spread"].drop_nulls().to_numpy()
    return Skill(
        name=name,
        title=title,
        horizon=horizon,
        all=mean_with_overlap(ic, horizon),
        recent=mean_with_overlap(recent, horizon),
        spread=float(spread.sum() / spread.size) if spread.size else None,
        fitted=fitted,
    )
