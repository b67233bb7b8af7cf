"""`wmark embed --sign` and `wmark keys certificate`: all is checked first, and nothing unsigned is left behind."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")

EMBED = ["embed", "--prompt", "a blue sea wallpaper", "--steps", 1, "--seed", 7]


@pytest.fixture
def certificate(trial_certificate, tmp_path):
    """Copies of a certificate's files in the working folder: sign.pem, sign.key and authority.pem."""
    for path, name in zip(trial_certificate, ("sign.pem", "sign.key", "authority.pem"), strict=True):
        shutil.copy(path, tmp_path / name)
    return ["--sign", "sign.pem", "--key-file", "sign.key", "--domain", "example.com", "--manifests", "kept"]


@pytest.fixture
def drawn_at_once(monkeypatch):
    """Plain pictures in place of a model's, with records as theirs."""
    from types import SimpleNamespace

    from PIL import Image

    from wmark.models import registry
    from wmark.models.sampling import Sampling
    from wmark.watermark import embed
    from wmark.watermark.record import SCHEMA, MarkedImage

    known = {"schema": SCHEMA, "created": "2026-03-04T05:06:07+00:00", "model": {"name": "tiny", "fingerprint": "0"}}

    def draw(model, key, prompts, *, seed, **options):
        for each in seed:
            picture = Image.new("RGB", (64, 64), (each, 0, 0))
            yield MarkedImage(picture, {**known, **embed.of_key(key), "prompt": prompts[0], "seed": each})

    monkeypatch.setattr(embed, "embed", draw)
    model = SimpleNamespace(cut=lambda prompt: "", usual=Sampling())
    monkeypatch.setattr(registry, "load_model", lambda *args, **options: model)


def test_embed_signs_what_it_writes_and_keeps_a_copy(run, ring, certificate, drawn_at_once, tmp_path):
    from wmark.provenance import read_manifest

    result = run(*EMBED, "-o", "out.png", "--key", "two", *certificate)
    assert result.exit_code == 0, result.output
    report = read_manifest("out.png", (tmp_path / "authority.pem").read_text())
    record = json.loads((tmp_path / "out.png.json").read_text())
    assert (report.state, report.trusted, report.id) == ("valid", True, record["manifest"])
    assert [binding.value for binding in report.bindings] == [f"{ring.fingerprint}/key/two"]
    (kept,) = tmp_path.glob("kept/*/*.c2pa")
    assert kept.read_bytes() in (tmp_path / "out.png").read_bytes()
    secrets = (tmp_path / "sign.key").read_text().splitlines()[1:-1]
    for public in (result.output, json.dumps(record), kept.read_bytes().decode("latin1")):
        assert not [line for line in secrets if line in public]


def expired(run, tmp_path, sentence):
    from datetime import datetime, timedelta, timezone

    from wmark.provenance import authority

    class Past(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(timezone.utc) - timedelta(days=40)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authority, "datetime", Past)
        made = authority.issue("Example", 30)
    (tmp_path / "sign.pem").write_bytes(made.chain)
    (tmp_path / "sign.key").write_bytes(made.key)


def other_key(run, tmp_path, sentence):
    assert run("keys", "certificate", "-o", "other.pem").exit_code == 0
    (tmp_path / "other.key").rename(tmp_path / "sign.key")


def authority_first(run, tmp_path, sentence):
    chain = (tmp_path / "sign.pem").read_text()
    (tmp_path / "sign.pem").write_text((tmp_path / "authority.pem").read_text() + chain)


def for_servers(run, tmp_path, sentence):
    from cryptography import x509

    from wmark.provenance import authority

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509.ExtendedKeyUsageOID, "EMAIL_PROTECTION", x509.ExtendedKeyUsageOID.SERVER_AUTH)
        made = authority.issue("Example", 30)
    (tmp_path / "sign.pem").write_bytes(made.chain)
    (tmp_path / "sign.key").write_bytes(made.key)


def with_passphrase(run, tmp_path, sentence):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key((tmp_path / "sign.key").read_bytes(), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))
    (tmp_path / "sign.key").write_bytes(locked)


