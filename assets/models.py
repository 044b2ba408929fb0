"""Models: fits and out-of-sample predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

from assets._shared.decided import decided_later
from assets._shared.fault_watch import FaultWatch
from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.config import Settings

TABLE = "models.predictions"
CHECKS = {
    (TABLE, "fits_on_record"): ("error", "every prediction's fit is in models.registry"),
    (TABLE, "fitted_before_predicting"): (
        "error",
        "no prediction is dated before its fit's refit date",
    ),
    (TABLE, "labels_known_at_fit"): (
        "error",
        "the last training label had ended before the refit's open",
    ),
    (TABLE, "predictions_vary"): (
        "warn",
        "predictions of a date are numbers, and not all the same",
    ),
    (TABLE, "z_centred"): ("error", "z has a mean of 0 on every date"),
    (TABLE, "every_model_fitted"): ("warn", "every model has its live fit"),
}
"""(Table, check) → its severity and what it says."""


def stages(library: Library) -> tuple[Stage, ...]:
    """The stage of the models, whose features are the scores of ``library``."""
    from wealthos_pipeline.factors import transforms

    return (_predictions(transforms.score_tables(library)),)


def _definition(settings: Settings) -> list[str]:
    from wealthos_pipeline.ml import specs

    return specs.definition(settings.models)


def _predictions(tables: Mapping[str, Sequence[str]]) -> Stage:
    inputs = (*tables, "clean.prices", "clean.membership", "models.searches", "raw.model_decisions")

    def predictions(work: Work) -> Mapping[str, pl.DataFrame]:
        """Walk-forward fits (refitted yearly) and the live fit of the week, with purged labels.

        Fits are made one after another, each with all the threads of the run: two at once would ask for
        the same cores twice. Restated data are predicted again by the fits that were there, which are
        marked as stale. A model that cannot be fitted is told and disturbs no other. Where only definitions
        changed, fits that would come out again are taken from the registry."""
        from wealthos_pipeline import ml
        from wealthos_pipeline.ml import checks, decisions, registry
        from wealthos_pipeline.utils.code import code_version

        settings, session = work.settings.models, work.session
        lake, now = session.lake, session.now
        back = ml.lookback(settings)
        since = None if back is None else work.back(back)
        before = lake.read("models.registry")
        made = ml.fit_and_predict(
            [lake.scan(t, start=since) for t in tables],
            work.prices(
                back=back,
                columns=["instrument_id", "date", "slot", "tr_index", "flags", "known_at"],
            ),
            work.universe(back=back),
            session.calendar,
            settings,
            feature_names=[name for names in tables.values() for name in names],
            start=work.start,
            registry=None if work.start is None else before,
            keep_at=now if session.keeps_fits else None,
            end=work.end,
            threads=work.settings.cores,
            searches=lake.read("models.searches"),
            pins=decisions.pins(lake.read("raw.model_decisions"), now),
            proven=before if work.same_code else None,
        )  # fmt: skip
        fits = registry.merged(before, made.registry, work.start)
        found = checks.faults(made.predictions, fits, session.calendar)
        work.faults.update({(TABLE, check): said for check, said in found.items()})
        live = made.absences.filter(pl.col("kind") == "live")["reason"].to_list()
        work.faults[TABLE, "every_model_fitted"] = live
        stale = made.registry.filter(pl.col("stale_since") == now).height
        if stale:
            work.say(
                "models.registry", f"{stale} fits", "saw rows that are restated now; they stand"
            )
        for i, words in enumerate((*live, *made.remarks), 1):
            work.note("models.registry", f"remark {i}", words)
        frames = {"models.registry": fits, "models.predictions": made.predictions}
        if made.fits.height:
            versions = {table: lake.version(table) for table in inputs}
            frames["meta.fits"] = made.fits.with_columns(
                pl.lit(session.run.run_id).alias("run_id"),
                pl.lit(now).alias("made_at"),
                pl.lit(json.dumps(versions, sort_keys=True)).alias("inputs"),
                pl.lit(code_version()).alias("code_version"),
            )
        return frames

    return stage(
        contract("models.registry"),
        contract("models.predictions"),
        contract("meta.fits"),
        group="models",
        inputs=inputs,
        definition=_definition,
        rooms=("ml/train.py", "ml/checks.py", "ml/decisions.py", "ml/predictors", "factors/labels.py"),
        kinds=("lightgbm", "scikitlearn", "deltalake"),
        checked=("models.predictions",),
        plots={"models.predictions": "prediction"},
        latest_only={"models.predictions": ("kind", "live"), "models.registry": None},
        due=decided_later,
        watch=FaultWatch(CHECKS),
    )(predictions)  # fmt: skip
