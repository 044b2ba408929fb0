"""Seasonality: the same month of earlier years."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

FACTORS = (
    Factor(
        name="same_month_3y",
        expression=(
            "(Ref($close, 231) / Ref($close, 252) + Ref($close, 483) / Ref($close, 504)"
            " + Ref($close, 735) / Ref($close, 756)) / 3 - 1"
        ),
        asset_class=AssetClass.EQUITY,
        family="seasonality",
        direction=+1,
        title="Mean return of the coming month's sessions one, two and three years ago [decimal]",
        reference="Heston & Sadka (2008)",
        nan_means="no bar on one of the six sessions needed",
    ),
)
