"""The graph after a restatement: data and factors as in a full run, fits as they were and marked."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import small_root
from pipeline import Driver, settings
from properties import OF_A_RUN, raw_known, same_rows
from synthetic import RawMarket

from assets import models
from assets._shared.resources import Session
from wealthos_pipeline import factors
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.run import Run

DAY, NEXT = date(2019, 2, 11), date(2019, 2, 12)
RESTATED = date(2018, 9, 27)
"""In the windows of the fit of 2019 and of the live one, behind that of 2018."""
MARKS = ["stale_since", "stale_reason"]


def corrected(raw: RawMarket, day: date, symbols: list[str], at: object) -> RawMarket:
    """``raw`` with other closes of some symbols on ``day``, fetched at ``at``."""
    hit = (pl.col("date") == day) & pl.col("symbol").is_in(symbols)
    moved = [pl.col(c) * 1.04 for c in ("open", "high", "low", "close", "adj_close")]
    new = raw.prices.filter(hit).with_columns(*moved, pl.lit(at).alias("fetched_at"))
    new = contract("raw.prices").conform(new)
    return replace(raw, prices=pl.concat([raw.prices, new]))


@pytest.fixture(scope="module")
def state(synthetic_raw: RawMarket, calendar: TradingCalendar) -> dict[str, object]:
    """A first evening, and the next one with a bar of months ago that was corrected."""
    driver = Driver(settings(), calendar, until=["models.predictions"], keeps_fits=True)
    first, second = (calendar.known_at(d) + timedelta(minutes=30) for d in (DAY, NEXT))
    before = raw_known(synthetic_raw, first, calendar)
    symbols = synthetic_raw.prices.filter(pl.col("date") == RESTATED)["symbol"].unique().sort()
    names = symbols.head(12).to_list()
    after = corrected(raw_known(synthetic_raw, second, calendar), RESTATED, names, second)
    lake = driver.lake(before)
    for stage in driver.stages:
        driver.step(lake, stage, first, None)
    was = dict(lake.frames)
    driver.advance(lake, after, second)
    return {"was": was, "now": dict(lake.frames), "full": driver(after, second), "at": second}


def test_what_comes_before_the_models_equals_the_full_run(state) -> None:
    for name, frame in state["full"].tables.items():
        if not name.startswith("models.") and name not in OF_A_RUN:
            key = state["full"].contracts[name].key
            same_rows(state["now"][name], frame, key, f"update and full run: {name}")


def test_fits_stand_and_say_that_their_rows_were_restated(state) -> None:
    was, now = (state[k]["models.registry"] for k in ("was", "now"))
    walk = pl.col("kind") == "walk_forward"
    assert now.filter(walk).drop(MARKS).equals(was.filter(walk).drop(MARKS))
    marked = now.filter(pl.col("stale_since").is_not_null())
    assert set(marked["refit_date"].dt.year()) == {2019}
    assert set(marked["stale_since"]) == {state["at"]}
    assert str(RESTATED) in marked["stale_reason"][0]
    full = state["full"].tables["models.registry"]
    sound = now.filter(pl.col("stale_since").is_null())
    assert set(sound["model_id"]) <= set(full["model_id"]), "what is not marked is the full run's"
    assert full["stale_since"].null_count() == full.height


def test_changed_dates_are_predicted_again_by_the_same_fits(state) -> None:
    was, now = (state[k]["models.predictions"] for k in ("was", "now"))
    key = ["model", "kind", "date", "instrument_id"]
    both = was.join(now, on=key, suffix="_now").filter(pl.col("kind") == "walk_forward")
    assert both.height > 1000
    assert (both["model_id"] == both["model_id_now"]).all()
    moved = both.filter(~pl.col("prediction").eq_missing(pl.col("prediction_now")))
    assert moved.height > 100
    assert moved["date"].min() >= RESTATED
    # before the refit of 2019 the fit saw nothing that was restated: there the full run says the same
    early = pl.col("date") < date(2019, 1, 2)
    same_rows(
        now.filter(early),
        state["full"].tables["models.predictions"].filter(early),
        contract("models.predictions").key,
        "predictions by fits of before",
    )


def test_other_code_or_settings_are_no_restatement(
    tmp_path: Path, calendar: TradingCalendar
) -> None:
    """What was made by another definition is made again, fits included."""
    root = small_root.build(tmp_path, calendar)
    at = calendar.known_at(root.days[-1]) + timedelta(hours=5)
    with Run.open(root.lake, root.settings, now=at) as run:
        session = Session(root.settings, run, root.lake, calendar, factors.load((), tmp_path), at)
        for definition, keeps in (("v1", True), ("v2", False)):
            run.done(run.plan("scores", inputs=("clean.prices",), definition=definition))
            assert session.keeps_fits is keeps
            assert run.redefined is not keeps
        run.done(run.plan("scores", inputs=("clean.prices",), definition="v1"))
        assert session.keeps_fits
        assert not replace(session, full=True).keeps_fits
        assert not replace(session, from_date=DAY).keeps_fits


def test_fits_are_taken_over_where_the_code_is_the_same_and_nothing_else_asks_for_them(
    tmp_path: Path,
) -> None:
    from types import SimpleNamespace

    stage = next(s for s in models.stages(factors.load((), tmp_path)) if s.name == "predictions")
    made = SimpleNamespace(definition='[["settings of before"], "code"]')

    def same(code: str, **more: object) -> bool:
        previous = SimpleNamespace(consumed={"predictions": made})
        body = {"full": False, "from_date": None, "run": SimpleNamespace(previous=previous), **more}
        return stage._same_code(SimpleNamespace(**body), [["settings of now"], code])

    assert same("code")
    assert not same("other code")
    assert not same("code", full=True)
    assert not same("code", from_date=DAY)
    assert not same("code", run=SimpleNamespace(previous=None))
