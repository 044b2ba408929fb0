"""What a page is made of. The mail, the interactive page and the plain text show the same blocks.

``spare`` of a block: 0 where the mail must have it; else, where the mail would be too long, blocks of the
highest number are left to the interactive page first (``shorten``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table cell; tone: '', neg, muted, strong, info, warning or critical."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """Heading; right-aligned where ``right``; left out on narrow screens where ``wide``; on the
    interactive page only where ``full``."""

    label: str
    right: bool = True
    wide: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under columns.

    totals: that many of the last rows are sums. mail_rows: the mail shows so many rows and says how
    many more the full page has; None: all. full: on the interactive page only.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""
    totals: int = 0
    mail_rows: int | None = None
    full: bool = False
    spare: int = 0
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. tone: '', muted, warning or critical; full: on the interactive page only."""

    text: str
    tone: str = ""
    full: bool = False
    spare: int = 0
    kind: str = field(default="text", init=False)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section, with a few words beside it."""

    text: str
    aside: str = ""
    full: bool = False
    spare: int = 0
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a list: a mark (a side, a severity), what it is about, and a sentence."""

    mark: str
    head: str
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A list. mail_rows as in ``Table``."""

    items: tuple[Item, ...]
    mail_rows: int | None = None
    full: bool = False
    spare: int = 0
    kind: str = field(default="items", init=False)


@dataclass(frozen=True, slots=True)
class Figures:
    """A strip of label, value, small print."""

    figures: tuple[tuple[str, str, str, str], ...]
    full: bool = False
    spare: int = 0
    kind: str = field(default="figures", init=False)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart by name; ``alt`` says what it shows to those who do not see it."""

    name: str
    alt: str
    caption: str
    full: bool = False
    spare: int = 0
    kind: str = field(default="chart", init=False)


Block = Table | Text | Heading | Items | Figures | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A numbered part of the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page: title, one line under it, what stands above the sections, the sections, and
    what stands on every page."""

    title: str
    subtitle: str
    preheader: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    footer: tuple[Item, ...]


def cells(*texts: str | Cell) -> tuple[Cell, ...]:
    """A row of cells."""
    return tuple(t if isinstance(t, Cell) else Cell(t) for t in texts)


def spared(blocks: Iterable[Block], rank: int) -> list[Block]:
    """``blocks`` that the mail may leave to the full page, at ``rank`` or their own higher one."""
    return [replace(b, spare=max(b.spare, rank)) for b in blocks]


def signed(text: str) -> Cell:
    """A cell whose negative number is toned."""
    return Cell(text, "neg" if text.startswith("−") else "")
