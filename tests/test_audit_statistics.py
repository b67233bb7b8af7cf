from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wmark.audit.statistics import Decoys, clopper_pearson, false_discovery, family_wise, yekutieli


@pytest.fixture
def p() -> np.ndarray:
    draw = np.random.default_rng(0)
    return np.concatenate([draw.random(200), 10.0 ** -draw.uniform(3, 30, 20), [1.0, 1.0]])


def test_false_discovery_is_benjamini_hochberg(p):
    assert np.allclose(10 ** false_discovery(np.log10(p)), stats.false_discovery_control(p), atol=1e-12)
    by = stats.false_discovery_control(p, method="by")
    assert np.allclose(np.minimum(1, 10 ** (false_discovery(np.log10(p)) + yekutieli(len(p)))), by, atol=1e-9)
    assert yekutieli(10**6) == pytest.approx(np.log10((1 / np.arange(1, 10**6 + 1)).sum()))


def test_family_wise_is_holm(p):
    m, order = len(p), np.argsort(p)
    expected = np.empty(m)
    running = 0.0
    for i, place in enumerate(order):
        running = max(running, min(1.0, (m - i) * p[place]))
        expected[place] = running
    assert np.allclose(10 ** family_wise(np.log10(p)), expected)


def test_evidence_below_the_smallest_double_is_corrected():
    log10_p = np.array([-500.0, -2.0, 0.0, -400.0])
    assert family_wise(log10_p) == pytest.approx([-500 + np.log10(4), -2 + np.log10(2), 0, -400 + np.log10(3)])
    assert false_discovery(log10_p) == pytest.approx([-500 + np.log10(4), -2 + np.log10(4 / 3), 0, -400 + np.log10(2)])
    assert family_wise(np.empty(0)).size == false_discovery(np.empty(0)).size == 0


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (17, 4000)])
def test_intervals_are_clopper_and_pearsons(count, total):
    exact = stats.binomtest(count, total).proportion_ci(0.95)
    assert clopper_pearson(count, total) == pytest.approx((exact.low, exact.high))
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_interval_of_decoys_rests_on_decoys_and_not_on_images():
    """Images that resemble each other make one decoy's p-values move together."""
    draw = np.random.default_rng(1)
    independent, alike = Decoys(40), Decoys(40)
    uniform = draw.random((3000, 40))
    shared = draw.normal(size=40)
    for rows in np.split(uniform, 30):
        independent.add(np.log10(rows))
        alike.add(stats.norm.logsf(0.9 * shared + np.sqrt(0.19) * stats.norm.ppf(rows)) / np.log(10))
    one, other = independent.rate(2), alike.rate(2)
    assert one["low"] < 0.01 < one["high"] and 0.4 < one["overdispersion"] < 2
    assert other["low"] < 0.01 < other["high"] and other["overdispersion"] > 20
    assert other["high"] - other["low"] > 4 * (one["high"] - one["low"])
    assert max(independent.distances()) < 0.06 < max(alike.distances())
    assert independent.images == 3000 and (independent.tail[:, 0] == 3000).all()
