"""The landing folder: panel files that arrive one after another, read as one panel.

Files are taken in order of arrival. Where two give the same symbol and date, the later one is
right. A later file of back-adjusted prices may have another basis than an earlier one: where the
rows that both give differ by one ratio, the earlier rows are brought to the later basis by it.
Nothing in the folder is ever moved or deleted, and the same files always give the same panel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.errors import PanelError
from wealthos_pipeline.data.sources import panel as panels

KINDS = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv")
_PRICES = ("open", "high", "low", "close", "dividend")


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A panel that somebody dropped; ``fingerprint`` changes when the file does."""

    path: Path
    fingerprint: str


def ready(folder: Path) -> list[Path]:
    """Panel files in ``folder``, oldest first; hidden, partial and empty ones are left for later.

    A folder that does not exist holds none.
    """
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        name = path.name.lower()
        if name.startswith((".", "~", "_")) or not name.endswith(KINDS) or not path.is_file():
            continue
        stat = path.stat()
        if stat.st_size:
            found.append((stat.st_mtime_ns, path.name, path))
    return [path for *_, path in sorted(found)]


def read_landing(folder: Path, seen: Collection[str] = ()) -> list[LandedFile]:
    """The ``ready`` files whose fingerprint is not in ``seen``, oldest first."""
    landed = []
    for path in ready(folder):
        stat = path.stat()
        mark = f"{path.name}|{stat.st_size}|{stat.st_mtime_ns}"
        landed.append(LandedFile(path, hashlib.blake2b(mark.encode(), digest_size=8).hexdigest()))
    return [file for file in landed if file.fingerprint not in seen]


def read(folder: Path) -> tuple[panels.Panel, list[tuple[str, str]]]:
    """All files of ``folder`` as one panel, and ``file, reason`` of those that cannot be used.

    PanelError when there is no usable file; it lists the faults of all.
    """
    whole: panels.Panel | None = None
    failures: list[tuple[str, str]] = []
    for path in ready(folder):
        try:
            panel = panels.read(path)
        except PanelError as error:
            failures += [(path.name, fault) for fault in error.faults]
            continue
        whole = panel if whole is None else _joined(whole, panel)
    if whole is None:
        faults = [f"{name}: {fault}" for name, fault in failures]
        raise PanelError(folder.name, faults or ["the folder holds no Parquet or CSV file yet"])
    return whole, failures


def _joined(old: panels.Panel, new: panels.Panel) -> panels.Panel:
    key = ["symbol", "date"]
    both = old.rows.join(new.rows, on=key, how="inner", suffix="_new")
    kept = old.rows.join(new.rows, on=key, how="anti").join(
        _rescaling(both), on="symbol", how="left", maintain_order="left"
    )
    here = [n for n in (*_PRICES, "adj_close", "volume") if n in kept.columns]
    scale = dict.fromkeys(_PRICES, "_price") | {"adj_close": "_adjusted", "volume": "_shares"}
    kept = kept.with_columns(
        pl.when(pl.col(scale[n]).is_not_null())
        .then(pl.col(n) * pl.col(scale[n]))
        .otherwise(n)
        .alias(n)
        for n in here
    ).drop("_price", "_adjusted", "_shares")
    rejected = pl.concat([old.rejected.join(new.rows, on=key, how="anti"), new.rejected])
    rows = pl.concat([kept, new.rows], how="diagonal").join(new.rejected, on=key, how="anti")
    fields = tuple(f for f in panels.NUMERIC if f in {*old.fields, *new.fields})
    ignored = tuple(dict.fromkeys((*old.ignored, *new.ignored)))
    return panels.Panel(
        rows, rejected.unique(key, keep="last", maintain_order=True), fields, ignored, new.layout
    )


def _rescaling(both: pl.DataFrame) -> pl.DataFrame:
    """Symbol → factors from the old basis to the new; no row where the basis stayed.

    One row repeated without change says that it stayed; else the median of the ratios counts.
    """
    ratio = pl.col("close_new") / pl.col("close")
    columns = [pl.lit(None, dtype=pl.Float64).alias(n) for n in ("_adjusted", "_shares")]
    same = ratio == 1.0
    if {"adj_close", "adj_close_new"} <= set(both.columns):
        adjusted = pl.col("adj_close_new") / pl.col("adj_close")
        same &= (adjusted == 1.0).fill_null(value=True)
        columns[0] = adjusted.alias("_adjusted")
    if {"volume", "volume_new"} <= set(both.columns):
        shares = pl.when(pl.col("volume") > 0).then(pl.col("volume_new") / pl.col("volume"))
        columns[1] = shares.alias("_shares")
    factors = ["_price", "_adjusted", "_shares"]
    return (
        both.with_columns(ratio.alias("_price"), *columns, same.alias("_same"))
        .filter((pl.col("_price") > 0).fill_null(value=False))
        .group_by("symbol")
        .agg(pl.col("_same").any(), pl.col(factors).median())
        .filter(~pl.col("_same"))
        .select("symbol", *factors)
        .sort("symbol")
    )
