"""What definitions that read reports have in common."""

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

REPORTS = ("clean.prices", "clean.fundamentals")


def first_of(*expressions: str) -> str:
    """The first of several expressions that is there."""
    out = expressions[-1]
    for x in reversed(expressions[:-1]):
        out = f"If({x} == {x}, {x}, {out})"
    return out


def year(metric: str, back: int = 0) -> str:
    """A figure of the latest year known, or ``back`` years before it."""
    return f"Statement('{metric}', 'year{f'-{back}' if back else ''}')"


def quarter(metric: str, back: int = 0) -> str:
    """A figure of the latest quarter known, or ``back`` quarters before it."""
    return f"Statement('{metric}', 'quarter{f'-{back}' if back else ''}')"


def reported(
    name: str,
    expression: str,
    family: str,
    direction: int,
    title: str,
    reference: str,
    nan_means: str,
    *,
    basis: str = "adjusted",
) -> Factor:
    """An equity factor of the set ``fundamental``."""
    return Factor(
        name=name,
        expression=expression,
        asset_class=AssetClass.EQUITY,
        family=family,
        direction=direction,
        title=title,
        reference=reference,
        basis=basis,
        inputs=REPORTS,
        sets=("fundamental",),
        nan_means=nan_means + " (see factors.statements)",
    )
