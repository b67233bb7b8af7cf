"""A picture's file -> the same file with a signed manifest. The pixels that are signed are those that are written."""

from __future__ import annotations

import copy
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from ..errors import ProvenanceError
from .credentials import load_credentials
from .library import context, imported
from .manifest import SOURCE, binding_of, definition
from .store import ManifestStore, ManifestStores

__all__ = ["Signed", "Signer"]

FORMATS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}

TRIAL = {
    "created": "2000-01-01T00:00:00+00:00",
    "model": {"name": "none", "fingerprint": "0" * 16},
    "keyring": None,
    "key_id": "trial",
}


@dataclass(frozen=True)
class Signed:
    """A signed picture.

    Attributes:
        data: Its file.
        manifest: The manifest store in JUMBF, as it stands in the file.
        id: The manifest's name, such as `urn:c2pa:...`.
    """

    data: bytes = field(repr=False)
    manifest: bytes = field(repr=False)
    id: str


class Signer:
    """Signs what was generated, and keeps a copy of each manifest.

    Arguments:
        certificate: PEM file of the signer's certificate, followed by those above it.
        key: PEM file of its private key, for its owner alone.
        domain: The internet domain that the soft binding's algorithm is named after.
        authority: URL of an RFC 3161 time-stamping authority; None for no time stamp.
        store: Where copies are kept, by what the mark says; None keeps none.

    Raises:
        ProvenanceError: If anything of it is unfit, seen by signing a trial picture before time is spent on any.
    """

    def __init__(
        self,
        certificate: str | os.PathLike,
        key: str | os.PathLike,
        *,
        domain: str,
        authority: str | None = None,
        store: ManifestStore | None = None,
    ) -> None:
        if authority is not None and not re.fullmatch(r"https?://[!-~]+", authority):
            raise ProvenanceError(f"{authority!r} is no address of a time-stamping authority: it begins with http://")
        self.credentials = load_credentials(certificate, key)
        self.domain, self.authority, self.store = domain, authority, store
        self.try_out()

    def keeping(self, store: ManifestStore) -> Signer:
        """The same signer, which keeps copies in one more store."""
        other = copy.copy(self)
        other.store = ManifestStores((self.store, store)) if self.store else store
        return other

    def opening(self, source: bytes) -> SourceSigner:
        """What signs a picture that was there before it was marked.

        Arguments:
            source: The file as it was; the manifest in it, if there is one, is kept.
        """
        return SourceSigner(self, source)

    def sign(self, data: bytes, suffix: str, record: Mapping, source: bytes | None = None) -> Signed:
        """Put a manifest into a picture's file, and keep a copy of it.

        Arguments:
            data: The file, which is not changed.
            suffix: Its suffix: `.png`, `.jpg`, `.jpeg` or `.webp`.
            record: The picture's record.
            source: The file as it was before it was marked, if the record names a source.

        Raises:
            ProvenanceError: If it cannot be signed, its copy cannot be kept, or the format is another.
        """
        self.credentials.check_time()
        signed = self.write(data, suffix, record, self.authority, source)
        if self.store:
            self.store.store(binding_of(record, self.domain).value, signed.manifest)
        return signed

    def write(
        self, data: bytes, suffix: str, record: Mapping, authority: str | None, source: bytes | None = None
    ) -> Signed:
        """A picture with a manifest, read back and found valid."""
        if suffix.lower() not in FORMATS:
            raise ProvenanceError(f"files of {suffix!r} are not signed: choose .png, .jpg or .webp")
        c2pa, file = imported("c2pa"), io.BytesIO()
        mime, own = FORMATS[suffix.lower()], self.credentials
        try:
            info = c2pa.C2paSignerInfo(own.alg, own.chain, own.reveal(), authority)
            with context() as settings, c2pa.Signer.from_info(info) as signer:
                with c2pa.Builder(definition(record, self.domain), context=settings) as builder:
                    if source is not None:
                        ingredient = {"title": SOURCE, "label": SOURCE, "relationship": "parentOf"}
                        builder.add_ingredient(ingredient, mime_of(source), io.BytesIO(source))
                    manifest = builder.sign(signer, mime, io.BytesIO(data), file)
                with c2pa.Reader(mime, io.BytesIO(file.getvalue()), context=settings) as reader:
                    state, active = reader.get_validation_state(), reader.get_active_manifest()
        except c2pa.C2paError as error:
            raise ProvenanceError(f"signing with {own.name} failed ({told(error)})") from error
        if state == "Invalid":
            raise ProvenanceError(f"what was signed with {own.name} is not valid: use another certificate")
        return Signed(file.getvalue(), manifest, active["label"])

    def try_out(self) -> None:
        """Sign a picture of nothing; where that needs the time-stamping authority to fail, say so."""
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, "PNG")
        try:
            self.write(file.getvalue(), ".png", TRIAL, self.authority)
        except ProvenanceError as error:
            if not self.authority:
                raise
            self.write(file.getvalue(), ".png", TRIAL, None)
            raise ProvenanceError(
                f"the time-stamping authority {self.authority} gives no time stamp: check its address and the network"
            ) from error


@dataclass(frozen=True)
class SourceSigner:
    """Signs one picture that was there before it was marked.

    Attributes:
        signer: Who signs.
        source: The file as it was.
    """

    signer: Signer
    source: bytes = field(repr=False)

    def sign(self, data: bytes, suffix: str, record: Mapping) -> Signed:
        """As :meth:`Signer.sign`."""
        return self.signer.sign(data, suffix, record, self.source)


def mime_of(data: bytes) -> str:
    """The media type of a picture that Pillow reads."""
    with Image.open(io.BytesIO(data)) as picture:
        return Image.MIME.get(picture.format, "application/octet-stream")


def told(error: Exception) -> str:
    """c2pa-python's words for an error, in one line."""
    text = " ".join(str(error).split())
    return text[:200] + ("..." if len(text) > 200 else "")
