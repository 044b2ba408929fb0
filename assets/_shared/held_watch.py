"""What is looked at when positions are priced and targets are compared with their limits.

Both are one asset check each, and rows of ``meta.checks``, so that a failure becomes an alert.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    from wealthos_pipeline.utils.config import Settings

EXAMPLES = 20


@dataclass(frozen=True)
class RowWatch:
    """One check of a table: no row may be ``bad``; those that are, are told in words.

    bad: which rows fail. words: an expression with what to say of one. severity: by the settings.
    """

    table: str
    check: str
    description: str
    bad: pl.Expr
    words: pl.Expr
    severity: Callable[[Settings], str]

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        if contract.name != self.table:
            return []
        return [
            dg.AssetCheckSpec(self.check, asset=asset_key(self.table), description=self.description)
        ]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """What the check said last still stands."""
        if contract.name == self.table:
            passed = session.verdicts.get((self.table, self.check, ""), True)
            note = {"note": "no new rows; this is what it said last"}
            yield self._result(session, passed, note)

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        if contract.name != self.table:
            return
        session = work.session
        said = frame.filter(self.bad).select(self.words.alias("words"))["words"].to_list()
        row = {
            "run_id": session.run.run_id, "table": self.table, "check": self.check, "column": "",
            "severity": self.severity(session.settings), "success": not said, "unexpected": len(said),
            "rows": frame.height, "examples": json.dumps(said[:5]) if said else None,
            "checked_at": session.now.astimezone(UTC),
        }  # fmt: skip
        table = declared("meta.checks")
        session.checks.append(table.conform(pl.DataFrame([row], schema=table.schema())))
        told = {f"{i}": words for i, words in enumerate(said[:EXAMPLES], 1)}
        yield self._result(session, not said, {"rows": frame.height, "failed": len(said), **told})

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        return {}

    def _result(
        self, session: Session, passed: bool, metadata: Mapping[str, Any]
    ) -> dg.AssetCheckResult:
        severe = self.severity(session.settings) == "error"
        return dg.AssetCheckResult(
            asset_key=asset_key(self.table),
            check_name=self.check,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            metadata=metadata,
        )


def HoldingsWatch() -> RowWatch:  # noqa: N802 - reads as a class where it is used
    """Positions whose price is stale, unknown or gone."""
    return RowWatch(
        "clean.holdings_prices",
        "holdings_have_prices",
        "every supplied position has a price that is not stale",
        pl.col("words").is_not_null(),
        pl.format("{}: {}", "mandate", "words"),
        lambda s: "warn",
    )


def ComplianceWatch() -> RowWatch:  # noqa: N802 - reads as a class where it is used
    """Targets that miss a limit of their mandate."""
    return RowWatch(
        "portfolio.compliance",
        "targets_comply",
        "the targets of every live decision keep every limit of their mandate",
        (pl.col("stage") == "target") & ~pl.col("passed"),
        pl.format("{}: {}", "mandate", "words"),
        lambda s: s.portfolio.compliance,
    )
