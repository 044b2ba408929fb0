"""Momentum: what went up goes on going up, over months."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_RESIDUAL = "Ref(BetaResi($ret, $market_ret, 252, min_periods=126), 21)"

FACTORS = (
    Factor(
        name="momentum_12_1",
        expression="Ref($close, 21) / Ref($close, 252) - 1",
        asset_class=AssetClass.EQUITY,
        family="momentum",
        direction=+1,
        title="12-month return, skipping the last month [decimal]",
        reference="Jegadeesh & Titman (1993)",
        nan_means="no bar 21 or 252 sessions ago",
    ),
    Factor(
        name="momentum_6_1",
        expression="Ref($close, 21) / Ref($close, 126) - 1",
        asset_class=AssetClass.EQUITY,
        family="momentum",
        direction=+1,
        title="6-month return, skipping the last month [decimal]",
        reference="Jegadeesh & Titman (1993)",
        nan_means="no bar 21 or 126 sessions ago",
    ),
    Factor(
        name="residual_momentum_12_1",
        expression=f"Mean({_RESIDUAL}, 231, min_periods=160) / Std({_RESIDUAL}, 231, min_periods=160)",
        asset_class=AssetClass.EQUITY,
        family="momentum",
        direction=+1,
        title="12-month market-model residuals over their deviation, skipping the last month",
        reference="Blitz, Huij & Martens (2011), with one factor and daily data",
    ),
    Factor(
        name="high_52w",
        expression="$close / Max($close, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="momentum",
        direction=+1,
        title="Close over its 52-week high [ratio]",
        reference="George & Hwang (2004)",
    ),
)
