"""Recovered noise, refined until what is sampled from it is the picture."""

import torch

from wmark.inversion.diffusion import naive
from wmark.inversion.refinement import Refinement, refine
from wmark.models.multistep import ddim, sample
from wmark.models.schedule import Grid


def test_a_noise_refined_samples_the_latent_that_its_inversion_misses(toy):
    predict, grid = toy.network(), Grid.of(toy.schedule, 10)
    latent, truth = sample(predict, ddim(grid), toy.noise()), toy.noise()
    found = naive(predict, grid, latent).noise
    refined = refine(predict, grid, found, latent, Refinement(iterations=80))
    assert (refined.loss < 0.1 * refined.history[0]).all() and refined.history.shape == (81, 2)
    sampled = sample(predict, ddim(grid), refined.value)
    error = (sampled - latent).flatten(1).square().sum(1) / latent.flatten(1).square().sum(1)
    assert torch.allclose(error, refined.loss.double(), rtol=1e-4)
    assert toy.apart(refined.value, truth) < toy.apart(found, truth)


def test_a_noise_that_is_right_stays(toy):
    predict, grid = toy.network(), Grid.of(toy.schedule, 10)
    with torch.no_grad():
        refined = refine(predict, grid, toy.noise(), sample(predict, ddim(grid), toy.noise()), Refinement(iterations=3))
    assert torch.equal(refined.value, toy.noise())
