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
    Factor(
        name="same_month_1y",
        expression="Ref($close, 231) / Ref($close, 252) - 1",
        asset_class=AssetClass.EQUITY,
        family="seasonality",
        direction=+1,
        title="Return of the coming month's sessions a year ago [decimal]",
        reference="Heston & Sadka (2008)",
        nan_means="no bar 231 or 252 sessions ago",
        sets=("extended",),
    ),
    Factor(
        name="other_months_3y",
        expression=(
            "(Ref($close, 21) / Ref($close, 231) * Ref($close, 252) / Ref($close, 483)"
            " * Ref($close, 504) / Ref($close, 735)) - 1"
        ),
        asset_class=AssetClass.EQUITY,
        family="seasonality",
        direction=-1,
        title="Return of the other months' sessions of three years, skipping the last month [decimal]",
        reference="Keloharju, Linnainmaa & Nyberg (2021)",
        nan_means="no bar on one of the six sessions needed",
        sets=("extended",),
    ),
)
