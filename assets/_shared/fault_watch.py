"""Checks whose faults the stage itself finds: they need more than one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

EXAMPLES = 20


@dataclass(frozen=True)
class FaultWatch:
    """Checks of a stage's tables; ``Work.faults`` says by table and check what failed.

    checks: (table, check) → its severity (error or warn) and what it says.
    """

    checks: Mapping[tuple[str, str], tuple[str, str]]

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        return [
            dg.AssetCheckSpec(check, asset=asset_key(table), description=words)
            for (table, check), (_, words) in self.checks.items()
            if table == contract.name
        ]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """What the checks said last still stands."""
        for table, check in self.checks:
            if table == contract.name:
                passed = session.verdicts.get((table, check, ""), True)
                note = {"note": "no new rows; this is what it said last"}
                yield self._result(table, check, passed, note)

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        session, shape = work.session, declared("meta.checks")
        for (table, check), (severity, _) in self.checks.items():
            if table != contract.name:
                continue
            said = work.faults.get((table, check), [])
            row = {
                "run_id": session.run.run_id, "table": table, "check": check, "column": "",
                "severity": severity, "success": not said, "unexpected": len(said),
                "rows": frame.height, "examples": json.dumps(said[:5]) if said else None,
                "checked_at": session.now.astimezone(UTC),
            }  # fmt: skip
            session.checks.append(shape.conform(pl.DataFrame([row], schema=shape.schema())))
            told = {f"{i}": words for i, words in enumerate(said[:EXAMPLES], 1)}
            yield self._result(table, check, not said, {"failed": len(said), **told})

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        return {}

    def _result(
        self, table: str, check: str, passed: bool, metadata: Mapping[str, Any]
    ) -> dg.AssetCheckResult:
        severe = self.checks[table, check][0] == "error"
        return dg.AssetCheckResult(
            asset_key=asset_key(table),
            check_name=check,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            metadata=metadata,
        )
