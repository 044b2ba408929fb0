"""Models: their predictions, and every fit with what it was made from."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

MODELS = (
    TableContract(
        "models.predictions",
        "Out-of-sample predictions: walk_forward (yearly refits) and live (weekly refits).",
        (
            _C("model", "str", "model"),
            _C("kind", "str", "walk_forward or live"),
            _C("date", "date", "date of the features"),
            _C("instrument_id", "str", "instrument"),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("prediction", "f64", "model output: cross-sectional score of the forward return"),
            _C("z", "f64", "prediction standardised over the date's universe", "", True),
            _C("train_cutoff", "date", "last date whose label was known at the refit"),
            _C("model_id", "str", "fit in models.registry"),
        ),
        ("model", "kind", "date", "instrument_id"),
        "date",
        "bar",
        "year",
        ("date", "model", "kind", "instrument_id"),
    ),
    TableContract(
        "models.registry",
        "Every fit: what it was trained on, when, with what parameters and hashes.",
        (
            _C("model_id", "str", "model, kind, refit date and content hash"),
            _C("model", "str", "model"),
            _C("kind", "str", "walk_forward or live"),
            _C("refit_date", "date", "session before whose open the fit was made"),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("train_start", "date", "first training date"),
            _C("train_cutoff", "date", "last training date"),
            _C("rows", "i64", "training rows"),
            _C("features", "str", "JSON list of features"),
            _C("params", "str", "JSON of parameters"),
            _C("artefact", "str", "the fitted model as text, JSON"),
            _C("artefact_hash", "str", "BLAKE2b of the artefact"),
            _C("data_hash", "str", "BLAKE2b of the rows trained on", "", True),
            _C("stale_since", "instant", "run that restated the rows trained on", "", True),
            _C("stale_reason", "str", "what was restated, in words", "", True),
            _C("family", "str", "family of the model; see `wealthos models families`", "", True),
            _C("spec_hash", "str", "16 hex digits over the model's specification", "", True),
            _C(
                "trials",
                "i32",
                "configurations that a search tried before these parameters; null: none was made",
                "",
                True,
            ),
        ),
        ("model_id",),
        "refit_date",
        "bar",
    ),
    TableContract(
        "meta.fits",
        "One row a fit that a run made: when, how long it took, from which versions of which tables.",
        (
            _C("run_id", "str", "run"),
            _C("model_id", "str", "fit in models.registry"),
            _C("model", "str", "model"),
            _C("kind", "str", "walk_forward or live"),
            _C("refit_date", "date", "session before whose open the fit was made"),
            _C("made_at", "instant", "the run's instant"),
            _C("seconds", "f64", "wall time of the fit", "s"),
            _C("inputs", "str", "JSON: version of every table that the run read for it"),
            _C("code_version", "str", "code that made it", "", True),
            _C("seed", "i64", "seed of the model"),
        ),
        ("run_id", "model_id"),
        append_only=True,
    ),
)
