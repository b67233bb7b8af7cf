"""What a spectrum for pages shows, and how little it tells of the key."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from wmark import Key, Pattern
from wmark.detectors.agreement import LEAST, STEP, Agreement, Cells, spectrum

KEY = Key.derive(b"a" * 32, "mine", Pattern.of("disc", 16))


def agreement(key: Key, canvas=(64, 64), kept=1.0, *, cosine=0.36, seed=0) -> Agreement:
    """That of a reading of a key, of which a share is kept at each frequency."""
    pattern = key.pattern.fitted(canvas)
    ours = pattern.lift(pattern.restrict(key.direction)).numpy() * pattern.size**0.5
    noise = np.random.default_rng(seed).standard_normal(ours.shape)
    share = cosine * np.broadcast_to(kept, len(pattern.lattice))[:, None]
    evidence = SimpleNamespace(coordinates=3.0 * (share * ours + np.sqrt(1 - share**2) * noise))
    return Agreement.of(SimpleNamespace(canvas=canvas, evidence=evidence), key)


def test_it_shows_in_which_frequencies_a_key_is_left():
    y, x = KEY.pattern.lattice.T
    low = spectrum(agreement(KEY, kept=np.hypot(y, x) < 10, cosine=0.5))
    assert low["edges"][-1] == 16 and np.shape(low["cells"]) == (5, 4)
    assert np.mean(low["cells"], axis=1) == pytest.approx([0.5, 0.5, 0, 0, 0], abs=0.1)
    one_way = spectrum(agreement(KEY, kept=x * y > 0, cosine=0.5))
    assert np.mean(one_way["cells"], axis=0) == pytest.approx([0.5, 0.5, 0, 0], abs=0.1)
    against = spectrum(agreement(KEY, cosine=-0.4))
    assert np.max(against["cells"]) <= -0.1


@pytest.mark.parametrize("canvas", [(64, 64), (64, 96), (24, 30)])
@pytest.mark.parametrize("kind", ["disc", "square"])
def test_every_mean_is_over_many_coordinates_and_coarse(kind, canvas):
    found = agreement(Key.derive(b"a" * 32, "mine", Pattern.of(kind)), canvas)
    cells = Cells.of(found.pattern)
    r, counts = found.means(cells.index)
    assert counts.min() >= LEAST and counts.sum() == found.pattern.size
    assert r @ counts / counts.sum() == pytest.approx(0.36, abs=0.05)
    drawn = np.array(spectrum(found)["cells"])
    assert np.abs(drawn.ravel() - r).max() <= STEP / 2 + 1e-9
    assert np.abs(drawn / STEP - np.rint(drawn / STEP)).max() < 1e-9


@pytest.mark.parametrize("kind", ["ring", "const", "zeros", "rand"])
def test_of_a_key_of_few_numbers_nothing_is_shown(kind):
    pattern = Pattern.of(kind)
    ones = np.ones((1, len(pattern.lattice), 2))
    assert spectrum(Agreement(pattern, ones, ones)) is None


def test_spectra_add_to_what_pictures_tell_no_more_than_a_few_pictures_would():
    """Whoever reads the noise of 24 pictures of one key, and all that is left to do for a key that is drawn uniformly:
    the posterior mean, by the pictures alone, and by what their spectra say of each cell beside that."""
    cosine, pictures = 0.36, [agreement(KEY, seed=seed) for seed in range(24)]
    cells, ours = Cells.of(KEY.pattern), pictures[0].ours
    drawn = np.array([np.ravel(spectrum(one)["cells"]) for one in pictures])
    told = cosine / (1 - cosine**2)
    by_pictures, by_both = np.zeros(ours.shape), np.zeros(ours.shape)
    for cell in range(drawn.shape[1]):
        mine = cells.index == cell
        seen = np.stack([one.seen[:, mine].ravel() for one in pictures])
        sure = (1 + len(pictures) * cosine * told) * np.eye(seen.shape[1])
        weight = 12 / (STEP * seen.shape[1]) ** 2
        right = told * seen.sum(0)
        by_pictures[:, mine] = np.linalg.solve(sure, right).reshape(len(ours), -1, 2)
        right = right + weight * seen.shape[1] * drawn[:, cell] @ seen
        by_both[:, mine] = np.linalg.solve(sure + weight * seen.T @ seen, right).reshape(len(ours), -1, 2)

    def worth(guess):
        """Pictures after which averaging comes as close to the key."""
        reached = (guess * ours).sum() / np.sqrt((guess**2).sum() * (ours**2).sum())
        return reached**2 / (1 - reached**2) / cosine / told

    assert worth(by_pictures) == pytest.approx(24, abs=1.5)
    assert 1 < worth(by_both) - worth(by_pictures) < 4
