"""Whether a stored fit can be believed: undamaged, and of a version that this program can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.ml import predictors, registry

if TYPE_CHECKING:
    from wealthos_pipeline.ml.predictors.base import Fitted


def damage(fit: Mapping[str, Any]) -> str | None:
    """Words where the artefact of a row of ``models.registry`` is not what was stored; None where it is."""
    found = registry.artefact_hash(fit["artefact"])
    if found == fit["artefact_hash"]:
        return None
    return (
        f"the fit {fit['model_id']} is damaged: its artefact has the hash {found}, the registry says "
        f"{fit['artefact_hash']}. `wealthos run --full` fits it again."
    )


def check(fit: Mapping[str, Any]) -> Fitted:
    """The fitted model of a row of ``models.registry``.

    ModelError in words where the artefact is damaged, not readable, of a family that this program does not
    know or of a format of another version.
    """
    wrong = damage(fit)
    if wrong is not None:
        raise ModelError(wrong)
    try:
        return predictors.read(fit["artefact"])
    except ModelError as error:
        raise ModelError(
            f"the fit {fit['model_id']} cannot be used by this version of the program: {error}"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the fit {fit['model_id']} cannot be read ({type(error).__name__}: {error}): it was made by "
            "another version of this program. `wealthos run --full` fits it again."
        ) from None
