"""The command line as a user meets it: exit codes, one sentence for each thing that is wrong, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from click.testing import CliRunner

from wmark.cli import main
from wmark.models import registry

load_once = cache(registry.load_model)


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
    monkeypatch.setattr(registry, "load_model", load_once)
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


@pytest.fixture
def judged_by_colour(monkeypatch, model):
    """White images are marked with the key `one`, others are not, and the answer comes at once."""
    from wmark.detectors.alignment import IDENTITY
    from wmark.detectors.detector import Detector
    from wmark.detectors.verdict import Verdict

    def judge(self, images):
        return [
            Verdict(
                found=bool(image.float().mean() > 250),
                key_id="one",
                key_revoked=None,
                log10_p=-30.4321 if image.float().mean() > 250 else -2.4321,
                cosine=0.123456,
                alignment=IDENTITY,
                canvas=(64, 64),
                size=(64, 64),
                look="fast/identity",
                keys_tested=3,
                alignments_tested=1,
                looks_allowed=1,
                fpr=self.fpr,
                seconds=0.0,
                basis=replace(self.basis, keyring=self.keys[0].keyring),
            )
            for image in images
        ]

    monkeypatch.setattr(Detector, "judge", judge)
