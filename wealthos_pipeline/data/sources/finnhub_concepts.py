"""Names: us-gaap concepts and Finnhub's own field names as metrics of ``raw.fundamentals``."""

from __future__ import annotations

import re

CONCEPTS: dict[str, tuple[str, ...]] = {
    "revenue": (
        "Revenues",
        "RevenueFromContractWithCustomerExcludingAssessedTax",
        "RevenueFromContractWithCustomerIncludingAssessedTax",
        "SalesRevenueNet",
        "SalesRevenueGoodsNet",
    ),
    "cost_of_revenue": (
        "CostOfRevenue",
        "CostOfGoodsAndServicesSold",
        "CostOfGoodsSold",
        "CostOfServices",
    ),
    "gross_profit": ("GrossProfit",),
    "research_and_development": ("ResearchAndDevelopmentExpense",),
    "selling_general_administrative": ("SellingGeneralAndAdministrativeExpense",),
    "operating_expenses": ("OperatingExpenses",),
    "operating_income": ("OperatingIncomeLoss",),
    "interest_expense": ("InterestExpense", "InterestExpenseNonoperating"),
    "pretax_income": (
        "IncomeLossFromContinuingOperationsBeforeIncomeTaxesExtraordinaryItemsNoncontrollingInterest",
        "IncomeLossFromContinuingOperationsBeforeIncomeTaxesMinorityInterestAndIncomeLossFromEquityMethodInvestments",
    ),
    "income_tax": ("IncomeTaxExpenseBenefit",),
    "net_income": ("NetIncomeLoss", "ProfitLoss"),
    "eps_basic": ("EarningsPerShareBasic", "EarningsPerShareBasicAndDiluted"),
    "eps_diluted": ("EarningsPerShareDiluted",),
    "shares_basic": ("WeightedAverageNumberOfSharesOutstandingBasic",),
    "shares_diluted": ("WeightedAverageNumberOfDilutedSharesOutstanding",),
    "cash": (
        "CashAndCashEquivalentsAtCarryingValue",
        "CashCashEquivalentsRestrictedCashAndRestrictedCashEquivalents",
    ),
    "receivables": ("AccountsReceivableNetCurrent", "ReceivablesNetCurrent"),
    "inventory": ("InventoryNet",),
    "current_assets": ("AssetsCurrent",),
    "property_plant_equipment": ("PropertyPlantAndEquipmentNet",),
    "goodwill": ("Goodwill",),
    "total_assets": ("Assets",),
    "current_liabilities": ("LiabilitiesCurrent",),
    "long_term_debt": ("LongTermDebtNoncurrent", "LongTermDebt"),
    "total_liabilities": ("Liabilities",),
    "retained_earnings": ("RetainedEarningsAccumulatedDeficit",),
    "total_equity": (
        "StockholdersEquity",
        "StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest",
    ),
    "shares_outstanding": ("CommonStockSharesOutstanding", "EntityCommonStockSharesOutstanding"),
    "operating_cash_flow": (
        "NetCashProvidedByUsedInOperatingActivities",
        "NetCashProvidedByUsedInOperatingActivitiesContinuingOperations",
    ),
    "investing_cash_flow": ("NetCashProvidedByUsedInInvestingActivities",),
    "financing_cash_flow": ("NetCashProvidedByUsedInFinancingActivities",),
    "capital_expenditure": (
        "PaymentsToAcquirePropertyPlantAndEquipment",
        "PaymentsToAcquireProductiveAssets",
    ),
    "depreciation_amortization": (
        "DepreciationDepletionAndAmortization",
        "DepreciationAmortizationAndAccretionNet",
        "DepreciationAndAmortization",
    ),
    "dividends_paid": ("PaymentsOfDividends", "PaymentsOfDividendsCommonStock"),
    "share_repurchases": ("PaymentsForRepurchaseOfCommonStock",),
}
"""Metric → concepts that mean it, the best first. Cash that leaves the firm is positive in us-gaap
(``capital_expenditure``, ``dividends_paid``, ``share_repurchases``), and stays so."""

MEANING: dict[str, tuple[str, int]] = {
    concept: (metric, rank)
    for metric, concepts in CONCEPTS.items()
    for rank, concept in enumerate(concepts)
}
"""Concept → (metric, rank)."""

_MILLIONS = {
    "marketCapitalization": "market_cap",
    "enterpriseValue": "enterprise_value",
    "10DayAverageTradingVolume": "10_day_average_trading_volume",
    "3MonthAverageTradingVolume": "3_month_average_trading_volume",
    "ev": "enterprise_value",
}
"""Fields of the basic financials that Finnhub gives in millions, and their metrics."""


def plain_concept(name: str) -> str:
    """``us-gaap_Assets`` and ``us-gaap:Assets`` as ``Assets``; the prefix of others stays."""
    return re.sub(r"^us-gaap[_:]", "", name.strip())


def metric_of(field: str) -> tuple[str, float]:
    """Metric of a field of the basic financials, and the factor that turns it into whole units.

    >>> metric_of("peTTM"), metric_of("marketCapitalization")
    (('pe_ttm', 1.0), ('market_cap', 1000000.0))
    """
    if field in _MILLIONS:
        return _MILLIONS[field], 1e6
    return snake(field), 1.0


def snake(name: str) -> str:
    """``totalDebtToEquity`` as ``total_debt_to_equity``, ``roeTTM`` as ``roe_ttm``."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    text = re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
