"""What is looked at when a factor family is written: coverage, distribution and sign of its newest dates.

The numbers come from ``factors.health``. An event costs Dagster's storage some 30 ms, so a family has
three checks, each with what it found by factor; all warn and none blocks. ``meta.checks`` keeps a row a
check that passed, and one a factor that did not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets._shared.describe import asset_key, sparkline
from assets._shared.resources import Session
from wealthos_pipeline.core.data import TableContract
from wealthos_pipeline.core.data import contract as declared

if TYPE_CHECKING:
    from assets._shared.work import Work
    from wealthos_pipeline.factors.health import Finding, Health

EXAMPLES = 5
YEARS = 5
"""Years of rank IC that a sparkline shows."""


class FactorWatch:
    """The watch of factor families; keeps the last thing that it looked at, for its metadata."""

    def __init__(self) -> None:
        self._seen: tuple[tuple[str, str], Health] | None = None
        self._ic: tuple[str, Mapping[str, list[float | None]]] | None = None

    def specs(self, contract: TableContract) -> Sequence[dg.AssetCheckSpec]:
        from wealthos_pipeline.factors.health import CHECKS

        return [
            dg.AssetCheckSpec(name, asset=asset_key(contract.name), description=words)
            for name, words in CHECKS.items()
        ]

    def idle(self, session: Session, contract: TableContract) -> Iterator[dg.AssetCheckResult]:
        """What the checks said last still stands."""
        from wealthos_pipeline.factors.health import CHECKS

        said: dict[str, bool] = dict.fromkeys(CHECKS, True)
        for (table, check, _), passed in session.verdicts.items():
            if table == contract.name and check in said:
                said[check] &= passed
        for name, passed in said.items():
            yield _result(
                contract, name, passed, {"note": "no new rows; this is what it said last"}
            )

    def results(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Iterator[dg.AssetCheckResult]:
        from wealthos_pipeline.factors.health import CHECKS

        health = self._health(work, contract)
        session = work.session
        found = {
            name: {f.factor: f for f in health.findings if f.check == name} for name in CHECKS
        }  # of several days of a factor the last one
        session.checks.append(_rows(session, contract, health, found))
        for name in CHECKS:
            metadata: dict[str, Any] = {
                "factors": len(_factors(contract)),
                "dates": f"{health.dates[0]} … {health.dates[-1]}" if health.dates else "none",
            }
            for f in list(found[name].values())[: 4 * EXAMPLES]:
                metadata[f.factor] = f"{f.date}: {f.words}"
            yield _result(contract, name, not found[name], metadata)

    def metadata(
        self, work: Work, contract: TableContract, frame: pl.DataFrame
    ) -> Mapping[str, Any]:
        """Coverage, values and rank IC by factor as one Markdown table. The IC is of the lake as it stood
        before this run: it is computed from these values, later."""
        ic = self._monthly_ic(work.session)
        lines = [
            "| factor | last value | coverage | usual | median value, last 60 sessions | rank IC by month |",
            "| --- | --- | ---: | ---: | --- | --- |",
        ]
        for name, last, share, usual, line in self._health(work, contract).table.iter_rows():
            months = ic.get(name, [])[-12 * YEARS :]
            known = [v for v in months if v is not None]
            told = (
                f"`{sparkline(months)}` {sum(known) / len(known):+.3f} over {len(known)} months"
                if known
                else "not known yet"
            )
            lines.append(
                f"| {name} | {last or 'never'} | {share:.0%} | {usual:.0%} | `{sparkline(line)}` | {told} |"
            )
        return {"health by factor": dg.MetadataValue.md("\n".join(lines))}

    def _health(self, work: Work, contract: TableContract) -> Health:
        from wealthos_pipeline.factors import health

        session = work.session
        key = (session.run.run_id, contract.name)
        if self._seen is None or self._seen[0] != key:
            names, lake, calendar = _factors(contract), session.lake, session.calendar
            columns = ["date", "instrument_id", *names]
            last = lake.scan(contract.name).select(pl.col("date").max()).collect().item()
            rows = contract.empty()
            if last is not None:
                dense, sparse = health.wanted(last, calendar)
                kept = (pl.col("date") >= dense) | pl.col("date").is_in(sparse)
                first = sparse[0] if sparse else dense
                rows = lake.scan(contract.name, start=first).filter(kept).select(columns).collect()
            self._seen = key, health.examine(rows, names, calendar, start=work.start)
        return self._seen[1]

    def _monthly_ic(self, session: Session) -> Mapping[str, list[float | None]]:
        from wealthos_pipeline.factors.health import monthly_ic

        if self._ic is None or self._ic[0] != session.run.run_id:
            start = session.calendar.offset(
                session.calendar.last_known(session.now), -252 * (YEARS + 1)
            )
            columns = ["factor", "universe", "horizon", "date", "rank_ic"]
            rows = session.lake.scan("factors.performance", columns=columns, start=start)
            self._ic = session.run.run_id, monthly_ic(rows.collect())
        return self._ic[1]


def _factors(contract: TableContract) -> list[str]:
    return [c for c in contract.column_names if c not in contract.key]


def _result(
    contract: TableContract, name: str, passed: bool, metadata: Mapping[str, Any]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key(contract.name),
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


def _rows(
    session: Session,
    contract: TableContract,
    health: Health,
    found: Mapping[str, Mapping[str, Finding]],
) -> pl.DataFrame:
    """Rows of ``meta.checks``: one a check that passed, one a factor that did not."""
    table = declared("meta.checks")
    made = {"run_id": session.run.run_id, "table": contract.name, "severity": "warn",
            "checked_at": session.now.astimezone(UTC)}  # fmt: skip
    rows: list[dict[str, Any]] = []
    for check, bad in found.items():
        rows += [
            made | {
                "check": check, "column": f.factor, "success": False, "unexpected": f.affected,
                "rows": f.names, "examples": json.dumps([f"{f.date}: {f.words}"]),
            }
            for f in bad.values()
        ]  # fmt: skip
        if not bad:
            rows.append(made | {"check": check, "column": "", "success": True, "unexpected": 0,
                                "rows": health.names, "examples": None})  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema=table.schema()))
