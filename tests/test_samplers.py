"""Samplers as tables of numbers make the steps that diffusers makes."""

import pytest
import torch

from wmark import ModelError
from wmark.models.multistep import MULTISTEP, sample
from wmark.models.sampling import SCHEDULERS
from wmark.models.schedule import DiscreteSchedule, Grid, RectifiedSchedule, visited

STABLE_DIFFUSION = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)


def mixture(schedule, spread=0.5):
    """The exact prediction for data from a mixture of two Gaussians in every coordinate, of any shape."""

    def predict(z, t):
        alpha, sigma = schedule(t)
        variance = alpha**2 * spread**2 + sigma**2
        weight = torch.tanh(alpha * 0.8 * z / variance)  # Centres at -0.8 and 0.8.
        noise = sigma * (z - alpha * 0.8 * weight) / variance
        return 0.8 * weight + alpha * spread**2 * (z - alpha * 0.8 * weight) / variance, noise

    return predict


def run(scheduler, schedule, noise, steps):
    """What diffusers makes of noise with the mixture for a network."""
    scheduler.set_timesteps(steps)
    z, last = noise, scheduler.config.num_train_timesteps - 1
    for t in scheduler.timesteps:
        flow = type(scheduler).__name__.startswith("Flow")
        x0, eps = mixture(schedule)(z, float(t) / (last + 1 if flow else last))
        z = scheduler.step(eps - x0 if flow else eps, t, z).prev_sample
    return z


def scheduler_of(name, final="sigma_min", **options):
    from diffusers import DDIMScheduler

    stable = DDIMScheduler(**STABLE_DIFFUSION, **options, clip_sample=False, set_alpha_to_one=False)
    scheduler = SCHEDULERS[name](stable.config)
    if name != "ddim":
        scheduler.register_to_config(final_sigmas_type=final)
    return scheduler


def noise(*shape):
    return torch.randn(shape or (2, 4, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("final", ["sigma_min", "zero"])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 20])
@pytest.mark.parametrize("name", MULTISTEP)
def test_tables_make_the_steps_of_diffusers(name, steps, final):
    scheduler = scheduler_of(name, final)
    schedule = DiscreteSchedule(scheduler.alphas_cumprod)
    expected = run(scheduler, schedule, noise(), steps)
    found = sample(mixture(schedule), MULTISTEP[name](visited(scheduler, steps)), noise())
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_euler_on_a_rectified_flow_is_ddim_on_its_levels(steps, shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler, schedule = FlowMatchEulerDiscreteScheduler(shift=shift), RectifiedSchedule(shift)
    found = sample(mixture(schedule), MULTISTEP["ddim"](visited(scheduler, steps)), noise())
    assert (found - run(scheduler, schedule, noise(), steps)).abs().max() < 1e-5


@pytest.mark.parametrize("name", MULTISTEP)
def test_samplers_start_at_pure_noise(name):
    """With zero terminal signal-to-noise ratio there is no log-SNR to extrapolate from, and none is needed."""
    scheduler = scheduler_of("ddim", rescale_betas_zero_snr=True)
    schedule = DiscreteSchedule(scheduler.alphas_cumprod)
    grid = Grid.at(schedule, [1.0, 0.8, 0.5, 0.2, 0.0])
    assert grid.alpha[0] < 1e-6
    assert sample(mixture(schedule), MULTISTEP[name](grid), noise()).isfinite().all()


def test_times_that_are_not_known_are_refused():
    from diffusers import FlowMatchEulerDiscreteScheduler, PNDMScheduler

    with pytest.raises(ModelError, match="use_dynamic_shifting"):
        visited(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), 4)
    with pytest.raises(ModelError, match="PNDMScheduler"):
        visited(PNDMScheduler(), 4)
