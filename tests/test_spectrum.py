import numpy as np
import pytest
import torch
from scipy.stats import kstest

from wmark import Key, KeyringError, Pattern, initial_noise
from wmark.detectors.statistic import cosine, hypercone_log10_p
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
    planted, held = plant(white(3, 4, *shape).double(), k), k.pattern.fitted(shape)
    cosines = cosine(read(planted, held).numpy(), held.restrict(k.direction))
    assert cosines == pytest.approx(strength, abs=1e-6)


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


@pytest.mark.parametrize("shape", [(64, 64), (48, 64), (64, 40), (24, 25), (2, 64)])
@pytest.mark.parametrize(
    ("kind", "radius", "strength"), [("disc", 31, 0.5), ("square", 31, 0.3), ("rand", 12, 0.9), ("ring", 12, 1.0)]
)
def test_a_canvas_takes_what_it_holds_of_a_key(kind, radius, strength, shape):
    k = key(kind, radius=radius, channels=(0, 1, 2, 3), strength=strength)
    part = k.pattern.fitted(shape)
    assert (2 * np.abs(part.lattice) < shape).all()
    assert len(part.lattice) == (2 * np.abs(k.pattern.lattice) < shape).all(axis=1).sum()
    direction = part.restrict(k.direction)
    assert np.linalg.norm(direction) == pytest.approx(1)
    noise = white(2, 4, *shape).double()
    planted = plant(noise, k)
    assert cosine(read(planted, k.pattern).numpy(), direction) == pytest.approx(strength, abs=1e-9)
    assert planted.square().sum().item() == pytest.approx(noise.square().sum().item())
    left_over = torch.fft.fft2(planted - noise)
    for y, x in part.lattice:
        left_over[..., y, x] = left_over[..., -y, -x] = 0
    assert left_over.abs().max() < 1e-9


def test_the_square_is_all_of_a_latent_below_its_nyquist():
    pattern = Pattern.of("square")
    assert pattern.dimension == 4 * (63 * 63 - 1)
    assert Pattern.of("square", 40).fitted((64, 64)).dimension == pattern.dimension


@pytest.mark.parametrize("kind", ["disc", "square", "ring"])
def test_what_fits_is_whole_and_its_numbers_are_the_same(kind):
    k = key(kind, radius=10)
    whole = k.pattern.fitted((21, 64))
    assert whole is k.pattern
    assert whole.restrict(k.direction) is k.direction
    cut = k.pattern.fitted((20, 64))
    assert cut.dimension <= k.pattern.dimension and cut.size < k.pattern.size
    assert cut.fitted((64, 64)) == k.pattern
    assert cut.to_json() == k.pattern.to_json()


@pytest.mark.parametrize(("kind", "radius"), [("disc", 31), ("square", 31), ("ring", 16)])
def test_p_values_are_uniform_over_keys_on_a_canvas_smaller_than_the_pattern(kind, radius):
    canvas = (16, 24)
    pattern = Pattern.of(kind, radius, (0, 1))
    part = pattern.fitted(canvas)
    image = white(1, 4, *canvas).cumsum(3)  # Anything that does not know the key, and far from white.
    c = read(image, pattern)[0].numpy()
    directions = [key(kind, f"k{i}", radius=radius, channels=(0, 1)).direction for i in range(1500)]
    t = cosine(c, part.restrict(np.stack(directions)))
    assert kstest(10 ** hypercone_log10_p(t, part.dimension), "uniform").pvalue > 0.001
    assert kstest(2 * 10 ** hypercone_log10_p(np.abs(t), part.dimension), "uniform").pvalue > 0.001


def test_a_profile_spreads_the_energy_and_leaves_the_noise_white():
    pattern = Pattern.of(radius=8, channels=(0, 1))
    rings = torch.from_numpy(np.hypot(*pattern.lattice.T))
    profile = (0.9 - rings / 10)[:, None]
    planted = [plant(white(1, 4, 20, 20, seed=i).double(), key(name=f"k{i}", radius=8, channels=(0, 1)), profile)
               for i in range(500)]  # fmt: skip
    coordinates = torch.cat([mask_coordinates(noise, pattern) for noise in planted])
    for members in (rings < 3, rings > 6):
        assert kstest(coordinates[:, :, members].flatten().numpy(), "norm").pvalue > 0.001
    lifted = torch.stack([pattern.lift(key(name=f"k{i}", radius=8, channels=(0, 1)).direction) for i in range(500)])
    returned = (coordinates * lifted).sum((0, 1, 3)) / lifted.square().sum((0, 1, 3)) / pattern.size**0.5
    assert returned.numpy() == pytest.approx(profile[:, 0].numpy(), abs=0.15)
    even = torch.full((len(rings), 1), pattern.strength)
    k = key(radius=8, channels=(0, 1))
    assert torch.allclose(plant(white(1, 4, 20, 20), k, even), plant(white(1, 4, 20, 20), k))


def with_pilot(name="k", strength=0.4, pilot=0.3, kind="square", **options):
    return Key.derive(b"s" * 32, name, Pattern.of(kind, strength=strength, **options), pilot=pilot)


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (40, 48)])
def test_a_pilot_and_a_key_are_planted_at_their_strengths(shape):
    k = with_pilot()
    planted = plant(white(3, 4, *shape).double(), k)
    pattern = k.pattern.fitted(shape)
    c, v, u = read(planted, pattern).numpy(), *(pattern.restrict(part.direction) for part in (k.pilot, k))
    across = u - (u @ v) * v
    assert cosine(c, v) == pytest.approx(0.3, abs=1e-6)
    assert cosine(c, across / np.linalg.norm(across)) == pytest.approx(0.4, abs=1e-6)
    assert cosine(c, u) == pytest.approx(0.4, abs=0.02)


def test_keys_of_one_pilot_are_normal_and_share_the_pilot_alone():
    keys = [with_pilot(f"k{i}", radius=8, channels=(0, 1)) for i in range(200)]
    assert len({k.pilot.direction.tobytes() for k in keys}) == 1
    assert keys[0].pilot.direction.tobytes() != with_pilot("pilot", radius=8, channels=(0, 1)).direction.tobytes()
    c = read(torch.cat([initial_noise(k, seed=0, shape=(2, 20, 20)) for k in keys]), keys[0].pattern).numpy()
    v = keys[0].pilot.direction
    left = c - (c @ v)[:, None] * v
    likeness = np.corrcoef(left)[np.triu_indices(len(left), 1)]
    assert np.abs(likeness).mean() < 1.2 * (2 / np.pi / c.shape[1]) ** 0.5
    many = [
        initial_noise(Key.derive(bytes([i]) * 32, "k", keys[0].pattern, pilot=0.3), seed=0, shape=(2, 20, 20))
        for i in range(200)
    ]
    assert kstest(torch.cat(many).flatten().numpy()[::3], "norm").pvalue > 0.001


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (dict(kind="ring", strength=0.5), "cannot have a pilot"),
        (dict(strength=0.96), "more than the noise holds"),
        (dict(pilot=1.5), "not in"),
    ],
)
def test_a_pilot_that_cannot_be_planted_is_refused(options, complaint):
    with pytest.raises(KeyringError, match=complaint):
        with_pilot(**options)
