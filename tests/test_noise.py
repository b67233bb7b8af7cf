from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from wmark import ArgumentError, Key, KeyringError, Pattern, WmarkError, initial_noise
from wmark.detectors.statistic import cosine
from wmark.watermark.noise import seeds_of, white_noise
from wmark.watermark.spectrum import read


def key(kind="disc", name="k", **options):
    return Key.derive(b"s" * 32, name, Pattern.of(kind, **options))


def closeness(noise, k):
    return float(cosine(read(noise, k.pattern).numpy(), k.direction)[0])


def test_noise_depends_on_its_key_and_its_own_seed_alone():
    together = initial_noise(key(), 3, seed=5)
    assert torch.equal(together[1:2], initial_noise(key(), 1, seed=6))
    assert torch.equal(together[[2, 0]], initial_noise(key(), 2, seed=[7, 5]))
    assert not torch.equal(together[0], initial_noise(key(name="other"), seed=5)[0])


def test_white_noise_is_the_same_on_every_platform():
    numbers = white_noise(key().secret, 2**64 - 1, (4, 64, 64))
    frozen = [-0.4711849410466035, 0.757709994752645, 1.1903507109800047]
    assert numbers.flatten()[:3].tolist() == pytest.approx(frozen, abs=1e-12)


def test_white_noise_is_normal_and_unrelated_from_seed_to_seed_and_key_to_key():
    noises = [white_noise(key(name=name).secret, seed, (4, 64, 64)).flatten() for name in "ab" for seed in range(4)]
    assert kstest(torch.cat(noises).numpy(), "norm").pvalue > 0.001
    correlation = np.corrcoef(torch.stack(noises).numpy()) - np.eye(8)
    assert np.abs(correlation).max() < 5 / 128


@pytest.mark.parametrize("shape", [(4, 64, 64), (4, 64, 96)])
def test_the_public_seed_gives_nothing_of_the_key_away(shape):
    """Subtracting what the seed alone would draw used to leave the key at a cosine of nearly 1."""
    k = key()
    for seed in range(3):
        marked = initial_noise(k, seed=seed, shape=shape)
        public = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
        assert closeness(marked - public, k) < closeness(marked, k)
        likeness = torch.corrcoef(torch.stack([marked.flatten(), public.flatten()]))[0, 1]
        assert abs(likeness) < 5 / marked.numel() ** 0.5
        # So does the noise of another key with the same seed.
        other = initial_noise(key(name="other"), seed=seed, shape=shape)
        assert closeness(marked - other, k) < closeness(marked, k)


def test_noise_without_a_seed_is_fresh():
    assert not torch.equal(*initial_noise(key(), 2))
    assert not torch.equal(initial_noise(key()), initial_noise(key()))
    assert all(0 <= seed < 2**63 for seed in seeds_of(None, 1000))
    assert len(set(seeds_of(None, 1000))) == 1000


@pytest.mark.parametrize(
    "seed", [7, np.int64(7), np.uint8(7), np.array(7), np.array([7]), torch.tensor(7), torch.tensor([7]), [7], (7,)]
)
def test_whole_numbers_of_every_library_are_seeds(seed):
    assert torch.equal(initial_noise(key(), seed=seed), initial_noise(key(), seed=7))


@pytest.mark.parametrize(
    "seed",
    [
        True,
        np.True_,
        torch.tensor(True),
        7.0,
        np.float32(7),
        torch.tensor(7.0),
        "7",
        -1,
        2**64,
        [True],
        [1, 2],
        [],
        ["a"],
        b"7",
    ],
)
def test_what_is_no_seed_is_refused_in_a_sentence(seed):
    with pytest.raises(ArgumentError, match="seed") as refused:
        initial_noise(key(), seed=seed)
    assert isinstance(refused.value, WmarkError)
    assert isinstance(refused.value, ValueError)
    assert "\n" not in str(refused.value)


def test_seeds_do_not_count_past_the_largest():
    assert seeds_of(2**64 - 2, 2) == [2**64 - 2, 2**64 - 1]
    with pytest.raises(ArgumentError, match="2\\^64"):
        seeds_of(2**64 - 2, 3)


@pytest.mark.parametrize("shape", [(4, 2, 2), (3, 64, 64)])
def test_noise_that_does_not_fit_the_key_is_refused(shape):
    with pytest.raises(KeyringError, match="key"):
        initial_noise(key(), shape=shape)


@pytest.mark.parametrize(
    "shape", [(2, 4, 64, 64), (64, 64), (4, -64, 64), (4, 64.0, 64), "4x64", 64, None, (4, 64, float("nan"))]
)
def test_a_shape_that_is_none_gets_a_sentence(shape):
    with pytest.raises(ArgumentError, match=r"\(C, h, w\)"):
        initial_noise(key(), shape=shape)


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2"])
def test_a_batch_of_none_gets_a_sentence(batch):
    with pytest.raises(ArgumentError, match="batch of"):
        initial_noise(key(), batch)


def test_noise_takes_milliseconds():
    k = key()
    initial_noise(k)
    begin = time.perf_counter()
    for seed in range(10):
        white_noise(k.secret, seed, (4, 64, 64))
    assert (time.perf_counter() - begin) / 10 < 0.05
