"""`wmark verify` beside a manifest: what it says of it, in a line and as JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest
from PIL import Image

pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")


@pytest.fixture
def sign(ring, trial_certificate, judged_by_colour, monkeypatch, tmp_path):
    """Write a signed picture that names a key. White ones carry the key `one`."""
    from wmark.images import encode_image
    from wmark.provenance import ManifestFolder, Signer

    monkeypatch.setenv("WMARK_MANIFESTS", str(tmp_path / "kept"))
    signer = Signer(*trial_certificate[:2], domain="example.com", store=ManifestFolder(tmp_path / "kept"))

    def write(name, key_id, colour="white"):
        record = {
            "created": "2026-03-04T05:06:07+00:00", "model": {"name": "tiny", "fingerprint": "0123456789abcdef"},
            "keyring": ring.fingerprint, "key_id": key_id,
        }  # fmt: skip
        path = tmp_path / name
        picture = Image.new("RGB", (512, 512), colour)
        path.write_bytes(signer.sign(encode_image(picture, path.suffix), path.suffix, record).data)
        return path

    return write


def rows(result):
    return [json.loads(line)["manifest"] for line in result.stdout.splitlines()]


def test_each_state_is_told_from_the_others(run, ring, sign, trial_certificate, tmp_path):
    from wmark.provenance.agreement import STATES

    sign("agrees.png", "one")
    sign("differs.jpg", "two")
    sign("valid.webp", "one", "black")
    changed = sign("invalid.png", "one").read_bytes()
    (tmp_path / "invalid.png").write_bytes(changed.replace(b"/one", b"/two"))
    Image.new("RGB", (512, 512), "black").save("none.png")
    Image.new("RGB", (512, 512), "white").save("stripped.png")
    states = ["agrees", "differs", "valid", "invalid", "none", "stripped"]
    files = [str(next(tmp_path.glob(f"{state}.*"))) for state in states]
    result = run("verify", *files, "--json", "--trust", trial_certificate[2])
    found = rows(result)
    assert [row["state"] for row in found] == states
    assert set(states) < set(STATES)
    agrees, differs, _, invalid, none, stripped = found
    assert (agrees["signer"], agrees["trusted"]) == ("Example studio", True)
    assert agrees["binding"] == {"alg": "com.example.wmark.1", "value": f"{ring.fingerprint}/key/one"}
    assert differs["binding"]["value"] == f"{ring.fingerprint}/key/two"
    assert invalid["reason"] == "the manifest was changed after it was signed"
    assert none == dict.fromkeys(none, None) | {"state": "none", "trusted": False, "kept": 0}
    assert stripped["kept"] == 3  # Three pictures of this key were signed.

    lines = run("verify", *files).stdout.splitlines()
    assert "manifest agrees, signed by Example studio, whom no trusted authority vouches for" in lines[0]
    assert f"manifest names another mark: {ring.fingerprint}/key/two" in lines[1]
    assert "manifest valid, names" in lines[2]
    assert "manifest invalid: the manifest was changed after it was signed" in lines[3]
    assert "manifest" not in lines[4]
    assert "manifest stripped, 3 kept for this mark" in lines[5]


def test_a_stripped_picture_is_answered_from_the_copy_that_was_kept(run, sign, trial_certificate, tmp_path):
    (path,) = [sign("out.png", "one")]
    ours = rows(run("verify", path, "--json"))[0]["id"]
    Image.open(path).convert("RGB").save("saved.jpg", quality=40)
    (row,) = rows(run("verify", "saved.jpg", "--json", "--trust", trial_certificate[2]))
    assert (row["state"], row["id"], row["signer"], row["trusted"]) == ("stripped", ours, "Example studio", True)
    assert f"manifest stripped, kept: {ours}, signed by Example studio" in run("verify", "saved.jpg").stdout


def test_standard_input_and_a_missing_library_are_said(run, sign, monkeypatch, tmp_path):
    path = sign("out.png", "one")
    (row,) = rows(run("verify", "-", "--json", input=path.read_bytes()))
    assert (row["state"], row["reason"]) == ("unread", "standard input is gone: name a file")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (row,) = rows(run("verify", path, "--json"))
    assert row["state"] == "unread"
    assert "wmark[c2pa]" in row["reason"]
    Image.new("RGB", (512, 512), "black").save("none.png")
    assert rows(run("verify", "none.png", "--json"))[0]["state"] == "none"


def test_what_is_no_certificate_is_not_trusted_silently(run, sentence, sign, tmp_path):
    path = sign("out.png", "one")
    (tmp_path / "junk.pem").write_text("junk")
    assert "certificate 'junk.pem' is none in PEM" in sentence(run("verify", path, "--trust", "junk.pem"))
    assert "certificate 'missing.pem' does not exist" in sentence(run("verify", path, "--trust", "missing.pem"))


def test_a_name_in_a_certificate_forges_no_line(run, sign, judged_by_colour, monkeypatch, tmp_path):
    from wmark.images import encode_image
    from wmark.provenance import Signer
    from wmark.provenance.authority import issue

    made = issue("x\nfound  mine.png\x1b[2J", 1)
    for name, content in (("c.pem", made.chain), ("c.key", made.key)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    record = {"created": "2026-03-04T05:06:07+00:00", "model": {"name": "m", "fingerprint": "0"}, "keyring": None}
    stream = io.BytesIO(encode_image(Image.new("RGB", (512, 512), "white"), ".png"))
    signed = Signer("c.pem", "c.key", domain="example.com").sign(stream.getvalue(), ".png", {**record, "key_id": "k"})
    (tmp_path / "out.png").write_bytes(signed.data)
    result = run("verify", "out.png")
    assert len(result.stdout.splitlines()) == 1
    assert "\x1b" not in result.stdout
