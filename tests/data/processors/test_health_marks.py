"""What happened to the bars of each session, counted, and by month as shares."""

from __future__ import annotations

from datetime import date

import polars as pl

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import health
from wealthos_pipeline.data.processors.prices import Flag

DAYS = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1)]


def _rows(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = contract(table).schema()
    return pl.DataFrame(rows, schema={n: schema[n] for n in rows[0]})


def test_every_mark_counts_bars_once() -> None:
    both = int(Flag.EXTREME | Flag.VOLUME_SPIKE)
    prices = pl.DataFrame(
        {
            "date": [DAYS[0], DAYS[0], DAYS[1], DAYS[1]],
            "flags": [int(Flag.STALE), both, both | int(Flag.STALE), 0],
        },
        schema={"date": pl.Date, "flags": pl.Int32},
    )
    adjustments = _rows(
        "clean.adjustments",
        [
            {"instrument_id": "A", "date": DAYS[1], "rule": "unit_switch", "field": f}
            for f in ("close", "open")
        ],
    )
    quarantine = _rows(
        "clean.quarantine",
        [
            {"table": t, "source": "s", "symbol": "A", "date": DAYS[2], "rule": r}
            for t, r in (
                ("raw.prices", "spike"),
                ("raw.prices", "no_close"),
                ("raw.series", "bad_value"),
            )
        ],
    )
    got = health.marks(prices, adjustments, quarantine, DAYS)
    assert got.rows() == [
        (DAYS[0], 1, 1, 0, 0),
        (DAYS[1], 1, 1, 1, 0),
        (DAYS[2], 0, 0, 0, 1),
    ]


def test_months_are_shares_of_what_was_expected() -> None:
    coverage = contract("meta.coverage").conform(
        pl.DataFrame(
            {
                "date": [*DAYS, DAYS[0]],
                "table": [*["clean.prices"] * 3, "factors.scores_equity"],
                "rows": [90, 100, 0, 1],
                "expected": [100, 100, 0, 100],
                "stale": [2, 0, 0, None],
                "outliers": [0, 1, 0, None],
                "adjusted": [0, 0, 0, None],
                "rejected": [10, 0, 0, None],
            }
        )
    )
    months = health.monthly(coverage)
    assert months["month"].to_list() == [date(2024, 1, 1), date(2024, 2, 1)]
    assert months.drop("month").row(0) == (10 / 200, 2 / 200, 1 / 200, 0.0, 10 / 200)
    assert months.drop("month").row(1) == (None,) * 5


def test_a_month_is_one_character_by_its_share() -> None:
    shares = [0.0, 0.0001, 0.001, 0.01, 0.1, 1.0, None]
    months = pl.DataFrame(
        {"month": [date(2023, m, 1) for m in range(1, 8)], "missing": shares},
        schema={"month": pl.Date, "missing": pl.Float64},
    )
    assert health.heat(months) == [("missing", "·░▒▓██ ", 1.0)]
    assert health.heat(months, last=2) == [("missing", "█ ", 1.0)]
