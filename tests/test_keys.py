import numpy as np
import pytest
from scipy.stats import kstest

from wmark import Key, KeyringError, Pattern
from wmark.watermark.patterns import PATTERNS

SECRET = bytes(range(32))


@pytest.mark.parametrize(
    ("kind", "size", "dimension"),
    [
        ("disc", 12000, 12000),
        ("square", 15872, 15872),
        ("ring", 316, 10),
        ("rand", 316, 316),
        ("const", 316, 1),
        ("zeros", 316, 0),
    ],
)
def test_dimensions_of_the_default_patterns(kind, size, dimension):
    pattern = Pattern.of(kind)
    assert (pattern.size, pattern.dimension) == (size, dimension)
    assert Key.derive(SECRET, "k", pattern).direction.shape == (dimension,)


def test_lattice_holds_one_of_each_pair_of_frequencies():
    lattice = Pattern.of().lattice
    both = {tuple(k) for k in lattice} | {tuple(-k) for k in lattice}
    r = Pattern.of().radius
    disc = {(y, x) for y in range(-r, r + 1) for x in range(-r, r + 1) if 0 < y * y + x * x <= r * r}
    assert both == disc
    assert 2 * len(lattice) == len(disc)


def test_direction_is_the_same_on_every_platform():
    direction = Key.derive(SECRET, "frozen", Pattern.of("disc", 16)).direction
    assert direction[:4] == pytest.approx([0.0233548450, -0.0298059681, -0.0447400702, 0.0043813557], abs=1e-9)
    assert np.linalg.norm(direction) == pytest.approx(1)


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        (Pattern.of("disc", 16), [-0.022971961036, -0.01527706684, 0.001382659654]),
        (Pattern.of("ring"), [-0.287741837034, -0.071394933735, -0.199049208689]),
        (Pattern.of("rand"), [-0.077283472877, -0.039194216904, -0.054374304121]),
        (Pattern.of("const"), [-1.0]),
        (Pattern.of("zeros"), []),
        (Pattern.of("rand", radius=7, channels=(2, 0), strength=0.25), [-0.050183792207, -0.030457552355]),
    ],
)
def test_directions_are_those_that_every_version_derived(pattern, start):
    name = pattern.kind if pattern.radius != 7 else "own"
    assert Key.derive(SECRET, name, pattern).direction[: len(start)] == pytest.approx(start, abs=1e-11)


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_survive_json_and_know_their_kind(kind):
    pattern = Pattern.of(kind)
    assert pattern.to_json() == {
        "kind": kind, "radius": pattern.radius, "channels": list(pattern.channels), "strength": pattern.strength
    }  # fmt: skip
    assert list(pattern.to_json()) == ["kind", "radius", "channels", "strength"]
    assert Pattern.from_json(pattern.to_json()) == pattern
    assert all(Pattern.of(other, 9, (0,), 0.5) != Pattern.of(kind, 9, (0,), 0.5) for other in PATTERNS if other != kind)


def test_what_is_constant_is_read_unwhitened_and_never_searched():
    import torch

    from wmark.detectors.reading import prepare
    from wmark.inversion.chain import Recovered

    recovered = Recovered(torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8))
    read = {kind: prepare(recovered, Pattern.of(kind)).unique().tolist() for kind in PATTERNS}
    assert read == {kind: [1.0] if kind in ("disc", "square", "rand") else [0.0] for kind in PATTERNS}
    assert {kind for kind, pattern in PATTERNS.items() if pattern.searchable} == {"disc", "square", "rand"}


def test_directions_are_normal_and_independent():
    keys = [Key.derive(SECRET, f"k{i}", Pattern.of()) for i in range(20)]
    deviates = np.concatenate([key.direction for key in keys]) * np.sqrt(keys[0].pattern.dimension)
    assert kstest(deviates, "norm").pvalue > 0.001
    gram = np.array([a.direction @ b.direction for i, a in enumerate(keys) for b in keys[:i]])
    assert np.abs(gram).max() < 5 / np.sqrt(len(keys[0].direction))


def test_patterns_of_one_id_give_unrelated_directions():
    a, b = (Key.derive(SECRET, "k", Pattern.of("rand", radius=8, channels=(c,))).direction for c in (0, 1))
    assert abs(a @ b) < 5 / np.sqrt(len(a))


def test_secret_is_not_in_the_repr():
    key = Key.derive(SECRET, "k", Pattern.of())
    assert "secret" not in repr(key)
    assert str(key.secret) not in repr(key)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "spiral"},
        {"radius": 0},
        {"radius": 2.5},
        {"channels": ()},
        {"channels": (1, 1)},
        {"channels": (-1,)},
        {"strength": 0.0},
        {"strength": 1.5},
        {"strength": float("nan")},
    ],
)
def test_bad_patterns_are_refused(options):
    with pytest.raises(KeyringError):
        Pattern.of(**options)


@pytest.mark.parametrize("key_id", ["", "a b", "../x", "-x", "x" * 65, "a\n"])
def test_bad_ids_are_refused(key_id):
    with pytest.raises(KeyringError):
        Key(key_id, Pattern.of(), SECRET)
