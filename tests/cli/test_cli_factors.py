"""``wealthos factors``: explain, evaluate, new, check, against roots and folders of the test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from scipy import stats as scipy_stats

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.utils import config


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of own factors that is not the checkout's."""
    monkeypatch.setattr(config, "inputs_dir", lambda: tmp_path / "inputs")
    return tmp_path / "inputs" / "factors"


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Path:
    """30 names × 260 sessions; tomorrow's return goes against today's."""
    rng = np.random.default_rng(0)
    days = [d for d in calendar.frame()["date"] if d.year in (2018, 2019)][:260]
    returns = 0.02 * rng.normal(size=(260, 30))
    returns[2:] -= 0.5 * returns[:-2]  # bought at t+1, held to t+2
    close = 50 * np.cumprod(1 + returns, axis=0)
    frame = pl.concat(
        pl.DataFrame({"Ticker": f"S{j:02}", "Date": days, "Close": close[:, j]}) for j in range(30)
    )
    path = tmp_path_factory.mktemp("panel") / "prices.csv"
    frame.write_csv(path)
    return path


def test_explain_shows_shared_steps_once(call, nowhere) -> None:
    text = "Mean($close, 20) / Std($close, 20) + Mean($close, 20)"
    body = call("factors", "explain", text, "--json", "--root", nowhere).json
    assert (body["lookback"], body["fields"]) == (19, ["close"])
    assert [s["op"] for s in body["steps"]].count("Mean") == 1
    assert next(s for s in body["steps"] if s["op"] == "Mean")["shared"] == 2
    said = call("factors", "explain", text, "momentum_12_1", "--root", nowhere)
    assert said.code == 0
    assert "252 sessions" in said.out
    assert "= momentum_12_1" in said.out


def test_a_wrong_expression_is_shown_with_its_place(call, nowhere) -> None:
    said = call("factors", "explain", "Mean($clse, 20)", "--root", nowhere)
    assert said.code == 9
    lines = said.err.splitlines()
    at = next(i for i, x in enumerate(lines) if x.strip() == "^")
    assert lines[at - 1][lines[at].index("^") :].startswith("$clse")
    assert call("factors", "explain", "momentun_12_1", "--root", nowhere).code == 2


def test_what_a_shell_or_a_habit_makes_of_an_expression_is_explained(call, nowhere) -> None:
    body = call("factors", "explain", "-1*$close", "--json", "--root", nowhere).json
    assert body["fields"] == ["close"]
    emptied = call("factors", "explain", "Mean(, 20) / Ref(, 5)", "--root", nowhere)  # "$close"
    assert (emptied.code, "in single quotes" in emptied.err) == (9, True)
    typo = call("factors", "explain", "Mean(, 20) / $close", "--root", nowhere)
    assert (typo.code, "in single quotes" in typo.err) == (9, False)
    for word in ("close", "sector", "Mean"):
        said = call("factors", "explain", word, "--root", nowhere)
        assert (said.code, "a word of the language" in said.err) == (9, True)


def test_an_expression_is_judged_on_a_plain_table(call, panel: Path, nowhere) -> None:
    """The mean rank IC is SciPy's, date by date; the sign turns with the direction."""
    words = ("factors", "evaluate", "$close / Ref($close, 1) - 1", "--panel", panel, "--horizon", 1)
    body = call(*words, "--json", "--root", nowhere).json
    close = pl.read_csv(panel).pivot("Ticker", index="Date", values="Close").drop("Date").to_numpy()
    ret = close[1:] / close[:-1] - 1
    ics = [scipy_stats.spearmanr(ret[t], ret[t + 2]).statistic for t in range(len(ret) - 2)]
    (row,) = [r for r in body["summary"] if r["variant"] == "plain" and r["horizon"] == 1]
    assert row["mean_rank_ic"] == pytest.approx(np.mean(ics), abs=1e-6)
    assert body["verdict"]["tone"] == "against"
    turned = call(*words, "--direction", -1, "--json", "--root", nowhere).json
    assert turned["verdict"]["tone"] == "strong"
    said = call(*words, "--direction", -1, "--root", nowhere)
    assert said.code == 0
    assert "It works as stated" in said.out
    assert "By year" in said.out


def test_dividends_of_a_plain_table_count(call, panel: Path, tmp_path: Path, nowhere) -> None:
    """``Adj Close`` is what was earned: a panel that has it as ``Close`` gives the same numbers."""
    frame = pl.read_csv(panel).with_columns(x=0.99 ** pl.col("Date").cum_count().over("Ticker"))
    frame = frame.with_columns(
        pl.when(pl.col("Ticker") < "S10").then("x").otherwise(1.0).alias("x")
    )
    both = frame.select(
        "Ticker",
        "Date",
        (pl.col("Close") * pl.col("x")).alias("Close"),
        pl.col("Close").alias("Adj Close"),
    )
    both.write_csv(tmp_path / "both.csv")
    words = ("factors", "evaluate", "Mean($ret, 5)", "--horizon", 5, "--json", "--root", nowhere)
    one, other = (
        call(*words, "--panel", p).json["summary"] for p in (panel, tmp_path / "both.csv")
    )
    assert [r["mean_rank_ic"] for r in one] == pytest.approx(
        [r["mean_rank_ic"] for r in other], abs=1e-6
    )


