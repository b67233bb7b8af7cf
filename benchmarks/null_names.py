"""`wmark bench null-names`: how often the three statements about names are made of pictures that do not carry them.

planted     every picture is read once, as the detector reads it, and told by each of many keyrings
searched    one keyring through `Detector.verify` with its defaults: every look, search and parts; a hundred real
            pictures of a kind as they are, which may be large, the others reduced to the model's size

A statement's p-value is a bound that pays for all that was tried, so its rates may fall short of the levels, and not
pass them. Over keyrings that holds exactly; for one keyring over pictures as far as readings have nothing in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..detectors.detector import Detector
from ..detectors.geometry import Size
from ..detectors.identity.identification import identify
from ..detectors.identity.places import Place, Places, as_planted, of_pilot
from ..detectors.identity.statements import Statements
from ..detectors.plan import SIGNS
from ..detectors.reading import prepare
from ..detectors.statistic import corrected
from ..files import sha256
from ..images.synthetic import periodic
from ..inversion.chain import recover
from ..models.latent_diffusion import LatentDiffusion
from ..models.sampling import Sampling
from ..progress import progress
from ..watermark.names import Names
from ..watermark.numbers import NUMBERS
from .corpus import Corpus
from .identities import STATEMENTS, issued, named_origins
from .null import corpus
from .null_readings import Subject, decoded, own, real, synthetics
from .null_statistics import LEVELS, kolmogorov, proportion
from .output import Columns, Rows, provenance, tabulate, write_results

__all__ = ["COLUMNS", "Extent", "run"]

GIVEN = 1 << 32
"""Numbers that every keyring has given out, so that some names are tested wherever an address is read."""

KINDS = ("photograph", "drawing", "screenshot", "flat", "noise", "periodic", "model", "another keyring's")
"""Kinds of pictures: shipped with packages, drawn by a few lines of code, made by the model."""

COLUMNS: Columns = {
    "pictures": "{kind}",
    "read": "{way}",
    "statement": "{statement}",
    "tests": "{tests}",
    **{f"below {level:g}": lambda r, level=f"{level:g}": shown(r["share_below"][level]) for level in LEVELS},
    "keyrings rejected at 5%": lambda r: "" if r["rejected"] is None else f"{r['rejected']:.1%}",
}


@dataclass(frozen=True)
class Extent:
    """How much is measured, of each kind of pictures.

    Attributes:
        keyrings: Keyrings that tell what was read where names are planted.
        pictures: Pictures that each of them is asked about, and that are drawn and made at all.
        searching: Keyrings with which the detector searches.
        searched: Pictures that it searches for each, as far as there are so many; beyond `pictures` reduced.
    """

    keyrings: int = 1000
    pictures: int = 100
    searching: int = 1
    searched: int = 500


def run(
    model: LatentDiffusion,
    extent: Extent = Extent(),
    *,
    data: Path | None,
    out: Path,
    sampling: Sampling = Sampling(),  # noqa: B008  A frozen value.
) -> dict:
    """Measure, print the table and write `null-names.{csv,json}`; returns what the JSON holds.

    Arguments:
        model: The model that is taken to have made the pictures.
        extent: How much is measured.
        data: Folder of real pictures, as of `wmark bench null`; None takes none.
        out: Folder of the results and of `null-names*.jsonl`, where an interrupted run goes on.
        sampling: How the model's own pictures are generated.
    """
    count, corpus_of_model = extent.pictures, Corpus(model, sampling, out, batch_size=6)
    subjects = [*real(corpus(data, None) if data else ()), *synthetics(count, model.native_size)]
    subjects += [*crafted(count, model.native_size), *own(corpus_of_model, count, 0)]
    subjects += marked_by_another(corpus_of_model, count)
    kinds = {kind: of for kind in KINDS if (of := [subject for subject in subjects if subject.kind == kind])}
    planted = {kind: of[: extent.pictures] for kind, of in kinds.items()}
    searched = {
        kind: [s if i < count else reduced(s, model.native_size) for i, s in enumerate(of[: extent.searched])]
        for kind, of in kinds.items()
    }
    rows = [*told_as_planted(model, planted, extent.keyrings, out), *told(model, searched, extent.searching, out)]
    result = {**provenance(model, extent=asdict(extent), numbers_given_out=GIVEN), "results": rows}
    write_results(out / "null-names", COLUMNS, rows, result)
    print(tabulate(COLUMNS, rows))
    return result


def shown(share: dict) -> str:
    """A share and the upper end of its interval."""
    return f"{share['share']:.3g} ({share['high']:.2g})"


def crafted(count: int, size: tuple[int, int]) -> list[Subject]:
    """Periodic pictures, whose spectra are a few lines: as far from noise as pictures come."""

    def subject(number: int) -> Subject:
        name = sha256(f"periodic {number} {size}".encode())
        return Subject("periodic", name, lambda: periodic(number, size))

    return [subject(number) for number in range(count)]


def reduced(subject: Subject, size: Size) -> Subject:
    """A picture that is no larger than (height, width) pixels."""

    def load() -> Image.Image:
        image = subject.load()
        image.thumbnail(size[::-1])
        return image

    return Subject(subject.kind, f"{subject.hash} reduced", load)


def marked_by_another(corpus: Corpus, count: int) -> list[Subject]:
    """Pictures that carry names of a keyring which is never asked for."""
    names = issued(NUMBERS, secret=b"wmark bench null another")
    _, origins = named_origins(names, corpus.model, count, seed=1)
    return decoded("another keyring's", corpus.model, corpus.latents(origins))


def told_as_planted(
    model: LatentDiffusion, kinds: dict[str, list[Subject]], keyrings: int, out: Path
) -> Iterator[dict]:
    """What each keyring says of every picture where names are planted, a row a kind and statement."""
    detector = Detector(model, names=keyring(0), align="off")
    settings = dict(about(detector), pictures={kind: len(of) for kind, of in kinds.items()})
    rows = Rows(out / "null-names.jsonl", settings, ("keyring", "kind"))
    missing = [k for k in range(keyrings) if any((k, kind) not in rows for kind in kinds)]
    with progress(sum(map(len, kinds.values())) if missing else 0, "picture") as bar:
        places = {kind: [*read(detector, of, bar)] for kind, of in kinds.items()} if missing else {}
    with progress(len(missing), "keyring") as bar:
        for k in missing:
            names = keyring(k)
            for kind, each in places.items():
                if (k, kind) in rows:
                    continue
                present = [float(corrected(of_pilot(place, names.pilot), SIGNS)) for place in each]
                read_at = [Places([place], p) for place, p in zip(each, present, strict=True)]
                said = [identify(one, names, len(detector.plan.looks), detector.fpr) for one in read_at]
                fit = float(kolmogorov(10 ** np.array(present)[:, None])[0])
                rows.add({"keyring": k, "kind": kind, **counted(said), "kolmogorov": fit})
            bar.update(1)
    for kind in kinds if keyrings else ():
        of = rows.select(kind=kind, keyring=range(keyrings))
        tests = sum(row["tests"] for row in of)
        for statement in STATEMENTS:
            below = np.sum([row[statement] for row in of], axis=0).tolist()
            rejected = float(np.mean([row["kolmogorov"] < 0.05 for row in of])) if statement == "presence" else None
            yield summarised(kind, "as planted", statement, tests, below, rejected)


def told(model: LatentDiffusion, kinds: dict[str, list[Subject]], keyrings: int, out: Path) -> Iterator[dict]:
    """What `Detector.verify` says, a row a kind and statement."""
    detectors = [Detector(model, names=keyring(k)) for k in range(keyrings)]
    rows = Rows(out / "null-names-searched.jsonl", about(detectors[0]) if detectors else {}, ("keyring", "picture"))
    with progress(keyrings * sum(map(len, kinds.values())), "search") as bar:
        for kind, of in kinds.items():
            for subject in of:
                missing = [k for k in range(keyrings) if (k, subject.hash) not in rows]
                image = subject.load() if missing else None
                for k in missing:
                    (verdict,) = detectors[k].verify(image)
                    p = {statement: round(getattr(verdict.names, statement).log10_p, 4) for statement in STATEMENTS}
                    rows.add({"keyring": k, "kind": kind, "picture": subject.hash, "look": verdict.look, **p})
                bar.update(keyrings)
    for kind, subjects in kinds.items() if keyrings else ():
        of = rows.select(kind=kind, keyring=range(keyrings), picture=[subject.hash for subject in subjects])
        for statement in STATEMENTS:
            below = [sum(row[statement] <= math.log10(level) for row in of) for level in LEVELS]
            yield summarised(kind, "searched", statement, len(of), below, None)


def keyring(k: int) -> Names:
    """Names of a keyring that exists nowhere."""
    return issued(GIVEN, secret=f"wmark bench null {k}".encode())


def about(detector: Detector) -> dict:
    """What statements depend on."""
    basis = detector.basis
    made = [basis.model_fingerprint, basis.left_inverse_fingerprint, basis.reader_fingerprint, basis.dtype]
    return {"model": made, "effort": basis.effort, "layout": detector.names.layout.to_json(), "given": GIVEN}


@torch.no_grad()
def read(detector: Detector, subjects: Sequence[Subject], bar) -> Iterator[Place]:
    """Where names would have been planted in each picture, as the detector's first look reads it."""
    recovery, pattern = detector.plan.looks[0].recovery, detector.names.layout.pattern
    for subject in subjects:
        noise = prepare(recover(detector.model, recovery, detector.as_whole(subject.load())[None]), pattern)
        canvas = detector.canvases(tuple(noise.shape[-2:]), pattern)[0].size
        (seen,) = as_planted(noise, detector.names.pilot, canvas, detector.looker.common(recovery))
        bar.update(1)
        yield seen.places[0]


def counted(said: Sequence[Statements]) -> dict:
    """How many of some statements lie below the levels."""
    p = {statement: np.array([getattr(one, statement).log10_p for one in said]) for statement in STATEMENTS}
    below = {name: [int((values <= math.log10(level)).sum()) for level in LEVELS] for name, values in p.items()}
    return {"tests": len(said), **below}


def summarised(kind: str, way: str, statement: str, tests: int, below: Sequence[int], rejected: float | None) -> dict:
    """One row, with Clopper and Pearson's intervals, which take all tests for independent."""
    shares = {f"{level:g}": proportion(hits, tests) for level, hits in zip(LEVELS, below, strict=True)}
    about = {"kind": kind, "way": way, "statement": statement, "tests": tests}
    return {**about, "share_below": shares, "rejected": rejected}
