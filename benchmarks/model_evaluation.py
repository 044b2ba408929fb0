"""What it costs to judge one model: everything but importance and card, on 1.2 million predictions.

``python benchmarks/model_evaluation.py``: seeded predictions for 500 names over 2,400 sessions, 20-session labels:
ICs, decay, calibration by date, the books of the model, of two benchmarks and of 1/N, and the summaries of it all.
CPU seconds of this process, imports left out, one thread.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import evaluation as room
from wealthos_pipeline.stats.trials import Deflation

NAMES, SESSIONS, HORIZON = 500, 2400, 20
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
GOAL = 10.0
"""CPU seconds for everything."""
STEPS = (
    "by date: IC, decay, calibration",
    "books: the model, momentum, reversal, 1/N",
    "summaries: tests, PSR, DSR, PBO, SPA",
)


@dataclass(frozen=True)
class Panel:
    """Frames as the stages read them."""

    calendar: TradingCalendar
    predictions: pl.DataFrame
    prices: pl.DataFrame
    scores: pl.DataFrame


def panel(names: int = NAMES, sessions: int = SESSIONS, seed: int = 6) -> Panel:
    """A random walk with 1 % of the bars missing, and predictions that know a little of what is to come."""
    calendar = TradingCalendar()
    days = calendar.frame(date(2010, 1, 4)).head(sessions)
    rng = np.random.default_rng(seed)
    walk = 0.02 * rng.standard_normal((sessions, names))
    ahead = np.roll(walk, -2, axis=0)
    score = 0.02 * ahead / 0.02 + rng.standard_normal((sessions, names))
    ids = pl.DataFrame({"instrument_id": [f"N{i:04d}" for i in range(names)]})
    grid = days.select("date", "slot").join(ids, how="cross")
    kept = pl.Series(rng.random(sessions * names) > 0.01)
    bars = grid.with_columns(
        pl.Series("tr_index", np.cumprod(1 + walk, axis=0).ravel()),
        pl.lit(0, pl.Int32).alias("flags"),
    )
    predictions = grid.select(
        pl.lit("model").alias("model"),
        pl.lit("walk_forward").alias("kind"),
        "date",
        "instrument_id",
        pl.lit(HORIZON, pl.Int32).alias("horizon"),
        pl.Series("prediction", score.ravel()),
    )
    extra = rng.standard_normal((2, sessions * names)).astype(np.float32)
    scores = grid.select(
        "date",
        "instrument_id",
        pl.Series("momentum_12_1", extra[0]),
        pl.Series("reversal_1m", extra[1]),
    )
    return Panel(calendar, predictions.filter(kept), bars.filter(kept), scores.filter(kept))


def measure(data: Panel | None = None) -> dict[str, float]:
    """CPU seconds by step, and of all together (``total``)."""
    p = data or panel()
    marks = [time.process_time()]
    made = room.judge_by_date(p.predictions, p.prices, p.calendar, HORIZON, known_until=FOREVER)
    marks.append(time.process_time())
    returns = room.returns(
        p.predictions, p.prices, p.prices.select("date", "instrument_id"), p.calendar, HORIZON,
        costs_bp=10.0, scores=p.scores, known_until=FOREVER,
        benchmarks={"momentum": ("momentum_12_1", 1), "reversal": ("reversal_1m", -1)},
    )  # fmt: skip
    marks.append(time.process_time())
    room.decay(made.lags)
    room.calibrate(made.bins)
    room.summarise(made.evaluation, returns, {HORIZON: Deflation(200, 60.0, 2e-4)})
    marks.append(time.process_time())
    spent = dict(zip(STEPS, np.diff(marks).tolist(), strict=True))
    return {**spent, "total": marks[-1] - marks[0]}


def main() -> int:
    """Print the seconds; 1 if they are more than the goal."""
    data = panel()
    spent = measure(data)
    rows = data.predictions.height
    sys.stdout.write(f"{rows:,} predictions, {NAMES} names, {SESSIONS} sessions\n")
    for step, seconds in spent.items():
        sys.stdout.write(f"{step:45s} {seconds:6.2f} s of CPU\n")
    sys.stdout.write(json.dumps({"predictions": rows, **spent}) + "\n")
    return int(spent["total"] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
