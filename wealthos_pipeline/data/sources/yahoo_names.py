"""Yahoo's codes and the words of this house: exchanges, instrument types, sectors, figures."""

from __future__ import annotations

from collections.abc import Mapping

_US = [
    "NMS",
    "NGM",
    "NCM",
    "NAS",
    "NYQ",
    "NYS",
    "ASE",
    "PCX",
    "BTS",
    "BATS",
    "NAE",
    "CXI",
    "PNK",
    "OQB",
    "OQX",
    "OEM",
    "OGM",
    "NIM",
    "YHD",
]

CALENDARS: Mapping[str, str] = {
    **dict.fromkeys(_US, "XNYS"),  # all exchanges of the United States keep New York's sessions
    "CBO": "XNYS", "WCB": "XNYS", "SNP": "XNYS", "DJI": "XNYS", "NIM": "XNYS",
    "CMX": "CMES", "CME": "CMES", "CBT": "CMES", "NYM": "CMES", "NYB": "ICEUS",
    "CCY": "24/5", "CCC": "24/7",
    "LSE": "XLON", "IOB": "XLON", "CXE": "XLON", "FGI": "XLON",
    "GER": "XETR", "DXE": "XETR", "FRA": "XFRA", "DUS": "XDUS", "HAM": "XHAM", "STU": "XSTU",
    "BER": "XFRA", "MUN": "XFRA", "HAN": "XHAM",
    "PAR": "XPAR", "ENX": "XPAR", "AMS": "XAMS", "BRU": "XBRU", "LIS": "XLIS", "ISE": "XDUB",
    "MIL": "XMIL", "TLO": "XMIL", "MCE": "XMAD", "MAD": "XMAD", "EBS": "XSWX", "VIE": "XWBO",
    "ATH": "ASEX", "CPH": "XCSE", "STO": "XSTO", "OSL": "XOSL", "HEL": "XHEL", "ICE": "XICE",
    "TAL": "XTAL", "RIS": "XRIS", "LIT": "XLIT", "WSE": "XWAR", "PRA": "XPRA", "BUD": "XBUD",
    "BVB": "XBSE", "IST": "XIST", "TLV": "XTAE", "JNB": "XJSE", "SAU": "XSAU",
    "TOR": "XTSE", "VAN": "XTSX", "CNQ": "XTSE", "NEO": "XTSE", "MEX": "XMEX", "SAO": "BVMF",
    "BUE": "XBUE", "SGO": "XSGO", "BVC": "XBOG",
    "JPX": "XTKS", "OSA": "XTKS", "FKA": "XTKS", "SAP": "XTKS", "HKG": "XHKG", "SHH": "XSHG",
    "SHZ": "XSHG", "TAI": "XTAI", "TWO": "XTAI", "KSC": "XKRX", "KOE": "XKRX", "NSI": "XBOM",
    "BSE": "XBOM", "SES": "XSES", "KLS": "XKLS", "JKT": "XIDX", "SET": "XBKK", "PHS": "XPHS",
    "KAR": "XKAR", "ASX": "XASX", "CXA": "XASX", "NZE": "XNZE",
}  # fmt: skip
"""Yahoo's code of an exchange → name of its calendar."""

BY_ZONE: Mapping[str, str] = {
    "America/New_York": "XNYS", "America/Chicago": "XNYS", "America/Toronto": "XTSE",
    "Europe/London": "XLON", "Europe/Berlin": "XETR", "Europe/Paris": "XPAR",
    "Europe/Amsterdam": "XAMS", "Europe/Zurich": "XSWX", "Asia/Tokyo": "XTKS",
    "Asia/Hong_Kong": "XHKG", "Australia/Sydney": "XASX",
}  # fmt: skip
"""Calendar of an exchange whose code is not known, by its time zone."""

SECTORS: Mapping[str, str] = {
    "Technology": "Information Technology",
    "Financial Services": "Financials",
    "Healthcare": "Health Care",
    "Consumer Cyclical": "Consumer Discretionary",
    "Consumer Defensive": "Consumer Staples",
    "Basic Materials": "Materials",
}
"""Yahoo's sectors (Morningstar's) that GICS calls otherwise; the rest has the same name."""

FIGURES: Mapping[str, str] = {
    "TotalRevenue": "revenue",
    "CostOfRevenue": "cost_of_revenue",
    "GrossProfit": "gross_profit",
    "ResearchAndDevelopment": "research_and_development",
    "SellingGeneralAndAdministration": "selling_general_administrative",
    "OperatingExpense": "operating_expenses",
    "OperatingIncome": "operating_income",
    "InterestExpense": "interest_expense",
    "EBIT": "ebit",
    "EBITDA": "ebitda",
    "PretaxIncome": "pretax_income",
    "TaxProvision": "income_tax",
    "NetIncome": "net_income",
    "BasicEPS": "eps_basic",
    "DilutedEPS": "eps_diluted",
    "BasicAverageShares": "shares_basic",
    "DilutedAverageShares": "shares_diluted",
    "CashAndCashEquivalents": "cash",
    "CashCashEquivalentsAndShortTermInvestments": "cash_and_short_term_investments",
    "AccountsReceivable": "receivables",
    "Inventory": "inventory",
    "CurrentAssets": "current_assets",
    "NetPPE": "property_plant_equipment",
    "Goodwill": "goodwill",
    "TotalAssets": "total_assets",
    "AccountsPayable": "payables",
    "CurrentDebt": "short_term_debt",
    "CurrentLiabilities": "current_liabilities",
    "LongTermDebt": "long_term_debt",
    "TotalDebt": "total_debt",
    "TotalLiabilitiesNetMinorityInterest": "total_liabilities",
    "RetainedEarnings": "retained_earnings",
    "StockholdersEquity": "total_equity",
    "OrdinarySharesNumber": "shares_outstanding",
    "OperatingCashFlow": "operating_cash_flow",
    "InvestingCashFlow": "investing_cash_flow",
    "FinancingCashFlow": "financing_cash_flow",
    "CapitalExpenditure": "capital_expenditure",
    "FreeCashFlow": "free_cash_flow",
    "DepreciationAndAmortization": "depreciation_amortization",
    "StockBasedCompensation": "stock_based_compensation",
    "CashDividendsPaid": "dividends_paid",
    "RepurchaseOfCapitalStock": "share_repurchases",
}
"""Figure of Yahoo's statements → metric of ``raw.fundamentals``."""

PAID = frozenset({"capital_expenditure", "dividends_paid", "share_repurchases"})
"""Cash that leaves the firm: negative at Yahoo, positive here as in filings."""

SHARES = frozenset({"shares_basic", "shares_diluted", "shares_outstanding"})
"""Counted in shares, not in a currency."""


def calendar(exchange: str, zone: str, otherwise: str) -> str:
    """Calendar name of Yahoo's exchange code; by its time zone, or ``otherwise``, if not known."""
    return CALENDARS.get(exchange) or BY_ZONE.get(zone, otherwise)


def asset_class(kind: str) -> str:
    """``EQUITY`` is an equity; funds, indices, currencies, futures and coins are cross_asset."""
    return "equity" if kind == "EQUITY" else "cross_asset"


def sector(name: object) -> str | None:
    """A sector in GICS's words."""
    return SECTORS.get(str(name), str(name)) if name else None
