"""Credit: what lesser names pay more. Monthly averages, seen only once they were known."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_SPREAD = "Series('moody_yield', 'BAA') - Series('moody_yield', 'AAA')"

FACTORS = (
    Factor(
        name="credit_spread",
        expression=_SPREAD,
        asset_class=AssetClass.FIXED_INCOME,
        family="credit",
        direction=+1,
        title="BAA less AAA corporate yield [percent]",
        reference="Fama & French (1989)",
        inputs=("clean.series",),
        nan_means="no monthly average known within 45 days",
        target="market",
    ),
    Factor(
        name="credit_spread_change_3m",
        expression=f"Delta({_SPREAD}, 63)",
        asset_class=AssetClass.FIXED_INCOME,
        family="credit",
        direction=-1,
        title="Change of BAA less AAA over 63 sessions [percent]",
        reference="Gilchrist & Zakrajšek (2012)",
        inputs=("clean.series",),
        nan_means="no monthly average known within 45 days",
        target="market",
    ),
    Factor(
        name="baa_treasury_spread",
        expression="Series('moody_yield', 'BAA') - Series('ust_par', '10Y')",
        asset_class=AssetClass.FIXED_INCOME,
        family="credit",
        direction=+1,
        title="BAA corporate less 10-year Treasury yield [percent]",
        reference="Fama & French (1989); Gilchrist & Zakrajšek (2012)",
        inputs=("clean.series",),
        nan_means="no monthly average known within 45 days, or no curve",
        sets=("extended",),
        target="market",
    ),
    Factor(
        name="treasury_convenience",
        expression="Series('moody_yield', 'AAA') - Series('ust_par', '10Y')",
        asset_class=AssetClass.FIXED_INCOME,
        family="credit",
        direction=-1,
        title="AAA corporate less 10-year Treasury yield: what safety costs [percent]",
        reference="Krishnamurthy & Vissing-Jorgensen (2012)",
        inputs=("clean.series",),
        nan_means="no monthly average known within 45 days, or no curve",
        sets=("extended",),
        target="bond",
    ),
)
