import math
from itertools import pairwise

import pytest
import torch

from wmark import ModelError
from wmark.errors import ArgumentError
from wmark.inversion.diffusion import (
    Correction,
    ddim,
    dpmsolver,
    exact_ddim,
    invert,
    naive,
    predictor_corrector,
    solvers,
    unipc,
    wired,
)
from wmark.inversion.diffusion.implicit import residual, solve
from wmark.models.multistep import MULTISTEP, sample
from wmark.models.sampling import SCHEDULERS
from wmark.models.schedule import DiscreteSchedule, Grid, RectifiedSchedule, visited

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


def clean(shape=SHAPES[0]):
    return SPREAD * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", [ddim, exact_ddim, dpmsolver, unipc])
def test_long_inversions_follow_the_probability_flow(method, shape):
    z, expected = clean(shape), exact_noise(clean(shape), SCHEDULE)
    found = method(gaussian(SCHEDULE), SCHEDULE, z, steps=100).noise
    assert found.shape == z.shape
    assert (found - expected).norm() / expected.norm() < 0.04


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


def scheduler_of(name, final):
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    if name == "flow":
        return FlowMatchEulerDiscreteScheduler(shift=3.0)
    config = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False,
        set_alpha_to_one=False, prediction_type="v_prediction",
    ).config  # fmt: skip
    scheduler = SCHEDULERS[name](config)
    if name != "ddim":
        scheduler.register_to_config(final_sigmas_type=final)
    return scheduler


@pytest.mark.parametrize("solver", ["anderson", "fixed-point"])
@pytest.mark.parametrize(
    ("name", "steps", "final"),
    [("ddim", 12, None), ("flow", 8, None), ("flow", 1, None), ("dpmsolver++", 16, "sigma_min"),
     ("dpmsolver++", 8, "zero"), ("unipc", 16, "sigma_min"), ("unipc", 8, "zero")],
)  # fmt: skip
def test_what_diffusers_samples_is_inverted_exactly(toy, name, steps, final, solver):
    scheduler, flow = scheduler_of(name, final), name == "flow"
    schedule = RectifiedSchedule(3.0) if flow else DiscreteSchedule(scheduler.alphas_cumprod)
    predict, noise = toy.network(schedule, flow), toy.noise(2, 4, 4, 4)
    grid = visited(scheduler, steps)
    z = noise
    for t, asked in zip(grid.times, scheduler.timesteps, strict=False):
        x0, eps = predict(z, t)
        alpha, sigma = schedule(t)
        z = scheduler.step(eps - x0 if flow else alpha * eps - sigma * x0, asked, z).prev_sample
    how = Correction(solver, iterations=40, tolerance=3e-8, sweeps=20)
    found = invert(predict, MULTISTEP["ddim" if flow else name](grid), z, how)
    assert toy.apart(found.noise, noise) < 2e-6
    assert toy.apart(naive(predict, grid, z).noise, noise) > 1e-4
    assert found.converged.all() and found.residual.max() <= 3e-8
    assert len(found.path) == steps + 1 and torch.equal(found.path[-1], z)


@pytest.mark.parametrize(
    ("name", "steps", "final"),
    [("ddim", 12, None), ("flow", 8, None), ("dpmsolver++", 20, "sigma_min"), ("dpmsolver++", 10, "zero"),
     ("unipc", 16, "sigma_min"), ("unipc", 8, "zero")],
)  # fmt: skip
def test_predicted_and_corrected_it_is_nearer_than_naive_at_the_same_calls(toy, name, steps, final):
    schedule = RectifiedSchedule(3.0) if name == "flow" else SCHEDULE
    predict, noise, asked = toy.network(schedule, name == "flow"), toy.noise(2, 4, 4, 4), []
    table = MULTISTEP["ddim" if name == "flow" else name](visited(scheduler_of(name, final), steps))
    z, seen = sample(predict, table, noise), []

    def counted(z, t):
        asked.append(t)
        return predict(z, t)

    found = predictor_corrector(counted, table, z, callback=seen.append)
    assert toy.apart(found.noise, noise) < toy.apart(naive(predict, table.grid, z).noise, noise) / 2
    assert found.calls.tolist() == [steps] * 2 == [len(asked)] * 2
    assert seen == [*range(1, steps + 1)] and len(found.path) == steps + 1


