"""Manifests: what is written holds by another reader, what is read is told from what is claimed."""

from __future__ import annotations

import json
import pickle
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import wmark
from wmark.errors import ProvenanceError
from wmark.images import encode_image
from wmark.provenance import (
    ManifestFolder,
    Report,
    Signer,
    algorithm,
    compare,
    public_name,
    read_kept,
    read_manifest,
)
from wmark.provenance.credentials import load_credentials
from wmark.provenance.manifest import binding_of

from .records import MARK, RECORD

pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")

SUFFIXES = (".png", ".jpg", ".webp")


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def files(trial_certificate):
    return trial_certificate


@pytest.fixture(scope="module")
def signer(files):
    return Signer(files[0], files[1], domain="example.com")


def signed(signer, picture, path, record=RECORD):
    path.write_bytes(signer.sign(encode_image(picture, path.suffix), path.suffix, record).data)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_manifest_agrees_with_the_mark_it_names_and_no_other(signer, picture, files, tmp_path, suffix):
    path = signed(signer, picture, tmp_path / f"picture{suffix}")
    report = read_manifest(path, files[2].read_text())
    assert (report.state, report.signer, report.trusted) == ("valid", "Example studio", True)
    assert compare(report, MARK).state == "agrees"
    assert compare(report, "fedcba9876543210/key/two").state == "differs"
    assert compare(report, None).state == "valid"
    assert not read_manifest(path).trusted
    assert "whom no trusted authority vouches for" in compare(read_manifest(path), MARK).words


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_change_of_the_pixels_or_of_the_manifest_is_seen(signer, picture, tmp_path, suffix):
    path = signed(signer, picture, tmp_path / f"picture{suffix}")
    data = path.read_bytes()
    for at in (len(data) - 30, data.index(MARK.encode())):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        report = read_manifest(path)
        assert (report.state, report.trusted) == ("invalid", False)
        assert "changed after it was signed" in report.reason


def test_files_without_a_manifest_or_with_half_of_one(signer, picture, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encode_image(picture, ".png"))
    assert read_manifest(path) == Report("none")
    path.write_bytes(path.read_bytes() + b"jumb c2pa")
    assert read_manifest(path).state in ("none", "unread")
    path.write_bytes(signed(signer, picture, path).read_bytes()[:3000])
    assert read_manifest(path).state == "unread"
    assert read_manifest(tmp_path / "missing.png").state == "unread"


def test_a_stripped_manifest_is_found_again_by_the_mark(files, picture, tmp_path):
    store, anchors = ManifestFolder(tmp_path / "kept"), files[2].read_text()
    keeping = Signer(files[0], files[1], domain="example.com", store=store)
    assert not store.folder.exists()  # The trial is not kept.
    path = signed(keeping, picture, tmp_path / "picture.png")
    ours = read_manifest(path).id
    Image.open(path).save(path.with_suffix(".jpg"), quality=50)

    account = compare(read_manifest(path.with_suffix(".jpg")), MARK, store, anchors)
    assert (account.state, account.report.id, account.report.trusted, account.kept) == ("stripped", ours, True, 1)
    for mark in (None, "fedcba9876543210/key/two"):
        assert compare(Report("none"), mark, store).state == "none"

    signed(keeping, picture.rotate(180), path)
    account = compare(Report("none"), MARK, store)
    assert (account.state, account.report.id, account.kept) == ("stripped", None, 2)


def test_a_kept_copy_that_was_swapped_or_broken_is_not_believed(files, picture, tmp_path):
    store = ManifestFolder(tmp_path / "kept")
    keeping = Signer(files[0], files[1], domain="example.com", store=store)
    signed(keeping, picture, tmp_path / "picture.png")
    (kept,) = store.manifests_of(MARK)
    assert read_kept(kept).state == "valid"
    store.store("fedcba9876543210/key/two", kept)
    account = compare(Report("none"), "fedcba9876543210/key/two", store)
    assert (account.state, account.report.reason) == ("none", "the copy that was kept names another mark")
    for damaged in (kept.replace(b"/one", b"/two"), kept[:-100], b"nothing"):
        store = ManifestFolder(tmp_path / str(len(damaged)))
        store.store(MARK, damaged)
        assert compare(Report("none"), MARK, store).state == "none"


def test_a_picture_that_was_there_before_keeps_the_manifest_it_came_with(signer, picture, tmp_path):
    import c2pa

    path = signed(signer, picture, tmp_path / "before.jpg")
    before = read_manifest(path)
    record = {**RECORD, "key_id": "two", "source": {"name": "before.jpg", "sha256": "0" * 64}}
    data = encode_image(picture, ".png")
    path.with_suffix(".png").write_bytes(signer.opening(path.read_bytes()).sign(data, ".png", record).data)
    report = read_manifest(path.with_suffix(".png"))
    assert (report.state, compare(report, "fedcba9876543210/key/two").state) == ("valid", "agrees")
    assert compare(report, MARK).state == "differs"
    with c2pa.Reader(path.with_suffix(".png")) as reader:
        content = json.loads(reader.json())
    assert content["manifests"].keys() == {before.id, report.id}
    assertions = content["manifests"][report.id]["assertions"]
    (actions,) = [each["data"]["actions"] for each in assertions if each["label"].startswith("c2pa.actions")]
    assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.watermarked.bound"]


def test_a_manifest_that_names_no_mark_leaves_nothing_to_compare(files, picture, tmp_path, monkeypatch):
    from wmark.provenance import manifest, signing

    def unbound(record, domain):
        whole = manifest.definition(record, domain)
        actions, _ = whole["assertions"]
        actions["data"]["actions"] = actions["data"]["actions"][:1]
        return {**whole, "assertions": [actions]}

    monkeypatch.setattr(signing, "definition", unbound)
    path = signed(Signer(files[0], files[1], domain="example.com"), picture, tmp_path / "picture.png")
    account = compare(read_manifest(path), MARK)
    assert (account.state, account.binding) == ("valid", None)
    assert "names no mark" in account.words


