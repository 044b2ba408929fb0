"""CSV files that a person writes in ``data/inputs``: read as text, refused with every fault at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from wealthos_pipeline.core.errors import ConfigError


def read(
    path: Path, columns: Mapping[str, pl.DataType], needed: Sequence[tuple[str, ...]]
) -> pl.DataFrame:
    """The file's cells as text without blanks around them, null where empty; no row where there is
    no file.

    needed: columns that must be there; of a tuple of several, one. ConfigError where it is no CSV,
    and for every column that is missing or not among ``columns``.
    """
    if not path.is_file():
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))
    try:
        text = pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as CSV: {error}") from error
    text = text.rename({c: c.strip().lower() for c in text.columns})
    missing = [" or ".join(names) for names in needed if not {*names} & {*text.columns}]
    unknown = [c for c in text.columns if c not in columns]
    if missing or unknown:
        raise ConfigError(
            f"{path}: missing columns {missing}, unknown columns {unknown}; it may have: "
            f"{', '.join(columns)}"
        )
    return text.with_columns(pl.all().str.strip_chars().replace("", None))


def typed(
    text: pl.DataFrame, columns: Mapping[str, pl.DataType], faults: list[str]
) -> pl.DataFrame:
    """``text`` (of ``read``) with ``columns`` and their types, null where a column is not given; cells
    that cannot be read are null and told in ``faults``."""
    return pl.DataFrame([_column(text, name, dtype, faults) for name, dtype in columns.items()])


def _column(text: pl.DataFrame, name: str, dtype: pl.DataType, faults: list[str]) -> pl.Series:
    if name not in text.columns:
        return pl.Series(name, [None] * text.height, dtype=dtype)
    given = text[name]
    if dtype == pl.String():
        return given
    if dtype == pl.Date():
        parsed, words = given.str.to_date("%Y-%m-%d", strict=False), "YYYY-MM-DD"
    else:
        parsed, words = given.cast(dtype, strict=False), "a decimal number such as -0.3"
    for i in (parsed.is_null() & given.is_not_null()).arg_true():
        faults.append(f"row {i + 2}: {name} {given[i]!r} is not {words}")
    return parsed


def refuse(path: Path, faults: Sequence[str]) -> None:
    """ConfigError with every fault, where there is one."""
    if faults:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  - {f}" for f in faults))
