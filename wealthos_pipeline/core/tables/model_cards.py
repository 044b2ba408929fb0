"""Cards of models: what a person must know before using one, a line each."""

from __future__ import annotations

from wealthos_pipeline.core.data import Column, TableContract

_C = Column

CARDS = (
    TableContract(
        "models.cards",
        "The card of each model, a line a row: what it is, its parameters and data, results, limits.",
        (
            _C("model", "str", "model"),
            _C("place", "i32", "place of the line on the card"),
            _C("section", "str", "model, parameters, data, result or limits"),
            _C("item", "str", "what the line says"),
            _C("value", "str", "in words"),
            _C("number", "f64", "as a number, where it is one", "", True),
        ),
        ("model", "place"),
    ),
)
