"""The Cornish–Fisher quantile against its formula, simulation and Maillard's domain."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from wealthos_pipeline.stats import cornish_fisher
from wealthos_pipeline.stats.cornish_fisher import fit, valid


def z(q: float, s: float, k: float) -> float:
    """The expansion as it stands in Maillard (2012), equation 1."""
    return q + (q**2 - 1) * s / 6 + (q**3 - 3 * q) * k / 24 - (2 * q**3 - 5 * q) * s**2 / 36


@pytest.mark.parametrize(("skew", "kurt"), [(0.0, 0.0), (-0.4, 3.0), (0.6, 2.0), (-1.0, 8.0)])
def test_the_result_has_the_moments_asked_for(skew: float, kurt: float) -> None:
    e = fit(np.array([skew]), np.array([kurt]))
    s, k, scale = float(e.s[0]), float(e.k[0]), float(e.scale[0])

    def moment(power: int) -> float:
        value = integrate.quad(
            lambda q: (z(q, s, k) / scale) ** power * stats.norm.pdf(q), -12, 12, limit=200
        )
        return float(value[0])

    assert moment(1) == pytest.approx(0, abs=1e-9)
    assert moment(2) == pytest.approx(1, abs=1e-8)
    assert moment(3) == pytest.approx(skew, abs=1e-6)
    assert moment(4) - 3 == pytest.approx(kurt, abs=1e-6)
    for p in (0.01, 0.05):
        q = stats.norm.ppf(p)
        assert e.quantile(p)[0] == pytest.approx(z(q, s, k) / scale)
        tail = integrate.quad(lambda q: z(q, s, k) / scale * stats.norm.pdf(q), -12, q)[0] / p
        assert e.tail_mean(p)[0] == pytest.approx(tail, rel=1e-7)


def test_a_normal_distribution_keeps_its_quantile() -> None:
    e = fit(np.zeros(1), np.zeros(1))
    assert e.quantile(0.01)[0] == pytest.approx(stats.norm.ppf(0.01))


def test_domain_is_where_the_quantile_rises_everywhere() -> None:
    rng = np.random.default_rng(0)
    s, k = rng.uniform(-3, 3, 400), rng.uniform(-1, 10, 400)
    q = np.linspace(-60, 60, 4001)
    for one_s, one_k, good in zip(s, k, valid(s, k), strict=True):
        rises = (np.diff(z(q, one_s, one_k)) > -1e-9).all()
        assert rises == good or abs(one_k - one_s**2 * 8 / 6) < 0.05
    assert 0.1 < valid(s, k).mean() < 0.9


def test_without_a_valid_expansion_there_is_no_number() -> None:
    """Symmetric kurtosis up to some 43 can be had (Maillard 2012, table 2), more cannot; nor can skewness 1
    with hardly any kurtosis."""
    e = fit(np.array([0.0, 0.0, 1.0, np.nan]), np.array([42.0, 46.0, 0.5, 1.0]))
    assert np.isfinite(e.quantile(0.01)).tolist() == [True, False, False, False]


def test_a_value_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    s, k = rng.normal(0, 0.4, 50), rng.uniform(0, 9, 50)
    whole = fit(s, k).quantile(0.01)
    for i in range(0, 50, 7):
        alone = fit(s[i : i + 1], k[i : i + 1]).quantile(0.01)
        assert alone.tobytes() == whole[i : i + 1].tobytes()


def test_quantiles_are_near_those_of_a_known_distribution() -> None:
    """Student's t with 8 degrees: skewness 0, excess kurtosis 1.5."""
    e = fit(np.zeros(1), np.array([1.5]))
    t = stats.t.ppf(0.01, 8) / np.sqrt(8 / 6)
    assert e.quantile(0.01)[0] == pytest.approx(t, rel=0.02)
    assert cornish_fisher.STEPS >= 10
