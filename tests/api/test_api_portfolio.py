"""A portfolio as it is served: what binds at its decision and whether its limits are kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import small_root
from asgi_client import Client

from wealthos_pipeline.api.app import create_app
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import warehouse
from wealthos_pipeline.data.storage.run import Run


def test_a_portfolio_says_what_binds_and_which_limits_are_kept(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    root = small_root.build(tmp_path, calendar)
    day = root.days[-1]
    of = {"mandate": "balanced", "run_kind": "live", "date": day}
    binding = [
        of | {"limit": limit, "kind": limit, "words": f"words of {limit}", "value": 0.3, "price": p}
        for limit, p in (("turnover", 0.001), ("upper", 0.004))
    ]
    old = {"limit": "upper", "kind": "upper", "words": "of another day", "value": 0.3, "price": 1.0}
    binding.append(of | old | {"date": root.days[-2]})
    checked = [
        of | {
            "stage": stage, "limit": "upper", "kind": "upper", "words": "At most 30 % a name",
            "worst": "id0", "value": 0.31 if not ok else 0.3, "bound": 0.3,
            "excess": 0.0 if ok else 0.01, "tolerance": 1e-8, "passed": ok,
        }
        for stage, ok in (("target", True), ("held", False))
    ]  # fmt: skip
    now = calendar.known_at(day) + timedelta(hours=3)
    with Run.open(root.lake, root.settings, now=now, run_id="run-with-limits") as run:
        for name, rows in {"binding": binding, "compliance": checked}.items():
            table = contract(f"portfolio.{name}")
            root.lake.replace(table.name, table.conform(pl.DataFrame(rows)))
        manifest = run.publish(as_of=day, source="sample", finished_at=now)
    warehouse.publish(root.lake, manifest)
    client = Client(create_app(root.settings))
    body = client.get("/v1/portfolio/balanced").json()
    assert [x["limit"] for x in body["binding"]] == ["upper", "turnover"]
    assert body["binding"][0]["price"] == 0.004
    assert [(x["stage"], x["passed"]) for x in body["compliance"]] == [
        ("held", False),
        ("target", True),
    ]
    assert body["solve"]["objective_kind"] == "mean_variance"
    bare = client.get("/v1/portfolio/impossible").json()
    assert (bare["binding"], bare["compliance"]) == ([], [])
