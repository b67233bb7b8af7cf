"""Clean latent -> initial noise: running the sampler backwards.

Samplers are tables of numbers (:mod:`...models.multistep`): with `x0_i` the data prediction at `z_i`,

    z_{i+1} = carry_i z_i + sum_j weights_ij x0_{i-j}.

Inversion knows `z_{i+1}` and looks for `z_i`. The naive answer puts `eps(z_{i+1}, .)` in the place of `eps(z_i, t_i)`,
which is unknown, and is the same for all samplers; :func:`predictor_corrector` asks the network once, where it expects
`z_i`, and updates the equation for `z_i` with what it says; the exact one solves the equation for `z_i` from there, by
fixed-point iteration (Hong et al., CVPR 2024, arXiv 2311.18387) or by Anderson's method. The history that samplers of
higher order look at is unknown on the way up: it is frozen, and refined from sweep to sweep.

At which time the naive step asks for `eps(z_s, .)` matters. The literature takes s or t; the middle of the two reads a
key better after compression and noise than s, and better than t in few steps.

Solvers are functions of a predictor `(z, t) -> (x0, eps)` and the times of a sampler, for latents of any rank. To
invert what a scheduler of diffusers made, take its own times (:func:`...models.schedule.visited`).
"""

from __future__ import annotations

from ...models.multistep import Predictor
from .implicit import Correction
from .solvers import DiffusionInversion, ddim, dpmsolver, exact_ddim, invert, naive, predictor_corrector, unipc
from .wired import unwired, wired

__all__ = [
    "Correction",
    "DiffusionInversion",
    "Predictor",
    "ddim",
    "dpmsolver",
    "exact_ddim",
    "invert",
    "naive",
    "predictor_corrector",
    "unipc",
    "unwired",
    "wired",
]
