"""What chartists look at, as numbers."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_UP = "Mean(Greater($close - Ref($close, 1), 0), 14, min_periods=10)"
_MOVE = "Mean(Abs($close - Ref($close, 1)), 14, min_periods=10)"
_TYPICAL = "(($high + $low + $close) / 3)"
_RISE = f"({_TYPICAL} / Ref({_TYPICAL}, 1) - 1)"
# what is less than 1e-9 comes of rounding, and the price did not change
_FLOW = (
    f"({_TYPICAL} * $volume * (({_RISE} > 0.000000001) - ({_RISE} < -0.000000001) + 0 * {_RISE}))"
)

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
    Factor(
        name="ma_distance_21_200",
        expression="Mean($close, 21, min_periods=15) / Mean($close, 200, min_periods=150) - 1",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=+1,
        title="21-day over 200-day mean of the close, less 1 [decimal]",
        reference="Avramov, Kaplanski & Subrahmanyam (2021)",
    ),
    Factor(
        name="money_flow_14",
        expression=f"50 + 50 * Sum({_FLOW}, 14, min_periods=10) / Sum(Abs({_FLOW}), 14, min_periods=10)",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Money flow index over 14 sessions [0 to 100]",
        reference="Quong & Soudack (1989)",
        nan_means="no highs, lows or volume, or fewer than 10 changes of the typical price",
    ),
    Factor(
        name="stochastic_14",
        expression=(
            "100 * ($close - Min($low, 14, min_periods=10))"
            " / (Max($high, 14, min_periods=10) - Min($low, 14, min_periods=10))"
        ),
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Close within the range of 14 sessions (%K; less 100 it is Williams %R) [0 to 100]",
        reference="Lane (1984)",
        nan_means="no highs and lows, fewer than 10, or no range",
        sets=("extended",),
    ),
    Factor(
        name="cci_20",
        expression=f"({_TYPICAL} - Mean({_TYPICAL}, 20, min_periods=15)) / (0.015 * Mad({_TYPICAL}, 20, min_periods=15))",
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Commodity channel index over 20 sessions",
        reference="Lambert (1980)",
        nan_means="no highs and lows, or fewer than 15",
        sets=("extended",),
    ),
    Factor(
        name="atr_14",
        expression=(
            "Mean(Greater($high, Ref($close, 1)) - Less($low, Ref($close, 1)), 14, min_periods=10)"
            " / $close"
        ),
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=-1,
        title="Mean true range of 14 sessions over the close [decimal]",
        reference="Wilder (1978), simple mean",
        nan_means="no highs and lows, or fewer than 10",
        sets=("extended",),
    ),
    Factor(
        name="obv_trend_63",
        expression=(
            "Sum(Sign($ret) * $volume, 63, min_periods=42)"
            " / Sum($volume + 0 * $ret, 63, min_periods=42)"
        ),
        asset_class=AssetClass.EQUITY,
        family="technical",
        direction=+1,
        title="Change of on-balance volume over 63 sessions, over their volume [−1 to 1]",
        reference="Granville (1963)",
        nan_means="fewer than 42 sessions with a return and volume",
        sets=("extended",),
    ),
)
