"""What attackers attack: pictures that carry one fixed key, or a name each and a ledger's row, and who judges them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..detectors.detector import Detector
from ..detectors.verdict import Verdict
from ..ledger.account import account_of
from ..ledger.registration import row_of
from ..ledger.seals import Seals
from ..ledger.store import Ledger
from ..models.prompts import draw_prompts
from ..watermark.keys import Key
from ..watermark.noise import named_noise
from ..watermark.numbers import NUMBERS
from ..watermark.patterns import Pattern
from ..watermark.record import MarkedImage
from .corpus import UNSEEN, Corpus, Origin, pictures
from .identities import issued

__all__ = ["AGAINST", "Victim", "Victims", "victims"]

AGAINST = ("one key", "names")


@dataclass(frozen=True, eq=False)
class Victim:
    """A marked picture that the attacker holds.

    Attributes:
        index: Which one.
        against: What it carries, of :data:`AGAINST`.
        picture: The picture.
        seed: The seed that its record names.
        cover: A picture of other noise and another prompt, which carries nothing.
    """

    index: int
    against: str
    picture: Image.Image
    seed: int
    cover: Image.Image


@dataclass(frozen=True, eq=False)
class Victims:
    """Marked pictures, and what says of any picture what it carries.

    Attributes:
        each: The pictures, by index and by what they carry.
        patterns: Where marks live, by what they are; public.
        detectors: Who is asked.
        ledger: Where the named ones are registered.
    """

    each: tuple[Victim, ...]
    patterns: dict[str, Pattern]
    detectors: dict[str, Detector]
    ledger: Ledger

    def verdict(self, against: str, picture: Image.Image) -> Verdict:
        (verdict,) = self.detectors[against].verify(picture)
        return verdict

    def judged(self, victim: Victim, picture: Image.Image) -> dict:
        """What is said of a picture that an attacker made of a victim's.

        `presence` and `identity` are log10 p, `present` and `identified` whether they are found, `other` whether the
        identity is another picture's, `transplant` what the ledger says, and `likeness` how alike it is to what was
        registered. A fixed key has no presence of its own.
        """
        verdict = self.verdict(victim.against, picture)
        said, row = verdict.names, {"inverted": verdict.found and verdict.inverted, "look": verdict.look}
        if said is None:
            p = {"presence": None, "identity": verdict.log10_p}
            return {
                **row,
                **p,
                "present": verdict.found,
                "identified": verdict.found,
                "other": False,
                "transplant": None,
                "likeness": None,
            }
        account = verdict.name and account_of(
            self.ledger, verdict.name.number, lambda: picture, verdict.undoing, said.identity.log10_p
        )
        return {
            **row,
            "presence": said.presence.log10_p,
            "identity": said.identity.log10_p,
            "present": said.presence.found or said.series.found,
            "identified": verdict.name is not None,
            "other": verdict.name is not None and verdict.name.number != victim.index,
            "transplant": account and account.transplant,
            "likeness": account and account.likeness and account.likeness.score,
        }


@contextmanager
def victims(corpus: Corpus, images: int, fpr: float, seed: int) -> Iterator[Victims]:
    """So many pictures with one fixed key, and as many with names, of the same prompts; the latter are registered."""
    model = corpus.model
    names, key = issued(NUMBERS), Key.derive(b"wmark bench attackers".ljust(32, b"\0"), "key-1", Pattern.of())
    prompts, others = draw_prompts(images, seed), draw_prompts(images, UNSEEN + seed)
    seeds, shape = [seed * 100_000 + i for i in range(images)], model.latent_shape(*model.native_size)
    origins = [Origin.draw(model, prompt, s, key) for prompt, s in zip(prompts, seeds, strict=True)]
    origins += [
        Origin(p, named_noise(names, i, s, shape).float()) for i, (p, s) in enumerate(zip(prompts, seeds, strict=True))
    ]
    origins += [Origin.draw(model, prompt, UNSEEN + s) for prompt, s in zip(others, seeds, strict=True)]
    made = pictures(model, corpus.latents(origins))
    keyed, named, covers = (made[images * i : images * (i + 1)] for i in range(3))
    each = [
        Victim(i, against, pictures_[i], seeds[i], covers[i])
        for i in range(images)
        for against, pictures_ in zip(AGAINST, (keyed, named), strict=True)
    ]
    seals, (entry,) = Seals.of(names), names.issuers
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder, "ledger.sqlite"), seals, create=True) as ledger:
        for number, picture in zip(ledger.reserve(images, entry), named, strict=True):
            marked = MarkedImage(picture, {"model": {"name": model.name, "fingerprint": model.fingerprint}})
            ledger.register(row_of(marked, number, entry.name, "", seals))
        patterns = dict(zip(AGAINST, (key.pattern, names.layout.pattern), strict=True))
        detectors = dict(
            zip(AGAINST, (Detector(model, key, fpr=fpr), Detector(model, names=names, fpr=fpr)), strict=True)
        )
        yield Victims(tuple(each), patterns, detectors, ledger)
