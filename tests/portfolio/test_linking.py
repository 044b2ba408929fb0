"""Linking: effects of days add up to the difference of compounded returns, by both methods."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.portfolio import linking

RETURN = st.floats(-0.5, 0.8, allow_nan=False)
PAIRS = st.lists(st.tuples(RETURN, RETURN), min_size=1, max_size=40)
START = date(2019, 11, 4)


def frames(
    r_p: np.ndarray, r_b: np.ndarray, *, share: float = 0.4, step: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two effects a day that add up to the active return, and the returns."""
    days = [START + timedelta(days=step * i) for i in range(len(r_p))]
    active = r_p - r_b
    rows = [
        pl.DataFrame({"date": days, "effect": effect, "value": value})
        for effect, value in (
            ("allocation", share * active + 0.01),
            ("selection", (1 - share) * active - 0.01),
        )
    ]
    effects = pl.concat(rows).select(
        pl.lit("m").alias("mandate"),
        pl.lit("backtest").alias("run_kind"),
        "date",
        pl.lit("sector").alias("scheme"),
        pl.lit("b").alias("benchmark"),
        "effect",
        pl.lit("all").alias("group"),
        "value",
    )
    nav = pl.concat(
        [
            pl.DataFrame({"date": days, "return_net": r}).with_columns(
                mandate=pl.lit(name), run_kind=pl.lit("backtest")
            )
            for name, r in (("m", r_p), ("b", r_b))
        ]
    )
    return effects, nav


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from(linking.METHODS))
def test_the_scale_turns_daily_differences_into_that_of_the_period(
    pairs: list[tuple[float, float]], method: str
) -> None:
    r_p, r_b = np.array(pairs).T
    scale = getattr(linking, method)(r_p, r_b)
    whole = np.prod(1 + r_p) - np.prod(1 + r_b)
    size = max(1.0, np.prod(1 + r_p), np.prod(1 + r_b))
    assert float(scale @ (r_p - r_b)) == pytest.approx(whole, abs=1e-12 * size)


@settings(max_examples=20, deadline=None)
@given(PAIRS, st.sampled_from(linking.METHODS), st.floats(-2, 2))
def test_linked_effects_add_up_and_do_not_depend_on_the_order_of_rows(
    pairs: list[tuple[float, float]], method: linking.Method, share: float
) -> None:
    r_p, r_b = np.array(pairs).T
    effects, nav = frames(r_p, r_b, share=share)
    got = linking.linked(effects, nav, method=method)
    whole = np.prod(1 + r_p) - np.prod(1 + r_b)
    size = max(1.0, np.prod(1 + r_p), np.prod(1 + r_b))
    assert got["value"].sum() == pytest.approx(whole, abs=1e-12 * size)
    other = linking.linked(effects.reverse(), nav.reverse(), method=method)
    assert got.equals(other)


def test_carino_is_the_logarithmic_ratio() -> None:
    """Two periods by hand, from the paper's formula."""
    r_p, r_b = np.array([0.10, -0.05]), np.array([0.04, 0.02])
    k = (np.log(1 + r_p) - np.log(1 + r_b)) / (r_p - r_b)
    R_p, R_b = 1.10 * 0.95 - 1, 1.04 * 1.02 - 1
    K = (np.log(1 + R_p) - np.log(1 + R_b)) / (R_p - R_b)
    np.testing.assert_allclose(linking.carino(r_p, r_b), k / K, rtol=1e-13)


def test_menchero_is_as_even_as_the_sum_allows() -> None:
    """C minimises the squared deviations from M: no other scale with the right sum is nearer to it."""
    r_p, r_b = np.array([0.10, -0.05, 0.03]), np.array([0.04, 0.02, 0.01])
    gap, T = r_p - r_b, 3
    R_p, R_b = np.prod(1 + r_p) - 1, np.prod(1 + r_b) - 1
    M = ((R_p - R_b) / T) / ((1 + R_p) ** (1 / T) - (1 + R_b) ** (1 / T))
    least, *_ = np.linalg.lstsq(gap[None], np.array([R_p - R_b - M * gap.sum()]))
    np.testing.assert_allclose(linking.menchero(r_p, r_b), M + least, rtol=1e-12)


