"""Value: what is paid for a currency unit of what the company has, earns and gives.

The dividend yield needs prices alone. The others need statements as known on the date, and the number
of shares that a statement gives, in today's shares (``factors.statements``).
"""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors.equity._reported import first_of, reported

_PRICE = "($dollar_volume / $volume)"  # close in shares of the first bar: no dividends in it
_YIELD = f"(($close / Ref($close, 252)) / ({_PRICE} / Ref({_PRICE}, 252)) - 1)"

# market value: shares of the latest balance sheet, in today's shares, at today's price as traded
_SHARES = first_of(
    "Statement('shares_outstanding', 'quarter')",
    "Statement('shares_outstanding', 'year')",
    "Statement('shares_outstanding', 'point')",
)
_CAP = f"({_SHARES} * $raw_close)"
_EQUITY = first_of("Statement('total_equity', 'quarter')", "Statement('total_equity', 'year')")


def _to_price(name: str, figure: str, title: str, reference: str, nan_means: str) -> Factor:
    return reported(
        name,
        f"{figure} / {_CAP}",
        "value",
        +1,
        f"{title} over market value [decimal]",
        reference,
        f"{nan_means}, or no number of shares",
        basis="unadjusted",
    )


FACTORS = (
    Factor(
        name="dividend_yield_12m",
        expression=f"{_YIELD} * ({_YIELD} > 0.00005)",  # what is less comes of rounded prices
        asset_class=AssetClass.EQUITY,
        family="value",
        direction=+1,
        title="Dividends of 12 months, reinvested, over the price: total less price return [decimal]",
        reference="Litzenberger & Ramaswamy (1979); Fama & French (1988)",
        nan_means="no bar with volume today or 252 sessions ago",
    ),
    _to_price(
        "book_to_price",
        f"{_EQUITY} / ({_EQUITY} > 0)",
        "Book equity",
        "Rosenberg, Reid & Lanstein (1985); Fama & French (1992)",
        "no balance sheet, negative equity",
    ),
    _to_price(
        "earnings_to_price",
        first_of("Statement('net_income', 'ttm')", "Statement('net_income', 'year')"),
        "Net income of 12 months",
        "Basu (1977)",
        "no income statement",
    ),
    _to_price(
        "sales_to_price",
        first_of("Statement('revenue', 'ttm')", "Statement('revenue', 'year')"),
        "Revenue of 12 months",
        "Barbee, Mukherji & Raines (1996)",
        "no income statement",
    ),
    _to_price(
        "cash_flow_to_price",
        first_of(
            "Statement('operating_cash_flow', 'ttm')", "Statement('operating_cash_flow', 'year')"
        ),
        "Operating cash flow of 12 months",
        "Lakonishok, Shleifer & Vishny (1994)",
        "no cash flow statement",
    ),
    _to_price(
        "payout_yield",
        "(Statement('dividends_paid', 'year') + Statement('share_repurchases', 'year'))",
        "Dividends and buybacks of the year",
        "Boudoukh, Michaely, Richardson & Roberts (2007)",
        "dividends or buybacks not reported",
    ),
)
