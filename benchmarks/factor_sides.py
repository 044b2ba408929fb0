"""One side of a comparison in a process of its own: what it does, and the seconds of its phases.

``factor_sides.py SIDE FOLDER OUT [options]`` writes the seconds to ``OUT.json`` and, with ``--keep``,
its values to ``OUT.parquet``. ``FOLDER`` holds ``bars.parquet`` (see ``peers/panels.py``). Phases:
``import``, ``read``, ``compute``; whatever else a side says is in its docstring.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

HORIZONS = (1, 5, 10)
SIGNAL = "Ref($close, 5) / Ref($close, 60) - 1"


class Watch:
    """Wall and CPU seconds by phase."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add(name, time.perf_counter() - wall)
        self.add(f"{name}_cpu", time.process_time() - cpu)

    def add(self, name: str, value: float) -> None:
        self.said[name] = self.said.get(name, 0.0) + value


def engine(folder: Path, watch: Watch, out: Path | None) -> None:
    """Alpha158 by the engine, one frame in memory."""
    with watch.phase("import"):
        import polars as pl
        from panels import as_clean

        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.engine import evaluate
        from wealthos_pipeline.factors.equity.alpha158 import FACTORS

        calendar = TradingCalendar("XNYS")
        texts = {f.name.removeprefix("a158_").upper(): str(f.expression) for f in FACTORS}
    with watch.phase("read"):
        bars = as_clean(pl.read_parquet(folder / "bars.parquet"))
    with watch.phase("import"):  # one bar: the kernels are loaded
        evaluate(texts, bars[:1], calendar=calendar)
    with watch.phase("compute"):
        values = evaluate(texts, bars, calendar=calendar)
    watch.add("rows", values.height)
    if out is not None:
        values.write_parquet(out)


def plain(folder: Path, watch: Watch, out: Path | None) -> None:
    """Alpha158 by Polars expressions."""
    with watch.phase("import"):
        import polars as pl
        from polars_alpha158 import alpha158
    with watch.phase("read"):
        bars = pl.read_parquet(folder / "bars.parquet")
    with watch.phase("compute"):
        values = alpha158(bars)
    watch.add("rows", values.height)
    if out is not None:
        values.write_parquet(out)


def large(folder: Path, watch: Watch, out: Path | None) -> None:
    """Alpha158 by families and blocks of dates, dropped as they come."""
    for _, blocks in _families(folder, watch, ("alpha158",)):
        with watch.phase("compute"):
            for block in blocks:
                watch.add("values", block.height * (block.width - 2))


def lake(folder: Path, watch: Watch, out: Path | None) -> None:
    """The same into a lake under ``FOLDER/lake``; phase ``write`` is computing and writing."""
    for family, blocks in _families(folder, watch, ("alpha158",)):
        store = _lake(folder / "lake", [family])
        with watch.phase("write"):
            store.replace(family.table, blocks)


def floor(folder: Path, watch: Watch, out: Path | None) -> None:
    """What writing costs when there is nothing to compute: ``parquet`` by Polars, ``lake``."""
    import polars as pl

    for family, blocks in _families(folder, watch, ("alpha158",)):
        frame = pl.concat(list(blocks))
        target = folder / "floor.parquet"
        with watch.phase("parquet"):
            frame.write_parquet(target, compression="snappy", statistics=False)
        target.unlink()
        store = _lake(folder / "floor", [family])
        with watch.phase("lake"):
            store.replace(family.table, frame)
        del frame


def prepare(folder: Path, watch: Watch, out: Path | None) -> None:
    """A lake with ``core`` and ``alpha158`` of all sessions but the last, for ``day``."""
    import polars as pl

    last = pl.scan_parquet(folder / "bars.parquet").select(pl.col("date").max()).collect().item()
    for family, blocks in _families(folder, watch, ("core", "alpha158"), before=last):
        _lake(folder / "day", [family]).replace(family.table, blocks)


def day(folder: Path, watch: Watch, out: Path | None) -> None:
    """One more session: read what the lookback needs, compute, replace the day; phase ``day``."""
    with watch.phase("import"):
        import polars as pl
        from panels import as_clean

        from wealthos_pipeline import factors
        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.engine import compute_all

        calendar = TradingCalendar("XNYS")
        families = _priced(factors.load(("core", "alpha158"), Path("/nonexistent")))
        store = _lake(folder / "day", families)
    scan = pl.scan_parquet(folder / "bars.parquet")
    today = scan.select(pl.col("date").max()).collect().item()
    with watch.phase("import"):  # one bar: the kernels are loaded
        compute_all(families, as_clean(scan.head(1).collect()), None, calendar=calendar)
    with watch.phase("day"):
        first = calendar.offset(today, -max(f.lookback for f in families))
        bars = as_clean(scan.filter(pl.col("date") >= first).collect())
        listed = pl.read_parquet(folder / "listed.parquet")
        found = compute_all(
            families, bars, None, instruments=listed, calendar=calendar, start=today
        )
        for family in families:
            store.replace(family.table, found[family.table], start=today, end=today)
    watch.add("factors", sum(len(f.factors) for f in families))
    watch.add("rows", found[families[0].table].height)


