"""Names that come close to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close(name: str, known: Iterable[str], n: int = 5) -> list[str]:
    """Known names that resemble ``name``, best first; letter case is ignored."""
    by_fold = {k.casefold(): k for k in sorted(set(known))}
    folded = name.casefold()
    near = difflib.get_close_matches(folded, by_fold, n=n, cutoff=0.5)
    begin = [k for k in by_fold if folded and k.startswith(folded) and k not in near]
    return [by_fold[k] for k in [*near, *begin][:n]]
