"""What can go wrong, each with a sentence for the user: what, with which value, and what to do."""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "AuditError",
    "ImageError",
    "KeyringError",
    "LedgerError",
    "ModelError",
    "ProvenanceError",
    "WmarkError",
]


class WmarkError(Exception):
    """Base of every error that wmark raises on purpose. Its message is one sentence for the user."""


class ArgumentError(WmarkError, ValueError):
    """An argument of a call that cannot be meant."""


class KeyringError(WmarkError):
    """A keyring, key or pattern that is missing, damaged or not usable here."""


class LedgerError(WmarkError):
    """A ledger that is missing, damaged, out of reach or in contradiction to what is asked of it."""


class ImageError(WmarkError):
    """An image that cannot be read, written or used."""


class ModelError(WmarkError):
    """A model that cannot be found, loaded or used."""


class ProvenanceError(WmarkError):
    """A certificate, a key to sign with or a manifest that cannot be used."""


class AuditError(WmarkError):
    """A source, an engine or a folder that an audit cannot begin or go on with."""
