"""Value: what is paid for a currency unit of what the company has, earns and gives.

The dividend yield needs prices alone. The others need statements as known on the date, and the number
of shares that a statement gives, in today's shares (``factors.statements``).
"""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_PRICE = "($dollar_volume / $volume)"  # close in shares of the first bar: no dividends in it
_YIELD = f"(($close / Ref($close, 252)) / ({_PRICE} / Ref({_PRICE}, 252)) - 1)"

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
)
