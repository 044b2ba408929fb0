"""Checks of portfolios whose faults the stage itself finds: they need more than one table."""

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

CHECKS = {
    ("portfolio.targets", "weights_sum"): "the weights of every decision sum to its budget",
    ("portfolio.solves", "limits_hold"): "no answer misses a limit by more than 1e-8",
    ("portfolio.nav", "nav_adds_up"): "a value on every session, every unit of money in the events",
}
EXAMPLES = 20


class PortfolioWatch:
    """The checks of ``CHECKS``; ``Work.faults`` says what failed."""

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        return [
            dg.AssetCheckSpec(check, asset=asset_key(table), description=words)
            for (table, check), words in CHECKS.items()
            if table == contract.name
        ]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """What the checks said last still stands."""
        for table, check in CHECKS:
            if table == contract.name:
                passed = session.verdicts.get((table, check, ""), True)
                note = {"note": "no new rows; this is what it said last"}
                yield _result(table, check, passed, note)

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        session = work.session
        for table, check in CHECKS:
            if table != contract.name:
                continue
            said = work.faults.get((table, check), [])
            row = {
                "run_id": session.run.run_id, "table": table, "check": check, "column": "",
                "severity": "error", "success": not said, "unexpected": len(said),
                "rows": frame.height, "examples": json.dumps(said[:5]) if said else None,
                "checked_at": session.now.astimezone(UTC),
            }  # fmt: skip
            shape = declared("meta.checks")
            session.checks.append(shape.conform(pl.DataFrame([row], schema=shape.schema())))
            told = {f"{i}": words for i, words in enumerate(said[:EXAMPLES], 1)}
            yield _result(table, check, not said, {"failed": len(said), **told})

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        return {}


def _result(
    table: str, check: str, passed: bool, metadata: Mapping[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key(table),
        check_name=check,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )
