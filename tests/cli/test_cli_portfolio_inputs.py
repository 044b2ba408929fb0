"""A decision made again sees what the run's own decision saw: past returns, volumes, settled holdings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_root

from wealthos_pipeline.cli import portfolio_inputs
from wealthos_pipeline.cli.published import open_last
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.mandate import Mandate
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.holdings_prices import SETTLED
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.portfolio import risk

SESSIONS = 70


@pytest.fixture(scope="module")
def supplied(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> Path:
    """A root with volumes, a risk model, and holdings of which one was delisted and paid out."""
    folder = tmp_path_factory.mktemp("supplied")
    root = small_root.build(folder, calendar, sessions=SESSIONS)
    day, stated = root.days[-1], root.days[2]
    names = small_root.IDS
    n = len(names)
    model = risk.RiskModel(
        date=day,
        ids=names,
        factors=("pc01",),
        B=np.full((n, 1), 0.01),
        F=np.eye(1),
        d=np.linspace(0.008, 0.02, n),
    )
    exposures, factors = risk.to_frames([model])
    known = calendar.known_at(day)
    units = {"id0": 100.0, "id5": 10.0, "cash": 5000.0}
    held = pl.DataFrame(
        [{"mandate": "mine", "date": stated, "instrument_id": i, "units": u, "known_at": known}
         for i, u in units.items()]
    )  # fmt: skip
    gone = {
        "mandate": "mine", "date": day, "instrument_id": "id5", "statement": stated, "units": 10.0,
        "price": 7.0, "price_date": root.days[4], "sessions_old": 3, "sessions_old_then": 0,
        "state": SETTLED, "words": "id5 was delisted; holders were paid 70.00", "known_at": known,
    }  # fmt: skip
    now = known + timedelta(hours=2)
    with Run.open(root.lake, root.settings, now=now, run_id="run-supplied") as run:
        bars = root.lake.read("clean.prices").with_columns(pl.lit(2e6).alias("dollar_volume"))
        root.lake.restate("clean.prices", contract("clean.prices").conform(bars), now=now)
        for name, frame in {
            "portfolio.risk_exposures": exposures,
            "portfolio.risk_factors": factors,
            "clean.holdings": held,
            "clean.holdings_prices": pl.DataFrame([gone]),
        }.items():
            root.lake.replace(name, contract(name).conform(frame))
        run.publish(as_of=day, source="sample", finished_at=now + timedelta(minutes=1))
    return folder / "data"


@pytest.fixture(scope="module")
def asked(supplied: Path) -> portfolio_inputs.Question:
    from wealthos_pipeline.utils.config import load_settings

    mandate = Mandate(name="mine", title="Mine", objective="hrp", max_weight=0.5)
    return portfolio_inputs.ask(open_last(load_settings(root=supplied)), mandate)


def test_objectives_on_past_returns_see_all_of_them(asked: portfolio_inputs.Question) -> None:
    assert asked.situation.returns is not None
    seen = asked.situation.returns(small_root.IDS)
    assert int(np.isfinite(seen).all(axis=1).sum()) == SESSIONS - 1


def test_volumes_are_those_of_the_published_prices(asked: portfolio_inputs.Question) -> None:
    assert asked.situation.volume == dict.fromkeys(small_root.IDS, 2e6)


def test_what_was_paid_for_a_delisted_holding_is_cash_and_is_told(
    asked: portfolio_inputs.Question,
) -> None:
    s = asked.situation
    assert set(s.held) == {"id0"}
    assert s.nav == pytest.approx(100.0 * small_root.close(SESSIONS - 1, 0) + 5000.0 + 70.0)
    assert "holders were paid 70.00" in s.note
    assert asked.versions["clean.holdings_prices"] is not None


@pytest.mark.parametrize("folder", ["mandates", "holdings", "fills", "scenarios"])
def test_where_a_folder_lies_does_not_change_the_configuration(folder: str) -> None:
    from wealthos_pipeline.utils.config import load_settings

    aside = load_settings(portfolio={folder: Path("/somewhere/else")})
    assert aside.config_hash == load_settings().config_hash
