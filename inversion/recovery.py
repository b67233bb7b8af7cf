"""How the initial noise is recovered, as values: decoder inversion, then diffusion inversion, each with its settings.

Where a model has a learned reader (:mod:`wmark.models.reader`), that is the first and the fastest way, and what an
inversion recovers is averaged with what the reader says.

The defaults were chosen on the embedded model (`wmark bench decoder-inversion` and `latent`). Three iterations of
Anderson's method win seven orders of magnitude in the p-value of a clean image; more of them fit the damage of a
damaged one. The tuned left inverse neither wins nor loses on this model, whose encoder was trained on its own images;
it is the default for those whose encoder was not. 5 DDIM steps are the best after compression and noise, because long
inversions amplify what error the latent has left, and 10 are little better when clean; only from the true latent, which
no detector knows, do more steps read more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import WmarkError

__all__ = [
    "DECODER_INVERSIONS",
    "DIFFUSION_INVERSIONS",
    "EFFORTS",
    "EXACT",
    "FAST",
    "LATENT",
    "READER",
    "STEP",
    "TURNED",
    "Recovery",
    "recoveries",
]

DECODER_INVERSIONS = {
    "encoder": "encoder_only",
    "forward": "forward_step",
    "km": "inertial_km",
    "adam": "adam",
    "gradient": "gradient_based",
    "anderson": "anderson",
}
"""Functions of :mod:`.decoder` by the name that the command line and the verdicts use."""

DIFFUSION_INVERSIONS = {
    "ddim": "ddim",
    "exact-ddim": "exact_ddim",
    "dpmsolver++": "dpmsolver",
    "unipc": "unipc",
    "wired": "wired",
}
"""Functions of :mod:`.diffusion` by the name that the command line and the verdicts use."""

ONE_PASS = ("reader", "none")
"""In the place of a diffusion inversion: the model's learned reader, or the latent as it is."""


@dataclass(frozen=True)
class Recovery:
    """How the initial noise is recovered.

    Arguments:
        name: What verdicts call it.
        decoder: A name in :data:`DECODER_INVERSIONS`.
        iterations: Iterations of the decoder inversion; None takes its own default.
        options: Further options of the decoder inversion.
        diffusion: A name in :data:`DIFFUSION_INVERSIONS`, or in :data:`ONE_PASS`, which take no steps.
        steps: Steps of the diffusion inversion.
        tuned: Whether the model's left inverse, if one was tuned, stands where the encoder stands. Anderson's method
            still starts from the encoder.
        beside: Weight of what is recovered, whitened, beside what the model's reader says; None reads it alone.
        turned: Whether the reader is shown the latent of the picture with its colours turned half-way round.

    Raises:
        WmarkError: If a name is not known, or a number is out of its range.
    """

    name: str
    decoder: str = "encoder"
    iterations: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    diffusion: str = "ddim"
    steps: int = 5
    tuned: bool = True
    beside: float | None = None
    turned: bool = False

    def __post_init__(self) -> None:
        for kind, chosen, known in (
            ("decoder", self.decoder, DECODER_INVERSIONS),
            ("diffusion", self.diffusion, (*DIFFUSION_INVERSIONS, *ONE_PASS)),
        ):
            if chosen not in known:
                raise WmarkError(f"unknown {kind} inversion {chosen!r}: choose one of {', '.join(known)}")
        if self.steps < 1 or (self.iterations is not None and self.iterations < 1):
            raise WmarkError(f"{self.steps} steps and {self.iterations} iterations: both are 1 at least")
        if self.beside is not None and not 0 < self.beside < math.inf:
            raise WmarkError(f"a weight of {self.beside!r} beside the reader is not above 0")
        if self.turned and self.diffusion != "reader":
            raise WmarkError("nothing but a reader reads turned colours")

    @property
    def needs_reader(self) -> bool:
        """Whether it is possible only with a model that has a learned reader."""
        return self.diffusion == "reader" or self.beside is not None

    @property
    def decoding(self) -> tuple:
        """What the clean latent depends on."""
        return self.decoder, self.iterations, dict(self.options), self.tuned


READER = Recovery("reader", diffusion="reader", tuned=False)
TURNED = replace(READER, name="turned", turned=True)
LATENT = Recovery("latent", diffusion="none")
STEP = Recovery("step", steps=1)
FAST = Recovery("fast")
EXACT = Recovery("exact", "anderson", 3)

EFFORTS: dict[str, tuple[Recovery, ...]] = {"fast": (FAST,), "auto": (FAST, EXACT), "exact": (EXACT,)}
"""What an effort runs of inversions, where no learned reader is to take part."""


def recoveries(
    effort: str = "auto",
    decoder: str | None = None,
    iterations: int | None = None,
    diffusion: str | None = None,
    steps: int | None = None,
    tuned: bool = True,
) -> tuple[Recovery, ...]:
    """What an effort tries in turn, with parts replaced, None keeping the effort's own.

    Arguments:
        effort: `fast` (one call of the left inverse or the encoder), `exact` (iterated decoder inversion), or `auto`:
            fast first, exact only if that was not decisive.
        decoder, iterations, diffusion, steps, tuned: As in :class:`Recovery`; the encoder alone has no
            iterations.

    Raises:
        WmarkError: If there is no such effort, or a part is not possible.
    """
    if effort not in EFFORTS:
        raise WmarkError(f"effort {effort!r} is not one of {', '.join(EFFORTS)}")
    chosen: list[Recovery] = []
    for recovery in EFFORTS[effort]:
        method = decoder or recovery.decoder
        own = recovery.iterations if method == recovery.decoder else None
        custom = replace(
            recovery,
            decoder=method,
            iterations=None if method == "encoder" else iterations or own,
            diffusion=diffusion or recovery.diffusion,
            steps=steps or recovery.steps,
            tuned=tuned,
        )
        if all(replace(custom, name=other.name) != other for other in chosen):
            chosen.append(custom)
    return tuple(chosen)
