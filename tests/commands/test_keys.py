"""`wmark keys`: from creation to revocation, and no secret on the way."""

from __future__ import annotations

import json

import pytest


def test_life_of_a_key(run, sentence, tmp_path):
    at = ["--keyring", "ring.json"]
    assert run("keys", "create", "--id", "a", "--note", "first", *at).exit_code == 0
    assert run("keys", "create", "--id", "b", "--pattern", "ring", "--channels", "0,1", *at).exit_code == 0
    assert (tmp_path / "ring.json").stat().st_mode & 0o077 == 0
    shown = json.loads(run("keys", "show", "b", *at).stdout)
    assert (shown["dimension"], shown["status"]) == (20, "active")
    assert run("keys", "revoke", "a", *at).exit_code == 0
    listed = json.loads(run("keys", "list", "--json", *at).stdout)["keys"]
    assert [(key["id"], key["status"]) for key in listed] == [("a", "revoked"), ("b", "active")]
    assert "revoked" in sentence(run("embed", "--prompt", "x", "-o", "x.png", "--key", "a", *at))
    assert "already" in sentence(run("keys", "create", "--id", "a", *at))
    secret = json.loads((tmp_path / "ring.json").read_text())["secret"]
    assert secret not in run("keys", "list", *at).output + json.dumps(shown)


@pytest.mark.parametrize("options", [["--channels", "a"], ["--strength", "2"], ["--id", "a b"], ["--radius", "0"]])
def test_bad_keys_are_refused(run, tmp_path, options):
    assert run("keys", "create", "--keyring", "ring.json", *options).exit_code == 2
    assert not (tmp_path / "ring.json").exists()


def test_notes_forge_no_lines(run, tmp_path):
    at = ["--keyring", "ring.json"]
    run("keys", "create", "--id", "a", "--note", "x\nb  active\x1b[31m \udce9", *at)
    listed = run("keys", "list", *at)
    assert listed.stdout.splitlines()[1].endswith("x\\nb  active\\x1b[31m \\xe9")
    assert len(listed.stdout.splitlines()) == 3  # The file, the key, the issuer of its names.
    note = json.loads(run("keys", "list", "--json", *at).stdout)["keys"][0]["note"]
    assert note == "x\nb  active\x1b[31m \\xe9"


def test_a_new_keyring_has_the_pilot_that_was_asked_for_and_keeps_it(run, sentence, tmp_path):
    at = ["--pattern", "square", "--keyring", "ring.json"]
    assert run("keys", "create", "--id", "a", "--strength", "0.4", "--pilot", "0.3", *at).exit_code == 0
    assert run("keys", "create", "--id", "b", "--pilot", "0.3", *at).exit_code == 0
    assert json.loads((tmp_path / "ring.json").read_text())["pilot"] == 0.3
    assert "a pilot of strength 0.3, which stays" in sentence(run("keys", "create", "--pilot", "0.2", *at))
    too_much = ["--strength", "0.9", "--pilot", "0.6", "--pattern", "square", "--keyring", "other.json"]
    assert "more than the noise holds" in sentence(run("keys", "create", *too_much))
    assert not (tmp_path / "other.json").exists()
    named = [
        entry["id"] for entry in json.loads(run("keys", "list", "--json", "--keyring", "ring.json").stdout)["keys"]
    ]
    assert named == ["a", "b"]