def test_of_one_step_there_is_nothing_to_correct(toy):
    grid, z = Grid.of(SCHEDULE, 1), toy.noise(2, 4, 4, 4)
    found = predictor_corrector(toy.network(), MULTISTEP["ddim"](grid), z)
    assert torch.equal(found.noise, naive(toy.network(), grid, z).noise)


def test_where_a_step_extrapolates_far_its_history_is_looked_for(toy, monkeypatch):
    """DPM-Solver++(2M)'s last of 15 steps or more, at a call more for each of its guesses."""
    predict, noise = toy.network(), toy.noise(2, 4, 4, 4)
    table = MULTISTEP["dpmsolver++"](visited(scheduler_of("dpmsolver++", "sigma_min"), 16))
    z = sample(predict, table, noise)
    assert [i for i in range(16) if table.reach(i) > solvers.FAR] == [15]
    found = {}
    for far in (solvers.FAR, math.inf):
        monkeypatch.setattr(solvers, "FAR", far)
        found[far] = invert(predict, table, z, Correction(iterations=9, tolerance=0.0, sweeps=1))
    looked, not_looked = found.values()
    assert toy.apart(looked.noise, noise) < toy.apart(not_looked.noise, noise) / 2
    assert (looked.calls > not_looked.calls).all()


def test_anderson_needs_fewer_calls_than_the_fixed_point(toy):
    predict, grid = toy.network(), Grid.of(SCHEDULE, 5)
    z = sample(predict, MULTISTEP["ddim"](grid), toy.noise())
    calls = {
        solver: invert(predict, MULTISTEP["ddim"](grid), z, Correction(solver, 40, 1e-7)).calls
        for solver in ("anderson", "fixed-point")
    }
    assert (calls["anderson"] < 0.6 * calls["fixed-point"]).all()


def test_every_call_pays_for_an_update_the_last_one_too(toy):
    predict, table = toy.network(), MULTISTEP["ddim"](Grid.of(SCHEDULE, 8))
    noise = toy.noise(2, 4, 4, 4)
    z = sample(predict, table, noise)
    errors = [toy.apart(naive(predict, table.grid, z).noise, noise)]
    for iterations in (1, 2, 3):
        found = invert(predict, table, z, Correction(iterations=iterations, tolerance=0.0))
        assert found.calls.tolist() == [1 + 8 * iterations] * 2
        errors.append(toy.apart(found.noise, noise))
    assert all(after < before / 2 for before, after in pairwise(errors)), errors


def test_a_residual_is_how_far_an_update_moves_in_units_of_the_noise(toy):
    """Here, where errors do not add up, it bounds what is wrong with the noise in the end."""
    predict, table = toy.network(), MULTISTEP["ddim"](Grid.of(SCHEDULE, 8))
    noise = toy.noise(2, 4, 4, 4)
    z = sample(predict, table, noise)
    for tolerance in (0.1, 0.01, 0.001):
        found = invert(predict, table, z, Correction(iterations=40, tolerance=tolerance))
        assert found.converged.all() and (found.residual <= tolerance).all()
        assert toy.apart(found.noise, noise) < tolerance


def test_pure_noise_is_where_an_inversion_may_end(toy):
    """With alpha = 0 nothing of the clean latent is left in the first step but through what the network says."""
    squares = (1 - BETAS).cumprod(0)
    squares = ((squares.sqrt() - squares[-1].sqrt()) / (squares[0].sqrt() - squares[-1].sqrt())).square() * squares[0]
    schedule = DiscreteSchedule(squares)
    grid = Grid.at(schedule, [1.0, 0.75, 0.5, 0.25, 0.0])
    predict, noise = toy.network(schedule), toy.noise(2, 4, 4, 4)
    assert grid.alpha[0] == 0
    for name, table in MULTISTEP.items():
        z = sample(predict, table(grid), noise)
        found = invert(predict, table(grid), z, Correction(iterations=60, tolerance=1e-10, sweeps=30))
        assert toy.apart(found.noise, noise) < 1e-6, name
        assert predictor_corrector(predict, table(grid), z).noise.isfinite().all(), name


def test_what_cannot_be_solved_is_never_worse_than_where_it_began():
    """A network so steep that no iteration converges: each image keeps its best, and says how good that is."""

    def predict(z, t):
        alpha, sigma = SCHEDULE(t)
        eps = 8 * torch.sin(9 * z)
        return (z - sigma * eps) / alpha, eps

    z, grid = clean(), Grid.of(SCHEDULE, 4)
    ddim = MULTISTEP["ddim"](grid)

    def left(iterations: int) -> torch.Tensor:
        ask, step = (lambda z: predict(z, grid.times[0])), (lambda z, said: ddim.step(0, z, said[:1]))
        found = solve(ask, step, z, z, grid, 0, Correction(iterations=iterations))
        return residual(grid, 0, step(found.asked, found.said) - z)

    each = torch.stack([left(iterations) for iterations in range(1, 9)])
    assert (each[1:] <= each[:-1]).all()
    found = invert(predict, ddim, z)
    assert not found.converged.any() and found.noise.isfinite().all()
    assert found.calls.tolist() == [1 + 4 * 8] * 2


@pytest.mark.parametrize("steps", [4, 10])
@pytest.mark.parametrize("schedule", [SCHEDULE, RectifiedSchedule(3.0)])
def test_exact_inversion_leaves_less_of_the_steps_than_naive_does(toy, schedule, steps):
    grid, z, predict = Grid.of(schedule, steps), clean().double(), toy.network(schedule)
    sampler = MULTISTEP["ddim"](grid)

    def left(path: tuple[torch.Tensor, ...]) -> torch.Tensor:
        said = [predict(path[i], grid.times[i])[0] for i in range(steps)]
        return torch.stack(
            [residual(grid, i, sampler.step(i, path[i], said[i : i + 1]) - path[i + 1]) for i in range(steps)]
        )

    assert (left(invert(predict, sampler, z).path).amax(0) < 0.1 * left(naive(predict, grid, z).path).amax(0)).all()


def test_a_step_starts_along_the_noise_that_a_straight_line_in_sigma_leads_to():
    """Where the noise is such a line, that start is exact from the third step on, and a call is all that it takes."""
    z, slope = clean(), torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))

    def predict(z, t):
        alpha, sigma = SCHEDULE(t)
        eps = (1 + slope * sigma).expand_as(z)
        return (z - sigma * eps) / alpha, eps

    grid = Grid.of(SCHEDULE, 6)
    found = invert(predict, MULTISTEP["ddim"](grid), z, Correction(tolerance=1e-5))
    assert found.converged.all() and found.calls.tolist() == [1 + 2 * 3 + 4] * 2
    assert (sample(predict, MULTISTEP["ddim"](grid), found.noise) - z).abs().max() < 1e-4
    twice = Grid.at(SCHEDULE, [1.0, 0.7, 0.7, 0.4, 0.4, 0.4, 0.0])
    assert invert(predict, MULTISTEP["ddim"](twice), z).converged.all()  # A step that goes nowhere leads nowhere.


def test_images_that_have_converged_are_left_as_they_are():
    """A latent of zeros is its own inverse here: it costs one call a step, whatever stands beside it in the batch."""
    z = clean().double()
    z[0] = 0
    found = invert(gaussian(SCHEDULE), MULTISTEP["ddim"](Grid.of(SCHEDULE, 5)), z, Correction(tolerance=1e-9))
    assert found.calls[0] == 6 < found.calls[1]


def test_corrections_that_make_no_sense_are_refused():
    for options in ({"solver": "newton"}, {"iterations": 0}, {"tolerance": math.nan}):
        with pytest.raises(ArgumentError, match=r"newton|at least"):
            Correction(**options)


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


def test_inversion_keeps_no_graph(toy):
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    network = toy.network()
    predict = lambda z, t: network(weight * z, t)  # noqa: E731
    for method in (ddim, exact_ddim, dpmsolver, unipc, wired):
        assert not method(predict, toy.schedule, toy.noise(), steps=3).noise.requires_grad
