"""Own factors are tried before they are used: each way of being wrong is found, and being right is admitted."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.factors import admission
from wealthos_pipeline.factors.admission import Market, examine
from wealthos_pipeline.factors.library import Family, Fault, Library, load

NOW, LATER = datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)
KEYS = ("date", "instrument_id")
BY = {"partition_by": "instrument_id", "order_by": "date"}


def own(name: str, function=None, *, lookback: int | None = 30, expression: str | None = None):
    return Factor(
        name, AssetClass.EQUITY, "own", 1, name, "own", expression=expression, function=function,
        lookback=lookback if function else None, sets=("own",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def market(synthetic_prices, calendar) -> Market:
    return Market(synthetic_prices, None, None, calendar)


def sessions_ago(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """The close ``n`` sessions ago (not rows ago)."""
    old = frame.select("instrument_id", pl.col("slot") + n, old="close")
    return frame.join(old, on=["instrument_id", "slot"], how="left", maintain_order="left")


def good(frame):
    return sessions_ago(frame, 20).select(*KEYS, value=pl.col("close") / pl.col("old") - 1)


def peek(frame):
    return frame.select(*KEYS, value=pl.col("close").shift(-1).over(**BY) / pl.col("close"))


def peek_far(frame):
    return frame.select(*KEYS, value=pl.col("close").shift(-15).over(**BY) / pl.col("close"))


def whole_sample(frame):
    z = (pl.col("close") - pl.col("close").mean()) / pl.col("close").std()
    return frame.select(*KEYS, value=z.over("instrument_id"))


def rows_not_sessions(frame):
    mean = pl.col("close").rolling_mean(30).over(**BY)
    return frame.select(*KEYS, value=pl.col("close") / mean)


def since_the_beginning(frame):
    return frame.select(*KEYS, value=pl.col("close").cum_max().over(**BY) / pl.col("close"))


calls = iter(range(10_000))


def of_the_day(frame):
    return frame.select(*KEYS, value=pl.col("close") * 0 + next(calls))


def twice(frame):
    out = frame.select(*KEYS, value="close")
    return pl.concat([out, out.head(1)])


def boom(frame):
    raise ValueError("no such luck")


def leave(frame):
    sys.exit(3)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (peek, "looks ahead: "),
        (peek_far, "looks ahead: "),
        (whole_sample, "looks ahead: "),
        (rows_not_sessions, "needs more than its lookback of 30 sessions"),
        (since_the_beginning, "needs more than its lookback of 30 sessions"),
        (of_the_day, "is"),
        (twice, "several values for one instrument and date"),
        (boom, r"raised ValueError (test_admission.py, line"),
        (leave, r"raised SystemExit (test_admission.py, line"),
        (lambda f: f.lazy(), "gave a LazyFrame"),
        (lambda f: pl.col("close"), "gave an expression"),
        (lambda f: None, "gave nothing (None)"),
        (lambda f: f["close"], "gave polars.series.series.Series"),
        (lambda f: f.select("date", value="close"), "without instrument_id"),
        (lambda f: f.select(*KEYS, value=pl.lit("high")), "value as String; expected numbers"),
        (lambda f: f.select(pl.col("date").cast(pl.String), "instrument_id", value="close"), "gave date as String"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_words(market, function, words) -> None:
    found = examine(own("mine", function), market)
    assert not found.admitted
    assert found.reason is not None
    assert words in found.reason


def test_a_function_of_the_calls_is_no_function(market) -> None:
    """Without cuts, only asking twice can show it."""
    found = examine(own("mine", of_the_day), market, cuts=0)
    assert found.reason is not None
    assert found.reason.startswith("is not a function of its input")


def test_what_is_right_is_admitted(market) -> None:
    found = examine(own("mine", good, lookback=20), market)
    assert (found.admitted, found.reason) == (True, None)
    assert len(found.cuts) == 3
    assert found.names > 30
    for text in (
        "CSRank(Mean($ret, 20))",
        "$close / Max($close, 60)",
        "Corr($ret, $market_ret, 60)",
    ):
        assert examine(own("mine", expression=text), market).admitted


def test_one_session_too_few_is_found(market) -> None:
    found = examine(own("mine", good, lookback=19), market)
    assert not found.admitted
    assert "lookback of 19 sessions" in str(found.reason)


def test_slow_functions_are_refused(market) -> None:
    found = examine(own("mine", good, lookback=20), market, seconds=0.0)
    assert str(found.reason).startswith("too slow")


def test_nothing_but_missing_is_admitted_with_a_remark(market) -> None:
    """A field that the data lack is no fault of the factor."""
    found = examine(own("mine", lambda f: f.select(*KEYS, value=pl.lit(None))), market)
    assert found.admitted
    assert str(found.reason).startswith("no value for ")


def test_short_and_empty_panels(synthetic_prices, calendar) -> None:
    one_day = synthetic_prices.filter(pl.col("date") == pl.col("date").max())
    for prices in (one_day, one_day.clear()):
        found = examine(own("mine", good, lookback=20), Market(prices, None, None, calendar))
        assert found.admitted
        assert found.cuts == ()


def test_trials_are_drawn_by_the_definition(market) -> None:
    a, b = (own("mine", expression=t) for t in ("$close", "$open"))
    assert examine(a, market).cuts == examine(a, market).cuts
    assert examine(a, market).cuts != examine(b, market).cuts


# --- the table -----------------------------------------------------------------------------------


def library(*factors: Factor, faults: tuple[Fault, ...] = ()) -> Library:
    return Library({f.name: f for f in factors}, faults)


@pytest.fixture
def empty() -> pl.DataFrame:
    return contract("factors.admissions").empty()


def test_a_definition_is_tried_once(market, empty) -> None:
    one, other = own("mine", expression="$close / $open"), own("mine", expression="$open / $close")
    defined = library(one)
    assert admission.pending(defined, empty) == [one]
    stored = admission.state(defined, empty, [examine(one, market)], NOW)
    assert admission.pending(defined, stored) == []
    assert admission.pending(defined, stored, again=True) == [one]
    assert admission.pending(library(other), stored) == [other]
    assert admission.state(defined, stored, [], LATER).equals(stored), "nothing new, no new version"
    assert admission.refused(stored, library(other)) == {
        "mine": "not admitted: it has not been tried yet"
    }


def test_the_table_has_what_is_left_out(market, empty) -> None:
    bad, fine = own("bad", peek), own("fine", good, lookback=20)
    fault = Fault("wrong.yaml", "", "wrong.yaml is not YAML")
    defined = library(bad, fine, faults=(fault,))
    stored = admission.state(defined, empty, [examine(f, market) for f in (bad, fine)], NOW)
    assert stored["factor"].to_list() == ["bad", "fine", "wrong.yaml"]
    assert stored["admitted"].to_list() == [False, True, False]
    assert list(admission.refused(stored, defined)) == ["bad"]
    again = admission.state(defined, stored, [], LATER)
    assert again.equals(stored)
    gone = admission.state(library(fine), stored, [], LATER)
    assert gone["factor"].to_list() == ["fine"]


def test_built_in_factors_are_not_tried(empty) -> None:
    built_in = Factor("x", AssetClass.EQUITY, "demo", 1, "x", "x", expression="$close")
    assert admission.pending(library(built_in), empty) == []
    assert admission.refused(empty, library(built_in)) == {}


def test_a_failure_on_the_day_takes_its_own_column_only(market) -> None:
    """Admitted yesterday, failing on today's data: the family's other columns are there."""
    family = Family(AssetClass.EQUITY, "own", (own("bad", boom), own("fine", good, lookback=20)))
    start = market.calendar.offset(market.prices["date"].max(), -5)
    values, failed = admission.compute_admitted(family, market, {}, start)
    assert list(failed) == ["bad"]
    assert "no such luck" in failed["bad"]
    assert "bad" not in values.columns
    alone = market.values(Family(AssetClass.EQUITY, "own", family.factors[1:]), start)
    assert values.equals(alone)
    nothing, _ = admission.compute_admitted(family, market, {"bad": "x", "fine": "y"}, start)
    assert nothing.height == 0


def test_the_examples_of_the_readme_are_admitted(tmp_path, market) -> None:
    text = (Path(__file__).parents[2] / "data/inputs/factors/README.md").read_text("utf-8")
    found = re.findall(r"```(yaml|python)\n(.*?)```", text, re.DOTALL)
    for i, (kind, body) in enumerate(found):
        (tmp_path / f"{i}.{'py' if kind == 'python' else kind}").write_text(body)
    loaded = load((), tmp_path).factors
    assert len(loaded) >= 3
    for f in loaded.values():
        assert examine(f, market).reason is None
