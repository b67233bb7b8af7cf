"""The benchmarks of names, at the smallest size: what they print is what was measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from wmark.benchmarks import identities, impostors
from wmark.cli import main


def test_names_are_told_as_faint_as_a_key_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "EVIDENCE", (3, 20))
    monkeypatch.setattr(identities, "ISSUED", {"few": 10**6})
    ran = CliRunner().invoke(main, ["bench", "identities", "-n", "0", "--trials", "3", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "identities.json").read_text())
    faint, clear = result["reach"]
    assert (faint["told"], clear["told"]) == (0, 1)
    assert faint["wrong"] == clear["wrong"] == 0
    assert clear["identity"] < -10 < faint["identity"]
    (cost,) = result["cost"]
    assert cost["megabytes"] < 200
    assert "first image, seconds" in ran.stdout


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    out = tmp_path_factory.mktemp("impostors")
    return impostors.run(images=60, fpr=1e-6, seed=0, out=out)["results"]


def outcomes(rows, attack, against="names"):
    return {row["images"]: row["outcome"] for row in rows if (row["attack"], row["against"]) == (attack, against)}


def test_no_name_is_forged_but_by_copying_its_image(attacked):
    forged = [row for row in attacked if row["outcome"].isupper() or "ANOTHER" in row["outcome"]]
    assert {row["against"] for row in forged} == {"one key on all", "Hadamard codebook"}
    assert outcomes(attacked, "copied") == {1: "identity of an image he holds"}
    assert outcomes(attacked, "mean planted")[50] == "presence"
    assert outcomes(attacked, "stolen issuer", "names of another issuer") == {0: "series"}


def test_taking_out_what_images_share_leaves_the_name(attacked):
    assert set(outcomes(attacked, "mean taken out past zero").values()) == {"identity kept"}
    assert outcomes(attacked, "the same, number given") == {60: "identity kept"}


def test_public_algebra_falls_to_one_image(attacked):
    assert outcomes(attacked, "demodulated, mean planted", "Hadamard codebook")[1] == "IDENTITY OF ANOTHER IMAGE"
