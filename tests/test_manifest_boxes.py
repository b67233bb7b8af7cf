"""Manifests read without c2pa-python: files, boxes of JUMBF (ISO 19566-5), CBOR and COSE, as far as ours go.

file -> manifest store       PNG: chunk caBX; WebP: chunk C2PA; JPEG: segments APP11, each with a header of its own
store -> manifests -> claim, signature, assertions, each a superbox `jumb` with a description `jumd` and its content
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from wmark.images import encode_image
from wmark.provenance import Signer

from .records import MARK, RECORD

cbor2 = pytest.importorskip("cbor2", reason="needs the extra wmark[test]")


def manifest_store(data: bytes) -> bytes:
    """The manifest store of a PNG, JPEG or WebP file."""
    if data.startswith(b"\x89PNG"):
        (store,) = [data[start + 8 : end - 4] for name, start, end in png_chunks(data) if name == b"caBX"]
    elif data.startswith(b"RIFF"):
        (store,) = [data[start + 8 : end] for name, start, end in riff_chunks(data) if name == b"C2PA"]
    else:
        # CI "JP", box instance, sequence number; every segment but the first repeats the box's length and type.
        parts = [data[start + 4 : end] for marker, start, end in jpeg_segments(data) if marker == 0xEB]
        store = b"".join(part[8:] if i == 0 else part[16:] for i, part in enumerate(parts))
    return store


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], at, at + 12 + length
        at += 12 + length


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at < len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        yield data[at : at + 4], at, at + 8 + length
        at += 8 + length + length % 2


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        yield data[at + 1], at, at + 2 + length
        at += 2 + length


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of the boxes that follow each other."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + length]
        at += length


def inside(superbox: bytes) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Label and content of a superbox."""
    (kind, description), *content = boxes(superbox)
    assert kind == b"jumd"
    assert description[16] & 0b11 == 0b11  # It can be asked for, and has a label.
    return description[17 : description.index(b"\0", 17)].decode(), content


@dataclass(frozen=True)
class Manifest:
    """A manifest's boxes: the claim and the signature as bytes, the assertions' superboxes by label."""

    label: str
    claim: bytes
    signature: bytes
    assertions: dict[str, bytes]

    def assertion(self, label: str) -> dict:
        """The content of an assertion, CBOR."""
        _, ((kind, content),) = inside(self.assertions[label])
        assert kind == b"cbor"
        return cbor2.loads(content)


def read(store: bytes) -> Manifest:
    """The last manifest of a store, which is the active one."""
    ((kind, outer),) = boxes(store)
    label, manifests = inside(outer)
    assert (kind, label) == (b"jumb", "c2pa")
    label, parts = inside(manifests[-1][1])
    content = dict(inside(part) for _, part in parts)
    (claim,), (signature,) = content["c2pa.claim.v2"], content["c2pa.signature"]
    assertions = {inside(box)[0]: box for _, box in content["c2pa.assertions"]}
    return Manifest(label, claim[1], signature[1], assertions)


def check(data: bytes, manifest: Manifest) -> str:
    """Check the hash of the file, those of the assertions and an ES256 signature; returns who signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    claim = cbor2.loads(manifest.claim)
    named = {entry["url"].rpartition("/")[2]: entry["hash"] for entry in claim["created_assertions"]}
    assert named.keys() == manifest.assertions.keys()
    for label, digest in named.items():
        assert hashlib.sha256(manifest.assertions[label]).digest() == digest

    binding = manifest.assertion("c2pa.hash.data")
    assert binding["alg"] == "sha256"
    hashed, at = hashlib.sha256(), 0
    for hole in binding["exclusions"]:
        hashed.update(data[at : hole["start"]])
        at = hole["start"] + hole["length"]
    hashed.update(data[at:])
    assert hashed.digest() == binding["hash"]

    tag = cbor2.loads(manifest.signature)
    protected, unprotected, payload, signature = tag.value
    assert payload is None
    header = cbor2.loads(protected)
    assert header[1] == -7  # ES256
    chain = header.get(33) or unprotected["x5chain"]
    own = x509.load_der_x509_certificate(chain[0] if isinstance(chain, list) else chain)
    signed = cbor2.dumps(["Signature1", protected, b"", manifest.claim])
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    own.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return own.subject.rfc4514_string()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_reader_of_our_own_finds_what_was_signed(trial_certificate, suffix):
    signer = Signer(*trial_certificate[:2], domain="example.com")
    data = encode_image(Image.linear_gradient("L").convert("RGB"), suffix)
    done = signer.sign(data, suffix, RECORD)
    assert manifest_store(done.data) == done.manifest
    manifest = read(done.manifest)
    assert manifest.label == done.id
    assert "Example studio" in check(done.data, manifest)

    created, watermarked = manifest.assertion("c2pa.actions.v2")["actions"]
    assert (created["action"], watermarked["action"]) == ("c2pa.created", "c2pa.watermarked.bound")
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert created["softwareAgent"]["name"] == "wmark"
    assert created["parameters"]["com.example.wmark.1.model"] == RECORD["model"]
    assert "2026-03-04T05:06:07" in str(created["when"]).replace(" ", "T")
    binding = manifest.assertion("c2pa.soft-binding")
    assert binding["alg"] == "com.example.wmark.1"
    assert binding["blocks"] == [{"scope": {}, "value": MARK}]

    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in (data, done.data))
    assert np.array_equal(before, after)
    for private in (b"garden", b"PRIVATE"):
        assert private not in done.data
