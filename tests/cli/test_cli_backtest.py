"""``wealthos backtest``: periods of stored results, and what is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path


def test_a_period_of_the_stored_results(wealthos) -> None:
    whole = wealthos("backtest", "balanced", "--json").json
    first, last = whole[0]["start"], whole[-1]["end"]
    part = wealthos("backtest", "balanced", "--json", "--from", last).json
    assert [(r["start"], r["end"], r["sessions"]) for r in part] == [(last, last, 1)]
    assert wealthos("backtest", "--json", "--to", last).json
    none = wealthos("backtest", "--to", "1999-01-04")
    assert none.code == 2
    assert "no backtest has a session" in none.err
    swapped = wealthos("backtest", "--from", last, "--to", first)
    assert "swap them" in swapped.err
    assert "is not a date" in wealthos("backtest", "--from", "yesterday").err


def test_what_cannot_be_backtested_is_refused(wealthos, tmp_path: Path) -> None:
    there = tmp_path / "events.csv"
    there.write_text("mine\n")
    said = wealthos("backtest", "--events", there)
    assert (said.code, "is there already" in said.err) == (2, True)
    assert there.read_text() == "mine\n"
    assert "which mandate?" in wealthos("backtest", "--set", "max_weight=0.2").err
    both = wealthos("backtest", "balanced", "--mandate-file", tmp_path / "a.yaml")
    assert "one of the two" in both.err
    assert "is not there" in wealthos("backtest", "--mandate-file", tmp_path / "a.yaml").err
    assert "is not key=value" in wealthos("backtest", "core_equity", "--set", "max_weight").err
    wrong = wealthos("backtest", "core_equity", "--set", "max_wieght=0.2")
    assert (wrong.code, "Did you mean max_weight" in wrong.err) == (2, True)
    settings = wealthos("backtest", "core_equity", "--set", "portfolio.ic_session=5")
    assert settings.code == 2
    assert "ic_session" in settings.err
