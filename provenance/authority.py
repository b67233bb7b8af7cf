"""Certificates for trials: an authority of one day's work, and a signer's certificate under it.

They are what a real authority gives out, but that nobody trusts it unless told to. The authority's own private key is
gone when the call returns, so nothing else will ever be signed by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .library import imported

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder

__all__ = ["TrialCertificate", "issue"]

USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class TrialCertificate:
    """Three files' contents, PEM.

    Attributes:
        chain: The signer's certificate and the authority's.
        key: The signer's private key.
        authority: The authority's certificate, for those who are to trust it.
    """

    chain: bytes
    key: bytes = field(repr=False)
    authority: bytes


def issue(organization: str, days: float) -> TrialCertificate:
    """Make a certificate to sign manifests with, for trials.

    Arguments:
        organization: Whose, as readers show it.
        days: How long it is valid from now on.

    Raises:
        ProvenanceError: If the package cryptography is missing.
    """
    ec, serialization = (
        imported(f"cryptography.hazmat.primitives.{name}") for name in ("asymmetric.ec", "serialization")
    )
    above, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate(organization, above, above, days)
    signer = certificate(organization, own, above, days)
    pem = serialization.Encoding.PEM
    return TrialCertificate(
        chain=signer.public_bytes(pem) + authority.public_bytes(pem),
        key=own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        authority=authority.public_bytes(pem),
    )


def certificate(
    organization: str, subject: EllipticCurvePrivateKey, issuer: EllipticCurvePrivateKey, days: float
) -> Certificate:
    """A certificate by the profile of C2PA (X.509 version 3); of an authority where it signs itself."""
    x509 = imported("cryptography.x509")
    is_authority = subject is issuer
    now = datetime.now(timezone.utc)
    usages = dict.fromkeys(USAGES, False)
    usages |= {"key_cert_sign": True, "crl_sign": True} if is_authority else {"digital_signature": True}
    builder: CertificateBuilder = (
        x509.CertificateBuilder()
        .subject_name(named(organization, "trial authority" if is_authority else "trial signer"))
        .issuer_name(named(organization, "trial authority"))
        .public_key(subject.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # Clocks differ.
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usages), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer, imported("cryptography.hazmat.primitives.hashes").SHA256())


def named(organization: str, role: str) -> object:
    x509 = imported("cryptography.x509")
    attribute, oid = x509.NameAttribute, x509.NameOID
    return x509.Name([attribute(oid.ORGANIZATION_NAME, organization), attribute(oid.COMMON_NAME, role)])
