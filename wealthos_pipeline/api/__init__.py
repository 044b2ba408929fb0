"""A thin, read-only HTTP service over the published warehouse. Loopback only, no authentication."""

from wealthos_pipeline.api.app import create_app

__all__ = ["create_app"]
