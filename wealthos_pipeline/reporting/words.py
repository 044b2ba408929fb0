"""Numbers as a manager reads them: signs, units, sensible digits, ISO dates."""

from __future__ import annotations

from datetime import date

NONE = "–"
"""Nothing to say: not available or not defined."""

_SPACE = "\u00a0"


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """``value`` with thousands separators and a true minus; ``NONE`` for None."""
    if value is None or value != value:
        return NONE
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """A decimal in percent: 0.0312 → ``3.1 %``."""
    if value is None or value != value:
        return NONE
    return f"{number(100 * value, digits, sign=sign)}{_SPACE}%"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of decimals in percentage points, signed: 0.012 → ``+1.2 pp``."""
    if value is None or value != value:
        return NONE
    return f"{number(100 * value, digits, sign=True)}{_SPACE}pp"


def money(value: float | None, currency: str, *, sign: bool = False) -> str:
    """Whole units of a currency."""
    if value is None:
        return NONE
    return f"{number(value, 0, sign=sign)}{_SPACE}{currency}".rstrip(_SPACE)


def rough(value: float | None, currency: str) -> str:
    """Money in a sentence, to three digits or so: ``8.48 m USD``, ``4,240 USD``."""
    if value is None or value != value:
        return NONE
    size = abs(value)
    for scale, unit in ((1e9, "bn"), (1e6, "m")):
        if size >= scale:
            digits = 2 if size < 10 * scale else 1 if size < 100 * scale else 0
            return f"{number(value / scale, digits)}{_SPACE}{unit}{_SPACE}{currency}".rstrip(_SPACE)
    return money(round(value, -1) if size >= 1000 else value, currency)


def day(value: date | None) -> str:
    """ISO date."""
    return NONE if value is None else value.isoformat()


def count(value: int, one: str, many: str | None = None) -> str:
    """``1 trade``, ``3 trades``."""
    return f"{value:,}{_SPACE}{one if value == 1 else many or one + 's'}"


def short_run(run_id: str) -> str:
    """A run's id, shortened for headings."""
    return run_id.split("-")[0] if len(run_id) > 24 else run_id


def sentence(text: str) -> str:
    """``text`` on one line, beginning with a capital and ending with a full stop."""
    flat = line(text)
    if not flat:
        return flat
    flat = flat[0].upper() + flat[1:]
    return flat if flat[-1] in ".!?" else flat + "."


def line(text: str) -> str:
    """``text`` on one line, a number kept together with its percent sign."""
    return " ".join(text.split()).replace(" %", f"{_SPACE}%")
