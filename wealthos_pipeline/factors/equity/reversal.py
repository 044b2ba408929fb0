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
    Factor(
        name="reversal_1w_volume",
        expression=(
            "($close / Ref($close, 5) - 1)"
            " * Mean($volume, 5, min_periods=3) / Mean($volume, 63, min_periods=42)"
        ),
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the last week times its volume over the quarter's mean [decimal]",
        reference="Conrad, Hameed & Niden (1994)",
        nan_means="no bar 5 sessions ago, or too few sessions with volume",
    ),
    Factor(
        name="residual_reversal_1m",
        expression=(
            "Sum(BetaResi($ret, $market_ret, 252, min_periods=126), 21, min_periods=15)"
            " / BetaStd($ret, $market_ret, 252, min_periods=126)"
        ),
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Sum of a month of market-model residuals over their deviation [ratio]",
        reference="Blitz, Huij, Lansdorp & Verbeek (2013), with one factor and daily data",
    ),
    Factor(
        name="reversal_60_12",
        expression="Ref($close, 252) / Ref($close, 1260) - 1",
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the four years before the last [decimal]",
        reference="De Bondt & Thaler (1985)",
        nan_means="no bar 252 or 1,260 sessions ago",
        sets=("extended",),
    ),
    Factor(
        name="sector_reversal_1m",
        expression="CSDemean($close / Ref($close, 21) - 1, sector)",
        asset_class=AssetClass.EQUITY,
        family="reversal",
        direction=-1,
        title="Return of the last month less the sector's mean [decimal]",
        reference="Da, Liu & Schaumburg (2014); Hameed & Mian (2015)",
        inputs=("clean.prices", "clean.instruments"),
        nan_means="the sector not known, or no bar 21 sessions ago",
    ),
)
