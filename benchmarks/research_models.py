"""What the models were worth on real data; writes ``docs/research/models.md``.

``make research-models``: the pipeline over the large panel where it is there (``../shared/data``), sets core and
alpha158, once over the members at the date and once over every name of the panel; walk-forward fits for both, and
the page. ``ARGS="--members ROOT --everyone ROOT"``: from published runs that are there; ``--cache FOLDER`` keeps the
predictions, so that the page can be made again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl
import run as bench
from measure import run as measured

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "research" / "models.md"
SETS = ("core", "alpha158")
MODELS = ("ridge", "elastic_net", "lightgbm", "fama_macbeth", "ic_weighted", "stacked")
DEAR = ("stacked",)
"""Models that are left out where a number is only there to show a mistake."""
HORIZONS = (5, 20)
FIRST = date(2010, 1, 4)
UNIVERSES = ("members", "everyone")
ENV = {
    "WEALTHOS_FACTORS__SETS": '["core", "alpha158"]',
    "WEALTHOS_MODELS__NAMES": '["ridge"]',
}
COSTS_BP = 10.0


@dataclass(frozen=True)
class Judged:
    """One universe and horizon: what was predicted, and how that did."""

    predictions: pl.DataFrame
    evaluation: pl.DataFrame
    returns: pl.DataFrame
    summary: pl.DataFrame
    registry: pl.DataFrame
    seconds: float
    investigated: dict[str, object]


@dataclass(frozen=True)
class World:
    """What a published run over the panel holds."""

    root: Path
    scores: tuple[pl.LazyFrame, ...]
    columns: tuple[str, ...]
    prices: pl.DataFrame
    universe: pl.DataFrame
    performance: pl.DataFrame
    end: date

    @classmethod
    def of(cls, root: Path) -> World:
        from wealthos_pipeline.data.processors import membership

        lake = bench.opened(root)
        tables = sorted(t for t in lake.tables() if t.startswith("factors.scores_equity"))
        tables.sort(key=lambda t: t != "factors.scores_equity")
        key = ["date", "instrument_id"]
        scores = tuple(lake.scan(t) for t in tables)
        instruments = lake.read("clean.instruments").filter(pl.col("asset_class") == "equity")
        bars = ["instrument_id", "date", "slot", "tr_index", "flags", "known_at"]
        prices = lake.read("clean.prices", columns=bars).filter(
            pl.col("instrument_id").is_in(instruments["instrument_id"].unique().to_list())
        )
        universe = membership.universe(
            membership.traded(prices).select(key), lake.read("clean.membership")
        )
        columns = [c for t in scores for c in t.collect_schema().names() if c not in key]
        performance = lake.read("factors.performance")
        return cls(
            root, scores, tuple(columns), prices, universe, performance, prices["date"].max()  # type: ignore[arg-type]
        )  # fmt: skip


def judge(world: World, horizon: int, cache: Path | None, universe: str) -> Judged:
    """Fits, predictions from ``FIRST`` on, and how they did beside momentum and reversal."""
    from wealthos_pipeline import factors
    from wealthos_pipeline.data.processors.calendar import TradingCalendar
    from wealthos_pipeline.ml import evaluation, specs, train, trials
    from wealthos_pipeline.utils.config import ModelSettings

    calendar = TradingCalendar("XNYS")
    names = tuple(m for m in MODELS if universe == "members" or m not in DEAR)
    settings = ModelSettings(names=names, horizon=horizon)
    models = specs.load(settings)
    began = time.process_time()
    kept = None if cache is None else cache / f"predictions-{universe}-{horizon}.parquet"
    fits = None if cache is None else cache / f"registry-{universe}-{horizon}.parquet"
    if kept is not None and fits is not None and kept.exists() and fits.exists():
        predictions, registry = pl.read_parquet(kept), pl.read_parquet(fits)
    else:
        made = train.fit_and_predict(
            world.scores, world.prices, world.universe, calendar, settings,
            feature_names=world.columns, end=world.end, threads=len(os.sched_getaffinity(0)), models=models,
        )  # fmt: skip
        for row in made.absences.iter_rows(named=True):
            print(f"  absent: {row['model']} {row['refit_date']}: {row['reason']}", file=sys.stderr)
        registry = made.registry.drop("artefact")
        predictions = made.predictions.filter(
            (pl.col("kind") == "walk_forward") & (pl.col("date") >= FIRST)
        )
        if kept is not None and fits is not None:
            predictions.write_parquet(kept)
            registry.write_parquet(fits)
    library = factors.load(SETS, ROOT / "no own factors")
    beside = _benchmarks(world, library, horizon, predictions)
    said = pl.concat([predictions, beside])
    now = calendar.known_at(world.end)
    by_date = evaluation.evaluate(said, world.prices, calendar, horizon, known_until=now)
    held = evaluation.returns(
        said, world.prices, world.universe, calendar, horizon, costs_bp=COSTS_BP, known_until=now
    )
    declared = [s for h in HORIZONS for s in specs.load(ModelSettings(names=MODELS, horizon=h))]
    tried = [trials.of_models(declared), trials.of_factors(library.factors.values())]
    record = trials.new(tried, (), run_id="research", now=now)
    books = evaluation.matrix(held.filter(pl.col("model").is_in(MODELS)), "long_short")
    deflation = trials.deflation(
        record, "model",
        [trials.Block(books.values), trials.spreads(world.performance, horizon)],
    )  # fmt: skip
    summary = evaluation.summarise(by_date, held, {horizon: deflation})
    return Judged(
        predictions, by_date, held, summary, registry, time.process_time() - began,
        _investigated(summary, said, world, calendar, horizon, now),
    )  # fmt: skip


def _benchmarks(
    world: World, library: object, horizon: int, predictions: pl.DataFrame
) -> pl.DataFrame:
    """Momentum and reversal as if they were models: a raw score times its direction."""
    from wealthos_pipeline.core.data import contract
    from wealthos_pipeline.ml import evaluation

    factors = tuple(library.factors.values())  # type: ignore[attr-defined]
    columns = evaluation.benchmark_columns(factors, world.columns)
    keys = predictions.select("date", "instrument_id").unique()
    parts = []
    for name, (column, direction) in sorted(columns.items()):
        rows = (
            next(t for t in world.scores if column in t.collect_schema().names())
            .select("date", "instrument_id", column)
            .filter(pl.col("date") >= FIRST)
            .collect()
            .join(keys, on=["date", "instrument_id"], how="semi")
            .filter(pl.col(column).is_finite())
        )
        parts.append(
            rows.select(
                pl.lit(name).alias("model"), pl.lit("walk_forward").alias("kind"), "date", "instrument_id",
                pl.lit(horizon, pl.Int32).alias("horizon"),
                (direction * pl.col(column)).cast(pl.Float64).alias("prediction"),
                pl.lit(None, pl.Float64).alias("z"), pl.col("date").alias("train_cutoff"),
                pl.lit("score").alias("model_id"),
            )
        )  # fmt: skip
    return pl.concat([contract("models.predictions").conform(p) for p in parts])


def _investigated(
    summary: pl.DataFrame, said: pl.DataFrame, world: World, calendar: object, horizon: int, now: datetime
) -> dict[str, object]:  # fmt: skip
    """Investigations of the results that are too good to be believed at once."""
    from wealthos_pipeline.ml import evaluation

    due = summary.filter((pl.col("mean_rank_ic") > 0.04) | (pl.col("sharpe_net") > 1.0))
    return {
        model: evaluation.investigate(
            said, world.prices, calendar, horizon, model, known_until=now  # type: ignore[arg-type]
        )
        for model in due["model"]
    }  # fmt: skip


# --- the page ------------------------------------------------------------------------------------


def number(value: object, form: str, scale: float = 1.0) -> str:
    if not isinstance(value, int | float) or value != value:
        return "–"
    return format(value * scale, form).replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


COLUMNS = (
    ("model", "", ""), ("mean_ic", "+.4f", "IC"), ("mean_rank_ic", "+.4f", "rank IC"), ("t", "+.1f", "t"),
    ("icir", "+.2f", "ICIR"), ("detectable_ic", ".3f", "detectable"), ("sharpe_gross", "+.2f", "Sharpe, gross"),
    ("sharpe_net", "+.2f", "Sharpe, net"), ("dsr", ".2f", "DSR"), ("turnover", ".0f", "turnover a year"),
    ("excess_over_equal_weight", "+.1%", "long only less 1/N"),
)  # fmt: skip


def of_universe(found: Judged, horizon: int) -> Iterator[str]:
    """One row a model, then momentum and reversal, then 1/N."""
    summary = found.summary
    order = [*MODELS, "momentum", "reversal"]
    rows = {str(r["model"]): r for r in summary.iter_rows(named=True)}
    lines = [
        [f"`{m}`" if m in MODELS else m]
        + [number(rows[m].get(c), form) for c, form, _ in COLUMNS[1:]]
        for m in order
        if m in rows
    ]
    equal = found.returns.filter(pl.col("book") == "equal_weight")["net"].to_numpy()
    year, ratio = (
        float((1 + equal).prod()) ** (252 / len(equal)) - 1,
        equal.mean() / equal.std(ddof=1) * 252**0.5,
    )
    lines.append(["1/N", *["–"] * 6, number(ratio, "+.2f"), "–", "–", "–"])
    yield from table([w or "model" for _, _, w in COLUMNS], lines)
    first = next(iter(rows.values()))
    yield ""
    left = [f"`{m}`" for m in MODELS if m not in rows]
    if left:
        yield f"Not run here, for what it costs: {', '.join(left)}.\n"
    yield (
        f"{found.evaluation['date'].n_unique():,} dates with an outcome, {found.predictions.height // found.predictions['model'].n_unique():,} "
        f"predictions a model. 1/N of the same names made {number(year, '.1%')} a year (its Sharpe ratio is of a long book, "
        f"the others' are long-short). Trials counted {first['trials']:,}, worth {number(first['effective_trials'], '.0f')} "
        f"independent ones. Probability of overfitting when the best of these is picked: "
        f"{number(first['pbo'], '.0%')}; p-value that no long-only book beats 1/N (Hansen's test): "
        f"{number(first['spa_p'], '.2f')}."
    )


def verdicts(found: Judged) -> Iterator[str]:
    for row in found.summary.iter_rows(named=True):
        if row["model"] in MODELS:
            yield f"- `{row['model']}`: {row['verdict']}"


def by_year(found: Judged) -> Iterator[str]:
    years = (
        found.evaluation.filter(pl.col("model").is_in(MODELS))
        .with_columns(pl.col("date").dt.year().alias("year"))
        .group_by("year", "model")
        .agg(pl.col("rank_ic").mean())
        .pivot("model", index="year", values="rank_ic")
        .sort("year")
    )
    head = [m for m in MODELS if m in years.columns]
    yield from table(
        ["year", *(f"`{m}`" for m in head)],
        [
            [str(r["year"]), *(number(r[m], "+.3f") for m in head)]
            for r in years.iter_rows(named=True)
        ],
    )


def coverage(root: Path) -> Iterator[str]:
    """Members with a price beside all members that the file names, by year."""
    folder = bench.panel_folder()
    if folder is None:
        yield "The file of members is not there."
        return
    rows = (
        bench.opened(root)
        .read("meta.coverage")
        .filter(pl.col("table") == "clean.membership")
        .group_by(pl.col("date").dt.year().alias("year"))
        .agg(pl.col("rows").mean(), pl.col("date"))
        .sort("year")
    )
    file = pl.read_csv(folder / "reference" / "sp500_ticker_start_end.csv", try_parse_dates=True)
    start, end = (file.columns[k] for k in (1, 2))
    named = [
        sum(
            file.filter((pl.col(start) <= d) & (pl.col(end).is_null() | (pl.col(end) > d))).height
            for d in days[::21]
        )
        / len(days[::21])
        for days in rows["date"].to_list()
    ]
    yield from table(
        ["year", *(str(y) for y in rows["year"])],
        [
            ["members with prices", *(number(r, ".0f") for r in rows["rows"])],
            ["members of the index", *(number(e, ".0f") for e in named)],
            ["share", *(number(r / e, ".0%") for r, e in zip(rows["rows"], named, strict=True))],
        ],
    )


def investigations(found: dict[tuple[str, int], Judged]) -> Iterator[str]:
    """What was found where a number was too good, before the number is used."""
    due = [
        (u, h, m, inv) for (u, h), judged in found.items() for m, inv in judged.investigated.items()
    ]
    if not due:
        yield "No mean rank IC was above 0.04 and no net Sharpe ratio above 1: none was due."
        return
    yield (
        "A mean rank IC above 0.04 or a net Sharpe ratio above 1 is looked into before it is believed: which names "
        "carry it, in which years, and what is left without the best of them. That no label reaches into a fit is "
        "tested on every run (`tests/ml/test_leaks.py`, checks `fitted_before_predicting` and `labels_known_at_fit`)."
    )
    for universe, h, model, inv in due:
        yield f"\n**`{model}`, {h} sessions, {universe}**\n"
        yield from table(
            ["best names left out", "rank IC", "t", "spread"],
            [
                [str(r["names"]), number(r["mean_rank_ic"], "+.4f"), number(r["t"], "+.1f"),
                 number(r["mean_spread"], "+.2%")]
                for r in inv.without.iter_rows(named=True)  # type: ignore[attr-defined]
            ],
        )  # fmt: skip


def page(found: dict[tuple[str, int], Judged], members: Path) -> Iterator[str]:
    """The Markdown page."""
    features = len(World.of(members).columns)
    yield "<!-- written by `make research-models`; do not edit -->\n"
    yield "# What the models were worth\n"
    yield (
        f"615 US stocks, walk-forward {FIRST.year} to 2024: fits at the first session of each year, on the ten years "
        f"before it (what there is of them), labels purged by their interval, every fifth session. Features: {features} "
        "scores, sets core and alpha158. Decisions on a close fill at the next one; costs "
        f"{COSTS_BP:g} basis points one-way. Made by `make research-models`.\n"
    )
    yield (
        "Universe: the members of the index at the date, by file. That is **less biased, never unbiased**: names that "
        "left the index and no longer trade are not in the panel. Share of the true index that is:\n"
    )
    yield from coverage(members)
    for universe, title, note in (
        ("members", "Members at the date", ""),
        (
            "everyone",
            "All names: inflated by inclusion bias",
            "Every one of the 615 names on every date, before it was in the index and after it left. They are in the "
            "panel because they did well. **Not to be used**; it stands here to show how large the mistake is.\n",
        ),
    ):
        for h in HORIZONS:
            yield f"\n## {title}, {h} sessions\n"
            if (universe, h) not in found:
                yield "Not run for this page."
                continue
            if note:
                yield note
            yield from of_universe(found[universe, h], h)
            if universe == "members":
                yield "\nIn words:\n"
                yield from verdicts(found[universe, h])
    yield "\n## Investigations\n"
    yield from investigations(found)
    shown = max(h for u, h in found if u == "members")
    yield f"\n## Rank IC by year, members, {shown} sessions\n"
    yield from by_year(found["members", shown])
    yield "\n## How to read it\n"
    yield (
        "*t* is the one nearest 0 of Newey–West with 2h lags, the stationary bootstrap and dates that lie a horizon "
        "apart ([how often it is wrong](statistics.md)). *Detectable*: a mean rank IC of that size is seen at 5 % with 80 % power; "
        "a smaller one can be there and not be seen. *DSR*: probability that the true Sharpe ratio is above the best that so many "
        "trials show by luck; below 0.95 nothing is claimed. Every model, both horizons, and every factor of the library count "
        "as trials; what the literature tried before does not. Books are renewed in as many parts as the horizon has sessions; "
        "no borrowing fees, no impact, no capacity."
    )


def published(scratch: Path, universe: str) -> Path:
    """A root with a published run over the large panel."""
    folder = bench.panel_folder()
    if folder is None:
        raise SystemExit(
            "the large panel (../shared/data) is not there; pass --members and --everyone"
        )
    root = scratch / universe
    words = list(bench.panel_options(folder))
    if universe == "everyone":
        at = words.index("--membership")
        del words[at : at + 2]
    nothing = scratch / "no mandates"
    nothing.mkdir(parents=True, exist_ok=True)
    env = {
        **ENV,
        "WEALTHOS_REPORTS": str(root / "reports"),
        "WEALTHOS_PORTFOLIO__MANDATES": str(nothing),
    }
    command = [str(bench.WEALTHOS), "run", "--root", str(root), *words, *bench.clock(bench.LAST)]
    cost = measured(command, cwd=ROOT, log=scratch / f"{universe}.log", env=env)
    print(f"the pipeline, {universe}: {cost.wall:.0f} s, {cost.peak_mb:,.0f} MB", file=sys.stderr)
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=Path, help="root of a published run over the members")
    parser.add_argument("--everyone", type=Path, help="root of a published run over all names")
    parser.add_argument("--cache", type=Path, help="folder that keeps the predictions")
    parser.add_argument("--only", choices=UNIVERSES, help="one of the two universes")
    parser.add_argument(
        "--cached",
        action="store_true",
        help="only what the cache has; the page says what is missing",
    )
    parser.add_argument("--print", action="store_true", help="show the page, write nothing")
    options = parser.parse_args()
    os.environ.update(ENV)
    scratch = Path(tempfile.mkdtemp(prefix="wealthos-research-"))
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    given = {"members": options.members, "everyone": options.everyone}
    found: dict[tuple[str, int], Judged] = {}
    for universe in UNIVERSES:
        if options.only not in (None, universe):
            continue
        given[universe] = given[universe] or published(scratch, universe)
        world = World.of(given[universe])
        for h in HORIZONS:
            held = options.cache and options.cache / f"predictions-{universe}-{h}.parquet"
            if options.cached and not (held and held.exists()):
                continue
            found[universe, h] = judge(world, h, options.cache, universe)
            print(
                f"{universe}, {h} sessions: {found[universe, h].seconds:.0f} s of CPU",
                file=sys.stderr,
            )
            print(found[universe, h].summary.select("model", "mean_rank_ic", "t", "sharpe_net", "dsr"), file=sys.stderr)  # fmt: skip
    text = "\n".join(page(found, given["members"])) + "\n"
    if options.print:
        print(text)
        return
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
