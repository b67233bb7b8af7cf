"""Rectified flows in the parts of Stable Diffusion: `StableDiffusionPipeline` with a FlowMatchEulerDiscreteScheduler.

The U-Net is asked at 1000 t (the scheduler's `num_train_timesteps` for 1000) and answers with the velocity of the
straight path `z_t = (1 - t) x0 + t eps`,

    v = eps - x0,        x0 = z_t - t v,        eps = z_t + (1 - t) v.

In one step this is the one-step model of InstaFlow. diffusers' own pipeline doesn't run such a scheduler; the times are
its scheduler's, the steps those of :mod:`..multistep`, where DDIM on these levels is Euler's method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ...errors import ModelError
from ..schedule import RectifiedSchedule

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler

__all__ = ["FlowDenoiser"]

OTHERWISE = ("use_dynamic_shifting", "stochastic_sampling", "invert_sigmas")
"""Settings of the scheduler under which it is another sampler, or another one for each size of image."""


class FlowDenoiser:
    """A U-Net that predicts the velocity of a rectified flow.

    Arguments:
        unet: The network.
        scheduler: The pipeline's scheduler.

    Raises:
        ModelError: If it shifts its times with the size of the image, adds noise, or runs the other way.
    """

    prediction_type = "flow"

    def __init__(self, unet: nn.Module, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        for name in OTHERWISE:
            if scheduler.config.get(name):
                raise ModelError(f"its scheduler has {name} on, with which no inversion knows its times: turn it off")
        self.unet, self.timesteps = unet, scheduler.config.num_train_timesteps
        self.schedule = RectifiedSchedule(scheduler.config.shift)

    def predict(self, z: Tensor, t: float, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Data and noise prediction of latents (B, C, h, w); see :class:`~..base.Denoiser`."""
        asked = z.to(self.unet.device, self.unet.dtype)
        condition = condition.expand(len(z), -1, -1)
        velocity = self.unet(asked, self.timesteps * t, encoder_hidden_states=condition).sample.float()
        z = z.float()
        return z - t * velocity, z + (1 - t) * velocity
