"""How good the risk models' forecasts were on real data; writes ``docs/research/risk.md``.

``make research-risk``: every estimator at the month ends of 2010 to 2024 on the large panel
(``../shared/data``), for the members at the date and for all names, on the same test portfolios.
``--print`` shows the page and writes nothing; ``--since 2019-01-01`` does part of it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import run as bench
from measure import machine

from wealthos_pipeline import factors
from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import instruments, membership, prices
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.factors import transforms
from wealthos_pipeline.portfolio import panel
from wealthos_pipeline.portfolio.risk import RiskModel, estimation, fundamental, quality
from wealthos_pipeline.stats.newey_west import mean_tstat
from wealthos_pipeline.utils.config import PortfolioSettings, Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "research" / "risk.md"
KEYS = ["date", "instrument_id"]
PANEL = date(2010, 1, 1), date(2024, 1, 31)
SAMPLE = date(1993, 1, 1), date(2022, 11, 30)
"""Month ends that are looked at: three years after the data begin, and 20 sessions before they end."""
KINDS: dict[str, dict[str, object]] = {
    "statistical": {},
    "statistical, denoised": {"risk_model": "statistical", "risk_denoise": True},
    "fundamental": {"risk_model": "fundamental"},
    "ledoit_wolf": {"risk_model": "ledoit_wolf"},
    "oas": {"risk_model": "oas"},
    "ewma": {"risk_model": "ewma"},
}
SETS = {
    "equal_weight": "1/N",
    "min_variance": "minimum variance of the model itself",
    "long_only": "random, long-only",
    "long_short": "random, long-short",
}


@dataclass(frozen=True)
class Data:
    """A source's bars, values of the styles and members, and the universes that are looked at."""

    bars: pl.DataFrame
    instruments: pl.DataFrame
    values: pl.DataFrame
    members: pl.DataFrame
    biases: list[tuple[str, str]]
    calendar: TradingCalendar
    settings: Settings
    universes: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def with_universes(self, universes: Mapping[str, pl.DataFrame]) -> Data:
        return replace(self, universes=universes)

    def scores(self, universe: str) -> pl.DataFrame:
        return transforms.scores(
            self.values, self.universes[universe], self.instruments, self.settings.factors
        )


@dataclass
class Measured:
    """One universe. by: model → (set, horizon) → date → (z², QLIKE, squared return)."""

    by: dict[str, dict[tuple[str, int], dict[date, tuple[float, float, float]]]] = field(
        default_factory=dict
    )
    seconds: dict[str, float] = field(default_factory=dict)
    names: list[int] = field(default_factory=list)
    factors: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def large(folder: Path) -> Data:
    """The 615-stock panel: members at the date, and every name."""
    given = dict(zip(*[iter(bench.panel_options(folder))] * 2, strict=True))
    wanted = ("--path", "--sectors", "--membership")
    source = {k.removeprefix("--"): v for k, v in given.items() if k in wanted}
    found = data(load_settings(source={"name": "files", **source}), bench.LAST)
    everyone = membership.traded(found.bars).select(KEYS)
    return found.with_universes(
        {"Members of the index at the date": found.members, "All names of the panel": everyone}
    )


def small() -> Data:
    """The 20 stocks of the sample."""
    found = data(load_settings(source={"name": "sample"}), SAMPLE[1])
    return found.with_universes({"A small universe: the 20 stocks of the sample": found.members})


def data(settings: Settings, last: date) -> Data:
    """A source's bars as the library cleans them, and the values of the styles."""
    calendar = TradingCalendar()
    now = datetime(last.year + 1, 1, 1, tzinfo=UTC)
    vendor = sources.get(settings)
    raw = vendor.fetch(sources.Request(None, last, now, calendar))
    known = instruments.clean(
        raw.instruments,
        instruments.bar_dates(raw.prices.lazy(), raw.instruments),
        calendar=calendar,
    )
    equities = known.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    bars = prices.clean(raw.prices, known, calendar, now=now).prices
    bars = bars.filter(pl.col("instrument_id").is_in(equities.implode()))
    traded = membership.traded(bars)
    members = membership.clean(raw.membership, known, calendar)
    styles = settings.portfolio.risk_styles
    library = factors.load(("core", "extended"), ROOT / "no own factors", strict=False)
    values = traded.select(KEYS).sort(KEYS)
    for family in library.families():
        if family.asset_class == AssetClass.EQUITY and {f.name for f in family.factors} & set(
            styles
        ):
            made = factors.compute(family, traded, None, instruments=known, calendar=calendar)
            own = [c for c in made.columns if c in styles]
            values = values.join(
                made.select(*KEYS, *own), on=KEYS, how="left", maintain_order="left"
            )
    biases = [(b.title, b.detail) for b in vendor.info().biases]
    universe = membership.universe(traded.select(KEYS), members)
    return Data(bars, known, values, universe, biases, calendar, settings)


