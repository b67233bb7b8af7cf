"""Latents are reconstructed at a guidance scale from their inversion without one."""

import pytest
import torch

from wmark import LatentDiffusion, Sampling
from wmark.inversion.diffusion import Correction
from wmark.inversion.guidance import Tuning, negative_prompt, null_text, prompt_tuning, regenerate
from wmark.models.guidance import guided
from wmark.models.multistep import ddim, sample
from wmark.models.sampling import SCHEDULERS
from wmark.models.schedule import visited

SCALE, STEPS = 7.5, 6
HOW = Tuning(SCALE, iterations=8, learning_rate=0.4, correction=Correction(iterations=12, tolerance=1e-5))


@pytest.fixture(scope="module")
def setting(small_pipeline):
    """A small random model, its grid, latents and what conditions them."""
    model = LatentDiffusion.from_pipeline(small_pipeline("v_prediction"))
    grid = visited(SCHEDULERS["ddim"](model.pipeline.scheduler.config), STEPS)
    prompts = ["a red leaf wallpaper", "a bright blue sea wallpaper"]
    # Random weights hardly hear the prompt.
    condition, negative = 8 * model.condition(prompts), 8 * model.unprompted
    latent = torch.randn(2, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    return model.denoiser, grid, latent, condition, negative


def error(found, latent):
    return float((found - latent).norm() / latent.norm())


@pytest.fixture(scope="module")
def plain(setting):
    """The error of sampling at the scale without any of the methods."""
    denoiser, grid, latent, condition, negative = setting
    noise = null_text(*setting, Tuning(1.0, iterations=1, correction=HOW.correction)).noise
    with torch.no_grad():
        assert error(sample(guided(denoiser, condition, negative, 1), ddim(grid), noise), latent) < 1e-3
        return error(sample(guided(denoiser, condition, negative, SCALE), ddim(grid), noise), latent)


@pytest.mark.parametrize("method", [null_text, prompt_tuning])
def test_tuned_embeddings_reconstruct(setting, plain, method):
    denoiser, grid, latent, condition, _ = setting
    found = method(*setting, HOW)
    assert error(found.latent, latent) < 0.5 * plain
    assert torch.allclose(regenerate(denoiser, grid, found), found.latent)
    assert found.loss.shape == (STEPS, 2)
    kept, tuned = (found.conditions, found.negatives) if method is null_text else (found.negatives, found.conditions)
    assert all(torch.equal(e, kept[0]) for e in kept)
    assert tuned[0].shape == condition.shape and not torch.equal(tuned[0], tuned[-1])


def test_the_prompt_for_its_own_negative_reconstructs_for_free(setting, plain):
    denoiser, grid, latent, condition, _ = setting
    found = negative_prompt(denoiser, grid, latent, condition, HOW)
    assert error(found.latent, latent) < min(1e-2, 0.1 * plain)


def test_another_prompt_edits(setting):
    denoiser, grid, latent, condition, _ = setting
    found = negative_prompt(denoiser, grid, latent, condition, HOW)
    assert error(regenerate(denoiser, grid, found, condition.flip(0)), latent) > 10 * error(found.latent, latent)


@pytest.mark.parametrize("scale", [1.0, SCALE])
def test_guidance_is_that_of_diffusers(small_pipeline, scale):
    model = LatentDiffusion.from_pipeline(small_pipeline("v_prediction"))
    noise, prompts = torch.randn(2, 4, 24, 24), ["a red leaf wallpaper", "a blue sea wallpaper"]
    grid = visited(SCHEDULERS["ddim"](model.pipeline.scheduler.config), STEPS)
    predict = guided(model.denoiser, model.condition(prompts), model.unprompted, scale)
    with torch.no_grad():
        found = sample(predict, ddim(grid), noise)
    assert error(found, model.sample(noise, prompts, Sampling(STEPS, scale))) < 1e-4
