"""No secret leaves its file but by use: not in a repr, a copy, a pickle, or a traceback that shows local variables."""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wmark
from wmark.watermark.secret import Secret

KILLS = Path(__file__).parent / "kills.py"


@pytest.fixture
def stored(ring, tmp_path):
    path = tmp_path / "keyring.json"
    ring.save(path)
    return path


def forms(ring: wmark.Keyring) -> list[str]:
    """How the secrets of a keyring and of its first key could be told from a text."""
    key = ring.active()[0]
    shown = []
    for secret in (ring._secret.reveal(), key.secret.reveal()):
        shown += [base64.b64encode(secret).decode(), secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1]]
    return shown + [f"{value:.{digits}f}" for value in key.direction[:3] for digits in (7, 8)]


def hidden_in(ring: wmark.Keyring, text: str) -> bool:
    return not [form for form in forms(ring) if form in text]


def local_variables(error: BaseException) -> str:
    """What a traceback with local variables shows, down to the objects' own variables, but for the tests' frames."""
    lines = []
    while error is not None:
        lines.append(repr(error))
        trace = error.__traceback__
        while trace is not None:
            if "/tests/" not in trace.tb_frame.f_code.co_filename:
                for value in trace.tb_frame.f_locals.values():
                    with contextlib.suppress(AttributeError):  # What was not finished may not have a repr.
                        lines += [repr(getattr(value, "__dict__", "")), repr(value)]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def test_the_search_for_secrets_finds_them(ring):
    key = ring.active()[0]
    for value in (ring._secret.reveal(), key.secret.reveal(), [*key.secret.reveal()], np.asarray(key.direction)):
        assert not hidden_in(ring, repr({"value": value}))


def test_looking_at_keys_shows_no_secret(ring):
    key = ring.key("one")
    assert np.linalg.norm(key.direction) == pytest.approx(1)  # It is kept once computed, and must not show then.
    for value in (key, ring, ring.active(), vars(key), vars(ring), dataclasses.asdict(key), key.secret, ring.entries):
        assert hidden_in(ring, repr(value)), type(value)
    with pytest.raises(TypeError):
        json.dumps(vars(key))


def test_a_detector_keeps_what_it_computes_of_its_keys_to_itself(model, ring):
    detector = wmark.Detector(model, ring.active(), "fast", align="off")
    (group,) = detector.sought[0].groups
    assert len(group.directions) == len(group.planted) == 3  # Both are kept once computed, and must not show then.
    for value in (detector, group, vars(detector), getattr(group, "__dict__", {})):
        assert hidden_in(ring, repr(value)), type(value)
    with pytest.raises(TypeError, match=r"Keyring\.load"):
        pickle.dumps(group)


def test_keys_are_copied_and_not_pickled(ring):
    key = ring.key("one")
    assert copy.deepcopy(key) == copy.copy(key) == dataclasses.replace(key) == key
    assert key != dataclasses.replace(key, secret=b"x" * 32)
    for value in (key, ring, key.secret, [key], {"detector": (ring,)}):
        with pytest.raises(TypeError, match=r"Keyring\.load"):
            pickle.dumps(value)


def full_disk(*arguments):
    raise OSError(28, "No space left on device")


def test_errors_show_no_secret_among_their_variables(ring, stored, model, monkeypatch):
    key = ring.key("one")
    truncated, edited = stored.with_name("truncated"), stored.with_name("edited")
    truncated.write_text(stored.read_text()[:-9])
    edited.write_text(stored.read_text().replace('"two"', '"own"'))
    for path in (truncated, edited):
        path.chmod(0o600)

    def fail(*arguments):
        raise RuntimeError("out of memory")

    def failing_edit():
        with wmark.Keyring.edit(stored) as edited:
            edited.add("one")

    def full_edit():
        with monkeypatch.context() as patch, wmark.Keyring.edit(stored) as edited:
            edited.add("four")
            patch.setattr(os, "fsync", full_disk)

    raised = []
    for call in (
        lambda: wmark.Keyring.load(truncated),
        lambda: wmark.Keyring.load(edited),
        lambda: wmark.Keyring(ring._secret.reveal()[:31], key.pattern),
        lambda: wmark.Key("no id", key.pattern, key.secret.reveal()),
        lambda: wmark.Key.derive(ring._secret.reveal(), "no id", key.pattern),
        lambda: ring.add("one"),
        lambda: ring.add("no id"),
        lambda: wmark.initial_noise(key, shape=(4, 2, 2)),
        lambda: list(wmark.embed(model, key, ["a"], callback=fail)),
        lambda: wmark.Keyring.create().save(stored),
        lambda: pickle.dumps(key),
        failing_edit,
        full_edit,
    ):
        with pytest.raises((wmark.WmarkError, RuntimeError, TypeError)) as caught:
            call()
        raised.append(caught.value)
        assert hidden_in(ring, local_variables(caught.value)), repr(caught.value)
    assert any("no space left" in str(error) for error in raised)


def test_a_direction_that_is_interrupted_shows_nothing_it_is_made_of(ring, monkeypatch):
    def fail(numbers):
        raise KeyboardInterrupt

    monkeypatch.setattr("scipy.special.ndtri", fail)
    with pytest.raises(KeyboardInterrupt) as caught:
        print(wmark.Key.derive(ring._secret, "new", wmark.Pattern.of()).direction)
    shown = local_variables(caught.value)
    assert len(shown) < 5000, "the stream that the direction is made of"


def test_a_secret_is_of_one_length():
    with pytest.raises(wmark.KeyringError, match="32 bytes, not 31"):
        Secret(b"x" * 31)


@pytest.mark.parametrize("value", [32, [7] * 32, "x" * 32, None])
def test_what_is_not_bytes_is_no_secret(value):
    """`bytes(32)` are zeros, which everybody knows."""
    with pytest.raises(wmark.KeyringError, match="32 bytes"):
        wmark.Keyring(value, wmark.Pattern.of())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_edits_lose_nothing_and_leave_no_secret_behind(tmp_path):
    done = subprocess.run(
        [sys.executable, KILLS, "keyring", "--kills", "25", "--folder", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Between the naming of a whole file and its move into place lie some microseconds.
    assert json.loads(done.stdout)["left behind"] <= 2
