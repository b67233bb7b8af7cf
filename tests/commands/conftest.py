"""The command line as a user meets it: exit codes, one sentence for each thing that is wrong, and nothing lost."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from wmark.cli import main


@pytest.fixture(scope="session")
def keyring(ring, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keyring.json"
    ring.save(path)
    return path


@pytest.fixture
def run(keyring, tmp_path, monkeypatch):
    """Run a command line in an empty folder, with a keyring of three keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WMARK_KEYRING", str(keyring))
    return lambda *args, **options: CliRunner().invoke(main, [str(arg) for arg in args], **options)


@pytest.fixture
def sentence():
    """From a result to the one line on standard error, with the expected exit code and no traceback."""

    def only_line(result, code=2):
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        (line,) = [
            line for line in result.stderr.strip().splitlines() if line and not line.startswith(("Usage", "Try"))
        ]
        assert "Traceback" not in line
        return line

    return only_line
