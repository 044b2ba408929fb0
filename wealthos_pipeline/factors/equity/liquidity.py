"""Liquidity: what is hard to trade pays for it."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

# Corwin & Schultz: two days' ranges against the range of the two days. A day that trades wholly above
# or below the close before it is moved by the gap.
_GAP = "(Greater($low - Ref($close, 1), 0) + Less($high - Ref($close, 1), 0))"
_HIGH, _LOW = f"($high - {_GAP})", f"($low - {_GAP})"
_TODAY = f"Power(Log({_HIGH} / {_LOW}), 2)"
_BETA = f"({_TODAY} + Power(Log(Ref($high, 1) / Ref($low, 1)), 2))"
_GAMMA = f"Power(Log(Greater({_HIGH}, Ref($high, 1)) / Less({_LOW}, Ref($low, 1))), 2)"
_K = "0.1715728752538097"  # 3 − 2√2
_EXP = (  # e to the α; (√2 − 1) / (3 − 2√2) = √2 + 1
    f"Power(2.718281828459045, 2.414213562373095 * Power({_BETA}, 0.5)"
    f" - Power({_GAMMA} / {_K}, 0.5))"
)

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
    Factor(
        name="corwin_schultz_21",
        expression=f"Mean(Greater(2 * ({_EXP} - 1) / (1 + {_EXP}), 0), 21, min_periods=15)",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Spread from daily highs and lows, mean of the month, negative ones as 0 [decimal]",
        reference="Corwin & Schultz (2012), with their adjustment for the night",
        nan_means="no highs and lows, or fewer than 15 pairs of days",
    ),
    Factor(
        name="high_volume_50",
        expression="Rank($volume, 50, min_periods=40)",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Rank of the day's volume among 50 sessions [0 to 1]",
        reference="Gervais, Kaniel & Mingelgrin (2001)",
        nan_means="no volume, or on fewer than 40 of 50 sessions",
    ),
    Factor(
        name="roll_spread_252",
        expression=(
            "2 * Power(Greater(0 - Cov(Log(1 + $ret), Log(1 + Ref($ret, 1)), 252, min_periods=189), 0),"
            " 0.5)"
        ),
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Spread from the autocovariance of 252 log returns, 0 where it is positive [decimal]",
        reference="Roll (1984)",
        sets=("extended",),
    ),
    Factor(
        name="liquidity_shock_21",
        expression=(
            "Log(Mean(Abs($ret) / $dollar_volume, 252, min_periods=126))"
            " - Log(Mean(Abs($ret) / $dollar_volume, 21, min_periods=15))"
        ),
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=+1,
        title="Log Amihud illiquidity of the year less that of the month",
        reference="Bali, Peng, Shen & Tang (2014)",
        nan_means="too few sessions with a return and volume",
        sets=("extended",),
    ),
    Factor(
        name="volume_trend_252",
        expression="Slope(Log($dollar_volume), 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="liquidity",
        direction=-1,
        title="Slope of log traded value over 252 sessions [log currency a session]",
        reference="Haugen & Baker (1996)",
        nan_means="fewer than 189 sessions with volume",
        sets=("extended",),
    ),
)
