"""What the detector finds stays the same to the last digit while the code around it changes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def golden(user_folders):
    spec = importlib.util.spec_from_file_location("golden", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_verdicts_are_those_of_before(golden):
    kept = json.loads((GOLDEN / "verdicts.json").read_text())
    # The last digits depend on the processor's instructions and on how the work is split among threads.
    exactly = kept["machine"] == golden.machine()
    found = golden.verdicts()
    assert {reading: set(by_image) for reading, by_image in found.items()} == {
        reading: set(by_image) for reading, by_image in kept["verdicts"].items()
    }
    for reading, by_image in kept["verdicts"].items():
        for image, (was_found, key, log10_p, cosine, look) in by_image.items():
            now = found[reading][image]
            where = f"{image}, {reading}: {now}"
            assert now[2] == pytest.approx(log10_p, rel=0, abs=1e-6 if exactly else 0.05), where
            assert now[3] == pytest.approx(cosine, rel=0, abs=1e-6 if exactly else 1e-3), where
            assert (now[0], now[4]) == (was_found, look), where
            assert now[1] == key or not was_found, where
