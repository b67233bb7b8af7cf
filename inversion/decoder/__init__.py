"""Image -> clean latent: inverting the decoder of a latent diffusion model.

Given `x = D(z*)`, find `z*`. Solving `D(z) = x` needs the gradient of `D`. Hong et al. (NeurIPS 2024, arXiv 2409.18442)
solve the weaker

    T(z) := E(D(z)) - E(x) = 0,        from z_0 = E(x),

by iterations that only call `E` and `D`:

    forward step    z <- z - rho T(z)
    inertial KM     y = z_k + alpha (z_k - z_{k-1}),  z_{k+1} = y - 2 lambda rho T(y)
    Adam            T(z) stands where Adam expects a gradient
    Anderson        the forward step after the best combination of the last few steps, fitted in the image (ours)
    clip            Anderson on frames in order, each begun with the correction of the one before (ours)

They converge where `T` is cocoercive, which holds near the data for some autoencoders and fails for others. The loop
that they all run in (:mod:`.iteration`) keeps that from doing harm.

Solvers are functions of the coders `E` and `D` and of the image alone. Iterates are float32 whatever the
precision of the model.
"""

from __future__ import annotations

from .accelerated import anderson
from .clips import invert_clip
from .iteration import DecoderInversion
from .paper import adam, encoder_only, forward_step, gradient_based, inertial_km, paper_schedule

__all__ = [
    "DecoderInversion",
    "adam",
    "anderson",
    "encoder_only",
    "forward_step",
    "gradient_based",
    "inertial_km",
    "invert_clip",
    "paper_schedule",
]
