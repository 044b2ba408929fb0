"""Volatility and the shape of returns: the calm are paid better than theory says."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

_YEAR = "15.874507866387544"  # square root of 252

_MARKET = "($market_ret + 0 * $ret)"  # where the name has a return

FACTORS = (
    Factor(
        name="volatility_60",
        expression=f"Std($ret, 60, min_periods=45) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 60 daily returns × √252 [decimal a year]",
        reference="Ang, Hodrick, Xing & Zhang (2006)",
    ),
    Factor(
        name="volatility_252",
        expression=f"Std($ret, 252, min_periods=189) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 252 daily returns × √252 [decimal a year]",
        reference="Blitz & van Vliet (2007)",
    ),
    Factor(
        name="idio_volatility_60",
        expression=f"BetaStd($ret, $market_ret, 60, min_periods=45) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standard deviation of 60 market-model residuals × √252 [decimal a year]",
        reference="Ang, Hodrick, Xing & Zhang (2006), with one factor",
    ),
    Factor(
        name="downside_volatility_60",
        expression=f"Power(Mean(Power(Less($ret, 0), 2), 60, min_periods=45), 0.5) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Root mean square of 60 negative returns (0 for positive) × √252 [decimal a year]",
        reference="Sortino & van der Meer (1991)",
    ),
    Factor(
        name="max_return_21",
        expression="Max($ret, 21, min_periods=15)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Largest daily return of the last month (MAX) [decimal]",
        reference="Bali, Cakici & Whitelaw (2011)",
    ),
    Factor(
        name="skewness_252",
        expression="Skew($ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Skewness of 252 daily returns",
        reference="Harvey & Siddique (2000); Bali, Engle & Murray (2016), ch. 14",
    ),
    Factor(
        name="coskewness_252",
        expression=(
            f"(Cov($ret, {_MARKET} * {_MARKET}, 252, min_periods=189)"
            " - Beta($ret, $market_ret, 252, min_periods=189)"
            f" * Cov({_MARKET}, {_MARKET} * {_MARKET}, 252, min_periods=189))"
            " / (BetaStd($ret, $market_ret, 252, min_periods=189)"
            f" * Var({_MARKET}, 252, min_periods=189))"
        ),
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Standardised coskewness: E[ε·ε_m²] / (σ_ε·σ_m²), 252 daily returns",
        reference="Harvey & Siddique (2000), with degrees of freedom",
    ),
    Factor(
        name="left_tail_252",
        expression="Quantile($ret, 252, 0.05, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=+1,
        title="5 % quantile of 252 daily returns [decimal]",
        reference="Atilgan, Bali, Demirtas & Gunaydin (2020)",
    ),
    Factor(
        name="parkinson_60",
        expression=f"Power(Mean(Power(Log($high / $low), 2), 60, min_periods=45) / 2.772588722239781, 0.5) * {_YEAR}",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Volatility from 60 daily ranges × √252 [decimal a year]",
        reference="Parkinson (1980); as a predictor: Blitz & van Vliet (2007)",
        nan_means="no highs and lows, or fewer than 45",
        sets=("extended",),
    ),
    Factor(
        name="garman_klass_60",
        expression=(
            "Power(Mean(0.5 * Power(Log($high / $low), 2)"
            " - 0.3862943611198906 * Power(Log($close / $open), 2), 60, min_periods=45), 0.5)"
            f" * {_YEAR}"
        ),
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Volatility from 60 daily ranges and open-to-close returns × √252 [decimal a year]",
        reference="Garman & Klass (1980), the practical estimator; as a predictor: Blitz & van Vliet (2007)",
        nan_means="no opens, highs and lows, or fewer than 45",
        sets=("extended",),
    ),
    Factor(
        name="kurtosis_252",
        expression="Kurt($ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=+1,
        title="Excess kurtosis of 252 daily returns",
        reference="Dittmar (2002); Amaya, Christoffersen, Jacobs & Vasquez (2015)",
        sets=("extended",),
    ),
    Factor(
        name="idio_skewness_252",
        expression="Skew(BetaResi($ret, $market_ret, 252, min_periods=126), 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Skewness of 252 daily market-model residuals, each of the year up to its day",
        reference="Boyer, Mitton & Vorkink (2010), realised instead of expected",
        sets=("extended",),
    ),
    Factor(
        name="volatility_of_volatility_252",
        expression=(
            "Std(Std($ret, 21, min_periods=15), 252, min_periods=189)"
            " / Mean(Std($ret, 21, min_periods=15), 252, min_periods=189)"
        ),
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Deviation over mean of 252 monthly volatilities [ratio]",
        reference="Baltussen, van Bekkum & van der Grient (2018), realised instead of implied",
        sets=("extended",),
    ),
    Factor(
        name="signed_variation_21",
        expression=(
            "Sum($ret * Abs($ret), 21, min_periods=15) / Sum($ret * $ret, 21, min_periods=15)"
        ),
        asset_class=AssetClass.EQUITY,
        family="volatility",
        direction=-1,
        title="Good less bad realised variance of the month over their sum [−1 to 1]",
        reference="Bollerslev, Li & Zhao (2020), with daily returns",
        nan_means="fewer than 15 returns, or none but 0",
        sets=("extended",),
    ),
)
