"""What can go wrong, each with a sentence for the user: what, with which value, and what to do."""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "AuditError",
    "DamagedImage",
    "ImageError",
    "KeyringError",
    "LedgerError",
    "MissingImage",
    "ModelError",
    "NoImage",
    "ProvenanceError",
    "UnfitImage",
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


class MissingImage(ImageError):
    """A path that leads to no file."""


class NoImage(ImageError):
    """A file that holds no image, or one of a format that nothing here reads."""


class DamagedImage(ImageError):
    """An image that cannot be decoded whole."""


class UnfitImage(ImageError):
    """An image that is whole and cannot be used: too large, too small, too narrow, animated, without pixels."""


class ModelError(WmarkError):
    """A model that cannot be found, loaded or used."""


class ProvenanceError(WmarkError):
    """A certificate, a key to sign with or a manifest that cannot be used."""


class AuditError(WmarkError):
    """A source, an engine or a folder that an audit cannot begin or go on with."""
