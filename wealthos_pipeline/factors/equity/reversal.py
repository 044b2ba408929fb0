"""Reversal: what moved last comes back."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

FACTORS = (
    Factor(
        name="reversal_1w",
        expression="$close / Ref($close, 5) - 1",
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the last week [decimal]",
        reference="Lehmann (1990)",
        nan_means="no bar 5 sessions ago",
    ),
    Factor(
        name="reversal_1m",
        expression="$close / Ref($close, 21) - 1",
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the last month [decimal]",
        reference="Jegadeesh (1990)",
        nan_means="no bar 21 sessions ago",
    ),
    Factor(
        name="reversal_36_12",
        expression="Ref($close, 252) / Ref($close, 756) - 1",
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the third and second year before now [decimal]",
        reference="De Bondt & Thaler (1985)",
        nan_means="no bar 252 or 756 sessions ago",
    ),
)
