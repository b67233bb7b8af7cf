"""Rectified flows in the parts of Stable Diffusion: loaded, sampled and inverted like any other model."""

from functools import partial

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import wmark
from wmark.inversion.chain import invert_diffusion
from wmark.inversion.diffusion import Correction, invert
from wmark.inversion.recovery import DIFFUSION_INVERSIONS, Recovery
from wmark.models.guidance import guided
from wmark.models.multistep import MULTISTEP
from wmark.models.sampling import SCHEDULERS
from wmark.models.schedule import visited

PROMPTS = ["a red leaf wallpaper", "a blue sea wallpaper"]


@pytest.fixture(scope="module")
def flow(small_pipeline, tmp_path_factory):
    """A random rectified flow, loaded from a folder."""
    folder = tmp_path_factory.mktemp("models") / "flow"
    pipeline = small_pipeline("epsilon")
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0))
    pipeline.save_pretrained(folder)
    return wmark.load_model(folder, device="cpu")


def noise(*shape):
    return torch.randn(shape or (2, 4, 24, 24), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sampling_takes_the_steps_of_diffusers(flow, steps, scale):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=2.0)
    scheduler.set_timesteps(steps)
    z, unet = noise(), flow.pipeline.unet
    with torch.no_grad():
        condition, negative = flow.condition(PROMPTS), flow.unprompted.expand(2, -1, -1)
        for t in scheduler.timesteps:
            said, unsaid = (unet(z, t, encoder_hidden_states=c).sample for c in (condition, negative))
            z = scheduler.step(unsaid + scale * (said - unsaid), t, z).prev_sample
    seen = []
    found = flow.sample(noise(), PROMPTS, wmark.Sampling(steps, scale), seen.append)
    assert torch.allclose(found, z, atol=1e-4)
    assert seen == list(range(1, steps + 1))


def test_one_and_many_steps_are_inverted_exactly(flow):
    predict = partial(flow.denoiser.predict, condition=flow.condition(PROMPTS))
    for steps in (1, 6):
        latent = flow.sample(noise(), PROMPTS, wmark.Sampling(steps, 1.0))
        grid = visited(flow.pipeline.scheduler, steps)
        with torch.no_grad():
            found = invert(predict, MULTISTEP["ddim"](grid), latent, Correction(iterations=60, tolerance=1e-6))
        assert ((found.noise - noise()).norm() / noise().norm()) < 1e-4


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_sampler_runs_on_a_flow(flow, scheduler):
    ends = [flow.sample(noise(), PROMPTS, wmark.Sampling(steps, 1.0, scheduler)) for steps in (12, 60)]
    assert (ends[0] - ends[1]).norm() < 0.1 * ends[1].norm()


def test_it_is_marked_and_verified_like_any_other(flow, ring):
    (made,) = wmark.embed(flow, ring.key("one"), PROMPTS[:1], seed=1, sampling=wmark.Sampling(4, 1.0))
    assert made.image.size == (96, 96)
    (verdict,) = wmark.Detector(flow, ring.key("one")).verify([made.image])
    assert verdict.log10_p <= 0


@pytest.mark.parametrize("setting", ["use_dynamic_shifting", "stochastic_sampling"])
def test_flows_whose_times_nobody_knows_are_refused(small_pipeline, setting):
    pipeline = small_pipeline("epsilon")
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler(**{setting: True}))
    with pytest.raises(wmark.ModelError, match=setting):
        wmark.LatentDiffusion.from_pipeline(pipeline)


def test_the_wired_sampler_makes_what_its_blocks_make(small_pipeline):
    from wmark.models.wired import blocks, sample_wired

    model = wmark.LatentDiffusion.from_pipeline(small_pipeline("v_prediction"))
    grid = visited(SCHEDULERS["wired"](model.pipeline.scheduler.config), 5)
    with torch.no_grad():
        predict = guided(model.denoiser, model.condition(PROMPTS), model.unprompted, 3.0)
        expected, _ = sample_wired(blocks(predict, grid), noise())
    assert torch.allclose(model.sample(noise(), PROMPTS, wmark.Sampling(5, 3.0, "wired")), expected, atol=1e-5)


@pytest.mark.parametrize("name", DIFFUSION_INVERSIONS)
@pytest.mark.parametrize("kind", ["v_prediction", "flow"])
def test_every_inversion_runs_by_its_name(flow, small_pipeline, kind, name):
    model = flow if kind == "flow" else wmark.LatentDiffusion.from_pipeline(small_pipeline(kind))
    found = invert_diffusion(model, Recovery("", diffusion=name, steps=3), noise())
    assert found.noise.shape == noise().shape
    assert found.noise.isfinite().all()
    assert (found.calls >= 2).all()
