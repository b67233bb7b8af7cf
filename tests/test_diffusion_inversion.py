import pytest
import torch

from wmark.inversion.diffusion import METHODS, ddim, dpmsolver, inversion_timesteps

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = (1 - BETAS).cumprod(0)
SPREAD = 0.6


def gaussian(z, t):
    """The exact noise prediction for data distributed as N(0, SPREAD^2)."""
    a, s2 = ALPHAS[t].sqrt().float(), (1 - ALPHAS[t]).float()
    return s2.sqrt() * z / (a**2 * SPREAD**2 + s2)


def exact_noise(z):
    """Where the probability flow takes z, which only rescales."""

    def spread(t):
        return (ALPHAS[t] * SPREAD**2 + 1 - ALPHAS[t]).sqrt()

    last = inversion_timesteps(1000, 1)[-1]
    return z * (spread(last) / spread(0)).float()


def sample_ddim(z, times):
    for t, s in zip(times[:0:-1], times[-2::-1], strict=True):
        eps = gaussian(z, t)
        x0 = (z - (1 - ALPHAS[t]).sqrt().float() * eps) / ALPHAS[t].sqrt().float()
        z = ALPHAS[s].sqrt().float() * x0 + (1 - ALPHAS[s]).sqrt().float() * eps
    return z


def clean(batch=2):
    return SPREAD * torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", METHODS)
def test_long_inversions_follow_the_probability_flow(method):
    z = clean()
    error = (METHODS[method](gaussian, ALPHAS, z, steps=200).noise - exact_noise(z)).norm() / exact_noise(z).norm()
    assert error < 0.02


def test_the_middle_timestep_follows_it_better_than_the_start():
    z = clean()
    middle, start = (ddim(gaussian, ALPHAS, z, steps=5, evaluate_at=at).noise for at in ("middle", "start"))
    assert (middle - exact_noise(z)).norm() < (start - exact_noise(z)).norm()


def test_corrections_invert_the_sampler_exactly():
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    z = sample_ddim(noise, inversion_timesteps(1000, 20))
    naive = ddim(gaussian, ALPHAS, z, steps=20)
    exact = ddim(gaussian, ALPHAS, z, steps=20, corrections=20)
    assert (exact.noise - noise).norm() / noise.norm() < 1e-3
    assert (naive.noise - noise).norm() > 5 * (exact.noise - noise).norm()
    assert exact.residual.max() < 1e-3
    assert torch.isnan(naive.residual).all()


def test_dpmsolver_inverts_the_sampler_of_diffusers():
    from diffusers import DPMSolverMultistepScheduler

    times = inversion_timesteps(1000, 20)
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
        z = scheduler.step(gaussian(z, int(t)), t, z).prev_sample
    errors = {}
    for name, method, corrections in (("first order", ddim, 10), ("second order", dpmsolver, 10)):
        found = method(gaussian, ALPHAS, z, steps=20, corrections=corrections)
        errors[name] = float((found.noise - noise).norm() / noise.norm())
    assert errors["second order"] < 0.02
    assert errors["second order"] < errors["first order"] / 3


def test_timesteps():
    assert inversion_timesteps(1000, 1) == [0, 979]
    times = inversion_timesteps(1000, 50)
    assert len(times) == 51
    assert times == sorted(set(times))
    with pytest.raises(ValueError, match="step"):
        inversion_timesteps(1000, 0)


def test_callback_counts_steps():
    seen = []
    ddim(gaussian, ALPHAS, clean(), steps=3, callback=seen.append)
    assert seen == [1, 2, 3]
