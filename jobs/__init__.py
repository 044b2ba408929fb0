"""What is run together."""

from __future__ import annotations

import dagster as dg

from assets._shared.describe import asset_key
from assets.ingest import ingest

RAW = tuple(c.name for c in ingest.contracts)

EVERYTHING = dg.AssetSelection.all()

daily = dg.define_asset_job(
    "daily",
    selection=EVERYTHING,
    description="The day: ingest what is new, recompute what it touches, publish, report, mail.",
)

retrain = dg.define_asset_job(
    "retrain",
    selection=EVERYTHING,
    description="The day on the first session of the week, when the live models are refitted.",
    tags={"wealthos/kind": "retrain"},
)

backfill = dg.define_asset_job(
    "backfill",
    selection=EVERYTHING,
    description="Recompute a range: set resources.session.from_date in the run configuration.",
    tags={"wealthos/kind": "backfill"},
)

from_raw = dg.define_asset_job(
    "from_raw",
    selection=EVERYTHING - dg.AssetSelection.assets(*(asset_key(t) for t in RAW)),
    description="Everything but ingestion: rebuild from the raw rows that the root holds.",
)

report = dg.define_asset_job(
    "report",
    selection=dg.AssetSelection.assets(["publish", "report"], ["publish", "mail"]),
    description="Render and send the report of the last complete run again.",
)

JOBS = (daily, retrain, backfill, from_raw, report)
