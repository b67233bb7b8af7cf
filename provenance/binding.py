"""What names a picture in public: the soft binding of its manifest.

    alg    the algorithm that reads the value off the pixels, named after a domain: `com.example.wmark.1`
    value  the keyring's fingerprint and the image's number, `3f1c0a9b7e5d2468/image/17`; where all images of a keyring
           carry one key, that key's id, `3f1c0a9b7e5d2468/key/my-studio`

Nothing of it is secret, and nothing of the key's direction can be told from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import ProvenanceError

__all__ = ["LABEL", "Binding", "algorithm", "bindings_of", "public_name"]

LABEL = "c2pa.soft-binding"
ALGORITHM = "wmark.1"
"""What the names of this algorithm end with, whosever domain they begin with."""

DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.[a-z]{2,63}")


@dataclass(frozen=True)
class Binding:
    """A soft binding.

    Attributes:
        alg: Name of the algorithm.
        value: What it reads off the pixels.
    """

    alg: str
    value: str

    def to_json(self) -> dict:
        """The data of the assertion, by the specification's `soft-binding-map`; it binds the whole picture."""
        return {"alg": self.alg, "blocks": [{"scope": {}, "value": self.value}], "pad": []}


def algorithm(domain: str) -> str:
    """The algorithm's name for a domain, as names in C2PA begin: `example.com` gives `com.example.wmark.1`.

    Raises:
        ProvenanceError: If it is no domain.
    """
    if not DOMAIN.fullmatch(domain.lower()):
        raise ProvenanceError(f"{domain!r} is no internet domain: name one of yours, such as example.com")
    return ".".join([*reversed(domain.lower().split(".")), ALGORITHM])


def public_name(keyring: str | None, *, number: int | None = None, key_id: str | None = None) -> str:
    """What a mark says, in public.

    Arguments:
        keyring: The keyring's fingerprint; None for a key of none.
        number: The image's number, if it has a name of its own.
        key_id: The key's id, if it has not.
    """
    return f"{keyring or ''}/image/{number}" if number is not None else f"{keyring or ''}/key/{key_id}"


def bindings_of(assertions: Iterable[Mapping]) -> list[Binding]:
    """The soft bindings to a mark of wmark's among a manifest's assertions, whatever else these hold."""
    found = []
    for assertion in assertions:
        data = assertion.get("data")
        if not (str(assertion.get("label", "")).startswith(LABEL) and isinstance(data, Mapping)):
            continue
        alg = str(data.get("alg", ""))
        if alg.endswith("." + ALGORITHM):
            found += [Binding(alg, block["value"]) for block in blocks(data) if isinstance(block.get("value"), str)]
    return found


def blocks(data: Mapping) -> list[Mapping]:
    listed = data.get("blocks")
    return [block for block in listed if isinstance(block, Mapping)] if isinstance(listed, list) else []
