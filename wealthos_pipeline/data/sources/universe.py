"""Which symbols a vendor is asked for: those in the settings, or a CSV with a column ``symbol``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import SourceSettings

_WORDS = {"symbol": ("ticker", "code")}


def path(settings: SourceSettings) -> Path:
    """The universe file: as set, or ``data/inputs/universe.csv``."""
    from wealthos_pipeline.utils.config import inputs_dir

    return settings.universe or inputs_dir() / "universe.csv"


def symbols(settings: SourceSettings, source: str) -> tuple[str, ...]:
    """The symbols in their order, each once. ConfigError says how to name them."""
    if settings.symbols:
        named = [s.strip() for s in settings.symbols]
    else:
        file = path(settings)
        if not file.is_file():
            raise ConfigError(
                f"the source {source!r} is asked symbol by symbol and none are named: there is no "
                f"{file}. Add --symbols AAPL,MSFT, or write that file as a CSV with a column "
                "'symbol', or name another with --universe FILE."
            )
        named = read(file)
    found = tuple(dict.fromkeys(s for s in named if s))
    if not found:
        raise ConfigError(f"the source {source!r}: no symbols are named; add --symbols AAPL,MSFT")
    return found


def read(file: Path) -> list[str]:
    """Symbols of a universe file; ConfigError where it has none."""
    from wealthos_pipeline.data.sources import tabular

    try:
        table = tabular.read(file)
    except SourceError as error:
        raise ConfigError(f"the universe cannot be read: {error}") from error
    columns, faults = tabular.match(table.frame.columns, _WORDS)
    if faults or "symbol" not in columns:
        raise ConfigError(
            f"{file.name}: {'; '.join(faults) or 'no column symbol'}; it has: "
            f"{', '.join(table.frame.columns)}. Name one column 'symbol'."
        )
    column = table.frame[columns["symbol"]].cast(str)
    return [s for s in (str(v).strip() for v in column.drop_nulls()) if s and not s.startswith("#")]
