"""A tear sheet says what the study found, needs no network, and is the same for the same study."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.errors import StorageError
from wealthos_pipeline.core.factor import Factor
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors.study import Study, study
from wealthos_pipeline.factors.verdict import verdict
from wealthos_pipeline.reporting import tearsheet, tearsheet_charts

FACTOR = Factor(
    "planted", AssetClass.EQUITY, "own", 1, "Planted <signal> [decimal]", "nobody (2020)",
    expression="If($close > 1, $close, 0)", sets=("own",),
)  # fmt: skip


def looked_at(calendar: TradingCalendar, strength: float, members: bool = True) -> Study:
    """30 names × 400 sessions in which values move the return of the day after tomorrow."""
    rng = np.random.default_rng(2)
    days = [d for d in calendar.frame()["date"] if d.year in (2017, 2018)][:400]
    x = rng.normal(size=(400, 30))
    ret = 0.01 * rng.normal(size=x.shape)
    ret[2:] += strength * x[:-2]
    index = np.cumprod(1 + ret, axis=0)
    rows = pl.DataFrame(
        {
            "date": np.repeat(np.array(days, "datetime64[D]"), 30),
            "instrument_id": [f"n{j:02}" for j in range(30)] * 400,
            "tr_index": index.ravel(), "dollar_volume": np.exp(rng.normal(size=x.size)),
            "planted": x.ravel().astype(np.float32),
        }
    )  # fmt: skip
    sectors = pl.DataFrame(
        {
            "instrument_id": [f"n{j:02}" for j in range(30)], "valid_from": [days[0]] * 30,
            "sector": [f"Sector {j % 3}" for j in range(30)],
        }
    )  # fmt: skip
    inside = rows.filter(pl.col("instrument_id") < "n25").select("date", "instrument_id")
    return study(
        rows.select("date", "instrument_id", "planted"), rows, name="planted", calendar=calendar,
        horizons=(1, 5, 20), groups=sectors, universe=inside if members else None, draws=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def strong(calendar: TradingCalendar) -> Study:
    return looked_at(calendar, 0.004)


def shown(found: Study) -> str:
    return tearsheet.render(
        FACTOR, found, source="a made-up market",
        biases=[("b", "Only survivors", "chosen in hindsight")],
        correlation=pl.DataFrame({"other": ["twin"], "correlation": [-0.9]}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(strong: Study) -> str:
    return shown(strong)


def test_the_page_says_what_the_study_found(strong: Study, page: str) -> None:
    text = html.unescape(
        re.sub(r"<[^>]+>", " ", re.sub(r"<(style|title).*?</\1>", "", page, flags=re.S))
    )
    said = verdict(strong)
    for words in (said.headline, *said.sentences, "Only survivors", "a made-up market", "nobody (2020)",
                  "If($close > 1, $close, 0)", "twin", "inflated by inclusion bias", "sector-neutral"):  # fmt: skip
        assert words in text, words
    at = strong.summary.filter(universe="members", variant="plain", horizon=1)
    assert f"{at['mean_rank_ic'][0]:+.4f}" in text


def test_the_page_stands_alone(page: str) -> None:
    assert len(page) < 1_500_000
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]+", "", page)
    assert "<script" not in page
    assert "<signal>" not in page, "titles are escaped"
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 7
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)


def test_the_same_study_gives_the_same_bytes(strong: Study, page: str) -> None:
    assert shown(strong) == page


def test_a_study_of_little_still_makes_a_page(calendar: TradingCalendar, strong: Study) -> None:
    bare = replace(
        strong, universes=("members",), variants=("plain",), by_year=strong.by_year.clear(),
        by_sector=strong.by_sector.clear(), cumulative=strong.cumulative.clear(),
        turnover=strong.turnover.clear(), quantiles=strong.quantiles.clear(),
        spread=strong.spread.clear(), monotonicity=strong.monotonicity.clear(),
        autocorrelation=strong.autocorrelation.clear(), half_life=float("nan"),
    )  # fmt: skip
    assert "Planted" in shown(bare)


def test_verdicts_in_words(calendar: TradingCalendar, strong: Study) -> None:
    assert verdict(strong, 1).tone == "strong"
    assert "costs" not in verdict(strong, 1).headline
    nothing = verdict(looked_at(calendar, 0.0, members=False), 5)
    assert nothing.tone == "none"
    assert nothing.headline.startswith("Nothing to see")
    assert "could not show an IC below" in nothing.headline
    assert verdict(looked_at(calendar, -0.004, members=False), 1).tone == "against"
    assert verdict(strong).horizon == 20, "set beforehand, not the best one"


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="tear sheet"):
        tearsheet.write(tmp_path / "file" / "x.html", "")
    tearsheet.write(tmp_path / "deep" / "x.html", "page")
    assert (tmp_path / "deep" / "x.html").read_text() == "page"


def test_an_axis_says_where_its_ticks_are() -> None:
    from matplotlib.figure import Figure

    axis = Figure().add_subplot().yaxis
    tearsheet_charts._signed(axis)
    said = [axis.get_major_formatter()(v, 0) for v in (-0.075, -0.05, 0.0, 0.025, 0.1, 3 * 0.1)]
    assert said == ["−0.075", "−0.05", "0", "+0.025", "+0.10", "+0.30"]
