"""The risk model, and how good its forecasts were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from assets._shared.stage import Stage, Work, stage
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.factors import Library
from wealthos_pipeline.utils.config import PortfolioSettings, Settings

_PRICES = (
    "instrument_id", "date", "slot", "close", "tr_index", "dollar_volume", "flags", "known_at",
)  # fmt: skip
_TABLES = ("risk_exposures", "risk_factors", "factor_returns")
_FUNDAMENTAL = "fundamental"
_DEFINED_BY = {
    "statistical": {"risk_half_life", "risk_factors", "risk_denoise"},
    "ewma": {"risk_half_life"},
    _FUNDAMENTAL: {
        "risk_styles",
        "risk_volatility_half_life",
        "risk_correlation_half_life",
        "risk_volatility_lags",
        "risk_correlation_lags",
    },
}
"""Settings that change the numbers of a kind, beside the window."""


def stages(library: Library, settings: PortfolioSettings) -> tuple[Stage, ...]:
    """Both stages. A fundamental model has the scores of ``library`` that are its styles as inputs."""
    tables: tuple[str, ...] = ()
    if settings.risk_model == _FUNDAMENTAL:
        from wealthos_pipeline.factors import transforms

        held = transforms.score_tables(library)
        tables = tuple(
            t
            for t, names in held.items()
            if t == transforms.SCORES or set(names) & set(settings.risk_styles)
        )
    return _risk_model(tables), risk_quality


def _definition(settings: Settings) -> dict[str, Any]:
    own = settings.portfolio
    names = {"risk_model", "risk_sessions"} | _DEFINED_BY.get(own.risk_model, set())
    return own.model_dump(include=names)


def _risk_model(tables: Sequence[str]) -> Stage:
    def risk_model(work: Work) -> Mapping[str, pl.DataFrame]:
        """Factor risk model (B, F, D) at each month end and at the latest session, and the daily
        returns of its factors. Of which kind: `portfolio.risk_model` of the settings."""
        from wealthos_pipeline.portfolio import risk

        settings = work.settings.portfolio
        fundamental = settings.risk_model == _FUNDAMENTAL
        if fundamental and not tables:
            raise ConfigError(
                "portfolio.risk_model is fundamental in this run, but was not when the graph was "
                "made: set it in wealthos.toml or as WEALTHOS_PORTFOLIO__RISK_MODEL"
            )
        back = risk.lookback(settings)
        made = risk.produce(
            work.prices(back=back, columns=_PRICES),
            work.universe(back=back),
            work.session.calendar,
            settings,
            start=work.start,
            end=work.end,
            scores=_scores(work, tables, back) if fundamental else None,
            instruments=work.session.lake.read("clean.instruments") if fundamental else None,
        )
        for factor, why in made.left_out.items():
            work.note("portfolio.risk_exposures", f"without {factor}", why)
        return {f"portfolio.{name}": getattr(made, _PLACE[name]) for name in _TABLES}

    return stage(
        *(contract(f"portfolio.{name}") for name in _TABLES),
        group="portfolio",
        inputs=(
            *tables,
            *(("clean.instruments",) if tables else ()),
            "clean.prices",
            "clean.membership",
        ),
        definition=_definition,
        rooms=("portfolio/risk",),
        snap="month",
        owner="team:portfolio",
    )(risk_model)


_PLACE = {
    "risk_exposures": "exposures",
    "risk_factors": "factors",
    "factor_returns": "factor_returns",
}


def _scores(work: Work, tables: Sequence[str], back: int) -> pl.DataFrame:
    """Scores of the styles, of whatever tables have them."""
    from wealthos_pipeline.factors import transforms

    lake, styles = work.session.lake, work.settings.portfolio.risk_styles
    parts = []
    for table in tables:
        own = [n for n in lake.contract(table).column_names if n in styles]
        parts.append(work.read(table, back=back, columns=[*transforms.KEY, *own]))
    return transforms.side_by_side(parts)


@stage(
    contract("portfolio.risk_quality"),
    group="portfolio",
    inputs=("portfolio.risk_exposures", "portfolio.risk_factors", "clean.prices"),
    definition=lambda s: s.portfolio.risk_model,
    rooms=("portfolio/risk/quality.py",),
    reach=lambda s: 25,
    snap="month",
    owner="team:portfolio",
    plots={"portfolio.risk_quality": "bias"},
)
def risk_quality(work: Work) -> Mapping[str, pl.DataFrame]:
    """What test portfolios of month ends did afterwards, beside what the risk model had forecast."""
    from wealthos_pipeline.portfolio import panel, risk
    from wealthos_pipeline.portfolio.risk import quality

    back = quality.MONTHS_BACK
    models = risk.from_frames(
        work.read("portfolio.risk_exposures", back=back),
        work.read("portfolio.risk_factors", back=back),
    )
    calendar = work.session.calendar
    rows = quality.measure(
        models,
        panel.build(work.prices(back=back, columns=_PRICES), calendar),
        calendar,
        work.settings.portfolio.risk_model,
        start=work.start,
    )
    return {"portfolio.risk_quality": rows}


STAGES: tuple[Stage, ...] = (_risk_model(()), risk_quality)
"""As the default settings make them: from returns alone."""
