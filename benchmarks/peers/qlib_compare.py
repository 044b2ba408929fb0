"""Alpha158 and Alpha360: ours beside those of Qlib's own loaders, every difference given a cause.

``qlib_compare.py WORK PEER_PYTHON [--names N] [--small]``. Equal is |a − b| ≤ 1e-5 · max(|b|, MAD of the
column), or missing on both sides. Whatever is not equal is put into one class, each decided by
something that is neither of the two numbers compared: Qlib's own operators run on Float64, the width
of its cut-off, or the slow reference of the tests. Exit code 1 when a cell is left over, or when a
name or an expression is not Qlib's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

import panels

TOLERANCE = 1e-5
CUT = 2e-5
"""Deviation below which Qlib gives no R² and no correlation."""
DECIDED = 200
"""Cells of a column and class that the slow reference is asked about, spread evenly."""
WINDOWED = 61
"""Sessions that any of the expressions can see."""

CLASSES = {
    "float32": "Qlib rounds to Float32 between operators; its operators on Float64 fields agree with ours",
    "position": "IdxMax and IdxMin of a window with a gap give the gap's place (Qlib issue 2352); "
    "ours is the reference's",
    "cut-off": f"Qlib gives nothing where a deviation in the window is below {CUT:g}",
    "infinite": "a division by zero: infinite there, missing here",
    "sums": "what Qlib's running sums leave behind; ours is the reference's",
    "unexplained": "no cause found",
}
Floats = NDArray[np.float64]


@dataclass
class Case:
    """One panel and one set."""

    title: str
    chosen: str
    panel: pl.DataFrame
    folder: Path
    peer: str
    tally: dict[str, dict[str, int]] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)
    _gaps: dict[int, pl.DataFrame] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return {"alpha158": "a158_", "alpha360": "a360_", "own": ""}[self.chosen]

    def ask(self, out: str, *options: str) -> dict[str, object]:
        """Run Qlib's side; what it says."""
        command = [
            self.peer, "-W", "ignore", str(Path(__file__).with_name("qlib_side.py")),
            str(self.folder / "data"), str(self.folder / out), self.chosen, *options,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"Qlib's side failed:\n{done.stderr[-3000:]}")
        said: dict[str, object] = json.loads((self.folder / f"{out}.json").read_text())
        return said

    def theirs(self, out: str) -> Iterator[pl.DataFrame]:
        """Qlib's values by part of the instruments, the oldest session of a name first."""
        for path in sorted(self.folder.glob(f"{out}-*.parquet"), key=_part):
            yield (
                pl.read_parquet(path)
                .rename({"datetime": "date", "instrument": "instrument_id"})
                .with_columns(pl.col("date").cast(pl.Date))
            )

    @cached_property
    def expressions(self) -> dict[str, str]:
        """Qlib's name → our expression."""
        from wealthos_pipeline import factors

        if self.chosen == "own":
            return own()

        library = factors.load((self.chosen,), Path("/nonexistent"))
        return {
            n.removeprefix(self.prefix).upper(): str(f.expression)
            for n, f in library.factors.items()
            if self.chosen in f.sets
        }

    def ours(self, names: list[str]) -> pl.DataFrame:
        """Our values of some instruments, columns named as Qlib names them."""
        from wealthos_pipeline import factors
        from wealthos_pipeline.data.processors.calendar import TradingCalendar
        from wealthos_pipeline.factors.engine import compute_all, evaluate

        if self.chosen == "own":
            rows = panels.as_clean(self.panel.filter(pl.col("instrument_id").is_in(names)))
            return evaluate(self.expressions, rows, calendar=TradingCalendar("XNYS"))
        library = factors.load((self.chosen,), Path("/nonexistent"))
        families = [f for f in library.families() if self.chosen in f.factors[0].sets]
        rows = self.panel.filter(pl.col("instrument_id").is_in(names))
        tables = compute_all(
            families, panels.as_clean(rows), None, calendar=TradingCalendar("XNYS")
        ).values()
        key = ["date", "instrument_id"]
        first, *rest = [t.sort(key) for t in tables]
        out = pl.concat([first, *(t.drop(key) for t in rest)], how="horizontal")
        return out.rename({c: c.removeprefix(self.prefix).upper() for c in out.columns[2:]})

    # --- comparing ---

    def run(self) -> int:
        """Compare; how many cells are left without a cause."""
        begun = time.monotonic()
        panels.write_qlib(self.panel, self.folder / "data")
        if self.chosen == "own":
            texts = self.expressions | {"mean_move_20": "Mean(Abs($close/Ref($close, 1)-1), 20)"}
            (self.folder / "data" / "own.json").write_text(json.dumps(texts))
        said = self.ask("first")
        if self.chosen != "own" and list(self.expressions.items()) != _pairs(said):
            raise SystemExit(f"{self.chosen}: names or expressions are not Qlib's")
        spread = self._deviations("first")
        odd: dict[str, list[pl.DataFrame]] = {}
        for theirs in self.theirs("first"):
            mine, peer = self._aligned(theirs)
            for name in self.expressions:
                a, b = _floats(mine[name]), _floats(peer[name])
                good, ratio = _same(a, b, spread[name])
                self.cells[name] = self.cells.get(name, 0) + len(a)
                known = ratio[np.isfinite(ratio)]
                self.worst[name] = max(self.worst.get(name, 0.0), float(known.max(initial=0.0)))
                if not good.all():
                    at = np.flatnonzero(~good)
                    odd.setdefault(name, []).append(
                        mine[at].select("date", "instrument_id").with_columns(
                            ours=pl.Series(a[at]), peer=pl.Series(b[at])
                        )
                    )  # fmt: skip
        left = self._explain({n: pl.concat(parts) for n, parts in odd.items()}, spread)
        self._print(said, time.monotonic() - begun)
        return left

    def _aligned(self, theirs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Both sides on the rows that have a bar."""
        mine = self.ours(theirs["instrument_id"].unique().sort().to_list())
        key = ["date", "instrument_id"]
        peer = mine.select(key).join(theirs, on=key, how="left", maintain_order="left")
        return mine, peer

    def _deviations(self, out: str) -> dict[str, float]:
        """Median absolute deviation from the median, by column, over all parts."""
        found = {}
        for name in self.expressions:
            parts = [
                pl.read_parquet(p, columns=[name])[name].cast(pl.Float64)
                for p in sorted(self.folder.glob(f"{out}-*.parquet"), key=_part)
            ]
            values = _floats(pl.concat(parts))
            values = values[np.isfinite(values)]
            middle = float(np.median(values)) if len(values) else 0.0
            found[name] = float(np.median(np.abs(values - middle))) if len(values) else 0.0
        return found

    # --- causes ---

    def _explain(self, odd: dict[str, pl.DataFrame], spread: dict[str, float]) -> int:
        """Put every odd cell into a class."""
        double = self._in_double(odd)
        left = 0
        for name, cells in odd.items():
            a, b = _floats(cells["ours"]), _floats(cells["peer"])
            cause = np.full(len(a), "unexplained", dtype=object)
            if name in double:
                z = _floats(
                    cells.join(
                        double[name],
                        on=["date", "instrument_id"],
                        how="left",
                        maintain_order="left",
                    )["double"]
                )
                cause[_same(a, z, spread[name])[0]] = "float32"
            cause[np.isinf(b) & np.isnan(a)] = "infinite"
            open_ = cause == "unexplained"
            if name.startswith(("RSQR", "CORR", "CORD")):
                cut = open_ & np.isnan(b) & self._near_constant(name, cells)
                cause[cut] = "cut-off"
            open_ = cause == "unexplained"
            if name == "days_between" or name[:4] in ("IMAX", "IMIN", "IMXD"):
                gap = open_ & self._misplaced(name, cells)
                if self._reference_agrees(name, cells, gap, spread[name]):
                    cause[gap] = "position"
            rest = cause == "unexplained"
            if rest.any() and self._reference_agrees(name, cells, rest, spread[name]):
                cause[rest] = "sums"
            found, counts = np.unique(cause.astype(str), return_counts=True)
            self.tally[name] = dict(zip(found.tolist(), counts.tolist(), strict=True))
            for row in cells.filter(pl.Series(cause == "unexplained")).head(3).iter_rows():
                print(f"  unexplained: {name} {row}")
            left += int((cause == "unexplained").sum())
        return left

    def _in_double(self, odd: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """Columns that differ, from Qlib's operators on Float64 fields."""
        columns = [n for n in odd if n[:4] not in ("IMAX", "IMIN", "IMXD", "days")]
        if not columns:
            return {}
        names = sorted({i for n in columns for i in odd[n]["instrument_id"].unique()})
        self.ask("double", "--double", "--columns", *columns, "--names", *names)
        whole = pl.concat(self.theirs("double"))
        return {
            n: whole.select("date", "instrument_id", pl.col(n).alias("double")) for n in columns
        }

    @cached_property
    def _slots(self) -> pl.DataFrame:
        return pl.DataFrame({"date": self.panel["date"].unique().sort()}).with_row_index("slot")

    @cached_property
    def _by_name(self) -> dict[str, pl.DataFrame]:
        """Instrument → every session from its first bar to its last, gaps as nulls."""
        whole = self.panel.join(self._slots, on="date").sort("instrument_id", "slot")
        out = {}
        for (name,), rows in whole.group_by("instrument_id", maintain_order=True):
            every = pl.DataFrame({"slot": range(rows["slot"][0], rows["slot"][-1] + 1)}).cast(
                {"slot": rows["slot"].dtype}
            )
            out[str(name)] = every.join(rows, on="slot", how="left", maintain_order="left")
        return out

    def _window(self, name: str, day: object, instrument: str) -> pl.DataFrame:
        """The sessions of an instrument that an expression can see on a day."""
        rows = self._by_name[instrument]
        at = int(rows["date"].index_of(day))  # type: ignore[arg-type]
        return rows[max(0, at + 1 - WINDOWED) : at + 1]

    def _first_gap(self, name: str, cells: pl.DataFrame) -> Floats:
        """Place in the window of the first session without a bar, 1 the oldest; NaN without one."""
        n = _length(name)
        if n not in self._gaps:
            parts = []
            for instrument, rows in self._by_name.items():
                slot = pl.int_range(pl.len()).cast(pl.Float64)
                first = pl.when(pl.col("high").is_null()).then(slot).rolling_min(n, min_samples=1)
                place = first - pl.max_horizontal(slot - n + 1, 0.0) + 1
                parts.append(
                    rows.select("date", place=place)
                    .drop_nulls()
                    .with_columns(instrument_id=pl.lit(instrument))
                )
            self._gaps[n] = pl.concat(parts)
        key = ["date", "instrument_id"]
        return _floats(
            cells.join(self._gaps[n], on=key, how="left", maintain_order="left")["place"]
        )

    def _misplaced(self, name: str, cells: pl.DataFrame) -> NDArray[np.bool_]:
        """Whether Qlib's number is what the place of the window's first gap gives."""
        n = _length(name)
        place = self._first_gap(name, cells)
        expected = 0.0 * place if name.startswith(("IMXD", "days")) else place / n
        return np.abs(_floats(cells["peer"]) - expected) <= 1e-6

    def _near_constant(self, name: str, cells: pl.DataFrame) -> NDArray[np.bool_]:
        """Whether one of the operator's inputs deviates less than Qlib's cut-off in the window."""
        n = int("".join(c for c in name if c.isdigit()))
        found = []
        for day, instrument in cells.select("date", "instrument_id").iter_rows():
            rows = self._window(name, day, instrument)
            close, volume = rows["close"], rows["volume"]
            inputs = [close]
            if name.startswith("CORR"):
                inputs.append((volume + 1).log())
            if name.startswith("CORD"):
                inputs = [close / close.shift(1), (volume / volume.shift(1) + 1).log()]
            deviations = [x[-n:].drop_nulls().std() or 0.0 for x in inputs]
            found.append(min(deviations) <= CUT * (1 + 1e-3))  # type: ignore[type-var]
        return np.array(found)

    def _reference_agrees(
        self, name: str, cells: pl.DataFrame, which: NDArray[np.bool_], spread: float
    ) -> bool:
        """Whether the slow reference gives our numbers in (some of) the cells."""
        import qlib_reference

        at = np.flatnonzero(which)
        if not len(at):
            return True
        at = at[np.linspace(0, len(at) - 1, min(len(at), DECIDED)).astype(int)]
        for row in cells[at].iter_rows(named=True):
            rows = self._window(name, row["date"], row["instrument_id"])
            fields = {f: _floats(rows[f]) for f in panels.FIELDS}
            exact = np.array([qlib_reference.evaluate(self.expressions[name], fields)[-1]])
            if not _same(np.array([_plain(row["ours"])]), exact, spread)[0].all():
                return False
        return True

    # --- printing ---

    def _print(self, said: dict[str, object], seconds: float) -> None:
        as_there = "" if self.chosen == "own" else ", texts and names as there"
        print(
            f"\n{self.title}: {self.chosen} against Qlib {said['qlib']} (numpy {said['numpy']}, "
            f"pandas {said['pandas']}), {len(self.expressions)} expressions{as_there}, "
            f"{self.panel.height:,} bars; {seconds:.0f} s"
        )
        stems: dict[str, list[str]] = {}
        for name in self.expressions:
            stem = {"alpha158": _stem(name), "own": name}.get(
                self.chosen, name.rstrip("0123456789")
            )
            stems.setdefault(stem, []).append(name)
        print(
            f"{'columns':<12}{'cells':>14}{'differ':>10}{'share':>10}{'largest, × allowed':>20}  causes"
        )
        quiet = [s for s, n in stems.items() if not any(x in self.tally for x in n)]
        for stem, names in stems.items():
            if stem in quiet:
                continue
            causes: dict[str, int] = {}
            for n in names:
                for c, k in self.tally.get(n, {}).items():
                    causes[c] = causes.get(c, 0) + k
            cells, odd = sum(self.cells[n] for n in names), sum(causes.values())
            words = ", ".join(f"{k:,} {c}" for c, k in sorted(causes.items()))
            print(
                f"{stem:<12}{cells:>14,}{odd:>10,}{odd / cells:>10.4%}"
                f"{max(self.worst[n] for n in names):>20.3g}  {words}"
            )
        cells = sum(self.cells[n] for s in quiet for n in stems[s])
        worst = max((self.worst[n] for s in quiet for n in stems[s]), default=0.0)
        print(
            f"{'the other ' + str(len(quiet)):<12}{cells:>14,}{0:>10}{0:>10.4%}{worst:>20.3g}  {' '.join(quiet)}"
        )


def own() -> dict[str, str]:
    """The ten expressions of ``data/inputs/factors/_example_qlib.yaml``."""
    import yaml

    path = (
        Path(__file__).resolve().parents[2] / "data" / "inputs" / "factors" / "_example_qlib.yaml"
    )
    entries = yaml.safe_load(path.read_text("utf-8"))["factors"]
    return {n: e if isinstance(e, str) else e["expression"] for n, e in entries.items()}


def _pairs(said: dict[str, object]) -> list[tuple[str, str]]:
    """Qlib's names and expressions, in its order."""
    return list(zip(said["names"], said["expressions"], strict=True))  # type: ignore[call-overload]


def _length(name: str) -> int:
    """The window in a column's name."""
    return 60 if name == "days_between" else int("".join(c for c in name if c.isdigit()))


def _stem(name: str) -> str:
    bars = ("KMID2", "KUP2", "KLOW2", "KSFT2")
    return name if name in bars else name.rstrip("0123456789")


def _part(path: Path) -> int:
    return int(path.stem.rsplit("-", 1)[1])


def _plain(value: float | None) -> float:
    return float("nan") if value is None else value


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _same(a: Floats, b: Floats, spread: float) -> tuple[NDArray[np.bool_], Floats]:
    """Which cells agree, and the difference as a multiple of what is allowed."""
    with np.errstate(all="ignore"):
        gap = np.abs(a - b)
        allowed = TOLERANCE * np.maximum(np.abs(b), spread)
        ratio = np.where(gap == 0, 0.0, gap / allowed)
        good = (gap <= allowed) & np.isfinite(b)
    return good | (np.isnan(a) & np.isnan(b)), ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("peer", help="the Python of Qlib's environment")
    parser.add_argument("--names", type=int, default=615, help="names of the real panel, Alpha158")
    parser.add_argument("--small", action="store_true", help="a few names everywhere")
    options = parser.parse_args()
    few = options.small
    plan = [
        ("gaps", "own", 60, 800),
        ("gaps", "alpha158", *((60, 800) if few else (500, 2500))),
        ("gaps", "alpha360", 60, 800),
    ]
    cases = []
    if panels.REAL.exists():
        for chosen, names in (
            ("alpha158", 40 if few else options.names),
            ("alpha360", 20 if few else 100),
        ):
            panel = panels.real(names)
            count = panel["instrument_id"].n_unique()
            title = f"Real panel, {count} names × {panel['date'].n_unique():,} sessions"
            cases.append((title, chosen, panel))
    else:
        print(f"the real panel is not here ({panels.REAL.name}): only the seeded one is compared")
    for _, chosen, names, sessions in plan:
        title = (
            f"Seeded panel, {names} names × {sessions:,} sessions, {panels.SUSPENDED:.1%} suspended"
        )
        cases.append((title, chosen, panels.seeded(names, sessions)))
    left = 0
    for i, (title, chosen, panel) in enumerate(cases):
        left += Case(title, chosen, panel, options.work / f"case{i}", options.peer).run()
    print("\nCauses:")
    for cause, words in CLASSES.items():
        print(f"  {cause:<12}{words}")
    if left:
        print(f"\n{left} cells differ without a cause")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