def curve_of_another_kind(run, tmp_path, sentence):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    from wmark.provenance import authority
    from wmark.provenance.credentials import to_pem

    own, above = ec.generate_private_key(ec.SECP256K1()), ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "sign.pem").write_bytes(to_pem([authority.certificate("Example", own, above, 1)]))
    (tmp_path / "sign.key").write_bytes(own.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda run, folder, sentence: (folder / "sign.pem").unlink(), "certificate 'sign.pem' does not exist"),
        (lambda run, folder, sentence: (folder / "sign.pem").write_text("x"), "certificate 'sign.pem' is none in PEM"),
        (lambda run, folder, sentence: (folder / "sign.key").unlink(), "key 'sign.key' does not exist"),
        (lambda run, folder, sentence: (folder / "sign.key").write_text("x"), "key 'sign.key' is no private key"),
        (lambda run, folder, sentence: (folder / "sign.key").chmod(0o644), "is open to other users (mode 0644)"),
        (expired, "certificate 'sign.pem' expired on"),
        (other_key, "key 'sign.key' is not the key of certificate 'sign.pem'"),
        (authority_first, "certificate 'sign.pem' is an authority's"),
        (for_servers, "certificate 'sign.pem' is not meant to sign manifests"),
        (with_passphrase, "key 'sign.key' has a passphrase"),
        (curve_of_another_kind, "key 'sign.key' is of a kind that signs no manifests"),
    ],
)
def test_what_cannot_sign_is_refused_before_anything_is_generated(
    run, sentence, certificate, tmp_path, monkeypatch, damage, expected
):
    from wmark.models import registry

    monkeypatch.setattr(registry, "load_model", lambda *args, **options: pytest.fail("a model was loaded"))
    damage(run, tmp_path, sentence)
    if "mode 0644" not in expected and (tmp_path / "sign.key").exists():
        (tmp_path / "sign.key").chmod(0o600)
    assert expected in sentence(run(*EMBED, "-o", "out.png", *certificate))
    assert not list(tmp_path.glob("out*")) + list(tmp_path.glob("kept"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sign", "sign.pem", "--domain", "example.com"], "--key-file"),
        (["--sign", "sign.pem", "--key-file", "sign.key"], "--domain"),
        (["--sign", "sign.pem", "--key-file", "sign.key", "--domain", "example"], "'example' is no internet domain"),
        (["--key-file", "sign.key"], "name the certificate with --sign"),
        (["--tsa", "http://127.0.0.1:9"], "name the certificate with --sign"),
    ],
)
def test_options_that_do_not_sign(run, sentence, certificate, tmp_path, options, expected):
    assert expected in sentence(run(*EMBED, "-o", "out.png", *options))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:9/", "the time-stamping authority http://127.0.0.1:9/ gives no time stamp"),
        ("ftp://x", "'ftp://x' is no address of a time-stamping authority"),
    ],
)
def test_a_time_stamping_authority_that_does_not_answer(run, sentence, certificate, tmp_path, address, expected):
    assert expected in sentence(run(*EMBED, "-o", "out.png", *certificate, "--tsa", address))
    assert not list(tmp_path.glob("out*"))


def test_signing_that_fails_midway_leaves_what_is_signed_and_nothing_else(
    run, sentence, certificate, drawn_at_once, tmp_path, monkeypatch
):
    from wmark.errors import ProvenanceError
    from wmark.provenance import ManifestFolder, read_manifest

    store = ManifestFolder.store

    def once(self, number, manifest):
        if list(tmp_path.glob("kept/*/*.c2pa")):
            raise ProvenanceError("the disk is full")
        store(self, number, manifest)

    monkeypatch.setattr(ManifestFolder, "store", once)
    line = sentence(run(*EMBED, "-o", "out.png", "--count", 2, *certificate))
    assert "out-002.png is not written but out-002-unsigned.png, without a manifest: the disk is full" in line
    pictures = {path.name: read_manifest(path).state for path in tmp_path.glob("out*.png")}
    assert pictures == {"out-001.png": "valid", "out-002-unsigned.png": "none"}
    assert "manifest" not in json.loads((tmp_path / "out-002-unsigned.png.json").read_text())

    monkeypatch.setattr(ManifestFolder, "store", store)
    result = run(*EMBED, "-o", "out.png", "--count", 2, "--skip-existing", *certificate)
    assert result.exit_code == 0, result.output
    assert read_manifest("out-002.png").state == "valid"


def test_a_picture_that_exists_is_signed_as_one_that_was_opened(run, certificate, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from PIL import Image

    from wmark.detectors import marking
    from wmark.models import registry
    from wmark.provenance import read_manifest

    picture = Image.linear_gradient("L").convert("RGB")
    picture.save("photo.png")
    verdict = SimpleNamespace(found=True, log10_p=-30.0, fpr=1e-6)
    marked = marking.MarkedPicture(picture, verdict, 40.0)
    monkeypatch.setattr(marking, "mark_picture", lambda *args, **options: marked)
    model = SimpleNamespace(name="tiny", fingerprint="0")
    monkeypatch.setattr(registry, "load_model", lambda *args, **options: model)
    result = run("embed", "--image", "photo.png", "-o", "out.png", "--key", "one", *certificate)
    assert result.exit_code == 0, result.output
    report = read_manifest("out.png")
    assert (report.state, report.id) == ("valid", json.loads((tmp_path / "out.png.json").read_text())["manifest"])
    data = (tmp_path / "out.png").read_bytes()
    assert b"c2pa.opened" in data
    assert b"c2pa.created" not in data


def test_images_that_exist_unsigned_are_pointed_out(run, certificate, drawn_at_once, tmp_path):
    assert run(*EMBED, "-o", "out.png").exit_code == 0
    result = run(*EMBED, "-o", "out.png", "--skip-existing", *certificate)
    assert (result.exit_code, result.stdout.strip()) == (0, "nothing to do: every image exists")
    assert "note: out.png exists already and is not signed" in result.stderr


def test_a_certificate_for_trials_is_private_and_never_replaced(run, sentence, tmp_path):
    result = run("keys", "certificate", "--name", "Example studio", "--days", 1)
    assert result.exit_code == 0, result.output
    names = ["certificate-authority.pem", "certificate.key", "certificate.pem"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "certificate.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in result.output
    before = (tmp_path / "certificate.key").read_bytes()
    assert "certificate.key exists already" in sentence(run("keys", "certificate"))
    assert (tmp_path / "certificate.key").read_bytes() == before
    assert "fits no certificate" in sentence(run("keys", "certificate", "-o", "other.pem", "--name", "x" * 65))


def test_without_the_extra_a_sentence_says_how_to_get_it(run, sentence, certificate, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert "pip install 'wmark[c2pa]'" in sentence(run(*EMBED, "-o", "out.png", *certificate))
