"""How models were tuned, what they look at, and whether what they see is still what they learnt from."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

MODEL_SEARCH = (
    TableContract(
        "models.searches",
        "Parameters that a search chose within the training rows of a refit, and what they were worth: inside, "
        "where they were chosen (flattering by construction), and outside, on the dates after it. Written by the "
        "job `search` only.",
        (
            _C("model", "str", "model"),
            _C("refit_date", "date", "the fit that was tuned; later fits may use it, earlier not"),
            _C(
                "side",
                "str",
                "inside: purged folds of the training rows; outside: from refit_date until the next refit, once "
                "all its labels are known",
            ),
            _C("params", "str", "JSON of the parameters searched, with the values chosen"),
            _C("score", "f64", "mean rank IC by date, of the parameters chosen"),
            _C("own_score", "f64", "the same of the model's own parameters", "", True),
            _C("dates", "i32", "dates with a rank IC"),
            _C("trials", "i32", "different configurations tried, the model's own among them"),
            _C("failed", "i32", "of which could not be fitted"),
            _C("seed", "i64", "of the search"),
            _C("spec_hash", "str", "of the model's definition, its search included"),
            _C("data_hash", "str", "BLAKE2b of the rows trained on"),
            _C(
                "tried",
                "str",
                "JSON of every trial: params, score, score by fold, why it failed; null outside",
                "",
                True,
            ),
            _known("that of the last label used"),
        ),
        ("model", "refit_date", "side"),
        "refit_date",
        "column",
    ),
    TableContract(
        "models.importance",
        "What each fit looks at: share of the gain of every walk-forward fit; of the latest with known outcomes "
        "also what is lost out of sample when a feature is shuffled, alone or with its cluster, and SHAP.",
        (
            _C("model", "str", "model"),
            _C("model_id", "str", "fit in models.registry"),
            _C("refit_date", "date", "session before whose open the fit was made"),
            _C(
                "method",
                "str",
                "gain: share of the loss that splits took away, or of absolute coefficients; permutation: drop of "
                "the mean rank IC when the feature is shuffled within dates; permutation_cluster: the same, all "
                "features of a factor cluster together; shap: mean absolute contribution to the prediction",
            ),
            _C("feature", "str", "feature; of permutation_cluster the cluster's representative"),
            _C("value", "f64", "importance, in the method's unit"),
            _C("se", "f64", "standard error over dates", "", True),
            _C("rank", "i32", "1 is the most important of the fit by this method"),
            _C("dates", "i32", "dates it was measured on", "", True),
            _C("data_hash", "str", "BLAKE2b of the rows it was measured on", "", True),
            _known("that of the last label used; of gain that of the last bar before the fit"),
        ),
        ("model", "model_id", "method", "feature"),
    ),
    TableContract(
        "models.drift",
        "Whether features and predictions are distributed as before, at the first session of each month: "
        "population stability index against the dates that the fit in use was trained on (features), or the "
        "reviews before (predictions).",
        (
            _C("model", "str", "model"),
            _C("date", "date", "session reviewed"),
            _C("subject", "str", "prediction or a feature"),
            _C("psi", "f64", "population stability index, the missing as a class of their own"),
            _C(
                "psi_limit",
                "f64",
                "psi that the reference's own sessions would exceed in 1 % of reviews for any subject of the model",
            ),
            _C("rows", "i64", "names of the date"),
            _C("reference_rows", "i64", "rows compared with"),
            _C("missing", "f64", "share of names without a value", "decimal"),
            _C("missing_before", "f64", "the same of the reference", "decimal"),
            _C("stability", "f64", "rank correlation with the review before", "", True),
            _C("stability_low", "f64", "below this the reference's would lie as seldom", "", True),
            _C("stability_high", "f64", "above this, as seldom", "", True),
            _C(
                "turnover",
                "f64",
                "share of the top fifth that was not in it at the review before; predictions only",
                "",
                True,
            ),
            _C("turnover_before", "f64", "mean of the same over the reference", "", True),
            _C("drifted", "bool", "psi above 0.1 and its limit, or stability out of its bounds"),
            _C("model_id", "str", "fit in use"),
            _known("that of the session's bar"),
        ),
        ("model", "date", "subject"),
        "date",
        "column",
        sort=("date", "model", "subject"),
    ),
)
