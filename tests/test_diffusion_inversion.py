import math

import pytest
import torch

from wmark import ModelError
from wmark.inversion.diffusion import ddim, dpmsolver
from wmark.models.schedule import DiscreteSchedule, RectifiedSchedule

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
SCHEDULE = DiscreteSchedule((1 - BETAS).cumprod(0))
SPREAD = 0.6
SHAPES = [(2, 4, 8, 8), (2, 4, 3, 8, 8), (2, 16)]


def gaussian(schedule):
    """The exact prediction for data distributed as N(0, SPREAD^2)."""

    def predict(z, t):
        alpha, sigma = schedule(t)
        noise = sigma * z / (alpha**2 * SPREAD**2 + sigma**2)
        return SPREAD**2 * alpha * z / (alpha**2 * SPREAD**2 + sigma**2), noise

    return predict


def exact_noise(z, schedule):
    """Where the probability flow takes z, which only rescales."""

    def spread(t):
        alpha, sigma = schedule(t)
        return math.hypot(alpha * SPREAD, sigma)

    return z * spread(schedule.times(1)[-1]) / spread(0.0)


def sample_ddim(z, schedule, times):
    for t, s in zip(times[:0:-1], times[-2::-1], strict=True):
        x0, eps = gaussian(schedule)(z, t)
        alpha, sigma = schedule(s)
        z = alpha * x0 + sigma * eps
    return z


def clean(shape=SHAPES[0]):
    return SPREAD * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", [ddim, dpmsolver])
def test_long_inversions_follow_the_probability_flow(method, shape):
    z, expected = clean(shape), exact_noise(clean(shape), SCHEDULE)
    found = method(gaussian(SCHEDULE), SCHEDULE, z, steps=200).noise
    assert found.shape == z.shape
    assert (found - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_flows_are_inverted_by_the_same_solver(shift):
    schedule = RectifiedSchedule(shift)
    expected = exact_noise(clean(), schedule)
    errors = [
        (ddim(gaussian(schedule), schedule, clean(), steps=steps).noise - expected).norm() / expected.norm()
        for steps in (10, 200)
    ]
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


def test_the_middle_timestep_follows_it_better_than_the_start():
    z, expected = clean(), exact_noise(clean(), SCHEDULE)
    middle, start = (ddim(gaussian(SCHEDULE), SCHEDULE, z, steps=5, evaluate_at=at).noise for at in ("middle", "start"))
    assert (middle - expected).norm() < (start - expected).norm()


def test_corrections_invert_the_sampler_exactly():
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    z = sample_ddim(noise, SCHEDULE, SCHEDULE.times(20))
    naive = ddim(gaussian(SCHEDULE), SCHEDULE, z, steps=20)
    exact = ddim(gaussian(SCHEDULE), SCHEDULE, z, steps=20, corrections=20)
    assert (exact.noise - noise).norm() / noise.norm() < 1e-3
    assert (naive.noise - noise).norm() > 5 * (exact.noise - noise).norm()
    assert exact.residual.max() < 1e-3
    assert torch.isnan(naive.residual).all()


def test_dpmsolver_inverts_the_sampler_of_diffusers():
    from diffusers import DPMSolverMultistepScheduler

    times = [SCHEDULE.timestep(t) for t in SCHEDULE.times(20)]
    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="sigma_min",
    )
    scheduler.set_timesteps(timesteps=times[:0:-1])
    noise = z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for t in scheduler.timesteps:
        z = scheduler.step(gaussian(SCHEDULE)(z, int(t) / 999)[1], t, z).prev_sample
    errors = {}
    for name, method, corrections in (("first order", ddim, 10), ("second order", dpmsolver, 10)):
        found = method(gaussian(SCHEDULE), SCHEDULE, z, steps=20, corrections=corrections)
        errors[name] = float((found.noise - noise).norm() / noise.norm())
    assert errors["second order"] < 0.02
    assert errors["second order"] < errors["first order"] / 3


def test_times_are_those_of_training_timesteps():
    assert [SCHEDULE.timestep(t) for t in SCHEDULE.times(1)] == [0, 979]
    assert [SCHEDULE.timestep(t) for t in SCHEDULE.times(5)] == [0, 196, 392, 587, 783, 979]
    times = SCHEDULE.times(50)
    assert len(times) == 51
    assert times == sorted(set(times))
    alpha, sigma = SCHEDULE(1.0)
    assert (alpha**2 + sigma**2, SCHEDULE.timestep(1.0)) == (pytest.approx(1), 999)
    for schedule in (SCHEDULE, RectifiedSchedule()):
        with pytest.raises(ValueError, match="step"):
            schedule.times(0)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (torch.linspace(0.9, 0.1, 3), "3 training timesteps"),
        (torch.full((1000,), torch.nan), "betas are broken"),
        (torch.linspace(0.1, 0.9, 1000), "betas are broken"),
        (torch.linspace(1.5, 0.1, 1000), "betas are broken"),
    ],
)
def test_levels_that_make_no_sense_are_refused(levels, expected):
    with pytest.raises(ModelError, match=expected):
        DiscreteSchedule(levels)


def test_callback_counts_steps():
    seen = []
    ddim(gaussian(SCHEDULE), SCHEDULE, clean(), steps=3, callback=seen.append)
    assert seen == [1, 2, 3]
