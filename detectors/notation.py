"""p-values as people read them, from their log10, which goes on where a double underflows."""

from __future__ import annotations

import math

__all__ = ["format_p", "order_of_magnitude"]


def format_p(log10_p: float) -> str:
    """A p-value with two digits, such as `3.2e-41`; from 0.01 on as a fraction."""
    if math.isinf(log10_p):
        return "0"
    if log10_p >= -2:
        return f"{10**log10_p:.3f}"
    exponent = math.floor(log10_p)
    mantissa = f"{10 ** (log10_p - exponent):.1f}"
    return f"1.0e{exponent + 1:+d}" if mantissa == "10.0" else f"{mantissa}e{exponent:+d}"


def order_of_magnitude(exponent: int) -> str:
    """A power of ten, such as `1e-3`."""
    return f"1e{exponent}" if exponent else "1"
