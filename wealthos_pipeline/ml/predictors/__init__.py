"""Model families: one module each, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.predictors.base import Predictor

__all__ = ["FAMILIES", "make"]

FAMILIES: Mapping[str, str] = {
    "ridge": "linear, squared penalty on the coefficients",
    "lightgbm": "gradient-boosted trees",
}
"""Family → what it is, in words."""


def make(spec: ModelSpec, *, threads: int = 1) -> Predictor:
    """The predictor of ``spec``. ConfigError names parameters that the family does not have.

    threads: speed only; changes no bit of a fit or a prediction.
    """
    if spec.family == "ridge":
        from wealthos_pipeline.ml.predictors.ridge import Ridge

        return Ridge(name=spec.name, alpha=float(spec.params.get("alpha", 10.0)))
    if spec.family == "lightgbm":
        from wealthos_pipeline.ml.predictors.lightgbm import LightGBM

        return LightGBM(
            name=spec.name,
            trees=int(spec.params.get("trees", 100)),
            seed=spec.seed,
            threads=threads,
        )
    raise ConfigError(f"unknown family {spec.family!r}; there are: {', '.join(FAMILIES)}")
