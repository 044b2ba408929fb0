"""Quality: profits, how sure they are, and what is owed."""

from wealthos_pipeline.factors.equity._reported import first_of, quarter, reported, year

_GROSS = first_of(year("gross_profit"), f"({year('revenue')} - {year('cost_of_revenue')})")
_ASSETS, _ASSETS_1, _ASSETS_2 = (year("total_assets", back) for back in range(3))
_ROA = f"{year('net_income')} / {_ASSETS_1}"
_CASH = f"{year('operating_cash_flow')} / {_ASSETS_1}"
_MEAN_ASSETS, _MEAN_ASSETS_1 = f"({_ASSETS} + {_ASSETS_1})", f"({_ASSETS_1} + {_ASSETS_2})"


def _above(a: str, b: str) -> str:
    """1 where a > b, 0 where it is not, missing where either is."""
    return f"(({a} > {b}) + 0 * ({a} - {b}))"


def _ratio(a: str, b: str, back: int = 0) -> str:
    return f"{year(a, back)} / {year(b, back)}"


_PIOTROSKI = (
    _above(_ROA, "0"),
    _above(_CASH, "0"),
    _above(_ROA, f"{year('net_income', 1)} / {_ASSETS_2}"),
    _above(_CASH, _ROA),
    _above(
        f"{year('long_term_debt', 1)} / {_MEAN_ASSETS_1}",
        f"{year('long_term_debt')} / {_MEAN_ASSETS}",
    ),
    _above(
        _ratio("current_assets", "current_liabilities"),
        _ratio("current_assets", "current_liabilities", 1),
    ),
    f"(1 - {_above(year('shares_outstanding'), year('shares_outstanding', 1))})",
    _above(_ratio("gross_profit", "revenue"), _ratio("gross_profit", "revenue", 1)),
    _above(f"{year('revenue')} / {_ASSETS_1}", f"{year('revenue', 1)} / {_ASSETS_2}"),
)

FACTORS = (
    reported(
        "gross_profitability",
        f"{_GROSS} / {_ASSETS}",
        "quality",
        +1,
        "Gross profit over total assets, year [decimal]",
        "Novy-Marx (2013)",
        "no gross profit, nor revenue and its cost, or no assets",
    ),
    reported(
        "operating_profitability",
        f"({year('revenue')} - {year('cost_of_revenue')} - {year('selling_general_administrative')}"
        f" - {year('interest_expense')}) / ({year('total_equity')} / ({year('total_equity')} > 0))",
        "quality",
        +1,
        "Revenue less its cost, overheads and interest over book equity, year [decimal]",
        "Fama & French (2015)",
        "one of the five not reported, or negative equity",
    ),
    reported(
        "return_on_equity",
        f"{quarter('net_income')} / ({quarter('total_equity', 1)} / ({quarter('total_equity', 1)} > 0))",
        "quality",
        +1,
        "Net income of the quarter over the book equity before it [decimal a quarter]",
        "Hou, Xue & Zhang (2015)",
        "no two quarters in a row, or negative equity",
    ),
    reported(
        "return_on_assets",
        f"{quarter('net_income')} / {quarter('total_assets', 1)}",
        "quality",
        +1,
        "Net income of the quarter over the assets before it [decimal a quarter]",
        "Balakrishnan, Bartov & Faurel (2010)",
        "no two quarters in a row",
    ),
    reported(
        "accruals",
        f"({year('net_income')} - {year('operating_cash_flow')}) / ({_MEAN_ASSETS} / 2)",
        "quality",
        -1,
        "Net income less operating cash flow over mean assets, year [decimal]",
        "Sloan (1996), from the cash flow statement as Hribar & Collins (2002)",
        "no cash flow statement, or no balance sheet a year earlier",
    ),
    reported(
        "book_leverage",
        first_of(
            _ratio("total_liabilities", "total_assets"),
            f"1 - {_ratio('total_equity', 'total_assets')}",
        ),
        "quality",
        -1,
        "Liabilities over total assets, year [decimal]",
        "Penman, Richardson & Tuna (2007); Asness, Frazzini & Pedersen (2019)",
        "no balance sheet",
    ),
    reported(
        "piotroski_f",
        " + ".join(_PIOTROSKI),
        "quality",
        +1,
        "Signs of strength out of nine: profit, cash, debt, liquidity, shares, margin, turnover [0 to 9]",
        "Piotroski (2000)",
        "one of the nine cannot be told: two years before the latest are needed",
    ),
)
