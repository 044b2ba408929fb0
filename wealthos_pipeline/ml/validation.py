"""When models are fitted, on which rows, and the proof that no label reaches into the test side.

Walk-forward: a fit is made before the open of its refit date R with what was known then, and
predicts from R until the next refit. A label at t covers the sessions up to ``t + 1 + horizon``; a
training row is admissible only if that end lies before R and its ``known_at`` is no later than the
instant at which the bar of the session before R was known (purging by interval). Test follows
training always, so no embargo is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from wealthos_pipeline.core.errors import ModelError
from wealthos_pipeline.data.processors.calendar import Every, TradingCalendar


@dataclass(frozen=True, slots=True)
class Window:
    """What a fit may see.

    first_slot, last_slot: slots of the earliest and latest training date, inclusive.
    last_session: the session before ``refit_date``; no label may end later.
    known_by: when the bar of ``last_session`` was known (UTC); no label may be known later.
    """

    refit_date: date
    first_slot: int
    last_slot: int
    last_session: date
    known_by: datetime


def refit_dates(calendar: TradingCalendar, first: date, last: date, every: Every) -> list[date]:
    """First session of each week, month, quarter or year in [first, last].

    A function of the exchange's calendar: a later ``first`` only cuts dates off, it moves none.
    """
    return calendar.firsts(first, last, every)


def live_refit(calendar: TradingCalendar, day: date, every: Every) -> date:
    """The refit date whose fit serves the session ``day``: the last one at or before it."""
    return calendar.firsts(calendar.offset(day, -PERIOD_SESSIONS[every]), day, every)[-1]


PERIOD_SESSIONS: dict[Every, int] = {"week": 6, "month": 24, "quarter": 68, "year": 257}
"""More sessions than any period has."""


def window(
    calendar: TradingCalendar, refit_date: date, horizon: int, train_sessions: int
) -> Window:
    """The window of the fit at ``refit_date``: the last ``train_sessions`` admissible dates."""
    slot = calendar.slot(refit_date)
    last = slot - horizon - 2
    before = calendar.date_of(slot - 1)
    return Window(refit_date, last - train_sessions + 1, last, before, calendar.known_at(before))


def admissible(label_end: np.ndarray, known_at: np.ndarray, window: Window) -> np.ndarray:
    """Which labels a fit may use; booleans.

    label_end: datetime64[D], last session of each label. known_at: datetime64[us], naive UTC.
    """
    known_by = np.datetime64(window.known_by.astimezone(UTC).replace(tzinfo=None), "us")
    out: np.ndarray = (label_end <= np.datetime64(window.last_session)) & (known_at <= known_by)
    return out


def overlapping(
    train_start: np.ndarray, train_end: np.ndarray, test_start: np.ndarray, test_end: np.ndarray
) -> np.ndarray:
    """Which training intervals share at least one day with any test interval; booleans.

    Intervals are closed: from the date of the features to the last session of the label. Any
    ordered dtype; test intervals may have gaps between them and come in any order.
    """
    if not len(test_start):
        return np.zeros(len(train_start), dtype=bool)
    order = np.argsort(test_start, kind="stable")
    starts = test_start[order]
    reach = np.maximum.accumulate(test_end[order])
    begun = np.searchsorted(starts, train_end, side="right")
    out: np.ndarray = (begun > 0) & (reach[np.maximum(begun, 1) - 1] >= train_start)
    return out


def certify(
    train_start: np.ndarray,
    train_end: np.ndarray,
    test_start: np.ndarray,
    test_end: np.ndarray,
    *,
    what: str = "training set",
) -> None:
    """Raise ModelError if any training interval overlaps a test interval (see ``overlapping``)."""
    bad = overlapping(train_start, train_end, test_start, test_end)
    if bad.any():
        i = int(np.argmax(bad))
        raise ModelError(
            f"{what}: {int(bad.sum())} of {len(bad)} training labels overlap the test side, for "
            f"example the one of {train_start[i]}, which ends on {train_end[i]}, while the test "
            f"starts on {test_start.min()}. Purge by label interval before fitting."
        )
