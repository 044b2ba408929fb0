"""The page: order, size, escaping, sums, what no mail program shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wealthos_pipeline.reporting import Report, charts, collect, export, page
from wealthos_pipeline.reporting.blocks import Table
from wealthos_pipeline.reporting.page_mandates import _attribution
from wealthos_pipeline.reporting.report import Attribution, MandateReport
from wealthos_pipeline.reporting.words import money, number, percent, points, sentence
from wealthos_pipeline.utils.config import Settings

Frames = dict[str, pl.DataFrame]
LAST, RUN = date(2022, 12, 28), "20221228T213000Z-b2"
ORDER = (
    "What changed",
    "At a glance",
    "Proposed trades",
    "Mandates",
    "Portfolio by portfolio",
    "Market",
    "Models and factors",
    "Data health",
    "Where the data come from",
)


@pytest.fixture(scope="module")
def make(
    lake_of: Any, source_info: Any, mandate_definitions: Any, factor_definitions: Any
) -> Callable[[Frames], Report]:
    def collected(frames: Frames) -> Report:
        return collect(
            lake_of(frames),
            date=LAST,
            info=source_info,
            settings=Settings(),
            run_id=RUN,
            mandates=mandate_definitions,
            factors=factor_definitions,
        )

    return collected


@pytest.fixture(scope="module")
def report(make: Callable[[Frames], Report], fake_lake_frames: Frames) -> Report:
    return make(fake_lake_frames)


@pytest.fixture(scope="module")
def rendered(report: Report) -> export.Rendered:
    return export.render(report)


class Reader(HTMLParser):
    """Tags with attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_sections_stand_in_the_order_a_manager_reads(rendered: export.Rendered) -> None:
    for text in (Reader(rendered.html).text, Reader(rendered.interactive_html).text):
        places = [text.index(f"{i}. {title}") for i, title in enumerate(ORDER, 1)]
        assert places == sorted(places)
    plain = [rendered.text.index(f"{i}. {t.upper()}") for i, t in enumerate(ORDER, 1)]
    assert plain == sorted(plain)


def test_the_mail_shows_nothing_that_mail_programs_drop(rendered: export.Rendered) -> None:
    low = rendered.html.lower()
    for forbidden in ("data:", "<svg", "<script", "<link", "http://", "https://", "flex", "url("):
        assert forbidden not in low, forbidden
    seen = Reader(rendered.html)
    images = [a for t, a in seen.tags if t == "img"]
    assert {a["src"] for a in images} == {f"cid:{name}" for name in rendered.images}
    assert all(a["alt"] and a["width"] for a in images)
    styled = [a for t, a in seen.tags if t == "h2"]
    assert all("color" in (a.get("style") or "") for a in styled)
    assert "prefers-color-scheme" in rendered.html


def test_the_interactive_page_needs_no_network(rendered: export.Rendered) -> None:
    tags = Reader(rendered.interactive_html).tags
    assert not [a for t, a in tags if a.get("src") or t == "link"]
    assert rendered.interactive_html.count("Plotly.newPlot(at") == 1
    for name in rendered.images:
        assert f'id="chart-{name}"' in rendered.interactive_html


def test_names_and_words_from_outside_are_escaped(rendered: export.Rendered) -> None:
    for text in (rendered.html, rendered.interactive_html.split("<script>")[0]):
        assert "<JPM>" not in text
        assert "&lt;JPM&gt;" in text
        assert "<later>" not in text
        assert "dividends &amp; flatters" in text