def test_the_key_is_shown_by_nothing(signer, files):
    lines = files[1].read_text().splitlines()[1:-1]
    credentials = load_credentials(files[0], files[1])
    shown = repr(signer) + repr(vars(signer)) + repr(credentials) + repr(vars(credentials))
    assert not [line for line in lines if line in shown]
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


def test_the_key_is_in_no_traceback_with_local_variables(signer, files, picture, monkeypatch):
    import c2pa

    def fail(*args, **options):
        raise c2pa.C2paError("no reason")

    lines = files[1].read_text().splitlines()[1:-1]
    monkeypatch.setattr(c2pa.Builder, "_sign_internal", fail)
    with pytest.raises(ProvenanceError, match="no reason") as caught:
        signer.sign(encode_image(picture, ".png"), ".png", RECORD)
    error, shown = caught.value, ""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if "/tests/" not in trace.tb_frame.f_code.co_filename:
                shown += "".join(map(repr, trace.tb_frame.f_locals.values()))
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    assert shown
    assert not [line for line in lines if line in shown]


def test_a_certificate_that_runs_out_signs_no_more(signer, picture, monkeypatch):
    later = datetime.now(timezone.utc) + timedelta(days=4)
    with pytest.raises(ProvenanceError, match=r"expired on .*: have it renewed"):
        signer.credentials.check_time(later)
    with pytest.raises(ProvenanceError, match="is valid from"):
        signer.credentials.check_time(later - timedelta(days=5))


@pytest.mark.parametrize("kind", ["es384", "es512", "ps256", "ed25519"])
def test_every_kind_of_key_that_the_specification_allows_signs(picture, tmp_path, monkeypatch, kind):
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from wmark.provenance import authority

    above = ec.generate_private_key(ec.SECP256R1())
    own = {
        "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
        "ps256": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    paths = write_pair(tmp_path, [authority.certificate("Example", own, above, 1)], own)
    signer = Signer(*paths, domain="example.com")
    assert signer.credentials.alg == kind
    assert read_manifest(signed(signer, picture, tmp_path / "picture.png")).state == "valid"


def write_pair(folder, certificates, key):
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain, private = folder / "c.pem", folder / "c.key"
    chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    return chain, private


def test_names_of_the_algorithm_begin_with_a_domain():
    assert algorithm("Studio.Example.COM") == "com.example.studio.wmark.1"
    for wrong in ("", "example", "-a.com", "example.com/x", "exa mple.com", "example.1"):
        with pytest.raises(ProvenanceError, match="is no internet domain"):
            algorithm(wrong)


def test_a_mark_says_the_same_by_its_record_and_by_its_verdict():
    named = {**RECORD, "number": 17, "issuer": "studio"}
    del named["key_id"]
    for record, value in ((RECORD, MARK), (named, "fedcba9876543210/image/17")):
        assert binding_of(record, "example.com").value == value
    assert public_name("fedcba9876543210", key_id="one") == MARK
    assert public_name("fedcba9876543210", number=17) == "fedcba9876543210/image/17"
    assert public_name(None, key_id="one") == "/key/one"


def test_what_a_mark_says_in_public_is_its_name_or_its_key_and_no_less():
    from types import SimpleNamespace as Value

    from wmark.detectors.verdict import Verdict
    from wmark.watermark.layout import Identity

    named = Value(identity=Value(found=True), named=Identity(17, "studio", "ab"))
    addressed = Value(identity=Value(found=False), named=named.named)
    basis = Value(keyring="ab")
    for found, key_id, names, expected in (
        (True, "one", None, "ab/key/one"),
        (True, None, named, "ab/image/17"),
        (True, None, addressed, None),
        (False, None, named, None),
        (False, "one", None, None),
    ):
        verdict = Value(found=found, key_id=key_id, names=names, basis=basis)
        verdict.name = Verdict.name.fget(verdict)
        assert Verdict.mark.fget(verdict) == expected


def test_a_folder_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProvenanceError, match="cannot be kept"):
        ManifestFolder(tmp_path / "file").store(MARK, b"x")


def test_accounts_are_json():
    assert json.loads(json.dumps(compare(Report("none"), None).to_json()))["state"] == "none"


def test_the_draft_for_the_public_list_names_this_algorithm():
    entry = json.loads((Path(wmark.__file__).parent / "docs/soft-binding-entry.json").read_text(encoding="utf-8"))
    assert entry["alg"] == algorithm("example.com")
    assert re.fullmatch(r"[A-Za-z]{2,63}(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+", entry["alg"])
    assert (entry["type"], entry["decodedMediaTypes"]) == ("watermark", ["image"])
    assert set(entry["entryMetadata"]) >= {"description", "dateEntered", "contact", "informationalUrl"}
    assert isinstance(entry["identifier"], int)


def test_models_are_named_without_the_folders_they_lie_in():
    from wmark.provenance.manifest import definition

    for name, public in (
        ("tiny", "tiny"),
        ("stabilityai/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"),
        ("/home/alice/models/mine", "mine"),
        ("../models/mine", "mine"),
    ):
        record = {**RECORD, "model": {"name": name, "fingerprint": "0"}}
        action = definition(record, "example.com")["assertions"][0]["data"]["actions"][0]
        assert action["parameters"]["com.example.wmark.1.model"]["name"] == public
        assert "alice" not in json.dumps(action)
