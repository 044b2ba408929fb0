"""Every table of the lake, declared (DESIGN §5). Factor families are declared by their factors."""

from __future__ import annotations

from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.tables.account import ACCOUNT
from wealthos_pipeline.core.tables.attribution import ATTRIBUTION
from wealthos_pipeline.core.tables.holdings import HOLDINGS, RECORD_ORDERS
from wealthos_pipeline.core.tables.market import CLEAN, RAW
from wealthos_pipeline.core.tables.measures import MEASURES
from wealthos_pipeline.core.tables.model_cards import CARDS
from wealthos_pipeline.core.tables.model_evaluation import MODEL_EVALUATION
from wealthos_pipeline.core.tables.model_life import MODEL_LIFE
from wealthos_pipeline.core.tables.model_search import MODEL_SEARCH
from wealthos_pipeline.core.tables.model_states import MODEL_STATES
from wealthos_pipeline.core.tables.models import MODELS
from wealthos_pipeline.core.tables.portfolio import PORTFOLIO
from wealthos_pipeline.core.tables.research import FACTORS, MONITOR
from wealthos_pipeline.core.tables.risk_model import RISK_MODEL
from wealthos_pipeline.core.tables.runs import META, RECORD
from wealthos_pipeline.core.tables.trials import TRIALS
from wealthos_pipeline.core.tables.vendors import CLEAN_VENDORS, RAW_VENDORS

__all__ = ["TABLES"]

TABLES: tuple[TableContract, ...] = (
    *RAW,
    *RAW_VENDORS,
    *CLEAN,
    *CLEAN_VENDORS,
    *FACTORS,
    *MODELS,
    *MODEL_EVALUATION,
    *CARDS,
    *MODEL_SEARCH,
    *MODEL_STATES,
    *MODEL_LIFE,
    *RISK_MODEL,
    *PORTFOLIO,
    *ACCOUNT,
    *MEASURES,
    *ATTRIBUTION,
    *HOLDINGS,
    *MONITOR,
    *RECORD,
    RECORD_ORDERS,
    *TRIALS,
    *META,
)
