"""Fixtures for every room: the calendar and a seeded market (see ``tests/support/synthetic.py``)."""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import synthetic

from wealthos_pipeline.data.processors.calendar import TradingCalendar

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# each process rewrites 250 files of tests and compiles the library, and the commands that tests start
# compile it once more, unless one of them may leave its bytecode for the others
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure(config: pytest.Config) -> None:
    """Files are shared out in their order, not the one with the most tests first: that would begin the
    whole run, whose files have few tests, at the very end, where the other process waits for it."""
    config.option.loadscopereorder = False


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not walk over a million objects of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Processes side by side share out the compiling of a fresh checkout (50 s) instead of each doing all
    of it: from both ends of the list, one module a lock, and what the other compiled is loaded."""
    if (worker := os.environ.get("PYTEST_XDIST_WORKER")) is None:
        return
    from wealthos_pipeline.factors import kernels

    names = [f"{kernels.__name__}.{m.name}" for m in pkgutil.iter_modules(kernels.__path__)]
    names.append("wealthos_pipeline.portfolio.ledger")
    for name in names if worker == "gw0" else names[::-1]:
        with (tmp_path_factory.getbasetemp().parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            importlib.import_module(name)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's ``WEALTHOS_*`` variables must not change what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("WEALTHOS_")]:
            patch.delenv(name)
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
        patch.setenv("GX_ANALYTICS_ENABLED", "false")
        yield


@pytest.fixture(scope="session")
def calendar() -> TradingCalendar:
    """New York, 30 minutes after the close."""
    return TradingCalendar("XNYS", lag_minutes=30)


@pytest.fixture(scope="session")
def synthetic_raw() -> synthetic.RawMarket:
    """Raw frames of 40 instruments × 900 sessions."""
    return synthetic.raw_market()


@pytest.fixture(scope="session")
def synthetic_prices(synthetic_raw: synthetic.RawMarket) -> pl.DataFrame:
    """``clean.prices`` of the same market, built by a plain loop; instrument_id is the symbol."""
    return synthetic.clean_prices(synthetic_raw.prices)


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root after one complete `wealthos run` on the sample, from 2015 on, with small models.

    Reports lie in the folder ``reports`` beside it. Read only: other tests use it too, and so does the
    process beside this one where the files are shared out.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sample"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            small_run(folder / "data", folder / "reports")
            (folder / "made").touch()
    return folder / "data"


def small_run(root: Path, reports: Path) -> str:
    """`wealthos run` as ``sample_root`` was made; what it printed."""
    small = {
        "WEALTHOS_REPORTS": str(reports),
        "WEALTHOS_MODELS__LIGHTGBM_TREES": "20",
        "WEALTHOS_MODELS__TRAIN_SESSIONS": "756",
        "WEALTHOS_MODELS__MIN_TRAIN_SESSIONS": "504",
    }
    return wealthos("run", "--root", str(root), "--start", "2015-01-02", env=small)


@pytest.fixture(scope="session")
def run_again() -> Callable[[Path, Path], str]:
    """``small_run`` for tests: root and reports → what the command printed."""
    return small_run


def wealthos(*words: str, env: dict[str, str] | None = None) -> str:
    """Run the command in a process of its own; returns what it printed, fails with it otherwise."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from wealthos_pipeline.cli import main; sys.exit(main())", *words],
        cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(
            f"wealthos {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )
    return done.stdout


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the large real panel, or a skip."""
    if not (SHARED_DATA / "prices").is_dir():
        pytest.skip("the large real data set (../shared/data) is not on this machine")
    return SHARED_DATA