def measured(found: Data, universe: str, span: tuple[date, date]) -> Measured:
    """Every estimator at the month ends of ``span``, and what the test portfolios did."""
    out = Measured()
    dates = found.calendar.lasts(*span, "month")
    members = found.universes[universe]
    models: dict[str, Mapping[date, RiskModel]] = {}
    for kind, changes in KINDS.items():
        settings = PortfolioSettings(**{"risk_model": kind, **changes})  # type: ignore[arg-type]
        begun = time.process_time()
        if settings.risk_model == "fundamental":
            first = found.calendar.offset(dates[0], -fundamental.lookback(settings))
            near = pl.col("date") >= first
            made = fundamental.estimate(
                found.bars.filter(near), found.scores(universe).filter(near), found.instruments,
                dates, found.calendar, settings,
            )  # fmt: skip
            models[kind], out.left_out = made.models, made.left_out
        else:
            models[kind] = estimation.estimate(found.bars, members, dates, found.calendar, settings)
        out.seconds[kind] = time.process_time() - begun
        out.factors[kind] = float(np.mean([len(m.factors) for m in models[kind].values()]))
        print(f"  {universe}, {kind}: {out.seconds[kind]:.1f} CPU s", file=sys.stderr, flush=True)
    inside = {
        day: set(rows["instrument_id"])
        for (day,), rows in members.filter(pl.col("date").is_in(dates)).partition_by(
            "date", as_dict=True
        ).items()
    }  # fmt: skip
    shared = {
        day: sorted(inside.get(day, set()).intersection(*(m[day].ids for m in models.values())))
        for day in dates
        if all(day in m for m in models.values())
    }
    out.names = [len(names) for names in shared.values()]
    bars = panel.build(found.bars, found.calendar)
    for kind, of_kind in models.items():
        own = {d: m for d, m in of_kind.items() if d in shared}
        table = out.by.setdefault(kind, {})
        for o in quality.outcomes(own, bars, found.calendar, shared):
            squares = float((o.z**2 * np.exp(o.log_variance)).mean())
            table.setdefault((o.portfolios, o.horizon), {})[o.date] = (
                o.z_squared, o.qlike, squares,
            )  # fmt: skip
    return out


# --- the page ------------------------------------------------------------------------------------


def number(value: float, form: str) -> str:
    return format(value, form).replace("-", "−") if math.isfinite(value) else "–"


def table(result: Measured, what: str, horizon: int) -> Iterator[str]:
    """One set of portfolios at one horizon."""
    yield "| model | bias | 90 % band | QLIKE less that of statistical | t | realised volatility % |"
    yield "| --- | --- | --- | --- | --- | --- |"
    base = result.by["statistical"][what, horizon]
    for kind, cells in result.by.items():
        rows = cells[what, horizon]
        z, loss, squares = (np.array(c) for c in zip(*(rows[d] for d in sorted(rows)), strict=True))
        low, high = quality.band(z)
        apart = loss - np.array([base[d][1] for d in sorted(rows)])
        mean, _, t = mean_tstat(apart, 6)
        realised = math.sqrt(float(squares.mean()) * 252 / horizon) * 100
        cells_of_row = (
            kind, number(math.sqrt(z.mean()), ".2f"),
            f"{number(math.sqrt(low), '.2f')} to {number(math.sqrt(high), '.2f')}",
            "" if kind == "statistical" else number(mean, "+.3f"),
            "" if kind == "statistical" else number(t, ".1f"),
            number(realised, ".1f"),
        )  # fmt: skip
        yield "| " + " | ".join(cells_of_row) + " |"


def short(result: Measured) -> Iterator[str]:
    """Biases at 20 sessions, and what minimum variance gave, in one table."""
    yield (
        "| model | "
        + " | ".join(f"bias, {words}" for words in SETS.values())
        + (" | minimum variance: forecast %, realised % |")
    )
    yield "| --- |" + " --- |" * (len(SETS) + 1)
    for kind, cells in result.by.items():
        biases = [
            math.sqrt(float(np.mean([z for z, _, _ in cells[what, quality.AHEAD].values()])))
            for what in SETS
        ]
        own = np.array(list(cells["min_variance", quality.AHEAD].values()))
        year = 252 / quality.AHEAD
        forecast = math.sqrt(float(np.mean(own[:, 2] / own[:, 0])) * year) * 100
        realised = math.sqrt(float(np.mean(own[:, 2])) * year) * 100
        words = [number(b, ".2f") for b in biases]
        yield f"| {kind} | " + " | ".join(words) + f" | {forecast:.1f}, {realised:.1f} |"


