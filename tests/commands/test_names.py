"""Names from the shell: made, planted, told, and decoys beside them."""

from __future__ import annotations

import json

import pytest

AT = ["--keyring", "ring.json"]
PROMPT = ["--prompt", "an orange and purple sunset wallpaper", "--seed", "3", "--steps", "10"]


@pytest.fixture
def named(run, tmp_path):
    assert run("keys", "create", "--id", "a", *AT).exit_code == 0
    return run


def test_a_new_keyring_has_names_and_an_old_one_gets_some(named, sentence, tmp_path):
    assert json.loads((tmp_path / "ring.json").read_text())["schema"] == "wmark-keyring/2"
    assert "has names already" in sentence(named("keys", "names", *AT))
    assert named("keys", "create", "--id", "b", "--no-names", "--keyring", "old.json").exit_code == 0
    assert json.loads((tmp_path / "old.json").read_text())["schema"] == "wmark-keyring/1"
    assert "no names: add them" in sentence(
        named("keys", "issuer", "create", "x", "-o", "x.json", "--keyring", "old.json")
    )
    assert named("keys", "names", "--keyring", "old.json").exit_code == 0
    assert named("keys", "issuer", "create", "x", "-o", "x.json", "--keyring", "old.json").exit_code == 0


def test_issuers_have_numbers_of_their_own(named, sentence, tmp_path):
    assert named("keys", "issuer", "create", "studio", "-o", "studio.json", "--numbers", "5", *AT).exit_code == 0
    assert (tmp_path / "studio.json").stat().st_mode & 0o077 == 0
    assert "exists already" in sentence(named("keys", "issuer", "create", "other", "-o", "studio.json", *AT))
    assert "already in keyring" in sentence(named("keys", "issuer", "create", "studio", "-o", "new.json", *AT))
    assert named("keys", "issuer", "revoke", "studio", *AT).exit_code == 0
    listed = json.loads(named("keys", "list", "--json", *AT).stdout)["issuers"]
    assert [(one["name"], one["first"], one["count"], one["status"]) for one in listed] == [
        ("main", 0, 1 << 30, "active"), ("studio", 1 << 30, 5, "revoked")
    ]  # fmt: skip
    assert "issuer of the images 1073741824 to 1073741828" in named("keys", "list", *AT).stdout


def test_images_are_named_and_told_by_their_names(named, sentence, tmp_path):
    assert named("keys", "issuer", "create", "studio", "-o", "studio.json", "--numbers", "5", *AT).exit_code == 0
    assert "leave --key or --issuer out" in sentence(
        named("embed", *PROMPT, "-o", "x.png", "--key", "a", "--issuer", "studio.json", *AT)
    )
    made = named("embed", *PROMPT, "-o", "sun.png", "--count", "2", "--issuer", "studio.json", *AT)
    assert made.exit_code == 0
    record = json.loads((tmp_path / "sun-002.png.json").read_text())
    assert (record["number"], record["issuer"]) == ((1 << 30) + 1, "studio")
    assert "key_id" not in record
    told = named("verify", "sun-001.png", "--align", "off", "--decoys", "3", *AT)
    assert told.exit_code == 0
    assert f"image {1 << 30} of studio  (presence " in told.stdout
    assert "3 tests of keyrings that exist nowhere" in told.stderr
    assert "0 with p <= 1e-06" in told.stderr
    verdict = json.loads(named("verify", "sun-002.png", "--align", "off", "--json", *AT).stdout)
    assert (verdict["found"], verdict["key_id"]) == (True, None)
    assert verdict["names"]["identity"]["number"] == record["number"]
    assert verdict["names"]["identity"]["issuer"] == "studio"
    assert verdict["names"]["presence"]["found"]
    assert verdict["names"]["series"]["number"] == record["number"]
    assert "is no issuer's" in sentence(named("verify", "sun-001.png", "--number", str(1 << 39), *AT))
    assert named("keys", "create", "--id", "b", "--keyring", "stranger.json").exit_code == 0
    unknown = named("verify", "sun-001.png", "--align", "off", "--json", "--keyring", "stranger.json")
    assert unknown.exit_code == 1
    verdict = json.loads(unknown.stdout)
    assert verdict["names"]["identity"]["number"] is None
    assert isinstance(verdict["names"]["presence"]["log10_p"], int)


def test_without_a_counter_nothing_is_named(named, sentence, tmp_path):
    (tmp_path / "ring.json.numbers").unlink()
    assert "is missing: restore it" in sentence(named("embed", *PROMPT, "-o", "x.png", *AT))
