"""Models: fits and out-of-sample predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library


def stages(library: Library) -> tuple[Stage, ...]:
    """The stage of the models, whose features are the scores of ``library``."""
    from wealthos_pipeline.factors import transforms

    return (_predictions(tuple(transforms.score_tables(library))),)


def _predictions(tables: Sequence[str]) -> Stage:
    def predictions(work: Work) -> Mapping[str, pl.DataFrame]:
        """Walk-forward fits (refitted yearly) and the live fit of the week, with purged labels.

        Restated data are predicted again by the fits that were there, which are marked as stale."""
        from wealthos_pipeline import ml
        from wealthos_pipeline.factors import transforms

        settings, lake = work.settings.models, work.session.lake
        back = ml.lookback(settings)
        scores = transforms.side_by_side(work.read(t, back=back) for t in tables)
        features = [c for c in scores.columns if c not in ("date", "instrument_id")]
        made = ml.fit_and_predict(
            scores,
            work.prices(
                back=back,
                columns=["instrument_id", "date", "slot", "tr_index", "flags", "known_at"],
            ),
            work.universe(back=back),
            work.session.calendar,
            settings,
            feature_names=features,
            start=work.start,
            registry=None if work.start is None else lake.read("models.registry"),
            keep_at=work.session.now if work.session.keeps_fits else None,
            end=work.end,
            threads=work.settings.cores,
        )
        stale = made.registry.filter(pl.col("stale_since") == work.session.now).height
        if stale:
            work.say(
                "models.registry", f"{stale} fits", "saw rows that are restated now; they stand"
            )
        return {"models.registry": made.registry, "models.predictions": made.predictions}

    return stage(
        contract("models.registry"),
        contract("models.predictions"),
        group="models",
        inputs=(*tables, "clean.prices", "clean.membership"),
        definition=lambda s: s.models.model_dump(mode="json"),
        rooms=("ml", "factors/labels.py"),
        kinds=("lightgbm", "scikitlearn", "deltalake"),
        checked=("models.predictions",),
        plots={"models.predictions": "prediction"},
        latest_only={"models.predictions": ("kind", "live"), "models.registry": ("kind", "live")},
    )(predictions)