def test_noise_is_called_noise(call, panel: Path, nowhere) -> None:
    said = call("factors", "evaluate", "Ref($close, 100)", "--panel", panel, "--horizon", 5,
                "--root", nowhere)  # fmt: skip
    assert "Nothing to see" in said.out
    assert "could not show an IC below" in said.out


def test_a_table_that_cannot_be_read_says_why(call, tmp_path: Path, nowhere) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("when,price\n2020-01-02,1\n")
    said = call("factors", "evaluate", "Mean($close, 5)", "--panel", path, "--root", nowhere)
    assert said.code == 3
    assert all(w in said.err for w in ("of names", "of dates", "no column close"))


def test_evaluating_without_a_run_names_the_next_step(call, nowhere) -> None:
    said = call("factors", "evaluate", "Mean($ret, 5)", "--root", nowhere)
    assert (said.code, "wealthos run" in said.err) == (7, True)
    said = call("factors", "evaluate", "Mean($ret, 5)", "--universe", "some", "--root", nowhere)
    assert said.code == 2


def test_new_writes_what_it_was_told_and_keeps_what_is_there(call, inputs: Path) -> None:
    said = call("factors", "new", "calm", "-Std($ret, 20)", "--title", "Calm: it's quiet")
    assert said.code == 0
    assert "wealthos factors evaluate calm" in said.err
    path = inputs / "own.yaml"
    path.write_text(path.read_text() + "  # mine, keep\n")
    assert call("factors", "new", "loud", "Std($ret, 20)", "--direction", -1).code == 0
    body = yaml.safe_load(path.read_text())
    assert body["factors"]["calm"]["expression"] == "-Std($ret, 20)"
    assert body["factors"]["calm"]["title"] == "Calm: it's quiet"
    assert body["factors"]["loud"]["direction"] == -1
    assert "# mine, keep" in path.read_text()
    names = [f["name"] for f in call("factors", "list", "--json").json]
    assert {"calm", "loud"} <= set(names)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("momentum_12_1", "Mean($ret, 5)"), "declared twice"),
        (("ahead", "Ref($close, -1)"), "future"),
        (("odd", "Mean($clse, 5)"), "unknown field"),
        (("select", "Mean($ret, 5)"), "SQL keeps the word"),
        (("mine", "Mean($ret, 5)", "--family", "momentum"), "another name"),
        (("a b", "Mean($ret, 5)"), "cannot be a name"),
    ],
)
def test_new_refuses_what_could_not_be_used(call, inputs: Path, words, told: str) -> None:
    said = call("factors", "new", *words)
    assert (said.code, told in said.err) == (9, True)
    assert not inputs.exists()


def test_new_asks_for_an_expression_that_is_not_blank(call, inputs: Path) -> None:
    for words in (("x",), ("x", ""), ("x", "  "), ("x", "$close", "--python")):
        said = call("factors", "new", *words)
        assert (said.code, "give either an expression" in said.err) == (2, True)
    assert not inputs.exists()


def test_new_does_not_touch_a_file_that_it_does_not_understand(call, inputs: Path) -> None:
    inputs.mkdir(parents=True)
    text = "factors:\n  a: Mean($ret, 5)\nfamily: own\n"
    (inputs / "own.yaml").write_text(text)
    said = call("factors", "new", "b", "Mean($ret, 9)")
    assert (said.code, "by hand" in said.err) == (9, True)
    assert (inputs / "own.yaml").read_text() == text


def test_check_reports_every_fault_and_ends_with_an_error(call, inputs: Path, nowhere) -> None:
    assert call("factors", "check", "--root", nowhere).code == 0
    inputs.mkdir(parents=True)
    (inputs / "own.yaml").write_text(
        "factors:\n  a: Mean($clse, 5)\n  b: Meen($close, 5)\n  c: $ret\n"
    )
    said = call("factors", "check", "--root", nowhere)
    assert said.code == 9
    assert all(w in said.err for w in ("$clse", "Meen"))
    assert "not tried" in said.out


def test_a_python_file_written_by_new_is_admitted(wealthos, call, inputs: Path) -> None:
    assert call("factors", "new", "mine", "--python").code == 0
    body = wealthos("factors", "check", "mine.py", "--json").json
    assert body["faults"] == []
    assert [(r["factor"], r["ok"]) for r in body["factors"]] == [("mine", True)]


def test_a_function_that_looks_ahead_is_refused(wealthos, call, inputs: Path) -> None:
    assert call("factors", "new", "mine", "--python").code == 0
    path = inputs / "mine.py"
    path.write_text(
        path.read_text().replace('pl.col("slot") + SESSIONS', 'pl.col("slot") - SESSIONS')
    )
    said = wealthos("factors", "check", path)
    assert (said.code, "looks ahead" in said.err) == (9, True)
