"""What the service answers with."""

from wealthos_pipeline.api.models.catalog import CatalogEntry, CatalogPage
from wealthos_pipeline.api.models.data import DataColumn, DataPage
from wealthos_pipeline.api.models.factors import (
    FactorEntry,
    FactorPage,
    FactorPerformance,
    FactorValue,
    FactorValuePage,
)
from wealthos_pipeline.api.models.health import Alive, Ready
from wealthos_pipeline.api.models.portfolio import (
    MandateEntry,
    MandatePage,
    NavPage,
    NavPoint,
    Portfolio,
    Proposal,
    Risk,
    Solve,
    Target,
)
from wealthos_pipeline.api.models.problem import Fault, Problem

__all__ = [
    "Alive",
    "CatalogEntry",
    "CatalogPage",
    "DataColumn",
    "DataPage",
    "FactorEntry",
    "FactorPage",
    "FactorPerformance",
    "FactorValue",
    "FactorValuePage",
    "Fault",
    "MandateEntry",
    "MandatePage",
    "NavPage",
    "NavPoint",
    "Portfolio",
    "Problem",
    "Proposal",
    "Ready",
    "Risk",
    "Solve",
    "Target",
]
