"""Verdicts as people read them: p-values, from their log10, which goes on where a double underflows; whose it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .verdict import Verdict

__all__ = ["format_p", "order_of_magnitude", "whose"]


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


def whose(verdict: Verdict) -> str:
    """What an image carries, as far as it is found: a key, a name, or no more than an address or a pilot."""
    said = verdict.names
    if not verdict.found:
        return "no key" if said is None else "no name"
    if verdict.key_id is not None:
        return f"key {verdict.key_id}"
    if said.identity.found:
        revoked = f" (revoked {said.revoked})" if said.revoked else ""
        return f"image {said.named.number} of {said.named.issuer}{revoked}"
    if said.series.found:
        return f"an address like that of image {said.addressed}, but not its name"
    return "of this keyring, but no name"
