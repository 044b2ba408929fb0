"""What the README says can be done, can be done."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import polars as pl

from wealthos_pipeline.data.processors.calendar import TradingCalendar

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_factor_is_found_and_computed(
    tmp_path: Path, synthetic_prices: pl.DataFrame, calendar: TradingCalendar
) -> None:
    from wealthos_pipeline import factors

    (example,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    (tmp_path / "mine.yaml").write_text(example)
    family = next(f for f in factors.load(("core",), tmp_path).families() if f.name == "mine")
    rows = synthetic_prices.filter(pl.col("instrument_id") == "SYN00").sort("date")
    values = factors.compute(family, rows, None, calendar=calendar)
    tr = rows["tr_index"].to_numpy()
    assert len(tr) == len(calendar.sessions(rows["date"][0], rows["date"][-1])), "no holes here"
    by_hand = tr[600 - 21] / tr[600 - 189] - 1
    found = values.filter(pl.col("date") == rows["date"][600])[family.factors[0].name][0]
    assert abs(found - by_hand) < 1e-6


def test_make_has_the_targets_that_are_named() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    pages = [README, *(p.read_text("utf-8") for p in (ROOT / "docs").rglob("*.md"))]
    named = {t for text in pages for t in re.findall(r"`make ([a-z-]+)", text)}
    assert {
        "run",
        "test",
        "ui",
        "serve",
        "lint",
        "types",
        "bench",
        "check-peers",
        "docs",
        "clean",
    } <= rules
    assert named <= rules


def test_the_example_settings_are_the_defaults() -> None:
    from wealthos_pipeline.utils.config import Settings

    text = (ROOT / "wealthos.toml.example").read_text()
    written = tomllib.loads(text)
    assert written
    defaults = Settings.model_construct().model_dump(mode="json")

    def compare(found: dict[str, object], default: dict[str, object], where: str) -> None:
        for name, value in found.items():
            if isinstance(value, dict):
                compare(value, default[name], f"{where}{name}.")  # type: ignore[arg-type]
            else:
                wanted = default[name]
                assert value == (list(wanted) if isinstance(wanted, tuple) else wanted), (
                    where + name
                )

    compare(written, defaults, "")


def test_commands_in_the_pages_exist() -> None:
    import typer.main

    from wealthos_pipeline.cli.app import app

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    pages = [README, *(p.read_text("utf-8") for p in (ROOT / "docs").glob("*.md"))]
    named = {w for text in pages for w in re.findall(r"(?:bin/|`|\n)wealthos ([a-z]+)", text)}
    assert "run" in named
    assert named <= known
