"""What somebody forges and removes who holds a marked picture and a model: each attack does something, and is seen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from wmark import WmarkError
from wmark.attacks.oracle import boundary, walk
from wmark.benchmarks.attackers import find_attacks
from wmark.benchmarks.attackers_made import ATTACKS
from wmark.cli import main
from wmark.models import registry
from wmark.models.sampling import Sampling


@pytest.fixture(scope="module")
def small(model):
    """The embedded model at 192x192, sampled in few steps."""
    return replace(model, native_size=(192, 192), usual=Sampling(10))


@pytest.fixture(scope="module")
def attacked(small, tmp_path_factory):
    """From a row's field values to the rows of a run at the smallest size, which another model takes part in."""
    out, patch = tmp_path_factory.mktemp("attackers"), pytest.MonkeyPatch()
    other = replace(small, name="other", fingerprint="0" * 16)
    patch.setattr(registry, "load_model", lambda name, **options: other if name == "other" else small)
    counts = {
        "n": 1,
        "-prompts": 1,
        "-psnr": 25,
        "-iterations": 8,
        "-inversion-steps": 1,
        "-queries": 3,
        "-another": "other",
    }
    options = [word for name, value in counts.items() for word in (f"-{name}", str(value))]
    ran = CliRunner().invoke(main, ["bench", "attackers", *options, "--out", str(out)], catch_exceptions=False)
    patch.undo()
    assert ran.exit_code == 0
    return json.loads((out / "attackers.json").read_text()), ran.stdout, out


def row(attacked, attack, against="names", by="the model"):
    (found,) = [r for r in attacked[0]["rows"] if (r["attack"], r["against"], r["by"]) == (attack, against, by)]
    return found


def test_a_replay_carries_the_name_and_is_compared_with_what_was_registered(attacked):
    """So small and in so few steps another prompt leaves the composition, and may pass for the same picture."""
    assert row(attacked, "none")["identified"] and row(attacked, "none")["transplant"] is False
    replayed = row(attacked, "replay")
    assert replayed["identified"] and not replayed["other"]
    assert replayed["transplant"] is not None
    assert row(attacked, "replay", "one key")["transplant"] is None


def test_an_imprint_carries_the_name_by_a_proxy_too(attacked):
    for by in ("the model", "another"):
        forged = row(attacked, "imprint", by=by)
        assert forged["cosine_after"] > forged["cosine_before"] + 0.15
        assert forged["identified"] and not forged["other"]
        assert forged["psnr"] == pytest.approx(25, abs=0.2)


def test_a_known_seed_says_nothing(attacked):
    assert abs(row(attacked, "the same, seed known")["seed_deviations"]) < 4
    with_seed, without = (row(attacked, a)["identity"] for a in ("the same, seed known", "copied into fresh noise"))
    assert with_seed == pytest.approx(without, rel=0.2)


def test_every_attack_has_its_rows_and_is_not_done_twice(attacked):
    result, printed, out = attacked
    assert {(r["attack"], r["against"]) for r in result["results"]} >= {
        (attack, against)
        for attack in ("forged by yes and no", "removed by yes and no", "removed by p", "removed past zero")
        for against in ("one key", "names")
    }
    assert "| removed by other noise" in printed
    assert (out / "attackers.png").stat().st_size > 1000
    assert {r["by"] for r in result["gone"]} == {"the model", "another"}


def test_the_opposite_of_its_noise_weakens_a_mark(attacked):
    turned = row(attacked, "removed past zero")
    assert turned["cosine_before"] < turned["cosine_after"] - 0.05
    assert turned["identity"] > row(attacked, "none")["identity"] + 5


def test_an_attack_that_there_is_not_is_refused_before_any_is_made():
    assert [attack.name for attack in find_attacks(["imprint", "replay"])] == ["imprint", "replay"]
    assert find_attacks([]) == list(ATTACKS)
    with pytest.raises(WmarkError, match='no attack is called "bribery"; there are none, replay'):
        find_attacks(["bribery"])


def test_yes_and_no_lead_to_the_border():
    draw = torch.Generator().manual_seed(0)
    asked = []

    def far(x):
        asked.append(x)
        return bool(x[0].mean() > 0.2)

    near = torch.zeros(3, 8, 8)
    found = boundary(far, near, [near, near + 0.9], lambda: torch.randn(near.shape, generator=draw), 200)
    assert len(asked) == 200
    assert far(found)
    straight, best = 0.2 * near.numel() ** 0.5, 0.2 * 64**0.5
    assert best < (found - near).norm() < 0.9 * straight
    assert boundary(far, near, [near], lambda: near, 200) is near


def test_a_number_leads_downhill_no_farther_than_allowed():
    draw = torch.Generator().manual_seed(0)
    start = torch.zeros(3, 2, 2)
    found = walk(lambda x: round(float(x.sum()), 2), start, lambda: torch.randn(3, 2, 2, generator=draw), 0.5, 200)
    assert float(found.norm()) <= 0.5 + 1e-6
    assert float(found.sum()) < -0.8 * 0.5 * 12**0.5
