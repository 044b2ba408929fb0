"""A mandate backtested on a published run from the command line, without being stored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.cli import main
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.portfolio.backtest import EQUAL_WEIGHT

MANDATE = """\
name: tried
title: Tried
objective: min_variance
max_weight: 0.2
initial_nav: 1000000
fill_participation: 0.01
costs: {commission_bp: 2, half_spread_bp: 3}
"""


@pytest.fixture(scope="module")
def root(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's root again: that something was tried goes on its record."""
    copy = tmp_path_factory.mktemp("tried") / "data"
    shutil.copytree(sample_root, copy, symlinks=True)
    return copy


def said(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    capfd.readouterr()
    code = main([str(w) for w in words])
    out = capfd.readouterr()
    assert code == 0, out.err
    return out.out


def test_a_file_that_nobody_stored(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, log = tmp_path / "tried.yaml", tmp_path / "events.csv"
    path.write_text(MANDATE)
    versions = {t: Lake(root).version(t) for t in ("portfolio.nav", "portfolio.events")}
    words = ["backtest", "--mandate-file", path, "--root", root, "--from", "2019-06-03"]
    rows = json.loads(said(capfd, *words, "--json", "--events", log))
    assert [(r["mandate"], r["run_kind"]) for r in rows] == [
        (EQUAL_WEIGHT.name, "research"),
        ("tried", "research"),
    ]
    assert rows[0]["start"] == rows[1]["start"] == "2019-06-28"
    events = pl.read_csv(log, try_parse_dates=True)
    assert set(events["kind"]) >= {"deposit", "buy", "sell", "commission", "spread"}
    assert events["amount"][0] == 1_000_000.0
    assert events.filter(pl.col("kind") == "buy")["symbol"].null_count() == 0
    cash = events["amount"].sum()
    assert 0 <= cash < 50_000
    # the same with less cost: what the change is worth
    free = json.loads(
        said(capfd, *words, "--json", "--set", "costs.commission_bp=0", "--set", "costs.half_spread_bp=0")
    )  # fmt: skip
    assert free[1]["total_return"] > rows[1]["total_return"]
    assert free[1]["annual_cost"] == 0.0
    text = said(capfd, *words, "--to", "2020-06-30")
    assert "1/N (equal_weight)" in text
    assert {t: Lake(root).version(t) for t in versions} == versions


def test_the_stored_mandate_again_is_what_is_stored(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = [tmp_path / "stored.csv", tmp_path / "again.csv"]
    said(capfd, "backtest", "minimum_variance", "--root", root, "--events", log[0])
    said(
        capfd, "backtest", "minimum_variance", "--root", root, "--events", log[1],
        "--set", "title=Again",
    )  # fmt: skip
    stored, again = (pl.read_csv(p).drop("run_kind") for p in log)
    assert again.equals(stored)
    assert stored.height > 1000
