"""The order list as a CSV: what goes to the trading desk or the broker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.errors import StorageError

NAMES = {
    "order_id": "order_id", "mandate": "mandate", "date": "decision_date", "sequence": "sequence",
    "symbol": "symbol", "instrument_id": "instrument_id", "side": "side", "shares": "shares",
    "price": "reference_price", "value": "value", "cost": "estimated_cost",
    "participation": "share_of_daily_volume", "weight_before": "weight_before",
    "target_weight": "target_weight", "weight_after": "weight_after", "reason": "reason",
}  # fmt: skip
"""Column of ``portfolio.orders`` (and ``symbol``) → its name in the file."""

DIGITS = {
    "shares": 6, "price": 6, "value": 2, "cost": 2, "participation": 6, "weight_before": 6,
    "target_weight": 6, "weight_after": 6,
}  # fmt: skip
"""Decimals that a desk reads; the table keeps every bit."""


def lines(orders: pl.DataFrame, symbols: Mapping[str, str]) -> pl.DataFrame:
    """The rows of the file: sells before buys, mandate by mandate."""
    named = orders.with_columns(pl.col("instrument_id").replace(symbols).alias("symbol"))
    return named.sort("mandate", "date", "sequence").select(
        (pl.col(column).round(DIGITS[column]) if column in DIGITS else pl.col(column)).alias(name)
        for column, name in NAMES.items()
    )


def write(orders: pl.DataFrame, symbols: Mapping[str, str], path: Path) -> Path:
    """Write the file, in one rename; StorageError where the folder cannot be written."""
    text = lines(orders, symbols).write_csv(float_scientific=False)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise StorageError(
            f"the orders cannot be written to {path}: {error}. Name another file with --out."
        ) from error
    return path
