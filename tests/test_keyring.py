from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wmark.errors import KeyringError
from wmark.watermark.keyring import Keyring, default_path
from wmark.watermark.keys import Key
from wmark.watermark.patterns import Pattern

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")


@pytest.fixture
def ring() -> Keyring:
    ring = Keyring.create(Pattern.of("ring"))
    ring.add("first", note='one "note"\nof two lines, ü')
    ring.add("second", Pattern.of())
    ring.revoke("second")
    return ring


@pytest.fixture
def stored(ring: Keyring, tmp_path: Path) -> Path:
    path = tmp_path / "keyring.json"
    ring.save(path)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which a keyring file is refused."""
    with pytest.raises(KeyringError) as refused:
        Keyring.load(path)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


def secrets_of(path: Path) -> list[str]:
    text = json.loads(path.read_text())["secret"]
    secret = base64.b64decode(text)
    return [text, secret.hex(), repr(secret), str(list(secret))]


def test_keys_are_those_of_the_secret_and_the_id(ring: Keyring, stored: Path):
    secret = base64.b64decode(json.loads(stored.read_text())["secret"])
    assert ring.key("first").secret == Key.derive(secret, "first", Pattern.of("ring")).secret
    assert ring.key("first").pattern == Pattern.of("ring")
    assert ring.key("second", allow_revoked=True).pattern == Pattern.of()


def test_loading_gives_back_everything(ring: Keyring, stored: Path):
    loaded = Keyring.load(stored)
    assert loaded.entries == ring.entries
    assert loaded.fingerprint == ring.fingerprint
    assert loaded.pattern == ring.pattern
    assert np.array_equal(loaded.key("first").direction, ring.key("first").direction)


KEPT = {  # As every version wrote it.
    "schema": "wmark-keyring/1",
    "fingerprint": "b7b00b2450825cfd",
    "pattern": {"kind": "disc", "radius": 16, "channels": [0, 1, 2, 3], "strength": 0.5},
    "secret": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "keys": [
        {
            "id": kind,
            "pattern": {"kind": kind, "radius": radius, "channels": channels, "strength": strength},
            "created": "2026-01-02T03:04:05Z",
            "note": "ü",
            "revoked": None,
        }
        for kind, radius, channels, strength in [
            ("disc", 16, [0, 1, 2, 3], 0.5), ("ring", 10, [3], 1.0), ("rand", 10, [3], 1.0),
            ("const", 10, [3], 1.0), ("zeros", 10, [3], 1.0),
        ]
    ]
    + [
        {
            "id": "own",
            "pattern": {"kind": "rand", "radius": 7, "channels": [2, 0], "strength": 0.25},
            "created": "2026-01-02T03:04:05Z",
            "note": "",
            "revoked": "2026-02-02T03:04:05Z",
        }
    ],
    "integrity": "6609207e86edc4804f2a772b31901d3a9eea69d79ffde538c0d5a841262c9ab2",
}  # fmt: skip


def test_a_keyring_of_every_version_is_read_and_written_back_as_it_was(tmp_path: Path):
    path = tmp_path / "keyring.json"
    path.write_text(json.dumps(KEPT, indent=1) + "\n")
    path.chmod(0o600)
    before = path.read_bytes()
    with Keyring.edit(path) as ring:
        assert [key.id for key in ring.active()] == ["disc", "ring", "rand", "const", "zeros"]
    assert path.read_bytes() == before


def test_keys_know_their_keyring_and_their_revocation(ring: Keyring):
    revoked = ring.key("second", allow_revoked=True)
    assert (revoked.keyring, revoked.revoked) == (ring.fingerprint, ring.entry("second").revoked)
    assert {(key.keyring, key.revoked) for key in ring.active()} == {(ring.fingerprint, None)}


def test_ids_are_unique_and_random_by_default(ring: Keyring):
    key = ring.add()
    assert len(key.id) == 8 and int(key.id, 16) >= 0
    with pytest.raises(KeyringError, match="'first' is already"):
        ring.add("first")
    for wrong in ("", "a b", "-a", "a\n", "\udcff", "a" * 65):
        with pytest.raises(KeyringError):
            ring.add(wrong)
    assert len(ring) == 3


def test_revoked_keys_stay_listed_and_are_had_only_on_request(ring: Keyring):
    revoked = ring.entries[1]
    assert (revoked.id, revoked.status) == ("second", "revoked")
    assert revoked.revoked.endswith("Z")
    assert [key.id for key in ring.active()] == ["first"]
    with pytest.raises(KeyringError, match="revoked at"):
        ring.key("second")
    assert ring.key("second", allow_revoked=True).id == "second"
    assert ring.revoke("second") == revoked
    for use in (ring.key, ring.revoke):
        with pytest.raises(KeyringError, match="no key 'third'"):
            use("third")


def test_fingerprint_names_the_secret_alone(ring: Keyring):
    before = ring.fingerprint
    ring.add("third")
    assert ring.fingerprint == before
    assert len(before) == 16 and int(before, 16) >= 0
    assert Keyring.create().fingerprint != before


def test_secret_is_never_shown(ring: Keyring, stored: Path):
    shown = [repr(ring), str(ring), repr(ring.entries), repr(ring.key("first")), repr(ring.active())]
    for call in (lambda: ring.add("first"), lambda: ring.key("none"), lambda: ring.key("second")):
        with pytest.raises(KeyringError) as refused:
            call()
        shown.append(repr(refused.value))
    hidden = secrets_of(stored)
    text = stored.read_text()
    for damaged in (text[:-10], text.replace("first", "other"), text.replace("wmark-keyring/1", "wmark-keyring/3")):
        stored.write_text(damaged)
        with pytest.raises(KeyringError) as refused:
            Keyring.load(stored)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None
        shown.append(repr(refused.value))
    assert not [secret for secret in hidden for line in shown if secret in line]


@pytest.mark.parametrize("tenth", range(10))
def test_truncated_file_is_refused(stored: Path, tenth: int):
    data = stored.read_bytes()
    stored.write_bytes(data[: len(data) * tenth // 10])
    assert "damaged or was edited" in refusal(stored)


def leaves(content, route=()):
    """Routes to every value that is not a list or an object."""
    if isinstance(content, dict | list):
        for step, inner in content.items() if isinstance(content, dict) else enumerate(content):
            yield from leaves(inner, (*route, step))
    else:
        yield route


def change(value):
    if isinstance(value, str):
        return ("B" if value[:1] == "A" else "A") + value[1:]
    return 7 if value is None else value + 1


def test_every_edited_field_is_refused(stored: Path):
    original = stored.read_text()
    routes = list(leaves(json.loads(original)))
    assert len(routes) > 20
    for *way, last in routes:
        content = json.loads(original)
        inner = content
        for step in way:
            inner = inner[step]
        value = inner[last]
        inner[last] = change(value)
        stored.write_text(json.dumps(content))
        refusal(stored)
        if isinstance(inner, dict):
            del inner[last]
            stored.write_text(json.dumps(content))
            refusal(stored)
    stored.write_text(original)
    Keyring.load(stored)


def test_removed_and_added_keys_are_refused(stored: Path):
    content = json.loads(stored.read_text())
    for keys in (content["keys"][:1], content["keys"] * 2, [], None, {}, "first"):
        stored.write_text(json.dumps({**content, "keys": keys}))
        assert "damaged" in refusal(stored)


@pytest.mark.parametrize("text", ["{}", "[]", "3", '"schema"', "null", '{"keys": []}'])
def test_other_json_is_refused(stored: Path, text: str):
    stored.write_text(text)
    assert "not a keyring of wmark" in refusal(stored)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 10_000, b"hello"])
def test_other_files_are_refused(stored: Path, data: bytes):
    stored.write_bytes(data)
    refusal(stored)


@posix
def test_what_is_no_file_of_a_keyrings_size_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in refusal(tmp_path / "pipe")
    assert "is a device" in refusal(Path("/dev/zero"))
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(20 << 30)
    assert "more than" in refusal(tmp_path / "sparse")


def test_a_path_is_shown_on_one_line(tmp_path: Path):
    with pytest.raises(KeyringError, match=r"a\\nfound"):
        Keyring.load(tmp_path / "a\nfound")


def test_unknown_version_is_refused_as_such(stored: Path):
    stored.write_text(stored.read_text().replace("wmark-keyring/1", "wmark-keyring/3"))
    assert "'wmark-keyring/3'" in refusal(stored)


def test_missing_file_and_folder_are_refused(tmp_path: Path):
    assert "does not exist" in refusal(tmp_path / "none.json")
    assert "cannot be read" in refusal(tmp_path)
    with pytest.raises(KeyringError, match="does not exist"), Keyring.edit(tmp_path / "none.json"):
        pytest.fail("there is nothing to edit")
    assert not list(tmp_path.iterdir())


@posix
def test_file_and_new_folders_are_for_the_owner_alone(ring: Keyring, tmp_path: Path):
    path = tmp_path / "new" / "folder" / "keyring.json"
    before = os.umask(0)
    try:
        with Keyring.edit(path, create=Pattern.of()) as new:
            new.add("mine")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, *path.parent.iterdir())]
    assert set(modes) == {0o600}
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path.parent, path.parent.parent)] == [0o700, 0o700]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_file_open_to_others_is_refused(stored: Path, mode: int):
    stored.chmod(mode)
    assert f"mode {mode:04o}" in refusal(stored)


def test_save_replaces_the_same_keyring_only(ring: Keyring, stored: Path):
    ring.add("third")
    ring.save(stored)
    assert len(Keyring.load(stored)) == 3
    before = stored.read_bytes()
    with pytest.raises(KeyringError, match="another keyring"):
        Keyring.create().save(stored)
    assert stored.read_bytes() == before
    stored.write_text("something else")
    with pytest.raises(KeyringError):
        ring.save(stored)
    assert stored.read_text() == "something else"


def test_failing_write_leaves_the_old_file(ring: Keyring, stored: Path, monkeypatch: pytest.MonkeyPatch):
    before = stored.read_bytes()
    ring.add("third")
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full_disk)
            with pytest.raises(KeyringError, match="cannot be written: no space left"):
                ring.save(stored)
        assert stored.read_bytes() == before
        assert list(stored.parent.iterdir()) == [stored]


def full_disk(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_nothing_is_saved_after_an_exception(stored: Path):
    before = stored.read_bytes()
    with pytest.raises(ZeroDivisionError), Keyring.edit(stored) as ring:
        ring.add("third")
        raise ZeroDivisionError
    assert stored.read_bytes() == before


@posix
def test_link_to_a_keyring_is_followed(stored: Path):
    link = stored.with_name("link.json")
    link.symlink_to(stored)
    with Keyring.edit(link) as ring:
        ring.add("third")
    assert link.is_symlink()
    assert len(Keyring.load(stored)) == 3


ADD_KEYS = """
import pathlib, sys, time
from wmark.watermark.keyring import Keyring
from wmark.watermark.patterns import Pattern
path, name = pathlib.Path(sys.argv[1]), sys.argv[2]
path.with_name(name).touch()
while len(list(path.parent.glob("writer*"))) < 2:
    time.sleep(0.001)
