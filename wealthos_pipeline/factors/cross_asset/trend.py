"""Trend, volatility and skewness of each cross-asset instrument."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

FACTORS = (
    Factor(
        name="trend_12_1",
        expression="Ref($close, 21) / Ref($close, 252) - 1",
        asset_class=AssetClass.CROSS_ASSET,
        family="trend",
        direction=+1,
        title="Time-series momentum: 12-month return, skipping the last month [decimal]",
        reference="Moskowitz, Ooi & Pedersen (2012)",
        nan_means="no bar 21 or 252 sessions ago",
    ),
    Factor(
        name="trend_volatility_60",
        expression="Std($ret, 60, min_periods=45) * 15.874507866387544",
        asset_class=AssetClass.CROSS_ASSET,
        family="trend",
        direction=-1,
        title="Standard deviation of 60 daily returns × √252 [decimal a year]",
        reference="Moreira & Muir (2017)",
    ),
    Factor(
        name="trend_skewness_252",
        expression="Skew($ret, 252, min_periods=189)",
        asset_class=AssetClass.CROSS_ASSET,
        family="trend",
        direction=-1,
        title="Skewness of 252 daily returns",
        reference="Baltas & Salinas (2019)",
    ),
)