def page(biases: Mapping[str, str], results: Mapping[str, Measured], since: date) -> Iterator[str]:
    """The Markdown page."""
    settings = PortfolioSettings()
    yield "<!-- written by `make research-risk`; do not edit -->\n"
    yield "# How good the risk models' forecasts were\n"
    yield (
        f"Models at month ends, each from data up to its date, judged by the 20 sessions after it: the "
        f"615-stock panel from {since} to {PANEL[1]}, the sample from {SAMPLE[0]} to {SAMPLE[1]}. Made by "
        f"`make research-risk` on {machine()}; default settings "
        f"({settings.risk_sessions} sessions, half-life {settings.risk_half_life}, at most "
        f"{settings.risk_factors} components; fundamental: half-lives "
        f"{settings.risk_volatility_half_life} and {settings.risk_correlation_half_life}, lags "
        f"{settings.risk_volatility_lags} and {settings.risk_correlation_lags}).\n"
    )
    yield "## Read this first\n"
    for title, detail in biases.items():
        yield f"- **{title}.** {detail}"
    yield from HOW
    for universe, result in results.items():
        yield f"\n## In short: {universe[0].lower()}{universe[1:]}, 20 sessions\n"
        yield from short(result)
    yield ""
    yield from SAID
    for universe, result in results.items():
        yield f"\n## {universe}\n"
        yield (
            f"{len(result.names)} month ends, {min(result.names)} to {max(result.names)} names in the test "
            "portfolios."
        )
        for what, words in SETS.items():
            for horizon in (1, quality.AHEAD):
                yield f"\n### {words[0].upper()}{words[1:]}, {horizon} session{'s' * (horizon > 1)}\n"
                yield from table(result, what, horizon)
        yield "\n### What an estimate costs\n"
        yield "| model | factors, mean | CPU ms a date |"
        yield "| --- | --- | --- |"
        for kind, spent in result.seconds.items():
            each = 1000 * spent / len(result.names)
            yield f"| {kind} | {result.factors[kind]:.1f} | {each:.0f} |"
        if result.left_out:
            yield (
                "\nLeft out of the fundamental model: "
                + "; ".join(f"`{name}`: {why}" for name, why in sorted(result.left_out.items()))
                + "."
            )


HOW = (
    "",
    "How the numbers are made. A portfolio's weights stay as they are for 20 sessions; z is its return "
    "over the forecast volatility, at 1 session and of the sum of 20 (forecast by √20). *Bias* is the root "
    "of the mean z²: 1 is right, 1.2 means that risk was 20 % higher than forecast. The *band* is a "
    "stationary bootstrap over the dates (blocks of 6 on average). *QLIKE* is the mean of log variance + "
    "z²; lower is better; *t* is Newey–West with 6 lags over the dates. Random portfolios are 20 "
    "of each sort a date, the same for every model, and so is 1/N; the minimum variance portfolio is each "
    "model's own, unconstrained, so that its *realised volatility* says what the model is worth to somebody "
    "who trusts it: lower is better. A band that contains 1 does not prove a model right, and six models "
    "are compared: a single t of 2 proves little.",
    "",
    "Shrinkage and EWMA keep the 100 largest components (with so many names the rest is put into "
    "specific variance), so they are not at their best here: they are meant for small universes.",
)


SAID = (
    "What can be read from it. Portfolios that nobody chose for their forecast are forecast well by every "
    "model. Portfolios that an optimiser chose are not: the less noise a model takes for diversification, "
    "the nearer to the truth its forecast of its own minimum variance portfolio. Being honest about that "
    "risk and finding the portfolio with the least of it are two things, as forecast and realised "
    "volatility side by side show. A fundamental model reacts sooner (shorter half-life, volatility "
    "regime) and so does better where QLIKE is negative; lags of Newey–West lower its forecast of one "
    "session where daily returns revert.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", type=date.fromisoformat, default=PANEL[0])
    parser.add_argument("--print", action="store_true", help="show the page, write nothing")
    options = parser.parse_args()
    folder = bench.panel_folder()
    if folder is None:
        raise SystemExit("the large panel (../shared/data) is not there")
    begun = time.monotonic()
    results: dict[str, Measured] = {}
    biases: dict[str, str] = {}
    for found, span in ((large(folder), (options.since, PANEL[1])), (small(), SAMPLE)):
        biases |= dict(found.biases)
        print(f"data: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        results |= {name: measured(found, name, span) for name in found.universes}
    text = "\n".join(page(biases, results, options.since)) + "\n"
    print(f"all: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    if options.print:
        print(text)
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
