"""The life of a model: who is champion and why, what a person decided, how live predictions did."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract
from wealthos_pipeline.core.tables.columns import known as _known

_C = Column

MODEL_LIFE = (
    TableContract(
        "raw.model_decisions",
        "What a person decided about models: promote, rollback, pin, unpin, with owner and reason.",
        (
            _C("decided_at", "instant", "when it was decided"),
            _C("date", "date", "first session at whose close it was known"),
            _C("action", "str", "promote, rollback, pin or unpin"),
            _C("slot", "str", "slot of promote and rollback; '' for pin and unpin"),
            _C("model", "str", "the champion from then on, or the model whose fit is pinned"),
            _C("model_id", "str", "the fit that is pinned", nullable=True),
            _C("row", "str", "JSON of its row of models.registry, so that it can serve", "", True),
            _C("owner", "str", "who answers for it"),
            _C("reason", "str", "why"),
        ),
        ("decided_at", "action", "slot", "model"),
        "date",
        append_only=True,
    ),
    TableContract(
        "models.champions",
        "The champion of each slot, by review session, with the evidence that it was judged by.",
        (
            _C("slot", "str", "what the champion is for, e.g. alpha"),
            _C("date", "date", "session from whose close it counts: a review, or a person's word"),
            _C("champion", "str", "model that the slot stands for from here on"),
            _C(
                "challenger", "str", "the best of the others, where one could be compared", "", True
            ),
            _C(
                "decision",
                "str",
                "appointed (first of all), kept, promoted, recommended (the policy is not automatic) or "
                "rolled_back",
            ),
            _C("decided_by", "str", "policy, or the person's name"),
            _C("reason", "str", "in words"),
            _C("evidence", "str", "JSON: by challenger dates, mean difference of rank IC, t, …"),
            _C("policy_hash", "str", "hash of the slot's policy"),
            _known("the session's close plus the lag; a person's word: when it was given"),
        ),
        ("slot", "date"),
        "date",
        "column",
    ),
    TableContract(
        "models.live",
        "Predictions as they were issued, before anything of their outcome was known, against what came.",
        (
            _C("model", "str", "model"),
            _C("horizon", "i32", "label horizon", "sessions"),
            _C("date", "date", "date of the features"),
            _C("n", "i32", "names with a prediction and an outcome"),
            _C("rank_ic", "f64", "Spearman correlation with the forward return", "", True),
            _C(
                "expected_rank_ic",
                "f64",
                "mean walk-forward rank IC of the model that was known when it was issued",
                "",
                True,
            ),
            _C("run_id", "str", "run that issued it first"),
            _C("issued_at", "instant", "when"),
            _known("that of the label's last bar"),
        ),
        ("model", "horizon", "date"),
        "date",
        "column",
        sort=("date", "model", "horizon"),
    ),
)
