"""A small U-Net without the cost of launching its kernels, one by one, from Python: that is what a GPU waits for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .loop import Stage
from .precision import autocast

__all__ = ["Predicting", "predicting"]


class Predicting(nn.Module):
    """A U-Net's prediction, in the precision of a stage.

    Arguments:
        unet: The U-Net.
        stage: The stage.
    """

    def __init__(self, unet: nn.Module, stage: Stage) -> None:
        super().__init__()
        self.unet, self.device, self.precision = unet, stage.device, stage.precision
        self.train(unet.training)

    def forward(self, noisy: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """The prediction (B, C, h, w), in float32, for latents, times (B,) and texts (B, L, D)."""
        # A recorded call casts its weights itself: what autocast keeps of them would be those of the recording.
        with autocast(self.device, self.precision, cache=False):
            return self.unet(noisy, t, encoder_hidden_states=text).sample.float()


def predicting(stage: Stage, latents: Tensor, t: Tensor, text: Tensor) -> tuple[nn.Module, nn.Module]:
    """The U-Net of a stage and the average of its weights, each called with `(latents, t, text)`.

    On a GPU, calls are recorded once as CUDA graphs (https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs)
    and replayed: shapes stay, and so does whether the text has a gradient; the average never has one.

    Arguments:
        stage: Has the module `unet`, averaged.
        latents, t, text: Arguments of a call, for their shapes.
    """
    live, average = Predicting(stage.modules["unet"], stage), Predicting(stage.averages["unet"].module, stage)
    average.requires_grad_(False)
    if stage.device.type == "cuda":
        # Each recording keeps its arguments, as the places that a call's own are copied to.
        places = latents.clone(), t.clone(), text.detach().clone().requires_grad_(text.requires_grad)
        live = torch.cuda.make_graphed_callables(live, places)
        average = torch.cuda.make_graphed_callables(average, tuple(x.detach().clone() for x in places))
    return live, average
