"""Predictions as issued against what came."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from scipy.stats import spearmanr

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import live

H = 3
NAMES = [f"id{i}" for i in range(8)]


def prices(days: list[date], calendar: TradingCalendar) -> pl.DataFrame:
    """Returns that differ by name and day, without noise."""
    rows = [
        {"instrument_id": n, "date": d, "slot": calendar.slot(d), "flags": 0,
         "tr_index": 1.0 + ((i * 7 + t * (i + 3)) % 11) / 50}
        for i, n in enumerate(NAMES)
        for t, d in enumerate(days)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def issue(day: date, at: datetime, run: str, turn: int = 0, model: str = "ridge") -> pl.DataFrame:
    table = contract("record.issued")
    rows = [
        {"run_id": run, "kind": "prediction", "mandate": model, "instrument_id": n, "horizon": H,
         "date": day, "name": name, "value": float((i * 5 + turn) % 8), "text": "fit", "issued_at": at}
        for i, n in enumerate(NAMES)
        for name in ("prediction", "z")
    ]  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def test_the_first_issue_counts_once_its_outcome_is_known(calendar: TradingCalendar) -> None:
    days = calendar.sessions(date(2020, 1, 2), date(2020, 3, 31))
    panel = prices(days, calendar)
    evening = timedelta(hours=1)
    record = pl.concat(
        [
            issue(d, calendar.known_at(d) + evening, f"run-{i}", turn=i)
            for i, d in enumerate(days[:20])
        ]
        + [issue(days[4], calendar.known_at(days[5]) + evening, "second-thoughts", turn=3)]
        + [issue(days[21], calendar.known_at(days[22]) + evening, "hindsight")]
    )
    table = contract("models.evaluation")
    judged = table.conform(
        pl.DataFrame(
            {"model": "ridge", "horizon": H, "date": days[:10], "n": 8, "rank_ic": [0.1, 0.3] * 5,
             "known_at": [calendar.known_at(d) for d in days[H + 1 : H + 11]]}
        ).cast({"horizon": pl.Int32, "n": pl.Int32})
    )  # fmt: skip
    until = calendar.known_at(days[-1])
    full = live.live(record, panel, judged, calendar, known_until=until)
    assert full["date"].to_list() == days[:20]  # neither twice, nor what was said with hindsight

    tr = panel.pivot("instrument_id", index="date", values="tr_index").sort("date")
    for i in (0, 4, 19):
        row = full.row(i, named=True)
        said = [float((k * 5 + i) % 8) for k in range(8)]
        came = [tr[n][i + 1 + H] / tr[n][i + 1] - 1 for n in NAMES]
        assert row["rank_ic"] == pytest.approx(spearmanr(said, came).statistic)
        assert (row["n"], row["run_id"]) == (8, f"run-{i}")
        assert row["known_at"] == calendar.known_at(days[i + 1 + H])
    assert full["expected_rank_ic"][0] is None  # nothing was known on the first day
    assert full["expected_rank_ic"][5] == pytest.approx((0.1 + 0.3) / 2)

    start = days[7]
    again = live.live(record, panel, judged, calendar, known_until=until, start=start)
    assert again.equals(full.filter(pl.col("date") >= start))
    then = calendar.known_at(days[12])
    early = live.live(
        record.filter(pl.col("issued_at") <= then),
        panel.filter(pl.col("date") <= days[12]),
        judged.filter(pl.col("known_at") <= then),
        calendar,
        known_until=then,
    )
    assert early.equals(full.filter(pl.col("known_at") <= then))

    told = live.beside(full, judged).row(0, named=True)
    assert told["dates"] == 20
    assert told["mean_rank_ic"] == pytest.approx(full["rank_ic"].mean())
    assert told["expected"] == pytest.approx(0.2)
    assert told["gap"] == pytest.approx(told["mean_rank_ic"] - 0.2)


def test_nothing_issued_gives_no_rows(calendar: TradingCalendar) -> None:
    empty = contract("record.issued").empty()
    days = calendar.sessions(date(2020, 1, 2), date(2020, 1, 31))
    judged = contract("models.evaluation").empty()
    made = live.live(
        empty, prices(days, calendar), judged, calendar, known_until=calendar.known_at(days[-1])
    )
    assert made.equals(contract("models.live").empty())
    assert live.beside(made, judged).is_empty()
