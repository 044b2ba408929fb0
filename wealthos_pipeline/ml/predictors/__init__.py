"""Models of expected returns: one module a family, one small protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from wealthos_pipeline.ml.predictors.base import Predictor
    from wealthos_pipeline.utils.config import ModelSettings

__all__ = ["NAMES", "load"]

NAMES = ("ridge", "lightgbm")


def load(settings: ModelSettings, *, threads: int = 1) -> list[Predictor]:
    """The predictors that ``settings.names`` asks for, in that order. ConfigError names unknown ones."""
    unknown = [n for n in settings.names if n not in NAMES]
    if unknown:
        raise ConfigError(f"models.names: unknown {unknown}; there are: {', '.join(NAMES)}")
    return [_make(name, settings, threads) for name in dict.fromkeys(settings.names)]


def _make(name: str, settings: ModelSettings, threads: int) -> Predictor:
    if name == "ridge":
        from wealthos_pipeline.ml.predictors.ridge import Ridge

        return Ridge(alpha=settings.ridge_alpha)
    from wealthos_pipeline.ml.predictors.lightgbm import LightGBM

    return LightGBM(trees=settings.lightgbm_trees, seed=settings.seed, threads=threads)
