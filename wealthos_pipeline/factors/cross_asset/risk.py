"""Risk on, risk off: market-wide states. Direction is for the price of stocks."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_CLASS, _FAMILY = AssetClass.CROSS_ASSET, "risk"
_VIX = "Series('vix')"

FACTORS = (
    Factor(
        name="vix_zscore_252",
        expression=f"({_VIX} - Mean({_VIX}, 252, min_periods=189)) / Std({_VIX}, 252, min_periods=189)",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="VIX less its 252-session mean, in standard deviations",
        reference="Whaley (2000)",
        inputs=("clean.series",),
        nan_means="VIX not known, or for fewer than 189 of 252 sessions",
    ),
    Factor(
        name="vix_change_21",
        expression=f"Delta({_VIX}, 21)",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=-1,
        title="Change of the VIX over 21 sessions [index points]",
        reference="Ang, Hodrick, Xing & Zhang (2006)",
        inputs=("clean.series",),
        nan_means="VIX not known on one of the two sessions",
    ),
    Factor(
        name="stock_bond_correlation_60",
        expression="Corr($market_ret, 0 - Delta(Series('ust_par', '10Y'), 1), 60, min_periods=45)",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=-1,
        title="Correlation of the equal-weighted market with the fall of the 10-year yield, 60 sessions",
        reference="Campbell, Sunderam & Viceira (2017)",
        inputs=("clean.prices", "clean.series"),
        nan_means="fewer than 45 sessions with both",
    ),
    Factor(
        name="stock_oil_correlation_60",
        expression="Corr($market_ret, Series('wti') / Ref(Series('wti'), 1) - 1, 60, min_periods=45)",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=-1,
        title="Correlation of the equal-weighted market with the oil price, 60 sessions",
        reference="Kilian & Park (2009)",
        inputs=("clean.prices", "clean.series"),
        nan_means="fewer than 45 sessions with both",
    ),
)
