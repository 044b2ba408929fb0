"""What the commands print: tables and facts for people, JSON for programs, errors once.

On a terminal Rich draws; anywhere else lines are plain, complete and never wrapped.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import polars as pl


_COMMAND = re.compile(
    r"(?<=`)wealthos (?=[a-z-])|(?<=: )wealthos (?=[a-z-])|(?<=see )wealthos (?=[a-z-])"
)

WORDS = 24
"""Narrower than this a column of words is not made."""


def out() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Standard error: progress, hints, errors."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def program() -> str:
    """What to type to start this program again: its name where the shell finds it, else its path."""
    called = Path(sys.argv[0])
    found = shutil.which("wealthos")
    if called.name != "wealthos" or (found and Path(found).resolve() == called.resolve()):
        return "wealthos"
    try:
        return shlex.quote(str(called.absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(called.absolute()))


def typed(text: str) -> str:
    """``text`` with the commands that it names (`wealthos run`) as this shell takes them."""
    return _COMMAND.sub(lambda _: f"{program()} ", text)


def error_line(message: str) -> None:
    """One error: red, on standard error."""
    first, _, rest = typed(message.strip()).partition("\n")
    err().print(f"[bold red]error[/bold red] [red]{escape(first)}[/red]")
    if rest:
        err().print(escape(rest))


def note(message: str) -> None:
    """A quiet hint on standard error."""
    err().print(f"[dim]{escape(typed(message))}[/dim]")


def emit(body: object) -> None:
    """``body`` as JSON on standard output; what is not a number in JSON becomes null."""
    sys.stdout.write(json.dumps(plain(body), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """``value`` in JSON's types: dates as ISO text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Iterable):
        return [plain(v) for v in value]
    return str(value)


def frame(
    data: pl.DataFrame, *, title: str | None = None, formats: Mapping[str, str] | None = None
) -> None:
    """A Polars frame as a table; ``formats`` gives a format spec by column, e.g. ``.1%``."""
    numbers = {c for c, t in data.schema.items() if t.is_numeric()}
    years = {c: "d" for c in data.columns if c == "year" and data.schema[c].is_integer()}
    how = years | dict(formats or {})
    rows = [
        [cell(v, how.get(c, "")) for c, v in zip(data.columns, row, strict=True)]
        for row in data.rows()
    ]
    table(data.columns, rows, title=title, right=numbers)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    dim: Iterable[int] = (),
) -> None:
    """Rows of text under headings; ``right`` names the columns aligned to the right, ``dim`` the
    rows (by number) that matter less."""
    to_right, faded = set(right), set(dim)
    if not sys.stdout.isatty():
        sys.stdout.write(_aligned(columns, rows, to_right, title))
        return
    if title:
        out().print(f"[bold]{escape(title)}[/bold]")
    wraps = [_wraps(i, rows) for i in range(len(columns))]
    if _narrowest(columns, rows, wraps) > out().width:
        _records(columns, rows)
        return
    grid = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", padding=(0, 1, 0, 0))
    for c, wrap in zip(columns, wraps, strict=True):
        grid.add_column(c, justify="right" if c in to_right else "left", no_wrap=not wrap)
    for i, row in enumerate(rows):
        grid.add_row(*(Text(v) for v in row), style="dim" if i in faded else None)
    out().print(grid)


def _wraps(column: int, rows: Sequence[Sequence[str]]) -> bool:
    """Whether a column holds words that may go on in the next line."""
    return any(len(row[column]) > WORDS and " " in row[column] for row in rows)


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[str]], wraps: Sequence[bool]) -> int:
    """Width of the table with its columns of words as narrow as they may become."""
    widths = [max([len(c), *(len(row[i]) for row in rows)]) for i, c in enumerate(columns)]
    text = sum(min(w, WORDS) if wrap else w for w, wrap in zip(widths, wraps, strict=True))
    return text + 2 * len(columns) + 1


def _records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One value a line: for rows that are wider than the terminal."""
    for i, row in enumerate(rows, 1):
        facts(list(zip(columns, row, strict=True)), title=f"row {i}")


def facts(pairs: Sequence[tuple[str, object]], *, title: str | None = None) -> None:
    """Names and values, one a line."""
    console = out()
    if title:
        console.print(f"[bold]{escape(title)}[/bold]")
    if not sys.stdout.isatty():
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            text = cell(value).replace("\n", "\n" + " " * (width + 4))
            sys.stdout.write(f"  {name.ljust(width)}  {text}\n")
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row("", Text(name, style="dim"), Text(cell(value)))
    console.print(Padding(grid, (0, 0, 1, 0)), end="")


def cell(value: object, spec: str = "") -> str:
    """One value as people write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        text = format(value, spec or (".4g" if abs(value) < 1000 else ",.0f"))
        return text.lstrip("-") if value == 0 else text
    if isinstance(value, int):
        return format(value, spec or ",")
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def count(n: int, thing: str) -> str:
    """``n`` and the thing, in the plural where it is not one."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def short_run(run_id: str) -> str:
    """A run id as people copy it: the first part of a UUID is enough to find it again."""
    return run_id[:8] if len(run_id) == 36 and run_id.count("-") == 4 else run_id


def size(path: Path) -> str:
    """Size of a file in words."""
    n = float(path.stat().st_size)
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB"


def _aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: set[str], title: str | None
) -> str:
    widths = [
        max([len(c), *(len(row[i]) for row in rows)]) if rows else len(c)
        for i, c in enumerate(columns)
    ]
    lines = ["", title] if title else []
    for row in (columns, *rows):
        cells = (
            v.rjust(w) if c in right else v.ljust(w)
            for c, v, w in zip(columns, row, widths, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
