"""`wmark bench impostors`: what somebody who holds marked images can forge of the design, in simulated readings.

The attacker has the model, and reads of each image what the verifier reads: `keep` of its coordinates, and white noise.
He knows the number of each image, where that helps him, and may plant whatever he has learnt at full strength in a
noise of his own, which the verifier reads in turn. Beside names stand what they are built to withstand: one key on all
images, and a codebook with public algebra (each name a row of a Hadamard matrix times one secret vector), which anybody
demodulates who knows the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..detectors.statistic import corrected, cosine, hypercone_log10_p
from ..watermark.layout import IssuerEntry
from ..watermark.names import Names
from .identities import LOOKS, drowned, issued, told
from .output import Columns, provenance, tabulate, write_results

__all__ = ["run"]

VICTIM = 987_654_321
KEEP = 0.56
"""Correlation of readings with the noise, of clean pictures of the embedded model."""

COLUMNS: Columns = {
    "attack": "{attack}",
    "against": "{against}",
    "images": "{images}",
    "presence": lambda r: shown(r["presence"]),
    "series": lambda r: shown(r["series"]),
    "identity": lambda r: shown(r["identity"]),
    "forged or kept": "{outcome}",
}


def shown(log10_p: float | None) -> str:
    return "" if log10_p is None else f"{log10_p:.1f}"


def run(*, images: int, fpr: float, seed: int, out: Path) -> dict:
    """Attack, print the table and write `impostors.{csv,json}`; returns what the JSON holds.

    Arguments:
        images: Images that the attackers of sections hold.
        fpr: False-positive rate of each statement.
        seed: Seed of numbers and noise.
        out: Folder of the results.
    """
    rng = np.random.default_rng(seed)
    names = issued(1 << 30)
    counts = [n for n in (1, 2, 10, 50, 200) if n <= images]
    numbers = distinct(images, rng)
    readings = np.stack([drowned(names.coordinates(int(n)), KEEP, rng).astype(np.float32) for n in numbers])
    rows = [
        *averaging(names, numbers, readings, counts, fpr, rng),
        *sections(names, numbers, readings, fpr, rng),
        stolen(names, fpr, rng),
        *of_one_key(names, counts, fpr, rng),
        *of_algebra(names, counts, fpr, rng),
    ]
    result = {**provenance(images=images, fpr=fpr, seed=seed, keep=KEEP), "results": rows}
    write_results(out / "impostors", COLUMNS, rows, result)
    print(tabulate(COLUMNS, rows))
    return result


def distinct(count: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of images, none twice."""
    return np.unique(rng.integers(0, 1 << 30, 2 * count))[rng.permutation(count)]


def judged(forged: np.ndarray, names: Names, fpr: float, rng: np.random.Generator, known: Sequence[int]) -> dict:
    """What is said of an image that was planted with coordinates of any length, and whose name that is."""
    own = forged / np.sqrt(np.mean(forged**2))
    said = told(drowned(own, KEEP, rng), names, fpr)
    if not said.identity.found:
        outcome = "series" if said.series.found else "presence" if said.presence.found else "nothing"
    else:
        outcome = "identity of an image he holds" if said.named.number in known else "IDENTITY OF ANOTHER IMAGE"
    parts = {part: getattr(said, part).log10_p for part in ("presence", "series", "identity")}
    return {**parts, "outcome": outcome, "number": said.addressed}


def averaging(
    names: Names, numbers: np.ndarray, readings: np.ndarray, counts: list[int], fpr: float, rng: np.random.Generator
) -> Iterator[dict]:
    """The mean of n readings, planted; and taken out of another image, as far as it goes and past zero."""
    for n in counts:
        mean = readings[:n].mean(0)
        row = {"attack": "mean planted" if n > 1 else "copied", "against": "names", "images": n}
        yield {**row, **judged(mean, names, fpr, rng, numbers[:n])}
    for n in counts[2:]:
        mean = readings[:n].mean(0)
        mean = mean / np.linalg.norm(mean)
        own = names.coordinates(VICTIM)
        for label, far in (("mean taken out", 1), ("mean taken out past zero", 2)):
            left = judged(own - far * (own @ mean) * mean, names, fpr, rng, [VICTIM])
            yield {"attack": label, "against": "names", "images": n, **left, "outcome": kept(left)}


def kept(left: dict) -> str:
    """What is left of the mark of an image that something was taken out of."""
    return "identity kept" if "holds" in left["outcome"] else f"{left['outcome']} kept"