def test_a_script_in_any_table_stays_text(
    make: Callable[[Frames], Report],
    fake_lake_frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(charts, "draw", lambda report: {})  # pictures hold no markup
    evil = "<script>alert(1)</script>"
    swaps = {
        "portfolio.trades": ("reason",),
        "portfolio.solves": ("message",),
        "monitor.opportunities": ("note",),
        "monitor.signals": ("signal",),
        "clean.instruments": ("symbol",),
        "meta.coverage": ("table",),
        "clean.quarantine": ("rule",),
    }
    frames = dict(fake_lake_frames)
    for table, columns in swaps.items():
        rows = frames[table]
        frames[table] = rows.with_columns(
            pl.when(pl.col(c).is_not_null()).then(pl.lit(evil)).alias(c) for c in columns
        )
    frames["portfolio.solves"] = frames["portfolio.solves"].with_columns(message=pl.lit(evil))
    out = export.render(make(frames))
    assert "alert(1)" in out.html
    assert evil not in out.html
    body, _, code = out.interactive_html.partition("<script>")
    assert evil not in body
    assert evil not in code
    assert out.interactive_html.count("</script>") == 2


def test_biases_and_licence_stand_on_every_page(
    rendered: export.Rendered, source_info: Any
) -> None:
    for text in (rendered.html, rendered.interactive_html, rendered.text):
        flat = " ".join(re.sub(r"<[^>]+>", " ", text).replace("&amp;", "&").split())
        for bias in source_info.biases:
            assert bias.title in flat
        assert "survivors chosen in hindsight" in flat
        assert source_info.licence in flat
        assert "the sample has closes only" in flat.lower()


def test_the_page_says_what_this_panel_cannot_detect(
    rendered: export.Rendered, report: Report
) -> None:
    least = min(s.all.detectable for s in (*report.models, *report.factors) if s.all.detectable)
    assert f"This panel cannot detect an IC below {least:.3f}" in Reader(rendered.html).text


def test_the_impossible_mandate_is_answered_in_words(rendered: export.Rendered) -> None:
    text = Reader(rendered.html).text
    assert "This mandate is impossible as it is written" in text
    assert "the calmest portfolio has 12.4 %; least change that is enough" in text


def test_three_mandates_of_500_names_stay_below_80_kb(
    make: Callable[[Frames], Report], fake_lake_frames: Frames
) -> None:
    frames = dict(fake_lake_frames)
    ids = [f"XNYS:N{i:03d}" for i in range(500)]
    for table in ("portfolio.targets", "portfolio.trades"):
        rows = frames[table].filter(
            (pl.col("run_kind") == "live") & (pl.col("mandate") != "equal_weight")
        )
        one = rows.filter(pl.col("instrument_id") == rows["instrument_id"][0])
        three = pl.concat([one, one.head(1).with_columns(mandate=pl.lit("impossible"))])
        frames[table] = (
            three.drop("instrument_id")
            .join(pl.DataFrame({"instrument_id": ids}), how="cross")
            .select(rows.columns)
        )
    frames["portfolio.solves"] = frames["portfolio.solves"].with_columns(
        status=pl.lit("optimal"), turnover=pl.lit(0.3)
    )
    picks = frames["monitor.opportunities"]
    frames["monitor.opportunities"] = (
        picks.head(1)
        .drop("rank", "instrument_id")
        .join(
            pl.DataFrame({"instrument_id": ids}).with_row_index("rank", 1).cast({"rank": pl.Int32}),
            how="cross",
        )
        .select(picks.columns)
    )
    signals = frames["monitor.signals"]
    frames["monitor.signals"] = (
        signals.head(1)
        .with_columns(date=pl.lit(LAST))
        .drop("instrument_id")
        .join(pl.DataFrame({"instrument_id": ids}), how="cross")
        .select(signals.columns)
    )
    nav = frames["portfolio.nav"]
    frames["portfolio.nav"] = pl.concat(
        [
            nav,
            nav.filter(pl.col("mandate") == "core_equity").with_columns(
                mandate=pl.lit("impossible")
            ),
        ]
    )
    out = export.render(make(frames))
    assert out.interactive_html.count("N499") >= 6
    assert "in the full page" in out.html
    assert len(out.html.encode()) < 80_000


def displayed(cell: str) -> float:
    return float(cell.replace("\u00a0pp", "").replace("−", "-").replace(",", ""))


@given(
    st.lists(st.floats(-0.3, 0.3, allow_nan=False, allow_infinity=False), min_size=1, max_size=7)
)
def test_the_attribution_shown_sums_to_its_total_within_rounding(values: list[float]) -> None:
    names = ("allocation", "selection", "interaction", "trading", "cost", "cash", "residual")
    effects = tuple(zip(names, values, strict=False))
    a = Attribution("21 sessions", 21, effects, (), sum(values))
    mandate = MandateReport("m", "M", "", None, None, None, (), (), None, (a,))
    table = _attribution([mandate], "21 sessions")
    assert table is not None
    shown = [displayed(row[1].text) for row in table.rows]
    parts, total, active = shown[:-2], shown[-2], shown[-1]
    seen = [n for n, v in effects if n == "residual" or abs(v) >= 5e-5]
    assert len(parts) == len(seen)  # rows of nothing but zeros are left out
    assert abs(sum(parts) - total) <= 0.005 * (len(values) + 1) + 1e-9
    assert abs(total - active) < 0.0101


def test_every_row_has_a_cell_for_every_column(report: Report) -> None:
    built = page.build(report, frozenset({"nav", "var", "risk", "ic", "curve", "regime"}))
    tables = [b for s in built.sections for b in s.blocks if isinstance(b, Table)]
    assert len(tables) > 12
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_numbers_are_right_aligned_and_dates_are_iso(rendered: export.Rendered) -> None:
    cells = re.findall(r"<td([^>]*)>(?:<b>)?(?:<span[^>]*>)?([^<]*)<", rendered.html)
    numeric = [(a, t) for a, t in cells if re.fullmatch(r"[+−]?[\d,.]+(\u00a0(%|pp|bp))?", t)]
    assert len(numeric) > 150
    assert [t for a, t in numeric if 'align="right"' not in a and 'class="m"' not in a] == []
    assert not re.search(r"\b\d{1,2}/\d{1,2}/\d{2,4}\b", rendered.text)


def test_plain_text_is_readable_at_a_fixed_width(rendered: export.Rendered) -> None:
    lines = rendered.text.splitlines()
    assert max(len(line) for line in lines) <= 110
    assert not re.search(r"</?(td|tr|p|br|b|span)\b|&[a-z]+;", rendered.text)


def test_words_of_numbers() -> None:
    assert percent(0.03125, 1, sign=True) == "+3.1\u00a0%"
    assert percent(-0.00004, 1, sign=True) == "0.0\u00a0%"
    assert percent(None) == "–"
    assert percent(float("nan")) == "–"
    assert points(-0.012) == "−1.2\u00a0pp"
    assert number(-1234567.8, 0) == "−1,234,568"
    assert money(1200, "USD", sign=True) == "+1,200\u00a0USD"
    assert sentence("  hold\n 5 % now") == "Hold 5\u00a0% now."


def test_the_same_report_gives_the_same_bytes(
    make: Callable[[Frames], Report], fake_lake_frames: Frames, rendered: export.Rendered
) -> None:
    shuffled = {
        t: f.sample(fraction=1.0, shuffle=True, seed=7) for t, f in fake_lake_frames.items()
    }
    assert export.render(make(shuffled)) == rendered


def test_charts_are_opaque_white_and_carry_no_dates_or_versions(
    rendered: export.Rendered,
) -> None:
    import io

    from PIL import Image

    assert set(rendered.images) == {
        "nav", "var", "risk", "regime", "curve", "ic", "health", "weights", "waterfall",
        "waterfall_factor", "contributions", "rolling", "stress",
    }  # fmt: skip
    for png in rendered.images.values():
        image = Image.open(io.BytesIO(png))
        assert not set(image.info) & {"Software", "Creation Time", "date:create"}
        corners = [image.convert("RGBA").getpixel(xy) for xy in ((0, 0), (image.width - 1, 0))]
        assert corners == [(255, 255, 255, 255)] * 2
        assert len(png) < 150_000
