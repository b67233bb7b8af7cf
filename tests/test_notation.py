from __future__ import annotations

import math

import pytest

from wmark.detectors.notation import format_p, order_of_magnitude


@pytest.mark.parametrize(
    ("log10_p", "expected"),
    [
        (0.0, "1.000"),
        (math.log10(0.5), "0.500"),
        (-2.0, "0.010"),
        (-2.4321, "3.7e-3"),
        (-4.0001, "1.0e-4"),
        (-400.5, "3.2e-401"),
        (-math.inf, "0"),
    ],
)
def test_p_values_are_read_from_their_log10(log10_p, expected):
    assert format_p(log10_p) == expected


def test_orders_of_magnitude():
    assert [order_of_magnitude(exponent) for exponent in (0, -1, -12)] == ["1", "1e-1", "1e-12"]
