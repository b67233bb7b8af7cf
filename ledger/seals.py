"""Seals: by which a row that was changed, or that stands in another's place, is known.

With a secret s_I derived from that of an issuer, which its keyring's master secret gives as well,

    seal         HMAC-SHA256(s_I, "row/" || canonical JSON of the row, its number and state included)
    prompt hash  HMAC-SHA256(s_I, "prompt/" || prompt): without the secret no list of likely prompts tells which it was

A stolen ledger without the keyring can be read, but no row of it can be written anew; a stolen issuer can write rows of
its own numbers and no others. A row that is put back to an earlier state of its own carries the seal of that state.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import LedgerError
from ..watermark.secret import Secret

if TYPE_CHECKING:
    from ..watermark.names import Names
    from .row import Row

__all__ = ["Seals"]


@dataclass(frozen=True)
class Seals:
    """Seals the rows of a keyring's issuers.

    Arguments:
        keyring: The keyring's public fingerprint, which its ledger bears.
        secret: From the name of an issuer to its secret; None for one whose secret is not here.
    """

    keyring: str
    secret: Callable[[str], Secret | None] = field(repr=False)

    @classmethod
    def of(cls, names: Names) -> Seals:
        """Those of the issuers whose names are here: all of a keyring's (`ring.names()`), or one's of its own file."""
        secrets = {entry.name: names.secrets(entry.name)[1].derive(b"wmark/ledger/v1") for entry in names.issuers}
        return cls(names.keyring, secrets.get)

    def seal(self, row: Row) -> str:
        """The seal of a row, 64 hexadecimal digits."""
        return self._secret(row.issuer).tag(b"row/" + row.content)

    def genuine(self, row: Row, seal: object) -> bool | None:
        """Whether a row carries its seal, whatever stands in its place; None if its issuer's secret is not here."""
        secret = self.secret(row.issuer)
        if secret is None:
            return None
        return hmac.compare_digest(secret.tag(b"row/" + row.content).encode(), str(seal).encode())

    def prompt_hash(self, issuer: str, prompt: str) -> str:
        """The keyed hash of a prompt, 64 hexadecimal digits."""
        return self._secret(issuer).tag(b"prompt/" + prompt.encode("utf-8", "surrogatepass"))

    def _secret(self, issuer: str) -> Secret:
        if (secret := self.secret(issuer)) is None:
            raise LedgerError(f"the secret of issuer {issuer!r} is not here: use its own file, or the keyring")
        return secret
