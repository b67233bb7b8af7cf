"""What `embed` writes to the ledger, and what `verify` tells from it."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image
from pyarrow.parquet import read_table

from wmark.errors import LedgerError
from wmark.files import sha256
from wmark.ledger import Ledger, Row, Seals
from wmark.ledger.likeness import fingerprint
from wmark.watermark.keyring import Keyring

AT = ["--keyring", "ring.json"]
MADE = ["embed", "--prompt", "an orange sunset wallpaper", "--seed", "3", "--steps", "10", "-o", "sun.png", *AT]
QUICK = ["embed", "--prompt", "a blue sea wallpaper", "--steps", "1", *AT]


@pytest.fixture
def named(run):
    assert run("keys", "create", "--id", "a", *AT).exit_code == 0
    return run


def rows(run, *options):
    return [json.loads(line) for line in run("ledger", "find", "--json", *AT, *options).stdout.splitlines()]


def told(run, *options):
    return json.loads(run("verify", "sun.png", "--align", "off", "--json", *AT, *options).stdout)["ledger"]


def test_a_named_image_is_written_down_and_told_of(named, tmp_path):
    assert named(*MADE, "--keep", "prompt", "--keep", "thumbnail").exit_code == 0
    ledger = tmp_path / "ring.ledger.sqlite"
    assert ledger.stat().st_mode & 0o077 == 0
    (row,) = rows(named)
    assert (row["number"], row["issuer"], row["state"], row["genuine"]) == (0, "main", "registered", True)
    assert (row["model"], row["width"], row["prompt"]) == ("tiny", 512, "an orange sunset wallpaper")
    assert row["file_hash"] == sha256(tmp_path / "sun.png") and row["sampler"]["steps"] == 10
    known = told(named)
    assert (known["number"], known["transplant"]) == (0, False) and known["likeness"]["score"] > 0.99
    audited = named("audit", "sun.png", "-o", "run", "--align", "off", "--decoys", "2", *AT)
    assert audited.exit_code == 0, audited.output
    (found,) = read_table(next((tmp_path / "run/shards").glob("*.parquet"))).to_pylist()
    assert (found["identity_number"], found["transplant"]) == (0, False)
    assert json.loads(found["ledger_account"])["file_hash"] == row["file_hash"]
    of_pilot = [r for band in json.loads(found["spectrum"])["cells"] for r in band]
    assert len(of_pilot) == 20 and sum(of_pilot) / 20 > 0.05, of_pilot
    said = named("verify", "sun.png", "--align", "off", "--plot", "seen.png", *AT).stdout
    assert Image.open(tmp_path / "seen.png").width > 3000
    assert f"made {row['registered']} with tiny" in said
    ledger.unlink()
    assert told(named) is None


def test_another_picture_under_a_name_is_a_transplant(named, tmp_path):
    assert named(*MADE, "--no-ledger").exit_code == 0
    assert not list(tmp_path.glob("*.sqlite"))
    ring = Keyring.load(tmp_path / "ring.json")
    other = Image.radial_gradient("L").resize((512, 512)).rotate(45).convert("RGB")
    with Ledger(tmp_path / "ring.ledger.sqlite", Seals.of(ring.names()), create=True) as ledger:
        ledger.reserve(1, ring.names("main").issuers[0])
        ledger.register(Row(0, "main", "", "2030-01-01T08:00:00Z", "tiny", fingerprint=fingerprint(other)))
    assert told(named)["transplant"] is True
    assert (
        "TRANSPLANT: the ledger has another picture under this name"
        in named("verify", "sun.png", "--align", "off", *AT).stdout
    )


def test_what_was_finished_just_before_a_kill_is_written_down_later(named, tmp_path, monkeypatch):
    def killed(self, *rows):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "register", killed)
        assert named(*QUICK, "-o", "sea.jpg").exit_code != 0
    assert [row["state"] for row in rows(named)] == ["reserved"]
    again = named(*QUICK, "-o", "sea.jpg", "--skip-existing")
    assert again.exit_code == 0 and "every image exists" in again.stdout
    (row,) = rows(named)
    assert (row["state"], row["file_hash"]) == ("registered", sha256(tmp_path / "sea.jpg"))
    assert row["prompt_hash"] and row["model"] == "tiny"
    assert named(*QUICK, "-o", "sea.jpg", "--skip-existing").exit_code == 0
    assert rows(named) == [row]


def test_a_key_is_no_name_and_has_no_row(named, tmp_path):
    assert named(*QUICK, "-o", "sea.png", "--key", "a").exit_code == 0
    assert not list(tmp_path.glob("*.sqlite"))


def test_a_marked_picture_is_written_down(named, tmp_path):
    assert named(*MADE, "--no-ledger").exit_code == 0
    assert named("embed", "--image", "sun.png", "-o", "again.png", "--min-psnr", "28", *AT).exit_code == 0
    (row,) = rows(named, "--number", "1")
    assert row["file_hash"] == sha256(tmp_path / "again.png") and row["prompt_hash"] is None


def test_an_image_that_cannot_be_signed_is_written_down_as_it_is_kept(
    named, sentence, trial_certificate, tmp_path, monkeypatch
):
    pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")

    def full(table):
        raise LedgerError("the disk is full")

    certificate, key, _ = trial_certificate
    sign = ["--sign", certificate, "--key-file", key, "--domain", "example.com", "--manifests", "folder"]
    with monkeypatch.context() as patched:
        patched.setattr("wmark.ledger.manifests.insert", full)
        assert "sea-unsigned.png" in sentence(named(*QUICK, "-o", "sea.png", *sign))
    (row,) = rows(named)
    assert row["file_hash"] == sha256(tmp_path / "sea-unsigned.png")


def test_issuers_keep_their_own(named, tmp_path):
    assert named("keys", "issuer", "create", "studio", "-o", "studio.json", *AT).exit_code == 0
    assert named(*QUICK, "-o", "sea.png", "--issuer", "studio.json").exit_code == 0
    assert (tmp_path / "studio.ledger.sqlite").exists()
    assert named("ledger", "merge", "studio.ledger.sqlite", *AT).exit_code == 0
    (row,) = rows(named)
    assert (row["issuer"], row["state"], row["genuine"]) == ("studio", "registered", True)


def test_a_ledger_that_cannot_be_used_is_one_sentence(named, sentence, tmp_path):
    (tmp_path / "no.sqlite").write_bytes(b"nothing of the kind" * 100)
    (tmp_path / "no.sqlite").chmod(0o600)
    assert "damaged or no ledger" in sentence(named(*QUICK, "-o", "sea.png", "--ledger", "no.sqlite"))
    assert not (tmp_path / "sea.png").exists()
    assert "leave one out" in sentence(named(*QUICK, "-o", "sea.png", "--no-ledger", "--keep", "prompt"))
    Image.new("RGB", (512, 512)).save(tmp_path / "sun.png")
    shutil.copy(tmp_path / "no.sqlite", tmp_path / "ring.ledger.sqlite")
    looked = named("verify", "sun.png", "--align", "off", *AT)
    assert looked.exit_code == 1 and "nothing is told from it" in looked.stderr
    assert "does not exist" in sentence(named("verify", "sun.png", "--ledger", "gone.sqlite", *AT))


def test_a_stripped_manifest_is_found_again_in_the_ledger(named, sentence, trial_certificate, tmp_path):
    pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")
    certificate, key, _ = trial_certificate
    sign = ["--sign", certificate, "--key-file", key, "--domain", "example.com", "--manifests", "folder"]
    assert named(*MADE, *sign).exit_code == 0
    assert "no manifest was kept for the number 7" in sentence(named("ledger", "manifest", "7", *AT))
    Image.open(tmp_path / "sun.png").save(tmp_path / "bare.png")
    told = named("verify", "bare.png", "--align", "off", "--json", "--manifests", "elsewhere", *AT)
    assert json.loads(told.stdout)["manifest"]["state"] == "stripped"
    audited = named("audit", "bare.png", "-o", "run", "--align", "off", "--decoys", "0", *AT)
    assert audited.exit_code == 0, audited.output
    assert read_table(next((tmp_path / "run/shards").glob("*.parquet")))["manifest"].to_pylist() == ["stripped"]
    shown = named("ledger", "manifest", "0", "-o", "sun.c2pa", *AT)
    assert json.loads(shown.stdout)["state"] == "valid"
    assert (tmp_path / "sun.c2pa").read_bytes() in (tmp_path / "sun.png").read_bytes()
    assert named("ledger", "merge", "ring.ledger.sqlite", "--ledger", "other.sqlite", *AT).exit_code == 0
    assert named("ledger", "manifest", "0", "--ledger", "other.sqlite", *AT).stdout == shown.stdout
