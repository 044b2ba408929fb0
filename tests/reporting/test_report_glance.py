"""The sentences that a manager reads first: their numbers, and when they are not said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from wealthos_pipeline.data.sources.base import Bias
from wealthos_pipeline.reporting import Report, collect, page
from wealthos_pipeline.reporting.page_glance import evidence, glance, shared_basis
from wealthos_pipeline.reporting.report import Exceptions
from wealthos_pipeline.reporting.words import rough
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def report(
    lake_of: Callable[[Frames], Any],
    fake_lake_frames: Frames,
    source_info: Any,
    mandate_definitions: Any,
) -> Report:
    return collect(
        lake_of(fake_lake_frames),
        date=date(2022, 12, 28),
        info=source_info,
        settings=Settings(),
        run_id="20221228T213000Z-b2",
        mandates=mandate_definitions,
    )


def sentences(report: Report) -> str:
    items = [x for b in glance(report) if b.kind == "items" for x in b.items]
    return " ".join(f"{x.head} {x.text}" for x in items).replace("\u00a0", " ").replace("−", "-")


def test_what_the_panel_cannot_show_stands_above_everything(report: Report) -> None:
    said = evidence(report)
    assert said is not None
    least = min(s.all.detectable for s in (*report.models, *report.factors) if s.all.detectable)
    assert f"This panel cannot detect an IC below {least:.3f}." in said.head
    bias = Bias("survivorship", "20 survivors chosen in hindsight", "They still traded.")
    chosen = evidence(replace(report, source=replace(report.source, biases=(bias,))))
    assert chosen is not None
    assert chosen.head == (
        "20 survivors chosen in hindsight cannot show alpha; this panel cannot detect an IC below "
        f"{least:.3f}."
    )
    built = page.build(report, frozenset())
    assert any(said in b.items for b in built.lead if b.kind == "items")
    best = max(report.models, key=lambda s: s.all.mean or 0.0)
    assert best.name in said.text
    assert evidence(replace(report, models=(), factors=())) is None


def test_the_calmest_mandate_is_weighed_against_one_over_n(report: Report) -> None:
    known = [m for m in report.mandates if m.track is not None]
    calm = min(known, key=lambda m: (m.track and m.track.volatility) or 9.0)
    assert calm.track is not None
    assert calm.benchmark is not None
    mine = replace(
        calm.track, volatility=0.15, annual_return=0.13, max_drawdown=0.40, start=date(1991, 3, 28)
    )
    other = replace(calm.benchmark, volatility=0.20, annual_return=0.17, max_drawdown=0.50)
    one = replace(report, mandates=(replace(calm, track=mine, benchmark=other),))
    said = sentences(one)
    assert f"{calm.name}: 25 % less volatility than 1/N" in said
    assert "at the price of 4.0 percentage points of return a year." in said
    assert "volatility 15.0 % against 20.0 %, largest drawdown 40.0 % against 50.0 %" in said
    better = replace(calm, track=replace(mine, annual_return=0.18), benchmark=other)
    assert "with 1.0 percentage points more return a year" in sentences(
        replace(report, mandates=(better,))
    )


def test_exceptions_of_the_crises_are_one_sentence(report: Report) -> None:
    mandate = next(m for m in report.mandates if m.track is not None)

    def told(observed: int, p: float) -> str:
        found = tuple(
            Exceptions(w, 0.99, n, k, 0.01 * n, q)
            for w, n, k, q in (
                ("since start", 8000, 136, 0.0),
                ("2008", 253, observed, p),
                ("2020", 253, 3, 0.8),
            )
        )
        return sentences(replace(report, mandates=(replace(mandate, exceptions=found),)))

    assert "VaR understated the risk of 2008." in told(24, 1e-9)
    assert "24 in 2008 where 2.5 were expected and 3 in 2020 where 2.5 were expected" in told(
        24, 1e-9
    )
    assert "136 since the start (80 expected)" in told(24, 1e-9)
    assert "VaR held through 2008 and 2020." in told(4, 0.4)


def test_the_attribution_sentence_has_every_effect_and_the_sum(report: Report) -> None:
    said = sentences(report)
    for m in (m for m in report.mandates if m.track is not None and m.attribution):
        a = m.attribution[-1]
        (found,) = re.findall(
            rf"{m.name}: ([\d.]+) pp (ahead of|behind) 1/N over {a.window}\. ([^;]*);", said
        )
        assert float(found[0]) == pytest.approx(abs(100 * a.total), abs=0.00501)
        assert found[1] == ("ahead of" if a.total >= 0 else "behind")
        shown = [float(x) for x in re.findall(r"([+-][\d.]+) pp", found[2])]
        assert sum(shown) == pytest.approx(100 * a.total, abs=0.005 * (len(a.effects) + 1))
        assert "together they are the difference of the net asset values" in said


def test_a_sentence_that_all_proposals_end_with_is_said_once(report: Report) -> None:
    basis = "From the paper portfolio, as no holdings were supplied."
    live = [p for p in report.proposals if p.kind == "live"]
    assert len(live) >= 2
    proposals = tuple(replace(p, message=f"First {i}. {basis}") for i, p in enumerate(live))
    same = replace(report, proposals=proposals)
    assert shared_basis(same) == basis
    trades = next(s for s in page.build(same, frozenset()).sections if s.anchor == "trades")
    texts = [b.text for b in trades.blocks if b.kind == "text"]
    assert [basis in t for t in texts].count(True) == 1
    other = replace(same, proposals=(replace(live[0], message="Other."), *proposals[1:]))
    assert shared_basis(other) == ""


def test_money_in_sentences_has_three_digits_or_so() -> None:
    shown = [rough(v, "USD").replace("\u00a0", " ") for v in (150.4, 4238.0, 8476616.0, 23133270.0)]
    assert shown == ["150 USD", "4,240 USD", "8.48 m USD", "23.1 m USD"]
    assert rough(2.5e9, "").replace("\u00a0", " ") == "2.50 bn"
    assert rough(None, "USD") == "–"
