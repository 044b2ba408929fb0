"""Every SQL block of ``docs/queries.md`` answers on the sample's warehouse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "queries.md"
BLOCKS = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), flags=re.S)
MAY_BE_EMPTY = ("clean.quarantine", "portfolio.solves", "fundamentals_asof", "clean.macro")
"""Nothing wrong on the sample is an answer too; it has no statements and no statistics."""


def test_there_are_ten() -> None:
    headings = re.findall(r"^## \d+\. ", PAGE.read_text("utf-8"), flags=re.M)
    assert len(headings) == 10
    assert len(BLOCKS) >= 10


@pytest.mark.parametrize("query", BLOCKS, ids=lambda q: q.split("\n")[0][:50])
def test_query_answers(query: str, sample_root: Path) -> None:
    from wealthos_pipeline.data.storage import warehouse

    rows = warehouse.query(sample_root, query.strip().rstrip(";"), limit=10_000)
    assert rows.width > 1
    if not any(table in query for table in MAY_BE_EMPTY):
        assert rows.height > 0


def test_effects_of_a_day_add_up_to_the_active_return(sample_root: Path) -> None:
    """What the page says of query 8."""
    from wealthos_pipeline.data.storage import warehouse

    worst = warehouse.query(
        sample_root,
        """
        with effects as (
            select mandate, scheme, date, sum(value) as total from portfolio.attribution
            where benchmark = 'equal_weight' group by all
        )
        select count(*) as days, max(abs(e.total - (n.return_net - b.return_net))) as gap
        from effects e
        join portfolio.nav n on n.mandate = e.mandate and n.date = e.date and n.run_kind = 'backtest'
        join portfolio.nav b on b.mandate = 'equal_weight' and b.date = e.date and b.run_kind = 'backtest'
        """,
        limit=1,
    )
    assert worst["days"][0] > 100
    assert worst["gap"][0] < 1e-10
