"""What is known of one day only and used for all: sectors, and a universe without a history.

The words are made here, once; the catalog, the report, the API and the command show them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl

from wealthos_pipeline.data.processors.gaps import unknown_returns
from wealthos_pipeline.data.sources.base import Bias, SourceInfo

SECTORS = "static_sectors"
"""Name of the bias that sectors, industries and countries are one description used for all dates."""
UNIVERSE = "hindsight_universe"
"""Name of the bias that nobody says who belonged to the universe when."""
DELISTINGS = "unknown_terminal_returns"
"""Name of the bias that nobody says what holders of delisted names got."""
_SAME = (SECTORS, "sector_snapshot")


def in_words(first: date, last: date) -> str:
    """``sectors as of 2024-03-08, a snapshot``; with both days where they were fetched on several."""
    days = f"{first}" if first == last else f"{first} to {last}"
    return f"sectors as of {days}, a snapshot"


def fetched(raw_instruments: pl.DataFrame) -> tuple[date, date] | None:
    """First and last day of the fetches whose sectors stand for the time before them; None where no
    sector is given. raw_instruments: all versions (``source, symbol, fetched_at, sector``)."""
    first = raw_instruments.sort("source", "symbol", "fetched_at").unique(
        ["source", "symbol"], keep="first", maintain_order=True
    )
    stamps = first.filter(pl.col("sector").is_not_null())["fetched_at"]
    lo, hi = stamps.min(), stamps.max()
    if not isinstance(lo, datetime) or not isinstance(hi, datetime):
        return None
    return lo.astimezone(UTC).date(), hi.astimezone(UTC).date()


def declared(info: SourceInfo, read: Callable[[str], pl.DataFrame]) -> SourceInfo:
    """``info`` with the biases that the tables show.

    read: table → its rows (``raw.instruments``, ``clean.membership``, ``clean.gaps`` are read). What the source says
    itself of its sectors is kept in the detail.
    """
    own = [b for b in info.biases if b.name in _SAME]
    biases = [b for b in info.biases if b.name not in (*_SAME, UNIVERSE)]
    days = fetched(read("raw.instruments"))
    if days is not None:
        words = in_words(*days)
        said = "".join(f" {b.title}. {b.detail}" for b in own)
        biases.append(
            Bias(
                SECTORS,
                words[0].upper() + words[1:],
                "They are used for all dates, before they were known: in scores that are neutralised on "
                "sectors, limits on sectors and groups, and attribution by sector." + said,
            )
        )
    members = read("clean.membership")
    if members.filter(pl.col("withdrawn_at").is_null()).is_empty():
        biases.append(
            Bias(
                UNIVERSE,
                "Today's list, chosen in hindsight",
                "Nobody says who belonged to the universe when: every name of today's list counts on every "
                "day on which it has a bar, and the list was made knowing how things went.",
            )
        )
    lost = unknown_returns(read("clean.gaps"), read("clean.instruments"))
    if lost:
        some = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        biases.append(
            Bias(
                DELISTINGS,
                f"{len(lost)} delisting{'s' if len(lost) > 1 else ''} without a known terminal return",
                "Their holders are taken to have got the last close. Who is delisted for cause mostly loses "
                "much of it, so returns of what held such names are too high. What they got can be stated "
                f"in data/inputs/delistings.csv: {some}.",
            )
        )
    return replace(info, biases=tuple(biases))
