"""Exit codes: whatever goes wrong unexpectedly neither says "found" nor "not found", and shows no traceback unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def fail_with(error):
    def load(path):
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("first line\nsecond line"), "RuntimeError: first line"),
        (RuntimeError("\x1b[31mred"), "\\x1b[31mred"),
        (RecursionError(), "RecursionError"),
        (ValueError("no"), "ValueError: no"),
        (MemoryError(), "memory"),
        (OSError(28, "No space left on device"), "no space left on device"),
    ],
)
def test_what_nobody_foresaw_is_70_and_one_sentence(run, sentence, monkeypatch, error, expected):
    monkeypatch.setattr("wmark.watermark.keyring.Keyring.load", fail_with(error))
    line = sentence(run("keys", "list"), code=70)
    assert expected in line
    assert "second" not in line


@pytest.mark.parametrize("how", [{"args": ["--debug"]}, {"env": {"WMARK_DEBUG": "1"}}])
def test_debug_shows_where(run, monkeypatch, how):
    monkeypatch.setattr("wmark.watermark.keyring.Keyring.load", fail_with(RuntimeError("oh")))
    result = run(*how.get("args", []), "keys", "list", env=how.get("env"))
    assert result.exit_code == 70
    assert "in load" in result.stderr and "RuntimeError: oh" in result.stderr


def test_debug_shows_no_secret(run, keyring, tmp_path):
    secret = json.loads(keyring.read_text())["secret"]
    bad = tmp_path / "bad.json"
    for damage in (lambda text: text[:-30], lambda text: text.replace('"two"', '"owt"'), lambda text: text + "x"):
        bad.touch(0o600)
        bad.write_text(damage(keyring.read_text()))
        result = run("--debug", "keys", "list", "--keyring", bad)
        assert result.exit_code == 2
        assert "Traceback" in result.stderr
        assert secret[:12] not in result.output


def test_files_that_cannot_be_used_are_2(run, sentence, monkeypatch):
    monkeypatch.setattr("wmark.watermark.keyring.Keyring.load", fail_with(PermissionError(13, "Denied", "a\nb")))
    assert "a\\nb cannot be read or written: denied" in sentence(run("keys", "list"))


def test_an_interrupt_is_130(run, monkeypatch):
    monkeypatch.setattr("wmark.watermark.keyring.Keyring.load", fail_with(KeyboardInterrupt()))
    result = run("keys", "list")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("args", [["nope"], ["--nope"], ["verify"], ["keys", "show"], ["verify", "--\x1b[31m"]])
def test_wrong_usage_is_2(run, args):
    result = run(*args)
    assert result.exit_code == 2
    assert "\x1b" not in result.output


@pytest.mark.parametrize("args", [[], ["keys"], ["bench"]])
def test_a_command_without_arguments_shows_its_help(run, args):
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: wmark") and "\nCommands:\n" in result.stderr


# The process: standard streams and interrupts


def shell(command, keyring, **options):
    """Run a line of bash in which "$@" is the command."""
    process = ["bash", "-c", command, "bash", sys.executable, "-m", "wmark"]
    environment = {**os.environ, "WMARK_KEYRING": str(keyring), **options}
    return subprocess.run(process, capture_output=True, env=environment, check=False, timeout=60)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ('"$@" keys list | true; exit ${PIPESTATUS[0]}', 141),
        ('"$@" --help | true; exit ${PIPESTATUS[0]}', 141),
        ('"$@" keys list >&-', 70),
        ('"$@" keys list >/dev/full', 70),
        ('"$@" keys list 2>&-', 0),
        ('"$@" keys list --keyring none 2>&-', 2),
        ('"$@" keys list --keyring none 2>&1 | true; exit ${PIPESTATUS[0]}', 2),
        ('"$@" verify - <&-', 2),
    ],
)
def test_standard_streams_that_are_closed_or_full(keyring, command, code):
    done = shell(command, keyring)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr and b"ignored" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_characters_that_the_terminal_lacks_are_escaped(keyring, tmp_path):
    done = shell(f'"$@" keys create --keyring {tmp_path}/画像.json', keyring, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert b"\\u753b" in done.stdout


INTERRUPTED_IMPORT = """
import contextlib
import signal
import sys

from wmark.__main__ import main

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == MODULE:
            with contextlib.suppress(BaseException):  # As a library may do that tries what it can import.
                signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupt())
main()
"""


@pytest.mark.parametrize("module", ["wmark.cli", "click", "wmark.commands.keys", "wmark.watermark.keyring"])
def test_an_interrupt_while_modules_are_imported_is_130(keyring, module):
    code = INTERRUPTED_IMPORT.replace("MODULE", repr(module))
    command = [sys.executable, "-c", code, "keys", "list", "--keyring", str(keyring)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
