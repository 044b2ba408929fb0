"""The yield curve. Values on exchange sessions, as known; direction is for the price of bonds."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_CLASS, _FAMILY, _INPUTS = AssetClass.FIXED_INCOME, "curve", ("clean.series",)
_UNKNOWN = "a yield that it needs was not known on the session"


def _y(tenor: str) -> str:
    return f"Series('ust_par', '{tenor}')"


# modified duration of a 10-year par bond with two coupons a year
_DURATION = f"(1 - Power(1 + {_y('10Y')} / 200, -20)) / ({_y('10Y')} / 100)"

NELSON_SIEGEL = {
    "3M": (0.343680118383, 0.480619670650, -2.284736159689),
    "6M": (0.037979816315, 0.483724330252, -0.768654770918),
    "1Y": (-0.337060675779, 0.441244369086, 1.206372780116),
    "2Y": (-0.516817369556, 0.256933835758, 2.560540603597),
    "3Y": (-0.353661669432, 0.039657814940, 2.287365536342),
    "5Y": (0.177161358466, -0.328649636598, 0.556935964119),
    "7Y": (0.615602148506, -0.576362512671, -1.012771357477),
    "10Y": (1.033116273096, -0.797167871417, -2.545052596090),
}
"""Tenor → its weight in level, slope and curvature: the pseudo-inverse of the loadings
1, (1 − e^−λτ)/λτ and (1 − e^−λτ)/λτ − e^−λτ, τ in months, λ = 0.0609 (Diebold & Li 2006)."""


def _fitted(which: int) -> str:
    """A coefficient of the least-squares fit to the curve: a fixed mixture of its yields."""
    return " + ".join(f"{w[which]} * {_y(t)}" for t, w in NELSON_SIEGEL.items())


def _factor(
    name: str, expression: str, direction: int, title: str, reference: str, *sets: str
) -> Factor:
    return Factor(
        name=name,
        expression=expression,
        asset_class=_CLASS,
        family=_FAMILY,
        direction=direction,
        title=title,
        reference=reference,
        inputs=_INPUTS,
        nan_means=_UNKNOWN,
        sets=sets or ("core",),
        target="bond",
    )


_NS = "Nelson & Siegel (1987); Diebold & Li (2006), on par instead of zero yields"

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
        target="bond",
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
        target="bond",
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
        target="bond",
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
        target="bond",
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
        target="bond",
    ),
    _factor(
        "ns_level",
        _fitted(0),
        +1,
        "Nelson–Siegel level: the yield of a bond without end [percent]",
        _NS,
    ),
    _factor(
        "ns_slope",
        _fitted(1),
        -1,
        "Nelson–Siegel slope: the short end less the level [percent]",
        _NS,
    ),
    _factor(
        "ns_curvature",
        _fitted(2),
        +1,
        "Nelson–Siegel curvature: the hump at 2 to 3 years [percent]",
        _NS,
    ),
    _factor(
        "term_spread",
        f"{_y('10Y')} - {_y('3M')}",
        +1,
        "10-year less 3-month yield [percent]",
        "Campbell & Shiller (1991); Fama & French (1989)",
    ),
    _factor(
        "rates_momentum_10y_3m",
        f"Ref({_y('10Y')}, 63) - {_y('10Y')}",
        +1,
        "Fall of the 10-year par yield over 3 months [percent]",
        "Moskowitz, Ooi & Pedersen (2012)",
    ),
    _factor(
        "bond_value_10y",
        f"{_y('10Y')} - Ref({_y('10Y')}, 1260)",
        +1,
        "Rise of the 10-year par yield over 5 years [percent]",
        "Asness, Moskowitz & Pedersen (2013)",
        "extended",
    ),
    _factor(
        "forward_5y5y_spread",
        f"2 * {_y('10Y')} - {_y('5Y')} - {_y('3M')}",
        +1,
        "5-year rate in 5 years, from par yields to first order, less the 3-month yield [percent]",
        "Fama & Bliss (1987)",
        "extended",
    ),
    _factor(
        "curve_momentum_12m",
        f"Delta({_y('10Y')} - {_y('2Y')}, 252)",
        -1,
        "Change of the 10-year less the 2-year yield over 12 months [percent]",
        "Brooks & Moskowitz (2017)",
        "extended",
    ),
)
