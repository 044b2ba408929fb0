"""Liquidity: what is hard to trade pays for it."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

FACTORS = (
    Factor(
        name="amihud_252",
        expression="Log(Mean(Abs($ret) / $dollar_volume, 252, min_periods=126))",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Log of mean |return| per unit of currency traded over 252 sessions",
        reference="Amihud (2002)",
        nan_means="fewer than 126 sessions with a return and volume",
    ),
    Factor(
        name="log_dollar_volume_63",
        expression="Log(Mean($dollar_volume, 63, min_periods=42))",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=-1,
        title="Log of mean traded value over 63 sessions [log currency]",
        reference="Brennan, Chordia & Subrahmanyam (1998)",
        nan_means="fewer than 42 sessions with volume",
    ),
    Factor(
        name="abnormal_volume_21",
        expression="Mean($dollar_volume, 21, min_periods=15) / Mean($dollar_volume, 252, min_periods=189) - 1",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Traded value of the last month over that of the last year, less 1 [decimal]",
        reference="Gervais, Kaniel & Mingelgrin (2001)",
        nan_means="fewer sessions with volume than the windows ask for",
    ),
    Factor(
        name="volume_variability_252",
        expression="Std($dollar_volume, 252, min_periods=189) / Mean($dollar_volume, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=-1,
        title="Coefficient of variation of daily traded value over 252 sessions [ratio]",
        reference="Chordia, Subrahmanyam & Anshuman (2001)",
        nan_means="fewer than 189 sessions with volume",
    ),
    Factor(
        name="zero_return_days_252",
        expression="Mean(($ret == 0) + 0 * $ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Share of sessions with a return of exactly 0 [decimal]",
        reference="Lesmond, Ogden & Trzcinka (1999)",
    ),
)
