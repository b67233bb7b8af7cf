"""What the manifest in a picture's file says, and whether that holds.

Nothing is fetched because a file asks for it, so a manifest that is kept elsewhere is not read. That a manifest holds
means that whoever signed it said so, of this very file; who that may be is settled by the authorities that one trusts.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ProvenanceError
from ..files import read_file, reason, shown
from .binding import Binding, bindings_of
from .library import context, imported

if TYPE_CHECKING:
    from c2pa import Reader

__all__ = ["Report", "read_kept", "read_manifest"]

LARGEST = 512 << 20
LONGEST = 100
"""Characters that are given of a name in a file, which may say anything."""

UNTRUSTED = "signingCredential.untrusted"
TRUSTED = "signingCredential.trusted"
TRUSTED_TIME = "timeStamp.trusted"
CHANGED_FILE = "assertion.dataHash.mismatch"
REASONS = {
    CHANGED_FILE: "the file was changed after it was signed",
    "assertion.hashedURI.mismatch": "the manifest was changed after it was signed",
    "claimSignature.mismatch": "the manifest was changed after it was signed",
    "signingCredential.expired": "the certificate had expired when it was signed",
    "signingCredential.invalid": "the certificate is not meant to sign manifests",
    "signingCredential.ocsp.revoked": "the certificate was revoked",
}


@dataclass(frozen=True)
class Report:
    """What a manifest says.

    Attributes:
        state: `none` where there is no manifest, `valid`, `invalid`, or `unread`.
        reason: Why it is invalid or could not be read, in half a sentence.
        id: Its name, such as `urn:c2pa:...`.
        signer: Who signed it, by the certificate.
        trusted: Whether an authority that is trusted says so.
        time: When, ISO 8601, by a time-stamping authority that is trusted; None without a time stamp of one.
        bindings: The marks that it names.
    """

    state: str
    reason: str | None = None
    id: str | None = None
    signer: str | None = None
    trusted: bool = False
    time: str | None = None
    bindings: tuple[Binding, ...] = ()


def read_manifest(source: str | os.PathLike | bytes, anchors: str = "") -> Report:
    """Read the manifest in a picture's file.

    Arguments:
        source: The file, or its content, in any format that Content Credentials are put in.
        anchors: Certificates of the authorities that are trusted, PEM.

    Returns:
        A report, also of what cannot be read.
    """
    try:
        data = source if isinstance(source, bytes) else read_file(source, LARGEST)
    except (OSError, ValueError) as error:
        return Report("unread", reason(error))
    # The names of the boxes that a manifest stands in, in every format: what has none is not worth the library's while.
    if b"jumb" not in data or b"c2pa" not in data:
        return Report("none")
    try:
        c2pa = imported("c2pa")
    except ProvenanceError as error:
        return Report("unread", str(error))
    try:
        with context(anchors) as settings:
            reader = c2pa.Reader.try_create(io.BytesIO(data), context=settings)
            if reader is None:
                return Report("none")
            with reader:
                return reported(reader)
    except Exception as error:  # A file may hold anything, and must not cost the others their answer.
        return Report("unread", told(error))


def read_kept(manifest: bytes, anchors: str = "") -> Report:
    """What a manifest says that was kept without its picture. It is valid if its own signature is.

    Raises:
        ProvenanceError: If c2pa-python is not installed.
    """
    c2pa, file = imported("c2pa"), io.BytesIO(manifest)
    try:
        with context(anchors) as settings, c2pa.Reader("application/c2pa", file, context=settings) as reader:
            return reported(reader, without_picture=True)
    except Exception as error:  # As above.
        return Report("unread", told(error))


def reported(reader: Reader, without_picture: bool = False) -> Report:
    """The report on a manifest that could be parsed.

    A manifest without its picture states the hash of a file that is not at hand, so that one failure is none.
    """
    content = json.loads(reader.json())
    successes, failures = found(content, "success"), found(content, "failure")
    forgiven = {UNTRUSTED} | ({CHANGED_FILE} if without_picture else set())
    failures = [failure for failure in failures if failure.get("code") not in forgiven]
    invalid = bool(failures) or (content.get("validation_state") == "Invalid" and not without_picture)
    active = content.get("manifests", {}).get(content.get("active_manifest"), {})
    signature, codes = active.get("signature_info", {}), {success.get("code") for success in successes}
    return Report(
        state="invalid" if invalid else "valid",
        reason=worded(failures) if invalid else None,
        id=content.get("active_manifest"),
        signer=brief(signature.get("issuer") or signature.get("common_name")),
        trusted=not invalid and TRUSTED in codes,
        time=brief(signature.get("time")) if not invalid and TRUSTED_TIME in codes else None,
        bindings=tuple(named(content, active)),
    )


def found(content: Mapping, outcome: str) -> list[Mapping]:
    """What the library found of the manifest: each with its code, by the specification's list, and an explanation."""
    results = content.get("validation_results") or {}
    return list((results.get("activeManifest") or {}).get(outcome) or [])


def named(content: Mapping, active: Mapping) -> list[Binding]:
    """The marks that the manifest names; where it names none, as after an edit, those that the picture came with."""
    if found := bindings_of(active.get("assertions", [])):
        return found
    earlier = content.get("manifests", {}).values()
    return [binding for manifest in earlier for binding in bindings_of(manifest.get("assertions", []))]


def worded(failures: list[Mapping]) -> str:
    """The first failure that has words of ours, or the library's own for the first."""
    for failure in failures:
        if failure.get("code") in REASONS:
            return REASONS[failure["code"]]
    first = failures[0] if failures else {}
    return brief(first.get("explanation") or first.get("code")) or "an ingredient does not hold"


def brief(text: object) -> str | None:
    return shown(str(text))[:LONGEST] if text else None


def told(error: Exception) -> str:
    return brief(" ".join(str(error).split())) or type(error).__name__
