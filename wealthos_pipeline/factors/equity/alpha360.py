"""Qlib's Alpha360, every expression as Qlib writes it: the last 60 bars over today's close and volume.

Input for models that find their own features; Qlib signs none of them, and +1 stands here for "not
signed". Source: Qlib 0.9.7, ``Alpha360DL.get_feature_config``; Yang, Liu, Zhou, Bian & Liu (2020),
arXiv:2009.11189.
"""

from __future__ import annotations

from collections.abc import Iterator

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

SESSIONS = 60

REFERENCE = "Qlib 0.9.7, Alpha360 {name}; Yang et al. (2020), arXiv:2009.11189; not signed there"

_FIELDS = {
    "close": ("$close", "no bar today or then"),
    "open": ("$close", "no bar today or then"),
    "high": ("$close", "no bar today or then"),
    "low": ("$close", "no bar today or then"),
    "vwap": ("$close", "no source gives a volume-weighted price, or no bar today or then"),
    "volume": ("($volume+1e-12)", "no volume today or then"),
}
"""Field → what it is divided by, what a missing value means."""


def _factors() -> Iterator[Factor]:
    for field, (base, missing) in _FIELDS.items():
        for n in range(SESSIONS - 1, -1, -1):
            name = f"{field.upper()}{n}"
            numerator = f"Ref(${field}, {n})" if n else f"${field}"
            when = f"{field} of {n} sessions ago" if n else f"today's {field}"
            yield Factor(
                name=f"a360_{name.lower()}",
                asset_class=AssetClass.EQUITY,
                family=f"alpha360_{field}",
                direction=+1,
                title=f"{name}: {when} over today's {'volume' if field == 'volume' else 'close'} [decimal]",
                reference=REFERENCE.format(name=name),
                expression=f"{numerator}/{base}",
                basis="unit" if field == "volume" else "adjusted",
                sets=("alpha360",),
                nan_means=missing,
            )


FACTORS = tuple(_factors())
