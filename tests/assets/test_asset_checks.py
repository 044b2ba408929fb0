"""The columns of a rule are one check in the UI; what failed is named by column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from assets._shared import checks
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.utils import validation

PRICES = contract("clean.prices")


def judged(**failed: int) -> pl.DataFrame:
    """``meta.checks`` rows of ``clean.prices``: ``not_null`` fails on these columns."""
    rows = [
        {
            "run_id": "r", "table": PRICES.name, "check": rule.check, "column": rule.column,
            "severity": rule.severity, "success": not (rule.check == "not_null" and rule.column in failed),
            "unexpected": failed.get(rule.column, 0) if rule.check == "not_null" else 0, "rows": 100,
            "examples": "[1]", "checked_at": datetime(2024, 1, 2, tzinfo=UTC),
        }
        for rule in validation.rules(PRICES)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def shown(found: Any) -> dict[str | None, dg.AssetCheckResult]:
    return {r.check_name: r for r in found}


def test_every_rule_is_in_one_check_and_names_do_not_clash() -> None:
    for name in ("clean.prices", "portfolio.targets"):
        made = checks.groups(contract(name))
        assert len({g.name for g in made}) == len(made)
        told = {(g.check, g.severity, c) for g in made for c in g.columns}
        assert told == {(r.check, r.severity, r.column) for r in validation.rules(name)}


def test_what_failed_is_named_by_column() -> None:
    found = shown(checks.results(PRICES, judged(close=2, currency=3)))
    assert {n for n, r in found.items() if not r.passed} == {"not_null"}
    told = {k: v.value for k, v in found["not_null"].metadata.items()}
    assert (told["unexpected"], told["rows"]) == (5, 100)
    assert told["examples close"] == "2: [1]"
    assert told["examples currency"] == "3: [1]"
    assert found["not_null"].severity == dg.AssetCheckSeverity.ERROR


def test_an_idle_check_says_what_it_said_last() -> None:
    found = shown(checks.idle(PRICES, {("clean.prices", "not_null", "close"): False}))
    assert not found["not_null"].passed
    assert all(r.passed for n, r in found.items() if n != "not_null")
