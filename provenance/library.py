"""c2pa-python and cryptography, which only those have who asked for them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import ProvenanceError

if TYPE_CHECKING:
    from c2pa import Context

__all__ = ["context", "imported"]

PURPOSES = (
    "1.3.6.1.4.1.62558.2.1",  # C2PA claim signing
    "1.3.6.1.5.5.7.3.36",  # document signing
    "1.3.6.1.4.1.311.76.59.1.9",  # document signing, Microsoft's
    "1.3.6.1.5.5.7.3.4",  # e-mail protection
    "1.3.6.1.5.5.7.3.8",  # time stamping
    "1.3.6.1.5.5.7.3.9",  # answers about revocation
)
"""Extended key usages that a certificate in a manifest may have; c2pa-python's own list lacks the first."""


def imported(name: str) -> ModuleType:
    """A module of the extra, such as `c2pa` or `cryptography.x509`.

    Raises:
        ProvenanceError: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise ProvenanceError("manifests need c2pa-python: install it with `pip install 'wmark[c2pa]'`") from None


def context(anchors: str = "") -> Context:
    """Settings to sign and read with: no thumbnails, and nothing is fetched because a file says so.

    Arguments:
        anchors: Certificates of the authorities that are trusted, PEM.
    """
    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "\n".join(PURPOSES), **({"user_anchors": anchors} if anchors else {})},
    }
    return imported("c2pa").Context.from_dict(settings)