def sections(
    names: Names, numbers: np.ndarray, readings: np.ndarray, fpr: float, rng: np.random.Generator
) -> Iterator[dict]:
    """Sections learnt: by who knows digits and coordinates of each image, and by who compares images blindly."""
    found = names.sections
    pilot = readings.mean(0)
    rest, digits = readings - pilot, found.digits_of(numbers)
    learnt = pilot.copy()
    target = [np.bincount(column, minlength=names.layout.digits).argmax() for column in digits.T]
    for section, digit in enumerate(target):
        own = rest[digits[:, section] == digit].mean(0)[found.addressed[section]]
        learnt[found.addressed[section]] += own / np.sqrt(np.mean(own**2))
    learnt[found.named] += rng.standard_normal(len(found.named))
    forged = judged(learnt, names, fpr, rng, numbers)
    yield {"attack": "sections learnt, digits known", "against": "names", "images": len(numbers), **forged}

    for label, far, meant in (
        ("address taken out", 1, names),
        ("address taken out past zero", 2, names),
        ("the same, number given", 2, names.expecting([VICTIM])),
    ):
        left = judged(without_address(names, rest, digits, far), meant, fpr, rng, [VICTIM])
        yield {"attack": label, "against": "names", "images": len(numbers), **left, "outcome": kept(left)}

    unit = rest / np.linalg.norm(rest, axis=1, keepdims=True)
    alike = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    shared = np.zeros(len(alike), dtype=bool)
    for column in digits.T:
        shared |= (column[:, None] == column)[np.triu_indices(len(unit), 1)]
    best = np.argsort(-alike)[: int(shared.sum())]
    outcome = f"{shared[best].mean():.0%} of the {len(best)} most alike pairs share a digit"
    blank = {"presence": None, "series": None, "identity": None}
    yield {"attack": "pairs compared", "against": "names", "images": len(numbers), **blank, "outcome": outcome}


def without_address(names: Names, rest: np.ndarray, digits: np.ndarray, far: int) -> np.ndarray:
    """The victim's coordinates, less so many times what images that share a digit have in common in its section."""
    own = names.coordinates(VICTIM)
    for section, digit in enumerate(names.sections.digits_of(VICTIM)):
        sharing, block = rest[digits[:, section] == digit], names.sections.addressed[section]
        if len(sharing):
            mean = sharing.mean(0)[block]
            own[block] -= far * (own[block] @ mean) / (mean @ mean) * mean
    return own


def stolen(names: Names, fpr: float, rng: np.random.Generator) -> dict:
    """An issuer's file planted under a number of another issuer: pilot and address are known, the name is not."""
    shared, own = names.secrets("bench")
    other = Names(names.layout, shared, {IssuerEntry("thief", 0, 1 << 30, ""): own.derive(b"thief")}, names.keyring)
    forged = judged(other.coordinates(123_456), names, fpr, rng, np.zeros(0))
    return {"attack": "stolen issuer", "against": "names of another issuer", "images": 0, **forged}


def of_one_key(names: Names, counts: list[int], fpr: float, rng: np.random.Generator) -> Iterator[dict]:
    """The mean of n images that all carry one key at strength 0.5, planted: the key is the identity."""
    key = rng.standard_normal(names.layout.pattern.dimension)

    def image(_: int) -> np.ndarray:
        return 0.5 * key + np.sqrt(0.75) * rng.standard_normal(len(key))

    yield from forgeries("mean planted", "one key on all", image, lambda one, _: one, key, (counts, fpr, rng))


def of_algebra(names: Names, counts: list[int], fpr: float, rng: np.random.Generator) -> Iterator[dict]:
    """Names that are rows of a Hadamard matrix times one secret vector: demodulated, averaged, and given a number."""
    dimension = names.layout.pattern.dimension
    secret = rng.standard_normal(dimension)

    def row(number: int) -> np.ndarray:
        parity = np.arange(dimension) & number
        for shift in (8, 4, 2, 1):
            parity ^= parity >> shift
        return 1.0 - 2.0 * (parity & 1)

    def image(number: int) -> np.ndarray:
        return 0.95 * secret * row(number) + np.sqrt(1 - 0.95**2) * rng.standard_normal(dimension)

    target = 16_001
    yield from forgeries(
        "demodulated, mean planted", "Hadamard codebook", image, lambda one, number: one * row(number) * row(target),
        secret * row(target), (counts, fpr, rng),
    )  # fmt: skip


def forgeries(
    attack: str, against: str, image: Callable, turned: Callable, key: np.ndarray, settings: tuple
) -> Iterator[dict]:
    """One row for each count: the mean of turned readings, planted, and tested for a key that is the identity."""
    counts, fpr, rng = settings
    readings = [turned(drowned(image(number), KEEP, rng), number) for number in range(1, max(counts) + 1)]
    for n in counts:
        mean = np.mean(readings[:n], axis=0)
        seen = drowned(mean / np.sqrt(np.mean(mean**2)), KEEP, rng)
        p = float(corrected(hypercone_log10_p(cosine(seen, key / np.linalg.norm(key)), len(key)), 2.0**40 * LOOKS))
        forged = "IDENTITY OF ANOTHER IMAGE" if p <= np.log10(fpr) else "nothing"
        yield {
            "attack": attack, "against": against, "images": n, "presence": None, "series": None, "identity": p,
            "outcome": forged,
        }  # fmt: skip