def judge(folder: Path, watch: Watch, out: Path | None) -> None:
    """One factor judged by our study, filled at the close of the value, for three horizons."""
    with watch.phase("import"):
        import polars as pl
        from panels import as_clean

        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.kernels import section
        from wealthos_pipeline.factors.study import study

        assert section
        calendar = TradingCalendar("XNYS")
    with watch.phase("read"):
        prices = as_clean(pl.read_parquet(folder / "bars.parquet"))
        values = pl.read_parquet(folder / "signal.parquet")
    with watch.phase("compute"):
        found = study(
            values, prices, name="factor", calendar=calendar, horizons=HORIZONS, delay=0,
            variants=(), draws=0,
        )  # fmt: skip
    if out is not None:
        found.ic.select("horizon", "date", "rank_ic").write_parquet(out)


def judge_plain(folder: Path, watch: Watch, out: Path | None) -> None:
    """The same numbers by Polars expressions."""
    with watch.phase("import"):
        import polars as pl
    with watch.phase("read"):
        prices = pl.read_parquet(
            folder / "bars.parquet", columns=["date", "instrument_id", "close"]
        )
        values = pl.read_parquet(folder / "signal.parquet")
    with watch.phase("compute"):
        name, day_ = "instrument_id", "date"
        forward = prices.sort(name, day_).with_columns(
            (pl.col("close").shift(-h) / pl.col("close") - 1).over(name).alias(f"r{h}")
            for h in HORIZONS
        )
        rows = values.join(forward, on=[day_, name]).drop_nulls()
        place = pl.col("factor").rank().over(day_)
        count = pl.len().over(day_)
        edge = [pl.col("factor").quantile(q / 5, "linear").over(day_) for q in range(1, 5)]
        bucket = 1 + sum((pl.col("factor") > e).cast(pl.Int8) for e in edge)
        rows = rows.with_columns(place=place, count=count, bucket=bucket)
        ic = (
            rows.group_by(day_)
            .agg(*(pl.corr("place", pl.col(f"r{h}").rank()).alias(f"ic{h}") for h in HORIZONS))
            .sort(day_)
        )
        returns = rows.group_by(day_, "bucket").agg(pl.col(f"r{h}").mean() for h in HORIZONS)
        before = rows.sort(name, day_).with_columns(
            was=pl.col("bucket").shift(1).over(name), placed=pl.col("place").shift(1).over(name)
        )
        turnover = before.group_by(day_, "bucket").agg(
            turnover=(pl.col("was") != pl.col("bucket")).mean()
        )
        memory = before.group_by(day_).agg(pl.corr("place", "placed"))
        assert min(returns.height, turnover.height, memory.height) > 0
    if out is not None:
        ic.unpivot(index=day_, variable_name="horizon", value_name="rank_ic").with_columns(
            pl.col("horizon").str.slice(2).cast(pl.Int32)
        ).write_parquet(out)


# --- helpers -------------------------------------------------------------------------------------


def _priced(library):  # type: ignore[no-untyped-def]
    """Families of factors by name of instrument that prices alone give."""
    from wealthos_pipeline.core.asset import AssetClass

    return [
        f for f in library.families()
        if f.asset_class is AssetClass.EQUITY and not any(f.series.values())
        and all(set(x.inputs) == {"clean.prices"} for x in f.factors)
    ]  # fmt: skip


def _families(folder: Path, watch: Watch, sets: tuple[str, ...], before=None):  # type: ignore[no-untyped-def]
    """``(family, its blocks)`` of the sets' priced families over the bars (before a day)."""
    with watch.phase("import"):
        import polars as pl
        from panels import as_clean

        from wealthos_pipeline import factors
        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.dated import compute_blocks
        from wealthos_pipeline.factors.engine import compute

        calendar = TradingCalendar("XNYS")
        families = _priced(factors.load(sets, Path("/nonexistent")))
    with watch.phase("read"):
        bars = as_clean(pl.read_parquet(folder / "bars.parquet"))
        if before is not None:
            bars = bars.filter(pl.col("date") < before)
        listed = pl.read_parquet(folder / "listed.parquet")
    with watch.phase("import"):  # one bar: the kernels are loaded
        for family in families:
            compute(family, bars[:1], None, instruments=listed, calendar=calendar)
    watch.add("rows", bars.height)
    for family in families:
        yield family, compute_blocks(family, bars, None, instruments=listed, calendar=calendar)


def _lake(root: Path, families):  # type: ignore[no-untyped-def]
    from wealthos_pipeline.data.storage.lake import Lake

    store = Lake(root)
    store.register(*(f.contract for f in families))
    return store


SIDES = {
    f.__name__: f for f in (engine, plain, large, lake, floor, prepare, day, judge, judge_plain)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep", action="store_true", help="write the values too")
    options = parser.parse_args()
    watch = Watch()
    SIDES[options.side](
        options.folder, watch, options.out.with_suffix(".parquet") if options.keep else None
    )
    options.out.with_suffix(".json").write_text(json.dumps(watch.said))


if __name__ == "__main__":
    main()
