"""The part of each portfolio: what is read is what the tables say, and what is missing says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_lake import LAST

from wealthos_pipeline.reporting import (
    Report,
    book_charts,
    book_figures,
    books,
    collect,
    page_books,
)
from wealthos_pipeline.reporting.blocks import Chart, Table, Text
from wealthos_pipeline.reporting.book import Book
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def make(lake_of: Any, source_info: Any, mandate_definitions: Any) -> Callable[[Frames], Report]:
    def collected(frames: Frames) -> Report:
        return collect(
            lake_of(frames), date=LAST, info=source_info, settings=Settings(), run_id="r1",
            mandates=mandate_definitions,
        )  # fmt: skip

    return collected


@pytest.fixture(scope="module")
def report(make: Callable[[Frames], Report], fake_lake_frames: Frames) -> Report:
    return make(fake_lake_frames)


def book(report: Report, name: str = "core_equity") -> Book:
    return next(b for b in report.books if b.name == name)


def test_waterfalls_end_at_the_difference_of_the_net_asset_values(
    report: Report, fake_lake_frames: Frames
) -> None:
    nav = fake_lake_frames["portfolio.nav"].sort("date")
    grown = [
        nav.filter(pl.col("mandate") == m)["nav"].to_numpy()
        for m in ("core_equity", "equal_weight")
    ]
    want = grown[0][-1] / grown[0][-253] - grown[1][-1] / grown[1][-253]
    falls = book(report).waterfalls
    assert [w.scheme for w in falls] == ["sector", "factor"]
    for w in falls:
        assert w.active == pytest.approx(want, abs=1e-12)
        assert w.total == pytest.approx(want, abs=1e-12)
        assert w.steps[-1][0] == "residual"
        labels, bottoms, heights = book_charts.steps(w)
        assert labels[-1] == "Active return"
        np.testing.assert_allclose(bottoms[1:-1], np.cumsum(heights[:-1])[:-1], atol=1e-15)
        assert heights[-1] == pytest.approx(want, abs=1e-12)


def test_rolling_statistics_look_back_252_sessions(
    report: Report, fake_lake_frames: Frames
) -> None:
    nav = fake_lake_frames["portfolio.nav"].sort("date")
    p, b = (
        nav.filter(pl.col("mandate") == m)["return_net"].to_numpy()[-252:]
        for m in ("core_equity", "equal_weight")
    )
    last = book(report).rolling.row(-1, named=True)
    assert last["date"] == LAST
    assert last["volatility"] == pytest.approx(p.std(ddof=1) * math.sqrt(252), rel=1e-12)
    assert last["tracking_error"] == pytest.approx((p - b).std(ddof=1) * math.sqrt(252), rel=1e-12)
    assert last["active"] == pytest.approx(np.prod(1 + p) - np.prod(1 + b), abs=1e-12)
    short = nav.filter(pl.col("date") > nav["date"][-1].replace(year=LAST.year - 1, month=6))
    rows = [short.filter(pl.col("mandate") == m) for m in ("core_equity", "equal_weight")]
    few = [r.tail(200) for r in rows]
    assert books.rolling(*few).is_empty()


def test_bands_of_weights_stack_to_the_whole(report: Report) -> None:
    days, bands = book_charts.stacked(report, book(report))
    assert len(bands) <= book_charts.NAMES + 2
    np.testing.assert_allclose(sum(w for _, w in bands), np.ones(len(days)), atol=1e-3)


def test_risk_bars_of_each_kind_add_up(report: Report) -> None:
    for kind, lines in book_charts.risk_bars(report, book(report)):
        assert sum(share for _, share in lines) == pytest.approx(1.0, abs=1e-9), kind
        assert len(lines) <= book_charts.BARS + 1


def test_the_page_says_what_the_tables_say(report: Report) -> None:
    shown = page_books.blocks(report, frozenset(book_charts.CHARTS))
    texts = " ".join(b.text for b in shown if isinstance(b, Text))
    assert "60 sessions assumed when deciding" in texts
    assert "targets: 2 of 2 limits kept" in texts
    assert "what is held: 1 of 2" in texts
    assert "6 orders" in texts.replace("\u00a0", " ")
    assert "No fills" not in texts
    titles = [b.title for b in shown if isinstance(b, Table)]
    assert "Limits that bind" in titles
    assert "Limits that are missed" in titles
    priced = next(b for b in shown if isinstance(b, Table) and b.title == "Limits that bind")
    # 0.0121 a unit of weight is 1.21 basis points a percentage point
    assert [c.text for c in priced.rows[0]] == ["Turnover at most 8\u00a0%", "+1.21"]
    assert {b.name for b in shown if isinstance(b, Chart)} == set(book_charts.CHARTS)


def test_a_table_that_is_missing_leaves_its_part_out_with_a_word(
    make: Callable[[Frames], Report], fake_lake_frames: Frames
) -> None:
    gone = {"portfolio.stress", "portfolio.shortfall", "portfolio.compliance"}
    report = make({t: f for t, f in fake_lake_frames.items() if t not in gone})
    told = dict(book(report).absent)
    assert {"stress", "shortfall", "compliance"} <= set(told)
    shown = page_books.blocks(report, frozenset())
    assert "no fills have been handed in" in " ".join(b.text for b in shown if isinstance(b, Text))
    assert "stress" not in book_figures.figures(report)
    assert "weights" in book_figures.figures(report)


def test_menus_show_one_portfolio_at_a_time(report: Report) -> None:
    for name, figure in book_figures.figures(report).items():
        for menu in figure["layout"].get("updatemenus", []):
            for button in menu["buttons"]:
                visible = button["args"][0]["visible"]
                assert len(visible) == len(figure["data"]), name
                assert any(visible)
            assert [t["visible"] for t in figure["data"]] == menu["buttons"][0]["args"][0][
                "visible"
            ]


def test_an_infeasible_mandate_has_its_decision_and_nothing_else(report: Report) -> None:
    b = book(report, "impossible")
    assert b.certificate is not None
    assert b.certificate.status == "infeasible"
    assert b.waterfalls == ()
    assert b.rolling.is_empty()
    assert "frontier" in dict(b.absent)
