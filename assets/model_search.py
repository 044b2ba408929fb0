"""What models are tuned to, what they look at, and whether it is still what they learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.config import Settings

_BARS = ["instrument_id", "date", "slot", "tr_index", "flags", "known_at"]
_FAMILIES = ("ml/predictors", "ml/classifiers/direction.py")


def stages(library: Library) -> tuple[Stage, ...]:
    """The stages of every run."""
    from wealthos_pipeline.factors import transforms

    tables = tuple(transforms.score_tables(library))
    return _importance(tables), _drift(tables)


def searches(library: Library) -> Stage:
    """The stage that only the job ``search`` runs."""
    from wealthos_pipeline.factors import transforms

    return _searches(transforms.score_tables(library))


def _searched(settings: Settings) -> list[Any]:
    from wealthos_pipeline.ml import specs

    found = [m.definition for m in specs.load(settings.models) if m.search is not None]
    return [settings.models.refit_history, *found]


def _searches(tables: Mapping[str, Sequence[str]]) -> Stage:
    def searches(work: Work) -> Mapping[str, pl.DataFrame]:
        """Every model that has a search is tuned within the training rows of each yearly refit; what was searched
        on the same rows before stands, unless everything is computed again. What was tried goes to raw.trials."""
        from wealthos_pipeline.ml import search, specs, trials, validation

        session, lake, settings = work.session, work.session.lake, work.settings.models
        models = [m for m in specs.load(settings) if m.search is not None]
        first = lake.scan(next(iter(tables)), columns=["date"]).select(pl.col("date").min())
        begun = first.collect().item()
        if not models or begun is None:
            words = "of the models has a search" if begun is not None else "has scores yet"
            work.say("models.searches", "none", words)
            return {"models.searches": contract("models.searches").empty()}
        made = search.search(
            models,
            [lake.scan(t) for t in tables],
            work.prices(columns=_BARS),
            work.universe(),
            session.calendar,
            settings,
            validation.refit_dates(session.calendar, begun, work.end, settings.refit_history),
            work.settings.cores,
            end=work.end,
            existing=None if session.full else lake.read("models.searches"),
        )
        for i, row in enumerate(made.absences.iter_rows(named=True), 1):
            work.note(
                "models.searches",
                f"left out {i}",
                "{model} at {refit_date}: {reason}".format(**row),
            )
        known = {
            t
            for table in ("record.trials", "raw.trials")
            for t in lake.read(table, columns=["trial"])["trial"]
        }
        new = trials.new([made.trials], known, run_id=session.run.run_id, now=session.now)
        if new.height:  # as what commands try: the next run takes it over into the record
            lake.append("raw.trials", new)
        return {"models.searches": made.searches}

    return stage(
        contract("models.searches"),
        group="models",
        inputs=(*tables, "clean.prices", "clean.membership"),
        definition=_searched,
        rooms=("ml/search.py", *_FAMILIES),
        kinds=("optuna", "deltalake"),
        latest_only={"models.searches": None},
    )(searches)


def _importance(tables: Sequence[str]) -> Stage:
    def importance(work: Work) -> Mapping[str, pl.DataFrame]:
        """What each fit looks at: gain of all; of the latest with known outcomes what is lost out of sample when a
        feature is shuffled, and SHAP. What was measured on the same rows stands."""
        from wealthos_pipeline.ml import importance_review as room

        lake, calendar = work.session.lake, work.session.calendar
        registry = lake.read("models.registry")
        first = room.needed_from(registry, calendar, work.end) or work.end
        back = _sessions_before(work, first)
        made = room.measure(
            registry,
            [lake.scan(t, start=first) for t in tables],
            _since(work.prices(back=back, columns=_BARS), first),
            _since(work.universe(back=back), first),
            lake.read("factors.clusters"),
            calendar,
            end=work.end,
            existing=None if work.start is None else lake.read("models.importance"),
        )
        for i, words in enumerate(made.remarks, 1):
            work.note("models.importance", f"remark {i}", words)
        return {"models.importance": made.importance}

    return stage(
        contract("models.importance"),
        group="models",
        inputs=(*tables, "clean.prices", "clean.membership", "models.registry", "factors.clusters"),
        rooms=("ml/importance_review.py", *_FAMILIES),
    )(importance)


def _drift(tables: Sequence[str]) -> Stage:
    def drift(work: Work) -> Mapping[str, pl.DataFrame]:
        """Features and predictions of each month's first session against those that the fit in use learnt from."""
        from wealthos_pipeline.factors import transforms
        from wealthos_pipeline.ml import drift_review as room

        lake, calendar = work.session.lake, work.session.calendar
        registry = lake.read("models.registry")
        first = room.needed_from(registry, work.start)
        if work.start is not None and not room.review_dates(calendar, work.start, work.end):
            return {"models.drift": contract("models.drift").empty()}
        begun = lake.scan(tables[0], start=first).select(pl.col("date").min()).collect().item()
        days = [] if begun is None else room.review_dates(calendar, begun, work.end)
        wanted = pl.col("date").is_in(pl.Series(days, dtype=pl.Date).implode())
        scores = (lake.scan(t, start=first).filter(wanted).collect() for t in tables)
        said = lake.scan("models.predictions", start=first).filter(wanted).collect()
        universe = work.universe(back=None if first is None else _sessions_before(work, first))
        return {
            "models.drift": room.review(
                transforms.side_by_side(scores),
                universe.filter(wanted),
                said,
                registry,
                calendar,
                start=work.start,
            )
        }

    return stage(
        contract("models.drift"),
        group="models",
        inputs=(
            *tables,
            "clean.prices",
            "clean.membership",
            "models.registry",
            "models.predictions",
        ),
        rooms=("ml/drift_review.py",),
        plots={"models.drift": "psi"},
    )(drift)


def _sessions_before(work: Work, first: Any) -> int | None:
    """Sessions from ``first`` to where the work starts, at least 0; None where everything is computed."""
    if work.start is None:
        return None
    calendar = work.session.calendar
    return max(calendar.slot(work.start) - calendar.slot(first) + 1, 0)


def _since(frame: pl.DataFrame, first: Any) -> pl.DataFrame:
    return frame.filter(pl.col("date") >= first)
