"""Market sensitivity. The market is the mean return of the names present on the date."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

# each where all of its regression are there, so that all moments are over the same sessions
_R = "($ret + 0 * Ref($market_ret, 1))"
_M = "($market_ret + 0 * $ret + 0 * Ref($market_ret, 1))"
_M1 = "(Ref($market_ret, 1) + 0 * $ret)"
_DV = "Delta(Series('vix'), 1)"
_MV = f"($market_ret + 0 * $ret + 0 * {_DV})"
_DVIX = f"({_DV} + 0 * $ret)"


def _second(y: str, x: str, z: str, n: int, least: int) -> str:
    """The slope of ``z`` in the least squares of ``y`` on ``x`` and ``z`` with an intercept."""

    def cov(a: str, b: str) -> str:
        return f"Cov({a}, {b}, {n}, min_periods={least})"

    return (
        f"(({cov(y, z)} * {cov(x, x)} - {cov(y, x)} * {cov(x, z)})"
        f" / ({cov(x, x)} * {cov(z, z)} - {cov(x, z)} * {cov(x, z)}))"
    )


FACTORS = (
    Factor(
        name="beta_252",
        expression="Beta($ret, $market_ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Beta to the equal-weighted market over 252 sessions",
        reference="Frazzini & Pedersen (2014)",
    ),
    Factor(
        name="market_correlation_252",
        expression="Corr($ret, $market_ret, 252, min_periods=189)",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Correlation with the equal-weighted market over 252 sessions",
        reference="Asness, Frazzini, Gormsen & Pedersen (2020)",
    ),
    Factor(
        name="downside_beta_252",
        expression="Beta($ret / ($market_ret < 0), $market_ret, 252, min_periods=63)",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=+1,
        title="Beta over those of 252 sessions on which the market fell",
        reference="Ang, Chen & Xing (2006), market below 0",
        nan_means="fewer than 63 sessions on which the market fell",
    ),
    Factor(
        name="beta_dimson_252",
        expression=f"{_second(_R, _M, _M1, 252, 189)} + {_second(_R, _M1, _M, 252, 189)}",
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Sum of the betas to the market of the day and of the day before, 252 sessions",
        reference="Dimson (1979), one lag and no lead",
        sets=("extended",),
    ),
    Factor(
        name="beta_shrunk_5y",
        expression=(
            "0.4 + 0.6 * Corr(Log($close / Ref($close, 3)),"
            " Log(1 + $market_ret) + Log(1 + Ref($market_ret, 1)) + Log(1 + Ref($market_ret, 2)),"
            " 1260, min_periods=750)"
            " * Std(Log(1 + $ret), 252, min_periods=120)"
            " / Std(Log(1 + $market_ret), 252, min_periods=120)"
        ),
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Correlation of 3-day log returns (5 years) times volatility ratio (1 year), shrunk to 1",
        reference="Frazzini & Pedersen (2014)",
        sets=("extended",),
    ),
    Factor(
        name="vix_beta_63",
        expression=_second(f"($ret + 0 * {_DV})", _MV, _DVIX, 63, 42),
        asset_class=AssetClass.EQUITY,
        family="beta",
        direction=-1,
        title="Slope on the change of the VIX, market held, 63 sessions [decimal an index point]",
        reference="Ang, Hodrick, Xing & Zhang (2006), 63 instead of 21 sessions",
        nan_means="fewer than 42 sessions with return and VIX",
        inputs=("clean.prices", "clean.series"),
        sets=("extended",),
    ),
)
