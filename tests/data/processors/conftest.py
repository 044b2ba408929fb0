from __future__ import annotations

from datetime import UTC, datetime

import pytest
from vendor import Vendor

from wealthos_pipeline.data.processors import instruments


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def vendor(calendar):
    """Factory of vendors."""

    def make(seed: int = 7, **options) -> Vendor:
        return Vendor(seed, calendar, **options)

    return make


@pytest.fixture
def registry(calendar):
    """clean.instruments of a vendor."""

    def make(v: Vendor):
        keys = v.adjusted(v.sessions - 1)
        return instruments.clean(v.instruments(), keys, calendar=calendar)

    return make
