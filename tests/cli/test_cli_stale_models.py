"""``wealthos models list`` says which fits saw rows that were restated since."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import small_root

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.run import Run


def test_stale_fits_are_counted_and_explained(
    call, tmp_path: Path, calendar: TradingCalendar
) -> None:
    root = small_root.build(tmp_path, calendar)
    lake, now = root.lake, calendar.known_at(root.days[-1]) + timedelta(hours=5)
    with Run.open(lake, root.settings, now=now, run_id="restated") as run:
        walk = pl.col("kind") == "walk_forward"
        lake.replace(
            "models.registry",
            lake.read("models.registry").with_columns(
                pl.when(walk).then(pl.lit(now)).alias("stale_since"),
                pl.when(walk).then(pl.lit("rows of 2020-01-10 changed")).alias("stale_reason"),
            ),
        )
        run.publish(as_of=root.days[-1], source="sample")
    folder = str(root.settings.root)
    rows = {r["kind"]: r for r in call("models", "list", "--root", folder, "--json").json}
    assert (rows["walk_forward"]["stale"], rows["live"]["stale"]) == (1, 0)
    assert rows["walk_forward"]["stale_reason"] == "rows of 2020-01-10 changed"
    said = call("models", "list", "--root", folder)
    assert "--full" in said.err
