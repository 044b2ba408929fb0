"""Whether a stored fit can be believed: undamaged, and of a version that this program can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import ModelError, WealthOSError
from wealthos_pipeline.ml import predictors, registry

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.predictors.base import Fitted


def fault(fit: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of ``models.registry``, in words; None: nothing."""
    name, text = fit["model_id"], fit["artefact"]
    if registry.artefact_hash(text) != fit["artefact_hash"]:
        return (
            f"the fit {name} is damaged: its artefact has the hash {registry.artefact_hash(text)}, the "
            f"registry says {fit['artefact_hash']}. `wealthos run --full` fits it again."
        )
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        return (
            f"the fit {name} is not readable as JSON: {error}. `wealthos run --full` fits it again."
        )
    family = body.get("model") if isinstance(body, dict) else None
    if family not in predictors.FAMILIES:
        return (
            f"the fit {name} is of the family {family!r}, which this program does not know; it knows: "
            f"{', '.join(predictors.FAMILIES)}. It was made by another version."
        )
    return None


def check(fit: Mapping[str, Any], spec: ModelSpec | None = None) -> Fitted:
    """The fitted model of a row of ``models.registry``.

    spec: how the model is declared now; None: its family with its defaults. ModelError in words where the
    artefact is damaged, not readable, of an unknown family or of a format of another version.
    """
    from wealthos_pipeline.core.model import ModelSpec as Spec

    wrong = fault(fit)
    if wrong is not None:
        raise ModelError(wrong)
    family = json.loads(fit["artefact"])["model"]
    if spec is None or spec.family != family:
        spec = Spec.model_validate({"name": fit["model"], "family": family})
    try:
        return predictors.make(spec).from_text(fit["artefact"])
    except WealthOSError as error:
        raise ModelError(
            f"the fit {fit['model_id']} was made by another version of this program: {error}"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the fit {fit['model_id']} cannot be read ({type(error).__name__}: {error}): it was made by "
            "another version of this program. `wealthos run --full` fits it again."
        ) from None
