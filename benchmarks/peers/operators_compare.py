"""Every operator of Qlib beside ours, on a series without gaps and on one with gaps.

``operators_compare.py FOLDER PYTHON``: PYTHON is the interpreter of the environment that has Qlib.
Cells agree when |a − b| ≤ 1e-5 · max(|b|, MAD of the column) and both are there or both are not. What is
declared in ``DIFFER`` must differ, nothing else may.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import Family, compute

SESSIONS = 160
GAPS = (7, 8, 30, 31, 32, 60, 99, 120, 121, 122, 123, 124, 125)
WINDOWS = (5, 20, 0)

_ALONE = ["Ref", "Mean", "Sum", "Std", "Var", "Skew", "Kurt", "Max", "IdxMax", "Min", "IdxMin", "Med", "Mad", "Rank", "Count", "Delta", "Slope", "Rsquare", "Resi", "WMA", "EMA"]  # fmt: skip
TEXTS = (
    *(f"{op}($x, {n})" for op in _ALONE for n in WINDOWS),
    *(f"Quantile($x, {n}, 0.3)" for n in WINDOWS),
    *(f"{op}($x, $y, {n})" for op in ("Corr", "Cov") for n in WINDOWS),
    "EMA($x, 0.2)", "Abs($x - 1)", "Sign($x - 1)", "Log($x)", "Mask($x, 'A')", "ChangeInstrument('A', $x)",
    *(f"{op}($x, $y)" for op in ["Power", "Add", "Sub", "Mul", "Div", "Greater", "Less", "Gt", "Ge", "Lt", "Le", "Eq", "Ne"]),
    "And($x > $y, $x < 1)", "Or($x > $y, $x < 1)", "Not($x > $y)", "If($x > $y, $x, 2)",
    "($x > $y) & ($x < 1) | ($y >= 1)", "If($x, 1, 2)",
)  # fmt: skip

_DIVISOR = "the divisor keeps the weights of missing sessions"
DIFFER = {
    "whole": {
        **{f"WMA($x, {n})": "divided by the number of observations again" for n in WINDOWS},
        "Corr($x, $y, 0)": "Qlib cannot compute it",
    },
    "gaps": {
        **{f"WMA($x, {n})": "divided by the number of observations again" for n in WINDOWS},
        **{f"{op}($x, {n})": "a missing session is taken for the extreme (issue 2352)"
           for op in ("IdxMax", "IdxMin") for n in WINDOWS},
        "Corr($x, $y, 0)": "Qlib cannot compute it",
        "EMA($x, 0)": _DIVISOR,
        "Ne($x, $y)": "what is missing counts as different",
        "If($x, 1, 2)": "what is missing counts as true",
    },
}  # fmt: skip


def ours(texts: tuple[str, ...], x: list[float], y: list[float]) -> dict[str, list[float | None]]:
    calendar = TradingCalendar("XNYS", lag_minutes=30)
    first = date(2018, 3, 12)
    days = calendar.sessions(first, calendar.offset(first, len(x) - 1))
    bars = pl.DataFrame(
        {"instrument_id": "A", "date": days, "close": x, "open": y, "tr_index": 1.0}
    )
    factors = tuple(
        Factor(f"f{i}", AssetClass.EQUITY, "peers", 1, t, "",
               t.replace("$x", "$raw_close").replace("$y", "$raw_open"))
        for i, t in enumerate(texts)
    )  # fmt: skip
    found = compute(Family(AssetClass.EQUITY, "peers", factors), bars, None, calendar=calendar)
    found = found.sort("date")
    return {t: found[f"f{i}"].to_list() for i, t in enumerate(texts)}


def apart(a: list[float | None], b: list[float | None]) -> int:
    """Cells that do not agree."""
    there = np.array([v for v in b if v is not None])
    mad = float(np.median(np.abs(there - np.median(there)))) if len(there) else 0.0
    return sum(
        (p is None) != (q is None)
        or (p is not None and q is not None and not math.isclose(p, q, rel_tol=1e-5, abs_tol=1e-5 * mad))
        for p, q in zip(a, b, strict=True)
    )  # fmt: skip


def main() -> int:
    folder, python = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    side = Path(__file__).with_name("operators_side.py")
    failed = 0
    for kind in ("whole", "gaps"):
        rng = np.random.default_rng(1)
        x, y = np.exp(rng.normal(0, 0.3, (2, SESSIONS)))
        if kind == "gaps":
            x[list(GAPS)] = math.nan
        given, out = folder / f"{kind}.json", folder / f"{kind}-qlib.json"
        given.write_text(json.dumps({"x": x.tolist(), "y": y.tolist(), "texts": TEXTS}), "utf-8")
        subprocess.run([python, "-W", "ignore", str(side), str(given), str(out)], check=True)
        theirs = json.loads(out.read_text("utf-8"))
        versions = theirs.pop("versions")
        mine = ours(TEXTS, x.tolist(), y.tolist())
        differ = {
            t: SESSIONS if isinstance(theirs[t], str) else apart(mine[t], theirs[t]) for t in TEXTS
        }
        found = {t: n for t, n in differ.items() if n}
        print(f"operators, series {'without gaps' if kind == 'whole' else 'with gaps'}, Qlib "
              f"{versions['qlib']}: {len(TEXTS) - len(found)} of {len(TEXTS)} agree")  # fmt: skip
        for text, n in found.items():
            why = DIFFER[kind].get(text, "NOT DECLARED")
            words = f" ({theirs[text]})" if isinstance(theirs[text], str) else ""
            print(f"  {text}: {n} of {SESSIONS} cells; {why}{words}")
        gone = sorted(set(DIFFER[kind]) - set(found))
        failed += len(set(found) - set(DIFFER[kind])) + len(gone)
        for text in gone:
            print(f"  {text}: declared to differ, and does not")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
