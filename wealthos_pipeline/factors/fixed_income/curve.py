"""The yield curve. Values on exchange sessions, as known; direction is for the price of bonds."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_CLASS, _FAMILY, _INPUTS = AssetClass.FIXED_INCOME, "curve", ("clean.series",)
_UNKNOWN = "a yield that it needs was not known on the session"


def _y(tenor: str) -> str:
    return f"Series('ust_par', '{tenor}')"


# modified duration of a 10-year par bond with two coupons a year
_DURATION = f"(1 - Power(1 + {_y('10Y')} / 200, -20)) / ({_y('10Y')} / 100)"

FACTORS = (
    Factor(
        name="curve_level",
        expression=f"({_y('2Y')} + {_y('5Y')} + {_y('10Y')}) / 3",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="Mean of the 2-, 5- and 10-year par yields [percent]",
        reference="Litterman & Scheinkman (1991)",
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
    ),
    Factor(
        name="curve_slope",
        expression=f"{_y('10Y')} - {_y('2Y')}",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="10-year less 2-year par yield [percent]",
        reference="Fama & Bliss (1987)",
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
    ),
    Factor(
        name="curve_curvature",
        expression=f"2 * {_y('5Y')} - {_y('2Y')} - {_y('10Y')}",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="Twice the 5-year less the 2- and 10-year par yields [percent]",
        reference="Litterman & Scheinkman (1991)",
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
    ),
    Factor(
        name="rates_momentum_10y",
        expression=f"Ref({_y('10Y')}, 252) - {_y('10Y')}",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="Fall of the 10-year par yield over 12 months [percent]",
        reference="Moskowitz, Ooi & Pedersen (2012)",
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
    ),
    Factor(
        name="carry_roll_10y",
        expression=f"{_y('10Y')} - {_y('3M')} + {_DURATION} * ({_y('10Y')} - {_y('7Y')}) / 3",
        asset_class=_CLASS,
        family=_FAMILY,
        direction=+1,
        title="10-year yield less the bill's plus a year's roll-down at unchanged curve [percent a year]",
        reference="Koijen, Moskowitz, Pedersen & Vrugt (2018)",
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
    ),
)
