from __future__ import annotations

from wealthos_pipeline.api.models import Portfolio


def test_a_portfolio_says_which_snapshot_its_sectors_are_from(client):
    """The title of the bias in the catalog, word for word."""
    mandate = client.get("/v1/portfolio").json()["items"][0]["mandate"]
    answer = Portfolio(**client.get(f"/v1/portfolio/{mandate}").json())
    assert answer.sector_static == "Sectors as of 2024-03-08, a snapshot"
    schema = client.get("/openapi.json").json()["components"]["schemas"]["Portfolio"]
    assert "snapshot" in schema["properties"]["sector_static"]["description"]
