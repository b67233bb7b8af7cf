"""Frames of a clip: the encoder errs alike on neighbours, so what was corrected on one is corrected on the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.base import Coders
from .accelerated import anderson
from .iteration import DecoderInversion

__all__ = ["invert_clip"]


def invert_clip(
    coders: Coders,
    frames: Tensor,
    *,
    iterations: int = 1,
    first_iterations: int = 8,
    callback: Callable[[int], None] | None = None,
    **options,
) -> DecoderInversion:
    """Anderson's method on frames in their order, each started where the one before suggests,

        z_t  from  E(x_t) + (z_{t-1} - E(x_{t-1})),

    unless its decoder inversion is better begun anew, as at a cut: the nearer of the two decoded images decides, so no
    frame starts farther from its image than the encoder's answer. One frame is held at a time, however long the clip.

    Arguments:
        coders: `E` or a tuned left inverse, `D`, and where to start.
        frames: The clip, with shape (F, 3, H, W) in [-1, 1].
        iterations: Largest number of updates of a frame that follows another.
        first_iterations: The same of the first frame, and of those that are begun anew.
        callback: Called after each frame with the number of frames that are ready.
        options: Other options of :func:`anderson`.

    Returns:
        As for a batch of F images. The two calls of `D` with which a frame chooses its start are counted, too.
    """
    found = []
    correction: Tensor | None = None
    for frame in frames.split(1):
        encoded = coders.begin(frame).float()
        start, carried = encoded, False
        if correction is not None:
            candidates = encoded, encoded + correction
            distances = [(coders.decode(z).float().clamp(-1, 1) - frame).square().mean() for z in candidates]
            carried = bool(distances[1] < distances[0])
            start = candidates[carried]
        count = iterations if carried else first_iterations
        begun = Coders(coders.encode, coders.decode, start=lambda _, z=start: z)
        one = anderson(begun, frame, iterations=count, **options)
        one.calls.add_(2 * (correction is not None))
        correction = one.latent - encoded
        found.append(one)
        if callback:
            callback(len(found))
    return _joined(found)


def _joined(parts: list[DecoderInversion]) -> DecoderInversion:
    length = max(len(part.history) for part in parts)
    history = [F.pad(part.history, (0, 0, 0, length - len(part.history)), value=torch.nan) for part in parts]
    names = [field.name for field in fields(DecoderInversion) if field.name != "history"]
    rest = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return DecoderInversion(history=torch.cat(history, dim=1), **rest)
