"""Data checks as Dagster shows them: one asset check a rule, with the columns it failed on.

``meta.checks`` keeps every rule by column. An event costs Dagster's storage some 5 ms, and a rule such
as ``not_null`` has a dozen columns: so the columns of a rule are one check here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
import polars as pl

from assets._shared.describe import asset_key
from wealthos_pipeline.core.data import TableContract


@dataclass(frozen=True)
class Group:
    """The rules of a table that are one check: ``check`` at ``severity``, by column."""

    name: str
    check: str
    severity: str
    columns: tuple[str, ...]


def groups(contract: TableContract) -> list[Group]:
    """The checks of a table, in the order of its rules."""
    from wealthos_pipeline.utils import validation

    found: dict[tuple[str, str], list[str]] = {}
    for rule in validation.rules(contract):
        found.setdefault((rule.check, rule.severity), []).append(rule.column)
    both = {c for c, _ in found if sum(c == other for other, _ in found) > 1}
    return [
        Group(f"{check}_{severity}" if check in both else check, check, severity, tuple(columns))
        for (check, severity), columns in found.items()
    ]


def specs(contract: TableContract) -> list[dg.AssetCheckSpec]:
    """What Dagster must know of the checks of a table before a run."""
    return [
        dg.AssetCheckSpec(
            group.name,
            asset=asset_key(contract.name),
            description=f"{group.check.replace('_', ' ')} {', '.join(c for c in group.columns if c)}".strip(),
            blocking=group.severity == "error",
        )
        for group in groups(contract)
    ]


def idle(
    contract: TableContract, verdicts: Mapping[tuple[str, str, str], bool]
) -> Iterator[dg.AssetCheckResult]:
    """Checks of a table that got no new rows: what they said last (``verdicts``) still stands."""
    for group in groups(contract):
        yield dg.AssetCheckResult(
            asset_key=asset_key(contract.name),
            check_name=group.name,
            passed=all(verdicts.get((contract.name, group.check, c), True) for c in group.columns),
            severity=_severity(group.severity),
            metadata={"rows": 0, "note": "no new rows; this is what it said last"},
        )


def results(contract: TableContract, checks: pl.DataFrame) -> Iterator[dg.AssetCheckResult]:
    """The checks of a table from its rows of ``meta.checks``: counts, and examples by column."""
    for group in groups(contract):
        rows = checks.filter(
            (pl.col("check") == group.check) & (pl.col("severity") == group.severity)
        )
        failed = rows.filter(~pl.col("success"))
        metadata: dict[str, object] = {
            "rows": rows["rows"].max() or 0,
            "columns": ", ".join(c for c in rows["column"] if c),
            "unexpected": int(failed["unexpected"].sum()),
        }
        for column, unexpected, examples in failed.select(
            "column", "unexpected", "examples"
        ).iter_rows():
            metadata[f"examples {column}".strip()] = f"{unexpected:,}: {examples or ''}"
        yield dg.AssetCheckResult(
            asset_key=asset_key(contract.name),
            check_name=group.name,
            passed=failed.is_empty(),
            severity=_severity(group.severity),
            metadata=metadata,
        )


def _severity(word: str) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if word == "error" else dg.AssetCheckSeverity.WARN
