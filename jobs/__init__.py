"""What is run together."""

from __future__ import annotations

import dagster as dg

from assets._shared.describe import asset_key
from assets.ingest import ingest

RAW = tuple(c.name for c in ingest.contracts)

SEARCHES = dg.AssetSelection.assets(asset_key("models.searches"))

EVERYTHING = dg.AssetSelection.all() - SEARCHES
"""What a run computes. Searching parameters takes long, and is a person's decision."""

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

search = dg.define_asset_job(
    "search",
    selection=SEARCHES
    | dg.AssetSelection.assets(asset_key("meta.checks"), asset_key("publish.manifest")),
    description="Search parameters of the models that say how; the fits of the next run use what was found.",
    tags={"wealthos/kind": "search"},
)
"""With the manifest, because what no manifest names is rolled back by the next run; with the checks, which it
carries over."""

JOBS = (daily, retrain, backfill, from_raw, report, search)
