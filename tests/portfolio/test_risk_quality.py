"""Forecasts against what happened: right ones have a bias of 1, wrong ones are told by how much."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.portfolio.panel import Panel
from wealthos_pipeline.portfolio.risk import RiskModel, quality

N = 40


@pytest.fixture(scope="module")
def truth(calendar: TradingCalendar) -> tuple[dict[date, RiskModel], Panel]:
    """Four years of sessions drawn from one known model, which is given at every month end."""
    rng = np.random.default_rng(12)
    days = calendar.sessions(date(2015, 1, 2), date(2019, 2, 28))
    B = np.column_stack([rng.uniform(0.5, 1.5, N), rng.normal(size=N)])
    F, d = np.array([[1e-4, 1e-5], [1e-5, 2e-5]]), rng.uniform(0.008, 0.02, N)
    f = rng.multivariate_normal(np.zeros(2), F, size=len(days))
    r = f @ B.T + rng.normal(size=(len(days), N)) * d
    tr = np.cumprod(1 + r, axis=0)
    ids = tuple(f"n{i:02d}" for i in range(N))
    panel = Panel(ids, calendar.slot(days[0]), tuple(days), tr, tr, tr)
    model = RiskModel(days[0], ids, ("pc01", "pc02"), B, F, d)
    ends = calendar.lasts(days[0], days[-1], "month")
    return {day: replace(model, date=day) for day in ends}, panel


def dense(m: RiskModel) -> np.ndarray:
    return m.B @ m.F @ m.B.T + np.diag(m.d**2)


def test_minimum_variance_and_volatilities_are_those_of_the_dense_matrix(
    truth: tuple[dict[date, RiskModel], Panel],
) -> None:
    model = next(iter(truth[0].values()))
    sigma = dense(model)
    want = np.linalg.solve(sigma, np.ones(N))
    got = quality.minimum_variance(model)
    np.testing.assert_allclose(got, want / want.sum(), rtol=1e-9)
    W = np.column_stack(list(quality.portfolios(model, 7).values()))
    np.testing.assert_allclose(model.of(W), np.sqrt(np.diag(W.T @ sigma @ W)), rtol=1e-12)


def test_test_portfolios_are_drawn_from_the_date_alone(
    truth: tuple[dict[date, RiskModel], Panel],
) -> None:
    model = next(iter(truth[0].values()))
    a, b, other = (quality.portfolios(model, slot) for slot in (7, 7, 8))
    for what in ("long_only", "long_short"):
        np.testing.assert_array_equal(a[what], b[what])
        assert (a[what] != other[what]).any()
    np.testing.assert_allclose(a["long_only"].sum(axis=0), 1.0)
    assert (a["long_only"] > 0).all()
    np.testing.assert_allclose(a["long_short"].sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(a["long_short"]).sum(axis=0), 1.0)


def test_the_true_model_has_no_bias_and_a_wrong_one_shows_its_own(
    truth: tuple[dict[date, RiskModel], Panel], calendar: TradingCalendar
) -> None:
    models, panel = truth
    half = {d: replace(m, F=m.F / 4, d=m.d / 2) for d, m in models.items()}
    right = quality.measure(models, panel, calendar, "statistical")
    wrong = quality.measure(half, panel, calendar, "statistical")
    for what in ("equal_weight", "min_variance", "long_only", "long_short"):
        for horizon, limit in ((1, 0.1), (20, 0.3)):
            rows = right.filter(portfolios=what, horizon=horizon)
            bias = np.sqrt(rows["z_squared"].mean())  # type: ignore[arg-type]
            assert bias == pytest.approx(1.0, abs=limit), (what, horizon)
            worse = wrong.filter(portfolios=what, horizon=horizon)
            assert np.sqrt(worse["z_squared"].mean()) == pytest.approx(2 * bias)  # type: ignore[arg-type]
            assert worse["qlike"].mean() > rows["qlike"].mean()  # type: ignore[operator]


def test_a_row_is_the_plain_recomputation_and_known_when_its_last_return_is(
    truth: tuple[dict[date, RiskModel], Panel], calendar: TradingCalendar
) -> None:
    models, panel = truth
    day = date(2016, 3, 31)
    row = panel.dates.index(day)
    after = panel.tr[row + 1 : row + 21] / panel.tr[row : row + 20] - 1
    got = quality.measure(models, panel, calendar, "oas").filter(
        date=day, portfolios="equal_weight"
    )
    variance = dense(models[day]).mean()
    z2 = after.mean(axis=1) ** 2 / variance
    one, many = got.filter(horizon=1), got.filter(horizon=20)
    assert one["model"].item() == "oas"
    assert one["z_squared"].item() == pytest.approx(z2.mean())
    assert one["qlike"].item() == pytest.approx(np.log(variance) + z2.mean())
    assert (one["observations"].item(), many["observations"].item()) == (20, 1)
    total = after.mean(axis=1).sum() ** 2 / (20 * variance)
    assert many["z_squared"].item() == pytest.approx(total)
    assert many["qlike"].item() == pytest.approx(np.log(20 * variance) + total)
    assert got["known_at"].unique().item() == calendar.known_at(calendar.offset(day, 20))


def test_dates_without_all_sessions_after_them_or_within_a_month_have_no_row(
    truth: tuple[dict[date, RiskModel], Panel], calendar: TradingCalendar
) -> None:
    models, panel = truth
    within = date(2016, 3, 15)
    more = {**models, within: replace(next(iter(models.values())), date=within)}
    rows = quality.measure(more, panel, calendar, "statistical")
    assert within not in rows["date"]
    assert rows["date"].max() == date(2018, 12, 31), "19 sessions follow the end of January"
    assert rows["bias"].null_count() == 11 * 8
    year = rows.filter(portfolios="long_only", horizon=1).head(12)
    want = np.sqrt(year["z_squared"].mean())  # type: ignore[arg-type]
    assert year["bias"].to_list()[-1] == pytest.approx(want)


def test_from_a_date_on_it_is_what_everything_gives(
    truth: tuple[dict[date, RiskModel], Panel], calendar: TradingCalendar
) -> None:
    models, panel = truth
    start = date(2017, 6, 1)
    since = calendar.offset(start, -quality.MONTHS_BACK)
    cut = panel.dates.index(since)
    near = Panel(panel.ids, panel.first_slot + cut, panel.dates[cut:], *[panel.tr[cut:]] * 3)
    late = {d: m for d, m in models.items() if d >= since}
    part = quality.measure(late, near, calendar, "statistical", start=start)
    whole = quality.measure(models, panel, calendar, "statistical")
    assert part.equals(whole.filter(pl.col("date") >= start))


def test_a_name_without_bars_earns_nothing_and_one_without_a_bar_at_the_date_is_not_held(
    truth: tuple[dict[date, RiskModel], Panel], calendar: TradingCalendar
) -> None:
    models, panel = truth
    day = date(2016, 3, 31)
    row = panel.dates.index(day)
    tr = panel.tr.copy()
    tr[row:, 0] = np.nan
    tr[row + 1 :, 1] = np.nan
    holed = replace(panel, tr=tr)
    got = next(iter(quality.outcomes({day: models[day]}, holed, calendar)))
    m = models[day]
    small = quality.restricted(m, range(1, N))
    after = panel.tr[row + 1 : row + 21, 1:] / panel.tr[row : row + 20, 1:] - 1
    after[:, 0] = 0.0
    want = after.mean(axis=1) / np.sqrt(dense(small).mean())
    np.testing.assert_allclose(got.z[:, 0], want, rtol=1e-10)
    only = {day: ["n03", "n04"]}
    two = next(iter(quality.outcomes({day: m}, panel, calendar, only)))
    pair = (panel.tr[row + 1, 3:5] / panel.tr[row, 3:5] - 1).mean()
    assert two.z[0, 0] == pytest.approx(pair / np.sqrt(dense(quality.restricted(m, [3, 4])).mean()))


def test_the_band_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(60):
        low, high = quality.band(rng.chisquare(1, size=120), seed=i)
        inside += low < 1.0 < high
    assert 45 <= inside <= 60
    assert quality.band(np.ones(50)) == (1.0, 1.0)