def test_carinos_scale_of_equal_returns_lies_between_those_beside_them() -> None:
    r_b = np.array([0.02, -0.01, 0.03])
    near = [linking.carino(r_b + np.array([h, -h, h]), r_b) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(linking.carino(r_b.copy(), r_b), (near[0] + near[1]) / 2, rtol=1e-6)


def test_mencheros_scale_of_equal_returns_is_growth_over_the_other_days() -> None:
    """Its limit depends on the direction; without any difference every day counts the same."""
    r_b = np.array([0.02, -0.01, 0.03])
    even = np.prod(1 + r_b) ** (2 / 3)
    np.testing.assert_allclose(linking.menchero(r_b.copy(), r_b), np.full(3, even), rtol=1e-14)


@pytest.mark.parametrize("method", linking.METHODS)
def test_effects_that_cancel_every_day_still_show(method: linking.Method) -> None:
    r_b = np.array([0.02, -0.01, 0.03])
    effects, nav = frames(r_b, r_b)
    got = linking.linked(effects, nav, method=method)
    assert got["value"].sum() == pytest.approx(0.0, abs=1e-15)
    assert got["value"].abs().max() > 0.01  # type: ignore[operator]


@pytest.mark.parametrize("method", linking.METHODS)
@pytest.mark.parametrize("side", ["portfolio", "benchmark"])
def test_a_loss_of_everything_is_the_limit_of_nearly_that(method: str, side: str) -> None:
    r_p, r_b = np.array([0.05, -1.0, 0.0]), np.array([0.02, -0.03, 0.01])
    near = r_p.copy()
    near[1] = -1 + 1e-13
    pair, close = ((r_p, r_b), (near, r_b)) if side == "portfolio" else ((r_b, r_p), (r_b, near))
    scale = getattr(linking, method)(*pair)
    whole = np.prod(1 + pair[0]) - np.prod(1 + pair[1])
    assert float(scale @ (pair[0] - pair[1])) == pytest.approx(whole, abs=1e-12)
    np.testing.assert_allclose(scale, getattr(linking, method)(*close), atol=0.05)


@pytest.mark.parametrize("method", linking.METHODS)
def test_a_loss_of_more_than_everything_is_refused_with_the_number(method: str) -> None:
    with pytest.raises(PortfolioError, match=r"benchmark is -1\.2"):
        getattr(linking, method)(np.array([0.1, 0.1]), np.array([0.0, -1.2]))


@pytest.mark.parametrize("method", linking.METHODS)
@pytest.mark.parametrize("by", ["year", "quarter", "month"])
def test_each_period_is_linked_in_itself(method: linking.Method, by: linking.By) -> None:
    rng = np.random.default_rng(3)
    r_p, r_b = rng.normal(0, 0.02, (2, 200))
    effects, nav = frames(r_p, r_b, step=3)
    got = linking.linked(effects, nav, method=method, by=by)
    size = {"year": "1y", "quarter": "1q", "month": "1mo"}[by]
    wide = nav.pivot(on="mandate", index="date", values="return_net").with_columns(
        period=pl.col("date").dt.truncate(size)
    )
    want = wide.group_by("period").agg(
        whole=(1 + pl.col("m")).product() - (1 + pl.col("b")).product()
    )
    sums = got.group_by("period").agg(pl.col("value").sum()).join(want, on="period")
    assert sums.height == want.height > 1
    np.testing.assert_allclose(sums["value"], sums["whole"], atol=1e-12)


def test_against_nothing_the_lines_add_up_to_the_return_itself() -> None:
    r = np.array([0.1, -0.2, 0.05])
    effects, nav = frames(r, np.zeros(3))
    own = effects.with_columns(benchmark=pl.lit(""))
    for method in linking.METHODS:
        got = linking.linked(own, nav, method=method)
        assert got["value"].sum() == pytest.approx(1.1 * 0.8 * 1.05 - 1, abs=1e-14)


def test_start_and_end_cut_the_period() -> None:
    rng = np.random.default_rng(4)
    r_p, r_b = rng.normal(0, 0.02, (2, 30))
    effects, nav = frames(r_p, r_b)
    got = linking.linked(
        effects, nav, start=START + timedelta(days=5), end=START + timedelta(days=9)
    )
    want = np.prod(1 + r_p[5:10]) - np.prod(1 + r_b[5:10])
    assert got["value"].sum() == pytest.approx(want, abs=1e-14)


def test_missing_returns_and_unknown_methods_are_named() -> None:
    effects, nav = frames(np.array([0.1, 0.2]), np.array([0.0, 0.1]))
    with pytest.raises(PortfolioError, match=r"b \(backtest\).*missing on 2"):
        linking.linked(effects, nav.filter(pl.col("mandate") == "m"))
    with pytest.raises(PortfolioError, match="carino, menchero"):
        linking.linked(effects, nav, method="frongello")  # type: ignore[arg-type]


def test_compounding_is_exact_over_long_histories() -> None:
    from fractions import Fraction

    r = np.random.default_rng(5).normal(3e-4, 0.01, 8_000)
    exact = Fraction(1)
    for x in r.tolist():
        exact *= 1 + Fraction(x).limit_denominator(10**12)
    assert linking.compounded(r) + 1 == pytest.approx(float(exact), rel=1e-8)
    assert linking.compounded(np.array([0.5, -1.0, 0.3])) == -1.0
