"""Certificate and private key of whoever signs: read, and checked before anything is signed.

A certificate file holds PEM: the signer's own first, then those of the authorities above it. A private key is that of
an elliptic curve (P-256, P-384, P-521), Ed25519 or RSA of 2048 bits or more, which settles the algorithm that signs;
its file is for its owner alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ..errors import ProvenanceError
from ..files import UnfitFile, open_regular, reason, shown
from .library import PURPOSES, imported

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

__all__ = ["Credentials", "load_certificates", "load_credentials", "to_pem"]

LARGEST = 1 << 20
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """What it takes to sign.

    Attributes:
        name: What errors call the certificate.
        alg: Algorithm that the key signs with, as c2pa-python calls it.
        chain: The certificates, PEM.
        key: The private key: an object that no `repr`, `vars` or pickle shows.
        begin, end: When the certificate begins and ends to be valid.
    """

    name: str
    alg: str
    chain: bytes = field(repr=False)
    key: PrivateKeyTypes = field(repr=False)
    begin: datetime
    end: datetime

    def reveal(self) -> bytes:
        """The private key, PKCS #8 in PEM. Give it no name: a traceback may show what its frames hold."""
        serialization = imported("cryptography.hazmat.primitives.serialization")
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def check_time(self, now: datetime | None = None) -> None:
        """Refuse a certificate that is not valid now.

        Raises:
            ProvenanceError: If so.
        """
        now = now or datetime.now(timezone.utc)
        if now < self.begin:
            raise ProvenanceError(f"{self.name} is valid from {self.begin:%Y-%m-%d %H:%M} UTC on: wait, or use another")
        if now > self.end:
            raise ProvenanceError(f"{self.name} expired on {self.end:%Y-%m-%d %H:%M} UTC: have it renewed")


def load_credentials(certificate: str | os.PathLike, key: str | os.PathLike) -> Credentials:
    """Read a certificate and its private key.

    Raises:
        ProvenanceError: If a file is missing, none of its kind or unfit to sign manifests, the key is open to other
            users, has a passphrase or is another certificate's, or the certificate is not valid now.
    """
    chain = load_certificates(certificate)
    own, name = chain[0], f"certificate '{shown(certificate)}'"
    check_purpose(own, name)
    private = load_key(key)
    if own.public_key() != private.public_key():
        raise ProvenanceError(f"key '{shown(key)}' is not the key of {name}: name the one that belongs to it")
    loaded = Credentials(
        name=name,
        alg=algorithm_of(private, f"key '{shown(key)}'"),
        chain=to_pem(chain),
        key=private,
        begin=own.not_valid_before_utc,
        end=own.not_valid_after_utc,
    )
    loaded.check_time()
    return loaded


def load_certificates(path: str | os.PathLike) -> Sequence[Certificate]:
    """The certificates of a PEM file, one at least.

    Raises:
        ProvenanceError: If it cannot be read or holds none.
    """
    name = f"certificate '{shown(path)}'"
    x509 = imported("cryptography.x509")
    try:
        return x509.load_pem_x509_certificates(content(path, name))
    except ValueError:
        raise ProvenanceError(f"{name} is none in PEM: it begins with -----BEGIN CERTIFICATE-----") from None


def to_pem(certificates: Sequence[Certificate]) -> bytes:
    """Certificates one after the other, and nothing else that their file may have held."""
    pem = imported("cryptography.hazmat.primitives.serialization").Encoding.PEM
    return b"".join(one.public_bytes(pem) for one in certificates)


def load_key(path: str | os.PathLike) -> PrivateKeyTypes:
    """The private key of a PEM file that nobody but its owner may read.

    Raises:
        ProvenanceError: If others may, it has a passphrase, or is none.
    """
    name = f"key '{shown(path)}'"
    serialization = imported("cryptography.hazmat.primitives.serialization")
    try:
        return serialization.load_pem_private_key(content(path, name, private=True), password=None)
    except TypeError:
        problem = "has a passphrase: take it off, and keep the file where nobody else can read it"
    except ValueError:
        problem = "is no private key in PEM: name the file that came with the certificate"
    except imported("cryptography.exceptions").UnsupportedAlgorithm:
        problem = "is of a kind that signs no manifests: use P-256, P-384, P-521, Ed25519 or RSA"
    # Raised out here, where no exception of the parser hangs on, and none of its frames with the key.
    raise ProvenanceError(f"{name} {problem}")


def content(path: str | os.PathLike, name: str, *, private: bool = False) -> bytes:
    try:
        with open_regular(path, LARGEST) as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if private and os.name == "posix" and mode & 0o077:
                raise ProvenanceError(f"{name} is open to other users (mode {mode:04o}): run `chmod 600` on it")
            return file.read()
    except FileNotFoundError:
        raise ProvenanceError(f"{name} does not exist: check the path") from None
    except UnfitFile as error:
        raise ProvenanceError(f"{name} {error}: choose another file") from None
    except (OSError, ValueError) as error:
        raise ProvenanceError(f"{name} cannot be read: {reason(error)}") from error


def algorithm_of(key: PrivateKeyTypes, name: str) -> str:
    """The algorithm that a key signs manifests with, by the specification's list."""
    asymmetric = "cryptography.hazmat.primitives.asymmetric"
    if isinstance(key, imported(f"{asymmetric}.ec").EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, imported(f"{asymmetric}.ed25519").Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, imported(f"{asymmetric}.rsa").RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise ProvenanceError(f"{name} is of a kind that signs no manifests: use P-256, P-384, P-521, Ed25519 or RSA")


def check_purpose(own: Certificate, name: str) -> None:
    """Refuse a certificate that readers of manifests refuse, by the specification's profile.

    Raises:
        ProvenanceError: If it may not sign, is an authority's, or is meant for something else, such as web servers.
    """
    x509 = imported("cryptography.x509")

    def extension(kind):
        try:
            return own.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    basic, usage = extension(x509.BasicConstraints), extension(x509.KeyUsage)
    purposes = {purpose.dotted_string for purpose in extension(x509.ExtendedKeyUsage) or ()}
    if basic and basic.ca:
        raise ProvenanceError(f"{name} is an authority's: put the certificate that it signed for you first in the file")
    if not (usage and usage.digital_signature and purposes & set(PURPOSES[:4])):
        raise ProvenanceError(
            f"{name} is not meant to sign manifests: it needs the key usage digitalSignature, and C2PA claim signing, "
            "document signing or e-mail protection as its extended key usage"
        )
