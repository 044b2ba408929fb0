"""How much a training row counts: by how much of its label is its own, and by how old it is.

Both multiply the weight that makes every date count the same.
"""

from __future__ import annotations

import numpy as np

from wealthos_pipeline.core.errors import ModelError


def uniqueness(
    names: np.ndarray, dates: np.ndarray, label_end: np.ndarray, sessions: np.ndarray
) -> np.ndarray:
    """Mean uniqueness of each label over its interval (López de Prado 2018, §4.3–4.4), float64 in (0, 1].

    The label of t covers the returns of the sessions after its entry at t + 1, up to ``label_end``. On a
    session that c labels of the same name cover, each has uniqueness 1 / c; a label's is the mean over
    its sessions. 1: no other label shares any of it. names: int, 0 and up; dates, label_end:
    datetime64[D], any order; sessions: datetime64[D], ascending, all from the first date to the last end.
    ModelError if a date or an end is no session.
    """
    if not len(names):
        return np.zeros(0)
    first = np.searchsorted(sessions, dates.min())
    days = sessions[first : np.searchsorted(sessions, label_end.max(), side="right")]
    start, end = np.searchsorted(days, dates), np.searchsorted(days, label_end)
    lost = (days[np.minimum(start, len(days) - 1)] != dates) | (
        days[np.minimum(end, len(days) - 1)] != label_end
    )
    if lost.any() or (end < start + 2).any():
        i = int(np.argmax(lost | (end < start + 2)))
        raise ModelError(
            f"uniqueness: a label runs from {dates[i]} to {label_end[i]}; both must be sessions of the "
            "calendar, at least two apart"
        )
    kinds, name = np.unique(names, return_inverse=True)
    width = len(days) + 1
    begun = name * width + start + 2  # the session of the first return
    ended = name * width + end + 1
    cells = len(kinds) * width
    change = np.bincount(begun, minlength=cells) - np.bincount(ended, minlength=cells)
    open_now = np.cumsum(change.reshape(len(kinds), width), axis=1)
    share = np.divide(1.0, open_now, out=np.zeros(open_now.shape), where=open_now > 0)
    total = np.zeros((len(kinds), width + 1))
    np.cumsum(share, axis=1, out=total[:, 1:])
    flat = total.ravel()
    shift = name  # a row of ``total`` is one longer than one of ``change``
    out: np.ndarray = (flat[ended + shift] - flat[begun + shift]) / (end - start - 1)
    return out


def decay(dates: np.ndarray, fitted: np.datetime64, half_life: float, sessions: np.ndarray) -> np.ndarray:  # fmt: skip
    """0.5^(sessions from the row's date to the fit / half_life), float64 in (0, 1].

    fitted: the session before whose open the fit is made.
    """
    age = np.searchsorted(sessions, fitted) - np.searchsorted(sessions, dates)
    out: np.ndarray = 0.5 ** (age / half_life)
    return out
