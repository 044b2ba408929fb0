"""Checks of fits and predictions whose faults the stage itself finds: they need more than one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets._shared.describe import asset_key
from assets._shared.resources import Session
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.data import contract as declared

if TYPE_CHECKING:
    from assets._shared.work import Work

TABLE = "models.predictions"
CHECKS = {
    "fits_on_record": ("error", "every prediction's fit is in models.registry"),
    "fitted_before_predicting": ("error", "no prediction is dated before its fit's refit date"),
    "labels_known_at_fit": ("error", "the last training label had ended before the refit's open"),
    "predictions_vary": ("warn", "predictions of a date are numbers, and not all the same"),
    "z_centred": ("error", "z has a mean of 0 on every date"),
    "every_model_fitted": ("warn", "every model has its live fit"),
}
"""Check → its severity and what it says."""

EXAMPLES = 20


class ModelWatch:
    """The checks of ``CHECKS``; ``Work.faults`` says what failed."""

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        if contract.name != TABLE:
            return []
        return [
            dg.AssetCheckSpec(name, asset=asset_key(TABLE), description=words)
            for name, (_, words) in CHECKS.items()
        ]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """What the checks said last still stands."""
        if contract.name == TABLE:
            for name in CHECKS:
                passed = session.verdicts.get((TABLE, name, ""), True)
                yield _result(name, passed, {"note": "no new rows; this is what it said last"})

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        if contract.name != TABLE:
            return
        session, shape = work.session, declared("meta.checks")
        for name, (severity, _) in CHECKS.items():
            said = work.faults.get((TABLE, name), [])
            row = {
                "run_id": session.run.run_id, "table": TABLE, "check": name, "column": "",
                "severity": severity, "success": not said, "unexpected": len(said),
                "rows": frame.height, "examples": json.dumps(said[:5]) if said else None,
                "checked_at": session.now.astimezone(UTC),
            }  # fmt: skip
            session.checks.append(shape.conform(pl.DataFrame([row], schema=shape.schema())))
            told = {f"{i}": words for i, words in enumerate(said[:EXAMPLES], 1)}
            yield _result(name, not said, {"failed": len(said), **told})

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        return {}


def _result(name: str, passed: bool, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    severity = CHECKS[name][0]
    return dg.AssetCheckResult(
        asset_key=asset_key(TABLE),
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if severity == "error" else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )
