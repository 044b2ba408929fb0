"""Small frames and lakes for the tests of storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.core.data import Column, TableContract, wide_contract
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.utils.config import Settings

DAY0 = date(2019, 12, 30)


class Frames:
    """Frames that fit declared contracts; ``value`` makes them differ."""

    now = datetime(2024, 3, 9, 12, tzinfo=UTC)

    @staticmethod
    def days(n: int, first: date = DAY0) -> list[date]:
        return [first + timedelta(days=i) for i in range(n)]

    def regime(self, n: int, value: float = 0.5, first: date = DAY0) -> pl.DataFrame:
        return pl.DataFrame({"date": self.days(n, first)}).with_columns(
            pl.lit(value).alias("p_turbulent"),
            pl.lit("calm").alias("regime"),
            pl.lit(None, pl.Date).alias("refit_date"),
        )

    def prices(
        self,
        n: int,
        names: Sequence[str] = ("AAA", "BBB"),
        first: date = DAY0,
        close: float = 10.0,
    ) -> pl.DataFrame:
        keys = pl.DataFrame({"date": self.days(n, first)}).join(
            pl.DataFrame({"instrument_id": list(names)}), how="cross"
        )
        return keys.with_columns(
            pl.col("date").cast(pl.Int32).alias("slot"),
            pl.lit(close).alias("close"),
            pl.lit(1.0).alias("split_ratio"),
            pl.lit(1.0).alias("split_index"),
            pl.lit(1.0).alias("tr_index"),
            pl.lit(0, pl.Int32).alias("flags"),
            pl.lit("USD").alias("currency"),
            pl.lit("test").alias("source"),
            pl.lit("assumed").alias("basis"),
            (pl.col("date").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=21)).alias(
                "known_at"
            ),
        )

    def wide(
        self, n: int, factors: Sequence[str] = ("f1", "f2"), value: float = 1.0
    ) -> pl.DataFrame:
        return self.prices(n).select(
            "date", "instrument_id", *(pl.lit(value, pl.Float32).alias(f) for f in factors)
        )

    @staticmethod
    def family(factors: Sequence[str] = ("f1", "f2"), name: str = "equity_own") -> TableContract:
        columns = [Column(f, "f32", f"factor {f}", "decimal", True) for f in factors]
        return wide_contract(f"factors.{name}", "Factors of a test.", columns)


@pytest.fixture
def frames() -> Frames:
    return Frames()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "root")


@pytest.fixture
def new_lake(tmp_path: Path) -> Callable[[], Lake]:
    """Makes lakes with empty roots."""
    made = 0

    def make() -> Lake:
        nonlocal made
        made += 1
        return Lake(tmp_path / f"root{made}")

    return make


@pytest.fixture
def settings() -> Settings:
    return Settings()
