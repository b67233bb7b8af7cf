"""A user's own pipeline: what wmark makes of it, and what it leaves as it was."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)

import wmark
from wmark.models.registry import EMBEDDED


@pytest.fixture
def pipeline(small_pipeline):
    return small_pipeline("epsilon")


def state_of(pipeline):
    parts = (pipeline.vae, pipeline.unet, pipeline.text_encoder)
    return [(name, value.clone()) for part in parts for name, value in part.state_dict().items()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pipeline_in_memory_is_used_and_left_as_it_is(pipeline, dtype):
    pipeline.to(dtype)
    before, scheduler, vae = state_of(pipeline), pipeline.scheduler, pipeline.vae
    model = wmark.LatentDiffusion.from_pipeline(pipeline, name="mine")
    assert (model.name, model.native_size, model.dtype) == ("mine", (96, 96), dtype)
    key = wmark.Key.derive(b"k" * 32, "k", wmark.Pattern.of(radius=8))
    (marked,) = wmark.embed(model, key, ["a red leaf"], seed=1, sampling=wmark.Sampling(2))
    (verdict,) = wmark.Detector(model, key, "fast").verify(marked.image)
    assert verdict.basis.model_fingerprint == model.fingerprint == marked.record["model"]["fingerprint"]
    assert (pipeline.scheduler, pipeline.vae) == (scheduler, vae)
    assert all(torch.equal(value, other) for (_, value), (_, other) in zip(before, state_of(pipeline), strict=True))
    assert next(pipeline.unet.parameters()).requires_grad


def test_changed_weights_have_another_fingerprint(pipeline):
    before = wmark.LatentDiffusion.from_pipeline(pipeline).fingerprint
    with torch.no_grad():
        pipeline.unet.conv_in.weight[0, 0, 0, 0] += 1e-3
    assert wmark.LatentDiffusion.from_pipeline(pipeline).fingerprint != before


def test_pipelines_of_other_families_are_refused(pipeline):
    flux = type("FluxPipeline", (), {"config": {}})()
    with pytest.raises(wmark.ModelError, match="FluxPipeline"):
        wmark.LatentDiffusion.from_pipeline(flux)


def test_a_batch_of_noise_for_a_pipeline_of_ones_own(pipeline):
    key = wmark.Key.derive(b"k" * 32, "k", wmark.Pattern.of(radius=8))
    noise = wmark.initial_noise(key, 3, shape=(4, 24, 24), seed=7)
    images = pipeline(["a", "b", "c"], latents=noise, num_inference_steps=2, output_type="pt").images
    assert images.shape == (3, 3, 96, 96)


@pytest.mark.parametrize(
    ("kind", "options", "keeps"),
    [
        (DDIMScheduler, {}, True),
        (DPMSolverMultistepScheduler, {}, True),
        (UniPCMultistepScheduler, {}, True),
        (EulerDiscreteScheduler, {}, True),
        (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, False),
        (EulerAncestralDiscreteScheduler, {}, False),
        (DDPMScheduler, {}, False),
        (LCMScheduler, {}, False),
    ],
)
def test_samplers_are_judged_by_what_they_do(pipeline, kind, options, keeps):
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **options)
    before = dict(pipeline.scheduler.config)
    judged = wmark.check_sampler(pipeline)
    assert bool(judged) is keeps, judged.reason
    assert kind.__name__ in judged.reason
    assert dict(pipeline.scheduler.config) == before


@pytest.mark.parametrize(
    ("kind", "advice"),
    [(EulerDiscreteScheduler, ": final_sigmas_type"), (LMSDiscreteScheduler, ": DPM-Solver++ with final_sigmas_type")],
)
def test_the_advice_is_an_option_that_the_sampler_has(pipeline, kind, advice):
    assert advice in wmark.check_sampler(kind.from_config(pipeline.scheduler.config)).reason


def test_what_has_no_sampler_is_not_judged(pipeline, model):
    for judged in ("ddim", None, model):
        with pytest.raises(wmark.ArgumentError, match="pass a diffusers pipeline"):
            wmark.check_sampler(judged)
    with pytest.raises(wmark.ArgumentError, match="judge nothing"):
        wmark.check_sampler(pipeline, steps=0)


def test_karras_sigmas_that_repeat_a_timestep_are_diffusers_own_trouble():
    """diffusers looks a repeated first timestep up as its second, and runs past its table at the end."""
    scheduler = DPMSolverMultistepScheduler.from_pretrained(EMBEDDED["tiny"] / "scheduler", use_karras_sigmas=True)
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    judged = wmark.check_sampler(scheduler, steps=50)
    assert not judged and "fails" in judged.reason


def test_prompts_beyond_the_tokenizers_length_are_cut_and_that_can_be_told(pipeline):
    model = wmark.LatentDiffusion.from_pipeline(pipeline)
    assert model.cut("a red leaf wallpaper") == ""
    assert "wallpaper" in model.cut("a red leaf " * 20 + "wallpaper")
