"""Market sensitivity. The market is the mean return of the names present on the date."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

FACTORS = (
    Factor(
        name="beta_252",
        expression="Beta($ret, $market_ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Beta to the equal-weighted market over 252 sessions",
        reference="Frazzini & Pedersen (2014)",
    ),
    Factor(
        name="market_correlation_252",
        expression="Corr($ret, $market_ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Correlation with the equal-weighted market over 252 sessions",
        reference="Asness, Frazzini, Gormsen & Pedersen (2020)",
    ),
)
