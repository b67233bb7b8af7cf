"""`wmark bench marks` and what it measures with."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from wmark import Key, Pattern, Sampling
from wmark.benchmarks import marks
from wmark.benchmarks.appearance import likeness, trace
from wmark.benchmarks.features import features, frechet_distance, load_network
from wmark.benchmarks.marks import Mark, columns, decoded
from wmark.benchmarks.quality import psnr, ssim
from wmark.benchmarks.returns import measure_returns
from wmark.models.latent_diffusion import LatentDiffusion
from wmark.watermark.spectrum import mask_coordinates, plant, synthesise


@pytest.fixture(scope="module")
def small(small_pipeline):
    """A model with random weights and latents of 24x24 that is fast and draws noise."""
    return LatentDiffusion.from_pipeline(small_pipeline("epsilon"), "small")


def picture(seed, shared=None, share=0.0):
    rng = np.random.default_rng(seed)
    values = 128 + 30 * (rng.normal(size=(64, 64, 3)) + (0 if shared is None else share * shared))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def test_marks_are_compared_end_to_end_and_a_rerun_goes_on(small, tmp_path, capsys):
    compared = [
        Mark(Pattern.of(kind, radius, strength=0.5), energy)
        for kind, radius in (("disc", 8), ("square", 31))
        for energy in marks.ENERGIES
    ]
    options = dict(images=3, damaged_images=2, seed=0, out=tmp_path, sampling=Sampling(2))
    marks.run(small, marks=compared[:2], **options)
    result = marks.run(small, marks=compared, **options)
    unmarked, *rows = result["results"]
    assert [row["mark"] for row in rows] == [
        "disc-8-0.5-even", "disc-8-0.5-return", "square-31-0.5-even", "square-31-0.5-return"
    ]  # fmt: skip
    assert (unmarked["mark"], unmarked["log10_p"]) == ("unmarked", {})
    assert rows[2]["dimension"] == 4 * (23 * 23 - 1)
    for row in rows:
        assert {damage: len(found["weighted"]) for damage, found in row["log10_p"].items()} == {
            damage: 3 if damage == "none" else 2 for damage in marks.READ
        }
        assert row["frechet_excess"] == pytest.approx(row["frechet"] - unmarked["frechet"])
        assert Image.open(tmp_path / "marks" / f"{row['mark']}.png").size == (96, 96)
    with (tmp_path / "marks.csv").open() as stream:
        assert next(csv.reader(stream)) == list(columns())
    assert json.loads((tmp_path / "marks.json").read_text())["results"] == result["results"]
    assert Image.open(tmp_path / "marks.png").width > 500
    lines = (tmp_path / "marks.jsonl").read_text()
    assert marks.run(small, marks=compared, **options)["results"] == result["results"]
    assert (tmp_path / "marks.jsonl").read_text() == lines
    assert "| square-31-0.5-return" in capsys.readouterr().out


def test_returns_are_correlations_by_channel_and_ring_and_shape_the_energy():
    noise = torch.randn(8, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    other = torch.randn(8, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    share = torch.tensor([0.9, 0.6, 0.3, 0.0])[:, None, None]
    returns = measure_returns(share * noise + (1 - share**2).sqrt() * other, noise)
    pattern = Pattern.of("square", 15, strength=0.4)
    weights = returns.weights(pattern)
    assert weights.mean((1, 2)).numpy() == pytest.approx([0.9, 0.6, 0.3, 0.0], abs=0.05)
    profile = returns.profile(pattern)
    assert profile.square().mean().item() == pytest.approx(0.16, abs=1e-6)
    assert profile.max() <= 1
    free = profile < 1
    assert (profile / weights)[free].std() < 1e-6 * (profile / weights)[free].mean()
    strong = returns.profile(Pattern.of("square", 15, strength=0.9))
    assert strong.square().mean().item() == pytest.approx(0.81, abs=1e-6)
    assert strong.max() == 1


def test_synthesis_is_the_adjoint_of_reading():
    pattern = Pattern.of(radius=6, channels=(2, 0))
    noise = torch.randn(1, 4, 10, 16, generator=torch.Generator().manual_seed(0)).double()
    coordinates = torch.randn(
        mask_coordinates(noise, pattern).shape, generator=torch.Generator().manual_seed(1)
    ).double()
    made = synthesise(coordinates, pattern, (10, 16))
    assert (made * noise[:, [2, 0]]).sum().item() == pytest.approx(
        (coordinates * mask_coordinates(noise, pattern)).sum().item()
    )


def test_the_decoder_shows_the_key_that_a_mean_of_marked_pictures_holds(model):
    """Latents in place of noise: the decoder alone, so that the trace is the key's."""
    key, other = (Key.derive(b"t" * 32, name, Pattern.of(strength=0.4)) for name in ("a", "b"))
    noise = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shared = (model.decode(plant(noise, key)) - model.decode(noise)).mean(0).permute(1, 2, 0).numpy()
    likenesses = [marks.correlation(shared, decoded(model, k, None, (128, 128))) for k in (key, other)]
    assert likenesses[0] > 0.3 > abs(likenesses[1]) + 0.1


def test_distance_between_pictures():
    a, b = picture(0), picture(1)
    assert (ssim(a, a), psnr(a, a)) == (pytest.approx(1), np.inf)
    assert ssim(a, b) < 0.1
    assert psnr(a, b) == pytest.approx(-10 * np.log10(2 * (30 / 255) ** 2), abs=0.2)


def test_likeness_is_the_mean_correlation_of_pairs():
    shared = np.random.default_rng(9).normal(size=(64, 64, 3))
    apart, alike = likeness([picture(i) for i in range(6)]), likeness([picture(i, shared, 0.5) for i in range(6)])
    assert apart["likeness"] == pytest.approx(0, abs=0.01)
    assert alike["likeness"] == pytest.approx(0.2, abs=0.02)
    assert alike["likeness_high_pass"] == pytest.approx(0.2, abs=0.02)


def test_a_trace_is_as_large_as_chance_makes_it_unless_something_is_shared():
    shared = np.random.default_rng(9).normal(size=(64, 64, 3))
    twins = [picture(100 + i) for i in range(8)]
    none, some = (trace([picture(i, shared, share) for i in range(8)], twins) for share in (0, 0.5))
    assert none.rms / none.chance == pytest.approx(1, abs=0.03)
    assert some.rms / some.chance > 1.3
    assert marks.correlation(some.mean, shared) > 0.6
    assert some.picture().size == (64, 64)


def test_frechet_distance_of_gaussians():
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(20000, 3, generator=rng).double()
    b = 2 * torch.randn(20000, 3, generator=rng).double() + torch.tensor([3.0, 0, 0])
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(9 + 3, rel=0.03)  # |m|^2 + 3 (1 - 2)^2


def test_the_network_knows_what_it_was_trained_on():
    from sklearn.datasets import load_sample_image

    network = load_network()
    flower = Image.fromarray(load_sample_image("flower.jpg")).resize((224, 224))
    seen = features(network, [flower])
    assert seen.shape == (49, 320)
    with torch.no_grad():
        pixels = (torch.from_numpy(np.array(flower)).permute(2, 0, 1)[None].float() - 127) / 128
        assert network(pixels).argmax() == 985  # ImageNet's daisy.
