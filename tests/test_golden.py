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
    """To 1e-6 in log10 p on a machine like the one that they were made on.

    On others the last digits differ, by the processor's instructions and by how work is split among threads; what is
    recovered from a flat image is nothing but last digits.
    """
    kept = json.loads((GOLDEN / "verdicts.json").read_text())
    exactly = kept["machine"] == golden.machine()
    found = golden.verdicts()
    assert {reading: set(by_image) for reading, by_image in found.items()} == {
        reading: set(by_image) for reading, by_image in kept["verdicts"].items()
    }
    for reading, by_image in kept["verdicts"].items():
        for image, (was_found, key, log10_p, cosine, look) in by_image.items():
            now = found[reading][image]
            where = f"{image}, {reading}: {now}"
            assert now[0] == was_found, where
            if was_found or exactly:
                assert now[2:4] == pytest.approx([log10_p, cosine], rel=0, abs=1e-6 if exactly else 0.05), where
                assert (now[1], now[4]) == (key, look), where
