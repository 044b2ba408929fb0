"""What chartists look at, as numbers."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_UP = "Mean(Greater($close - Ref($close, 1), 0), 14, min_periods=10)"
_MOVE = "Mean(Abs($close - Ref($close, 1)), 14, min_periods=10)"

FACTORS = (
    Factor(
        name="rsi_14",
        expression=f"100 * {_UP} / {_MOVE}",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Relative strength index over 14 sessions, simple means [0 to 100]",
        reference="Wilder (1978); simple means after Cutler",
        nan_means="fewer than 10 returns, or no move at all",
    ),
    Factor(
        name="macd_12_26",
        expression="(EMA($close, 12, min_periods=26) - EMA($close, 26, min_periods=26)) / $close",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=+1,
        title="12-day less 26-day exponential mean, over the close [decimal]",
        reference="Appel (1979)",
        nan_means="fewer than 26 bars",
    ),
    Factor(
        name="price_to_sma_200",
        expression="$close / Mean($close, 200, min_periods=150) - 1",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=+1,
        title="Close over its 200-day mean, less 1 [decimal]",
        reference="Brock, Lakonishok & LeBaron (1992)",
    ),
    Factor(
        name="bollinger_20",
        expression="($close - Mean($close, 20, min_periods=15)) / Std($close, 20, min_periods=15)",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Close less its 20-day mean, in standard deviations",
        reference="Bollinger (2001)",
        nan_means="fewer than 15 bars, or a constant price",
    ),
)
