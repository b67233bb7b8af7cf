import numpy as np
import pytest
import torch
from scipy.stats import kstest

from wmark import Key, KeyringError, Pattern, initial_noise
from wmark.detectors.statistic import cosine
from wmark.watermark.spectrum import distance, mask_coordinates, plant, read

KINDS = ["disc", "ring", "rand", "const", "zeros"]


def key(kind="disc", name="k", **options):
    return Key.derive(b"s" * 32, name, Pattern.of(kind, **options))


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["disc", "rand"])
@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (45, 51)])
def test_planted_noise_reads_back_the_stated_cosine(kind, strength, shape):
    k = key(kind, strength=strength)
    planted = plant(white(3, 4, *shape).double(), k)
    assert cosine(read(planted, k.pattern).numpy(), k.direction) == pytest.approx(strength, abs=1e-6)


@pytest.mark.parametrize("kind", ["ring", "const"])
def test_replaced_rings_read_back_exactly(kind):
    k = key(kind)
    planted = plant(white(3, 4, 64, 64), k)
    assert cosine(read(planted, k.pattern).numpy(), k.direction) == pytest.approx(1, abs=1e-6)
    masked = mask_coordinates(planted, k.pattern)
    v = k.pattern.lift(k.direction)
    assert ((masked * v).sum((1, 2, 3)) / masked.flatten(1).norm(dim=1)).numpy() == pytest.approx(1, abs=1e-6)


def test_zeros_empties_the_mask():
    k = key("zeros")
    planted = plant(white(2, 4, 64, 64), k)
    assert mask_coordinates(planted, k.pattern).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_everything_outside_the_mask_is_untouched(kind):
    k = key(kind)
    noise = white(2, 4, 64, 64)
    change = torch.fft.fft2((plant(noise, k) - noise).double(), norm="ortho")
    for y, x in k.pattern.lattice:
        change[:, list(k.pattern.channels), y % 64, x % 64] = 0
        change[:, list(k.pattern.channels), -y % 64, -x % 64] = 0
    assert change.abs().max() < 1e-5


def test_planting_keeps_the_length_of_the_coordinates():
    k = key()
    noise = white(4, 4, 64, 64)
    planted = plant(noise, k)
    before, after = (mask_coordinates(n, k.pattern).flatten(1).norm(dim=1).numpy() for n in (noise, planted))
    assert after == pytest.approx(before, rel=1e-6)


def test_planted_noise_is_standard_normal_over_the_keys():
    noises = torch.cat([initial_noise(key(name=f"k{i}"), seed=i) for i in range(64)])
    assert kstest(noises.flatten()[::7].numpy(), "norm").pvalue > 0.001
    coordinates = mask_coordinates(noises, Pattern.of()).flatten(1)
    variance = coordinates.var(dim=0)
    assert variance.mean().item() == pytest.approx(1, abs=0.01)
    # The variance of one coordinate over 64 draws is chi-squared with 63 degrees of freedom, over 63.
    assert kstest((63 * variance).numpy(), "chi2", args=(63,)).pvalue > 0.001


def test_one_key_leaves_what_its_strength_says_random():
    k = key()
    noises = initial_noise(k, 64, seed=0)
    coordinates = mask_coordinates(noises, k.pattern).flatten(1)
    assert coordinates.mean(dim=0).norm().item() == pytest.approx(0.5 * k.pattern.size**0.5, rel=0.05)
    assert coordinates.var(dim=0).mean().item() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("kind", ["disc", "ring", "const"])
def test_project_is_the_adjoint_of_lift(kind):
    k = key(kind)
    c = mask_coordinates(white(1, 4, 64, 64), k.pattern)
    assert float(k.pattern.project(c)[0] @ torch.tensor(k.direction)) == pytest.approx(
        float((c[0] * k.pattern.lift(k.direction)).sum())
    )
    assert k.pattern.project(k.pattern.lift(k.direction)[None])[0].numpy() == pytest.approx(k.direction)


@pytest.mark.parametrize("kind", ["ring", "rand", "zeros"])
def test_distance_tells_marked_noise_apart(kind):
    k = key(kind)
    noise = white(8, 4, 64, 64)
    assert distance(plant(noise, k), k).max() < 0.2
    assert distance(noise, k).min() > 0.5


def test_ring_pattern_survives_quarter_turns():
    k = key("ring")
    planted = plant(white(1, 4, 64, 64), k)
    turned = torch.roll(torch.rot90(planted, 1, (2, 3)), 1, 2)
    assert cosine(read(turned, k.pattern).numpy(), k.direction) == pytest.approx(1, abs=1e-5)


def test_direction_of_another_pattern_is_refused():
    with pytest.raises(KeyringError, match="does not fit"):
        Pattern.of().lift(np.ones(10))
