"""Volatility and the shape of returns: the calm are paid better than theory says."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_YEAR = "15.874507866387544"  # square root of 252

FACTORS = (
    Factor(
        name="volatility_60",
        expression=f"Std($ret, 60, min_periods=45) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 60 daily returns × √252 [decimal a year]",
        reference="Ang, Hodrick, Xing & Zhang (2006)",
    ),
    Factor(
        name="volatility_252",
        expression=f"Std($ret, 252, min_periods=189) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 252 daily returns × √252 [decimal a year]",
        reference="Blitz & van Vliet (2007)",
    ),
    Factor(
        name="idio_volatility_60",
        expression=f"BetaStd($ret, $market_ret, 60, min_periods=45) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 60 market-model residuals × √252 [decimal a year]",
        reference="Ang, Hodrick, Xing & Zhang (2006), with one factor",
    ),
    Factor(
        name="downside_volatility_60",
        expression=f"Power(Mean(Power(Less($ret, 0), 2), 60, min_periods=45), 0.5) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Root mean square of 60 negative returns (0 for positive) × √252 [decimal a year]",
        reference="Sortino & van der Meer (1991)",
    ),
    Factor(
        name="max_return_21",
        expression="Max($ret, 21, min_periods=15)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Largest daily return of the last month (MAX) [decimal]",
        reference="Bali, Cakici & Whitelaw (2011)",
    ),
    Factor(
        name="skewness_252",
        expression="Skew($ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Skewness of 252 daily returns",
        reference="Harvey & Siddique (2000); Bali, Engle & Murray (2016), ch. 14",
    ),
)
