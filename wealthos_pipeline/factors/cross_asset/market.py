"""The stock market as a whole: breadth, dispersion, correlation, appetite for risk.

Cross-sections of the equities, so that every name has the same value: the table holds it once, as
``market``. ``min_periods`` is the whole window where a market-wide input is in it, so that a name
listed lately does not count with a shorter one.
"""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor


def _factor(
    name: str,
    expression: str,
    direction: int,
    title: str,
    reference: str,
    *sets: str,
    target: str = "market",
    nan_means: str = "no name has enough observations",
) -> Factor:
    return Factor(
        name=name,
        expression=expression,
        asset_class=AssetClass.CROSS_ASSET,
        family="market",
        direction=direction,
        title=title,
        reference=reference,
        nan_means=nan_means,
        sets=sets or ("core",),
        target=target,
    )


_MEAN_200 = "Mean($close, 200, min_periods=150)"
_MONTH = "($close / Ref($close, 21) - 1)"
_BEFORE = "Ref(Std($ret, 252, min_periods=189), 21)"
_RETURN_RANK = f"CSRank({_MONTH} + 0 * {_BEFORE})"
_RISK_RANK = f"CSRank({_BEFORE} + 0 * {_MONTH})"


def _covariance(a: str, b: str) -> str:
    return f"(CSMean({a} * {b}) - CSMean({a}) * CSMean({b}))"


FACTORS = (
    _factor(
        "market_breadth_200",
        f"CSMean(($close > {_MEAN_200}) + 0 * {_MEAN_200})",
        +1,
        "Share of the names that close above their 200-day mean [decimal]",
        "Zaremba, Szyszka, Karathanasopoulos & Mikutowski (2021)",
    ),
    _factor(
        "return_dispersion_21",
        f"Power({_covariance(_MONTH, _MONTH)}, 0.5)",
        -1,
        "Deviation among the names of the return of the last month [decimal]",
        "Maio (2016), among stocks instead of portfolios",
    ),
    _factor(
        "average_correlation_60",
        "CSMean(Var($market_ret, 60, min_periods=60)) / CSMean(Var($ret, 60, min_periods=45))",
        +1,
        "Variance of the equal-weighted market over the mean of the names' own, 60 sessions [ratio]",
        "Pollet & Wilson (2010), average correlation as a ratio of variances",
    ),
    _factor(
        "risk_appetite_21",
        f"{_covariance(_RETURN_RANK, _RISK_RANK)}"
        f" / Power({_covariance(_RETURN_RANK, _RETURN_RANK)} * {_covariance(_RISK_RANK, _RISK_RANK)}, 0.5)",
        +1,
        "Rank correlation of the names' return of the month with their volatility before it",
        "Kumar & Persaud (2002)",
    ),
    _factor(
        "stock_momentum_for_bonds",
        "CSMean(Sum(Log(1 + $market_ret), 252, min_periods=252))",
        -1,
        "Log return of the equal-weighted market over 252 sessions, for the price of bonds",
        "Pitkäjärvi, Suominen & Vaittinen (2020)",
        target="bond",
        nan_means="fewer than 252 market returns",
    ),
    _factor(
        "average_skewness_21",
        "CSMean(Skew($ret, 21, min_periods=15))",
        -1,
        "Mean skewness of the names' daily returns of the month",
        "Jondeau, Zhang & Zhu (2019)",
        "extended",
    ),
    _factor(
        "average_variance_21",
        "CSMean(Var($ret, 21, min_periods=15))",
        +1,
        "Mean variance of the names' daily returns of the month [decimal² a day]",
        "Goyal & Santa-Clara (2003)",
        "extended",
    ),
    _factor(
        "market_illiquidity_21",
        "Log(CSMean(Mean(Abs($ret) / $dollar_volume, 21, min_periods=15)))",
        +1,
        "Log of the mean |return| per unit of currency traded, month and names",
        "Amihud (2002)",
        "extended",
    ),
)
