import math

import numpy as np
import pytest
from scipy.stats import kstest

from wmark.detectors.statistic import corrected, cosine, hypercone_log10_p


@pytest.mark.parametrize("dimension", [2, 3, 10, 100])
def test_p_values_of_random_vectors_are_uniform(dimension):
    rng = np.random.default_rng(dimension)
    direction = np.eye(dimension)[0]
    p = 10 ** hypercone_log10_p(cosine(rng.normal(size=(20000, dimension)), direction), dimension)
    assert kstest(p, "uniform").pvalue > 0.001


def test_cosines_are_those_of_numpy_whatever_the_shapes_and_who_owns_the_numbers():
    rng = np.random.default_rng(0)
    several, one = rng.standard_normal((3, 50)), rng.standard_normal(50)
    several /= np.linalg.norm(several, axis=1, keepdims=True)
    several.flags.writeable = False
    expected = several @ one / np.linalg.norm(one)
    assert np.allclose(cosine(one, several), expected)
    assert float(cosine(one, several[1])) == pytest.approx(expected[1])
    assert np.allclose(
        cosine(np.stack([one, np.zeros(50), -one])[:, ::-1], several[:, ::-1]), [expected, 0 * expected, -expected]
    )
    assert np.allclose(cosine(np.stack([one, one]), several[2]), expected[2])


def test_each_cosine_may_have_its_own_dimension():
    several = hypercone_log10_p([0.3, 0.3, 0.02], np.array([10, 3184, 12000]))
    assert several == pytest.approx(
        [float(hypercone_log10_p(t, d)) for t, d in ((0.3, 10), (0.3, 3184), (0.02, 12000))]
    )


def test_three_dimensions_have_the_area_of_a_cap():
    t = np.linspace(-1, 1, 21)[:-1]
    assert 10 ** hypercone_log10_p(t, 3) == pytest.approx((1 - t) / 2)


@pytest.mark.parametrize(
    ("t", "dimension", "log10_p"),
    # Computed with mpmath at 50 digits.
    [(0.1, 3184, -8.109713755), (0.6, 3184, -310.3935071), (0.9, 3184, -1149.968461), (0.999, 3184, -4297.906546)],
)
def test_evidence_far_below_the_smallest_double(t, dimension, log10_p):
    assert hypercone_log10_p(t, dimension) == pytest.approx(log10_p, rel=1e-9)


def test_direct_and_deep_branches_meet():
    t = np.linspace(0.5, 0.65, 400)
    steps = np.diff(hypercone_log10_p(t, 3184))
    assert (steps < 0).all()
    assert np.abs(np.diff(steps)).max() < 0.01


def test_extremes():
    assert hypercone_log10_p([-1, 0, 1], 10) == pytest.approx([0, math.log10(0.5), -math.inf])
    assert cosine(np.zeros((1, 5)), np.eye(5)[0]) == 0
    with pytest.raises(ValueError, match="dimension"):
        hypercone_log10_p(0.5, 1)


def test_union_bound():
    assert corrected(-10, 1000) == pytest.approx(-7)
    assert corrected(-2, 1000) == 0
