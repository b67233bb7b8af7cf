"""The attacks of `wmark bench attackers`: from a marked picture that somebody holds to what he makes of it.

He has a model, and what is public: the pattern where marks live, the seed that the record names, and a detector that
answers. He knows no key and no prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from ..attacks import damaged
from ..attacks.oracle import boundary, walk
from ..detectors.verdict import Verdict
from ..images import to_image, to_pixels, to_tensor
from ..inversion.chain import Recovered
from ..inversion.forging import Imprinting, imprint, stolen
from ..inversion.marking.blending import blended, radius
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..watermark.noise import white_noise
from ..watermark.patterns import Pattern
from ..watermark.secret import Secret
from ..watermark.spectrum import changed, mask_coordinates
from .attackers_victims import Victim
from .corpus import UNSEEN

__all__ = ["ATTACKS", "Attack", "Extent", "Holder", "Made"]

ALLOWED = 30.0
"""PSNR in dB that an attacker allows himself who sees numbers."""

WASHED = ("regeneration:0.2", "regeneration:0.4", "regeneration:0.6")
"""What a picture may look like from which somebody starts who wants its mark gone."""

SPREAD = 0.3
"""Of the random changes of latents that oracles are asked about, in units of the latent's own."""


@dataclass(frozen=True)
class Extent:
    """How much is attacked.

    Attributes:
        images: Pictures with one fixed key, and as many with names.
        prompts: Replays of each.
        levels: PSNRs in dB at which imprints are judged.
        oracle_images: Those of the pictures about which a detector is asked.
        queries: Times it is.
        imprinting: How a noise is pressed into a picture.
    """

    images: int = 8
    prompts: int = 2
    levels: tuple[float, ...] = (40.0, 35.0, 30.0, 25.0)
    oracle_images: int = 1
    queries: int = 150
    imprinting: Imprinting = Imprinting()  # noqa: RUF009  A frozen value.


@dataclass(frozen=True, eq=False)
class Holder:
    """An attacker and the picture that he holds.

    Attributes:
        model: His model.
        victim: The picture.
        pattern: Where marks of its kind live.
        ask: The detector's verdict on a picture.
        extent: How much he does.
    """

    model: LatentDiffusion
    victim: Victim
    pattern: Pattern
    ask: Callable[[Image.Image], Verdict] = field(repr=False)
    extent: Extent

    @cached_property
    def stolen(self) -> Recovered:
        """The noise of the picture, as he recovers it."""
        return stolen(self.model, to_pixels(self.victim.picture))

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.victim.seed + 1)

    def painted(self, noise: Tensor, prompt: str) -> Image.Image:
        """The picture of a noise (1, C, h, w) under a prompt."""
        with torch.no_grad():
            return to_image(self.model.decode(self.model.sample(noise, [prompt]))[0])

    def prompts(self) -> list[str]:
        """His own."""
        return draw_prompts(self.extent.prompts, 2 * UNSEEN + self.victim.seed)


