"""What walk-forward training costs beside the bare fits, and how long a morning's inference takes.

``python benchmarks/models.py [names sessions features]``: seeded scores (Float32, 5 % missing) of 500 names over
2,500 sessions with 158 features lie in Parquet files, a year each; a process of its own fits LightGBM at every
year's first session on every session before it (``every = 1``) and for the last week, predicts every date and
evaluates what came. The time inside of ``lightgbm.train`` is taken from the same run, so that other work on the
machine slows both alike. Peak is the whole process's (``ru_maxrss``), beside the feature matrix in Float32.
``--every 5`` trains on each fifth session, as the settings do. Then one date of 3,000 names is predicted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

GOAL_TIME, GOAL_MEMORY, GOAL_INFERENCE = 1.5, 2.0, 1.0
FIRST = date(2010, 1, 4)
MB = 1 << 20
HERE = Path(__file__).resolve().parent


def make(folder: Path, names: int, sessions: int, features: int) -> None:
    """Write ``scores-<year>.parquet``, ``prices.parquet`` and ``universe.parquet``."""
    import numpy as np
    import polars as pl

    from wealthos_pipeline.data.processors.calendar import TradingCalendar

    rng = np.random.default_rng(6)
    days = TradingCalendar().frame(FIRST).head(sessions).select("date", "slot")
    ids = pl.DataFrame({"instrument_id": [f"N{i:04d}" for i in range(names)]})
    grid = days.join(ids, how="cross")
    returns = 0.02 * rng.standard_normal((sessions, names))
    index = np.cumprod(1 + returns, axis=0)
    grid.with_columns(pl.Series("tr_index", index.ravel())).write_parquet(folder / "prices.parquet")
    grid.select("date", "instrument_id").write_parquet(folder / "universe.parquet")
    ahead = np.roll(returns, -2, axis=0)
    slots = days["slot"].to_numpy() - days["slot"][0]
    for year, part in grid.with_columns(pl.col("date").dt.year().alias("y")).group_by("y", maintain_order=True):  # fmt: skip
        rows = slots[: part.height // names] + int(part["slot"][0]) - int(days["slot"][0])
        values = rng.standard_normal((part.height, features), dtype=np.float32)
        values[:, 0] += np.float32(5.0) * ahead[rows].ravel().astype(np.float32)
        values[rng.random(values.shape, dtype=np.float32) < 0.05] = np.nan
        columns = {f"f{j:03d}": values[:, j] for j in range(features)}
        part.select("date", "instrument_id").hstack(pl.DataFrame(columns)).write_parquet(
            folder / f"scores-{year[0]}.parquet"
        )


def walk(folder: Path, every: int, threads: int) -> dict[str, Any]:
    """Fit, predict and evaluate; what it cost, and what of it was ``lightgbm.train``."""
    import lightgbm
    import polars as pl

    from wealthos_pipeline import ml
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.utils.config import ModelSettings

    calendar, horizon = TradingCalendar(), 20
    calendar.frame()
    spec = ModelSpec(
        name="lightgbm", family="lightgbm", horizon=horizon, every=every, min_train_sessions=450,
        params={"trees": 100},
    )  # fmt: skip
    bare = {"wall": 0.0, "cpu": 0.0, "fits": 0.0}
    honest: Callable[..., Any] = lightgbm.train

    def timed(*args: Any, **more: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        out = honest(*args, **more)
        bare["wall"] += time.perf_counter() - wall
        bare["cpu"] += time.process_time() - cpu
        bare["fits"] += 1
        return out

    lightgbm.train = timed
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    scores = pl.scan_parquet(folder / "scores-*.parquet")
    prices, universe = (pl.read_parquet(folder / f"{n}.parquet") for n in ("prices", "universe"))
    made = ml.fit_and_predict(
        scores, prices, universe, calendar, ModelSettings(), models=[spec], threads=threads,
        feature_names=[c for c in scores.collect_schema().names() if c.startswith("f")],
        end=prices["date"].max(),
    )  # fmt: skip
    fitted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    until = time.perf_counter()
    found = ml.evaluate(
        made.predictions, prices, calendar, horizon, known_until=datetime(2100, 1, 1, tzinfo=UTC)
    )  # fmt: skip
    judged = ml.summary(found, horizon)
    return {
        "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "bare": bare,
        "evaluation": time.perf_counter() - until, "predictions": made.predictions.height,
        "rank_ic": judged["mean_rank_ic"][0], "start_mb": start, "fitted_mb": fitted,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def infer(names: int, features: int) -> dict[str, float]:
    """Seconds from the scores of one date to z, with a stored fit, imports left out."""
    import lightgbm
    import numpy as np
    import polars as pl

    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml import datasets, predictors

    rng, day = np.random.default_rng(1), date(2024, 1, 5)
    columns = tuple(f"f{j:03d}" for j in range(features))
    X = rng.standard_normal((6000, features)).astype(np.float32)
    booster = lightgbm.train(
        {"objective": "regression", "num_leaves": 15, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(X, X[:, 0] + rng.standard_normal(6000)), 100,
    )  # fmt: skip
    trees = booster.model_to_string(num_iteration=-1).split("\nparameters:\n", 1)[0] + "\n"
    body = {"format": 1, "model": "lightgbm", "features": columns, "trees": trees}
    spec = ModelSpec(name="lightgbm", family="lightgbm")
    values = rng.standard_normal((names, features)).astype(np.float32)
    keys = pl.DataFrame({"instrument_id": [f"N{i:04d}" for i in range(names)]}).with_columns(
        date=pl.lit(day)
    )
    scores = keys.hstack(pl.DataFrame(values, schema=list(columns)))
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        panel = datasets.panel(scores, keys, columns, [day])
        fitted = predictors.make(spec, threads=2).from_text(json.dumps(body))
        datasets.standardise(fitted.predict(panel.X), panel.offsets)
        found.append(time.perf_counter() - begun)
    return {"first": found[0], "median": sorted(found)[2]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="*", type=int, default=[500, 2500, 158])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--step", choices=("make", "walk", "infer"))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    names, sessions, features = given.size
    if given.step == "make":
        make(given.folder, names, sessions, features)
    elif given.step == "walk":
        print(json.dumps(walk(given.folder, given.every, given.threads)))
    elif given.step == "infer":
        print(json.dumps(infer(names, features)))
    else:
        return report(given.size, given.every, given.threads)
    return 0


def report(size: list[int], every: int, threads: int) -> int:
    """Run each step in a process of its own and print what it cost; 1 if a goal is missed."""
    import measure

    names, sessions, features = size
    with tempfile.TemporaryDirectory() as folder:
        common = [sys.executable, str(HERE / "models.py"), "--folder", folder]

        def step(name: str, *more: object) -> dict[str, Any]:
            log = Path(folder) / f"{name}.log"
            measure.run([*common, "--step", name, *map(str, more)], cwd=HERE.parent, log=log)
            lines = [x for x in log.read_text("utf-8").splitlines() if x.startswith("{")]
            return dict(json.loads(lines[-1])) if lines else {}

        step("make", *size)
        got = step("walk", *size, "--every", every, "--threads", threads)
        one = step("infer", 3000, 1, features)
    matrix = names * sessions * features * 4 / MB
    bare = got["bare"]
    time_ratio, memory_ratio = got["wall"] / bare["wall"], got["peak_mb"] / matrix
    print(measure.machine())
    print(f"{names} names, {sessions} sessions, {features} features, every {every}: {bare['fits']:.0f} fits, "
          f"{got['predictions']} predictions, rank IC {got['rank_ic']:+.4f}")  # fmt: skip
    print(f"wall {got['wall']:.1f} s, of which lightgbm.train {bare['wall']:.1f} s: {time_ratio:.2f} times "
          f"(goal {GOAL_TIME}); CPU {got['cpu']:.1f} s, of which {bare['cpu']:.1f} s; "
          f"evaluation {got['evaluation']:.1f} s")  # fmt: skip
    print(f"peak {got['peak_mb']:.0f} MB (before the data {got['start_mb']:.0f}, fits and predictions "
          f"{got['fitted_mb']:.0f}), the matrix {matrix:.0f} MB: {memory_ratio:.2f} times "
          f"(goal {GOAL_MEMORY})")  # fmt: skip
    print(f"inference of 3,000 names × {features} features: {one['first']:.3f} s at first, then "
          f"{one['median']:.3f} s (goal {GOAL_INFERENCE})")  # fmt: skip
    missed = time_ratio > GOAL_TIME or memory_ratio > GOAL_MEMORY or one["first"] > GOAL_INFERENCE
    return int(missed)


def section(scratch: Path, repeats: int, small: bool) -> Iterator[str]:
    """The part of ``docs/benchmarks.md``: both scripts in their own words."""
    yield "## Models\n"
    yield "Each step in a process of its own; imports are in the peak and not in the seconds.\n"
    for title, script, words in (
        ("Walk-forward of LightGBM, predictions, evaluation; inference", "models.py",
         ["60", "1300", "30"] if small else []),
        ("Evaluation of 1.2 million predictions, without SHAP", "model_evaluation.py", []),
    ):  # fmt: skip
        yield f"\n### {title}\n"
        said = subprocess.run(
            [sys.executable, HERE / script, *words], check=False, capture_output=True, text=True
        )
        lines = [x for x in said.stdout.strip().splitlines() if not x.startswith("{")]
        yield from ("```", *(lines or [said.stderr.strip()]), "```\n")


if __name__ == "__main__":
    raise SystemExit(main())