for index in range(10):
    with Keyring.edit(path, create=Pattern.of()) as ring:
        ring.add(f"{name}.{index}")
"""


@posix
def test_concurrent_edits_lose_nothing(tmp_path: Path):
    path = tmp_path / "keyring.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    names = ("writer1", "writer2")
    writers = [subprocess.Popen([sys.executable, "-c", ADD_KEYS, path, name], env=environment) for name in names]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert {entry.id for entry in Keyring.load(path).entries} == {f"{name}.{i}" for name in names for i in range(10)}


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WMARK_KEYRING", str(tmp_path / "mine.json"))
    assert default_path() == tmp_path / "mine.json"
    monkeypatch.setenv("WMARK_KEYRING", "")
    assert default_path().name == "keyring.json"


def test_a_keyrings_pilot_is_kept_as_a_strength_and_planted_beside_every_key_that_can_have_one(tmp_path: Path):
    ring = Keyring.create(Pattern.of("square"), pilot=0.3)
    key, ringed = ring.add("mine"), ring.add("old", Pattern.of("ring"))
    ring.save(path := tmp_path / "keyring.json")
    content = json.loads(path.read_text())
    assert content["pilot"] == 0.3
    assert [entry["id"] for entry in content["keys"]] == ["mine", "old"]
    loaded = Keyring.load(path)
    assert loaded.key("mine") == key
    assert loaded.key("mine").pilot == loaded.pilot() == ring.pilot()
    assert loaded.pilot().pattern.strength == 0.3
    assert loaded.key("old").pilot is None is ringed.pilot
    assert "pilot" not in repr(key)


def test_a_keyring_without_a_pilot_is_stored_as_ever(ring: Keyring, stored: Path):
    assert "pilot" not in json.loads(stored.read_text())
    assert ring.pilot() is None
    assert all(key.pilot is None for key in Keyring.load(stored).active())