@dataclass(frozen=True, eq=False)
class Made:
    """What an attack made.

    Attributes:
        asked: The setting that it was made with: number of the prompt, PSNR, or queries.
        picture: The picture.
        like: The picture that it is to look like; None if any will do.
        about: What else is worth knowing.
    """

    asked: float
    picture: Image.Image
    like: Image.Image | None = None
    about: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: What tables call it.
        settings: What rows it makes, given the extent.
        make: The attack.
        unit: Of the settings; None where their rows are one row of the table.
        proxy: Whether another model than the one that made the picture may do.
        oracle: Whether it asks the detector.
        forges: Whether it puts a mark where there was none, or else takes it away.
    """

    name: str
    settings: Callable[[Extent], Sequence[float]]
    make: Callable[[Holder], Iterator[Made]]
    unit: str | None = None
    proxy: bool = False
    oracle: bool = False
    forges: bool = True


def nothing(holder: Holder) -> Iterator[Made]:
    """The marked picture as it is."""
    yield Made(0, holder.victim.picture)


def replay(holder: Holder) -> Iterator[Made]:
    """Its noise sampled again, with other prompts."""
    noise = holder.stolen.reading
    for number, prompt in enumerate(holder.prompts()):
        yield Made(number, holder.painted(noise, prompt))


def pressed(holder: Holder, picture: Image.Image, target: Tensor) -> Iterator[Made]:
    """A noise pressed into a picture, at each of the PSNRs."""
    found = imprint(holder.model, to_tensor(picture), target, holder.extent.imprinting)
    about = {"cosine_before": found.before, "cosine_after": found.after}
    for level in holder.extent.levels:
        yield Made(level, blended(picture, found.change, level), picture, about)


def imprinted(holder: Holder) -> Iterator[Made]:
    """Its noise pressed into the cover."""
    yield from pressed(holder, holder.victim.cover, holder.stolen.noise)


def reversed_(holder: Holder) -> Iterator[Made]:
    """The opposite of its noise pressed into itself: past zero."""
    yield from pressed(holder, holder.victim.picture, -holder.stolen.noise)


def replaced(holder: Holder) -> Iterator[Made]:
    """Noise that has nothing to do with its own pressed into itself."""
    own = holder.stolen.noise
    yield from pressed(holder, holder.victim.picture, own.std() * torch.randn(own.shape, generator=holder.generator()))


def directions(model: LatentDiffusion, picture: Image.Image, generator: torch.Generator) -> Callable[[], Tensor]:
    """Draws changes of a picture, as random ones of its latent make them."""
    with torch.no_grad():
        latent = model.encode(to_tensor(picture)[None].to(model.device))
        before = model.decode(latent)

    @torch.no_grad()
    def draw() -> Tensor:
        step = SPREAD * latent.std() * torch.randn(latent.shape, generator=generator).to(latent)
        return (model.decode(latent + step) - before)[0].float().cpu()

    return draw


def bordering(holder: Holder, *, forge: bool) -> Iterator[Made]:
    """Told yes or no: the picture nearest to the original without a mark, or nearest to the cover with one."""
    victim = holder.victim
    if forge:
        kept, starts = victim.cover, [victim.picture]
    else:
        washed = [damaged(name, victim.picture, seed=0, model=holder.model) for name in WASHED]
        kept, starts = victim.picture, [*washed, victim.cover]
    found = boundary(
        lambda x: holder.ask(to_image(x)).found == forge,
        to_tensor(kept),
        [to_tensor(start) for start in starts],
        directions(holder.model, kept, holder.generator()),
        holder.extent.queries,
    )
    yield Made(holder.extent.queries, to_image(found), kept)


def walking(holder: Holder, *, forge: bool) -> Iterator[Made]:
    """Told what is printed of p: the most or the least of it, no farther than a PSNR from the cover or the original."""
    kept = holder.victim.cover if forge else holder.victim.picture
    start, sign = to_tensor(kept), 1 if forge else -1
    found = walk(
        lambda x: sign * holder.ask(to_image(x)).to_json()["log10_p"],
        start,
        directions(holder.model, kept, holder.generator()),
        radius(start.shape, ALLOWED),
        holder.extent.queries,
    )
    yield Made(holder.extent.queries, to_image(found), kept)


def copied(holder: Holder, *, seed: bool) -> Iterator[Made]:
    """What stands in its noise where marks live, put into fresh noise; less the seed's own noise if that is known.

    What a seed draws is drawn from a secret as well (:mod:`..watermark.noise`): the noise that an attacker can draw
    from it has nothing in common with the picture's.
    """
    noise = holder.stolen.reading.cpu()
    own = white_noise(Secret(b"anybody's".ljust(32, b"\0")), holder.victim.seed, noise.shape[1:]).to(noise)[None]
    cosine = float((noise * own).sum() / (noise.norm() * own.norm()))
    if seed:
        noise = noise - cosine * noise.norm() / own.norm() * own
    fresh = torch.randn(noise.shape, generator=holder.generator())
    forged = changed(
        fresh, mask_coordinates(noise, holder.pattern) - mask_coordinates(fresh, holder.pattern), holder.pattern
    )
    about = {"seed_deviations": cosine * math.sqrt(noise.numel())}
    yield Made(0, holder.painted(forged, holder.prompts()[0]), about=about)


def once(extent: Extent) -> Sequence[float]:
    return (0,)


def each_prompt(extent: Extent) -> Sequence[float]:
    return range(extent.prompts)


def each_level(extent: Extent) -> Sequence[float]:
    return extent.levels


def each_budget(extent: Extent) -> Sequence[float]:
    return (extent.queries,)


def oracle(name: str, make: Callable, forge: bool) -> Attack:
    return Attack(name, each_budget, lambda h: make(h, forge=forge), "queries", oracle=True, forges=forge)


ATTACKS = (
    Attack("none", once, nothing),
    Attack("replay", each_prompt, replay, proxy=True),
    Attack("imprint", each_level, imprinted, "dB", proxy=True),
    Attack("copied into fresh noise", once, lambda h: copied(h, seed=False)),
    Attack("the same, seed known", once, lambda h: copied(h, seed=True)),
    oracle("forged by yes and no", bordering, True),
    oracle("forged by p", walking, True),
    Attack("removed past zero", each_level, reversed_, "dB", proxy=True, forges=False),
    Attack("removed by other noise", each_level, replaced, "dB", proxy=True, forges=False),
    oracle("removed by yes and no", bordering, False),
    oracle("removed by p", walking, False),
)
