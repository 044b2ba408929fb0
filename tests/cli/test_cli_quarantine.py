"""``wealthos data quarantine`` against a root in which cleaning rejected a spike and a zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors import instruments as identity
from wealthos_pipeline.data.processors import prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lake import Lake
from wealthos_pipeline.data.storage.lock import lock
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.utils.config import load_settings

FIRST = date(2020, 1, 2)
CLOSES = [10.0, 10.1, 10.2, 10.3, 103.0, 10.4, 10.5, 0.0, 10.6]
WHO = ("--owner", "ann", "--reason", "a real print, see the tape")


@dataclass(frozen=True)
class Rejected:
    """A published root, and how to clean it again."""

    folder: Path
    lake: Lake
    calendar: TradingCalendar
    days: list[date]

    def run(self, number: int) -> prices.Cleaned:
        """Clean everything, write it and publish."""
        settings = load_settings(root=self.folder)
        now = self.calendar.known_at(self.days[-1]) + timedelta(hours=1)
        if number:  # after what a person said just now
            now = datetime.now(UTC) + timedelta(seconds=number)
        with Run.open(self.lake, settings, now=now) as run:
            raw = self.lake.read("raw.prices")
            names = identity.clean(self.lake.read("raw.instruments"), raw, calendar=self.calendar)
            out = prices.clean(
                raw, names, self.calendar, now=now, releases=self.lake.read("raw.releases")
            )
            self.lake.restate("clean.prices", out.prices, now=now, earlier=out.earlier)
            self.lake.replace("clean.instruments", names)
            self.lake.replace("clean.quarantine", out.quarantine)
            self.lake.replace("clean.adjustments", out.adjustments)
            run.publish(as_of=self.days[-1], source="v")
        return out


@pytest.fixture
def rejected(tmp_path: Path, calendar: TradingCalendar) -> Rejected:
    days = calendar.sessions(FIRST, calendar.offset(FIRST, len(CLOSES) - 1))
    lake = Lake(tmp_path / "root", calendar=calendar)
    stamp = calendar.known_at(days[-1])
    keys = {"source": "v", "symbol": "ACME", "fetched_at": stamp}
    schema = contract("raw.prices").schema()
    rows = [{**keys, "date": d, "close": c} for d, c in zip(days, CLOSES, strict=True)]
    told = {**keys, "asset_class": "equity", "exchange": "XNYS", "currency": "USD"}
    lake.append("raw.prices", pl.DataFrame(rows, schema_overrides=schema))
    lake.append("raw.instruments", pl.DataFrame([told], schema_overrides={"fetched_at": schema["fetched_at"]}))  # fmt: skip
    root = Rejected(tmp_path / "root", lake, calendar, days)
    root.run(0)
    return root


@pytest.fixture
def say(call: Any, rejected: Rejected) -> Any:
    return lambda *words: call("data", "quarantine", *words, "--root", rejected.folder)


def test_rules_are_listed_with_their_words(say) -> None:
    out = say().out
    assert "spike" in out
    assert "Spike taken back by the next bar" in out
    assert "Zero or negative price" in out


def test_a_rule_is_explained(say) -> None:
    out = say("--explain", "spike").out
    assert "believed" in out
    assert "cleaning.spike_growth  2.5" in out
    assert 'cleaning.off = ["spike"]' in out
    body = say("--explain", "no_close", "--json").json
    assert "chain of returns" in body["why_it_cannot_be_released"]
    wrong = say("--explain", "spikes")
    assert wrong.code == 2
    assert "Did you mean spike" in wrong.err


def test_a_row_is_shown_among_its_neighbours(say, rejected: Rejected) -> None:
    out = say("--symbol", "acme", "--date", rejected.days[4]).out
    assert "What the source gave of ACME" in out
    body = say("--symbol", "ACME", "--date", rejected.days[4], "--json").json
    assert [r["close"] for r in body["raw"]] == CLOSES[1:8]
    assert [r["rejected by"] for r in body["raw"]] == [None, None, None, "spike", None, None, None]


def test_a_release_is_used_by_the_next_run_and_can_be_taken_back(say, rejected: Rejected) -> None:
    day = rejected.days[4]
    row = ("--date", day, "--rule", "spike")
    said = say("--release", "ACME", *row, *WHO)
    assert said.code == 0, said.err
    assert "from the next run on" in said.out
    again = say("--release", "ACME", *row, *WHO)
    assert again.code == 0  # it still is in quarantine until the next run

    out = rejected.run(1)
    bar = rejected.lake.read("clean.prices", start=day, end=day).row(0, named=True)
    assert bar["close"] == 103.0
    assert bar["known_at"] > datetime.now(UTC) - timedelta(hours=1)  # from the release on
    assert out.quarantine["rule"].to_list() == ["non_positive_price"]
    told = out.adjustments.row(0, named=True)
    assert (told["rule"], told["after"]) == ("released", 103.0)
    assert told["detail"] == "spike overruled by ann: a real print, see the tape"
    late = say("--release", "ACME", *row, *WHO)
    assert late.code == 2
    assert "It was released already" in late.err

    back = say("--take-back", "ACME", *row, "--owner", "bob", "--reason", "it was not")
    assert back.code == 0, back.err
    assert rejected.run(2).prices["date"].to_list() == [
        d for i, d in enumerate(rejected.days) if i not in (4, 7)
    ]
    history = rejected.lake.read("clean.prices_history", start=day, end=day)
    assert history.height == 1 + 1  # as first seen, and while it was released
    none = say("--take-back", "ACME", *row, "--owner", "bob", "--reason", "again")
    assert none.code == 2
    assert "stands" in none.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--release", "ACME", "--date", 7, "--rule", "non_positive_price", *WHO], "cannot be released: the chain"),
        (["--release", "ACME", "--date", 3, "--rule", "spike", *WHO], "in quarantine for that day: nothing"),
        (["--release", "ACME", "--date", 4, "--rule", "spyke", *WHO], "no cleaning rule 'spyke'"),
        (["--release", "ACME", "--date", 4, "--rule", "spike", "--owner", "ann"], "Missing: --reason"),
        (["--release", "ACME", "--rule", "spike", *WHO], "Missing: --date"),
        (["--release", "ACME", "--take-back", "ACME", "--date", 4, "--rule", "spike", *WHO], "contradict"),
        (["--take-back", "ACME", "--date", 4, "--rule", "spike", *WHO], "releases so far: none"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_what_cannot_be_released_is_refused_with_words(
    words: list[Any], says: str, say, rejected: Rejected
) -> None:
    said = say(*(rejected.days[w] if isinstance(w, int) else w for w in words))
    assert said.code == 2
    assert says in said.err
    assert not rejected.lake.read("raw.releases").height


def test_a_release_waits_for_the_lock(say, rejected: Rejected) -> None:
    with lock(rejected.folder, "another run"):
        said = say("--release", "ACME", "--date", rejected.days[4], "--rule", "spike", *WHO)
    assert said.code == 6
    assert "another run" in said.err
    assert not rejected.lake.read("raw.releases").height
