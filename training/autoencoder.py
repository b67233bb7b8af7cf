"""The autoencoder: E and D with `E o D` close to the identity, on encoded latents and then on generated ones.

With z ~ q(z|x), noise n on half of the batch and y = D(z + n), the generator's loss is

    |x - y|  +  colour |M x - M y|  +  structure S(x, y)  +  kl KL(q || N(0, I))  +  adversary w(-C(y))
             +  cycle ||E(y) - (z + n)||^2 / ||z + n||^2  +  spikes P(D)  +  guide ||z_M - M x||^2

M takes means over 8x8 pixels, what one latent pixel has to know first, along axes that whiten them. From random
weights chroma, an eighth of luma's variance and nearly constant over a crop, is otherwise not learnt at all: what
finds it is many small crops a step before few large ones, E's first layer on whitened colours, a posterior that starts
narrow (at unit spread it drowns all but luma), and the guide, which for the first steps asks that three channels z_M
of the latent are those means. S compares gradients and local structure (SSIM) at three scales; C is a patch
discriminator with the hinge loss, its weight w the ratio of gradients at D's last layer (Esser et al., CVPR 2021); P
holds down the isolated huge activations through which a decoder with GroupNorm sneaks brightness, and which show as
blobs (Karras et al., CVPR 2020).

`refine` goes on with latents g sampled from the diffusion model, for which `||E(clip(D(g))) - g||^2` is what decoder
inversion meets; E is held to its former self on pictures, D to what its former self shows of g, so that the diffusion
model stays valid. What D(g) puts beyond black and white, where clipping would destroy it, is pulled back inside. And
where 0 to K - 1 plain steps from E(x) for x = clip(D(g)) lead, to some z, what E answers there has to be what is wrong:

    contraction ||(E(clip(D(z))) - E(x)) - (z - g)||^2 / ||z - g||^2

which is the error that the next plain step leaves, over the one it meets: at 1 it gains nothing, beyond 1 it diverges.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dataset import Pictures
from .loop import Stage, load_averages
from .parts import build_autoencoder

__all__ = ["refine", "structure_loss", "train_autoencoder"]

NARROW = -6.0
"""Logarithm of the posterior's variance that training starts from."""

SPIKE = 6.0
"""Root mean squares of its map above which an activation is penalised."""

BRIGHTEST = 0.98
"""Size of D(g) from which on it counts as beyond black and white; on [-1, 1], two and a half 8-bit levels inside."""


def discriminator(width: int = 32) -> nn.Module:
    """Patch discriminator: images (B, 3, H, W) to scores (B, 1, H/8, W/8)."""
    widths = [3, width, 2 * width, 4 * width]
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.2)) for a, b in itertools.pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 3, padding=1))


def structure_loss(x: Tensor, y: Tensor, scales: int = 3) -> Tensor:
    """Difference of gradients and of local structure, over octaves: images (B, 3, H, W) to a scalar."""
    x, y = x.float(), y.float()
    loss = x.new_zeros(())
    for _ in range(scales):
        for axis in (-1, -2):
            loss = loss + (x.diff(dim=axis) - y.diff(dim=axis)).abs().mean()
        mean_x, mean_y = (F.avg_pool2d(v, 7, stride=2) for v in (x, y))
        var_x, var_y = (F.avg_pool2d(v * v, 7, stride=2) - mean * mean for v, mean in ((x, mean_x), (y, mean_y)))
        covariance = F.avg_pool2d(x * y, 7, stride=2) - mean_x * mean_y
        loss = loss + 0.5 * (1 - (2 * covariance + 0.0036) / (var_x + var_y + 0.0036)).mean()
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return loss / scales


def colour_axes(pictures: Pictures, count: int = 64) -> Tensor:
    """Axes (3, 3) along which the colours of 8x8 pixels are uncorrelated and of unit power, a row each, over crops."""
    x, _ = pictures.crops(count, 128, torch.Generator().manual_seed(0))
    colours = F.avg_pool2d(x, 8).movedim(1, 0).flatten(1).double().cpu()
    power, axes = torch.linalg.eigh(colours @ colours.T / colours.shape[1])
    return (axes / power.clamp_min(1e-4).sqrt()).T.float()


def colour_means(x: Tensor, axes: Tensor) -> Tensor:
    """Means of 8x8 pixels along axes: images (B, 3, H, W) to (B, 3, H/8, W/8)."""
    return torch.einsum("ac,bchw->bahw", axes, F.avg_pool2d(x, 8))


def train_autoencoder(
    configuration: dict,
    data: Path,
    run: Path,
    device: torch.device,
    minutes: float | None = None,
    start: Path | None = None,
) -> bool:
    """Train the autoencoder, or go on training it; returns whether it is finished.

    Arguments:
        configuration: From :func:`~.configuration.load_configuration`.
        data: The prepared dataset.
        run: Folder of the checkpoints.
        device: Where it is trained.
        minutes: Time limit.
        start: Exported model to start from in place of random weights.
    """
    torch.manual_seed(configuration["model"]["seed"])
    settings = configuration["autoencoder"]
    vae, critic = build_autoencoder(configuration), discriminator()
    pictures, spikes = Pictures(data, device=device), _Spikes(vae)
    axes = colour_axes(pictures).to(device)
    _prepare(vae, axes)
    stage = _stage(configuration, "autoencoder", settings, vae, critic, run, device, start)

    def update() -> dict[str, Tensor]:
        smaller = 4 >> sum(stage.done >= share for share in settings["grow"])
        x, _ = pictures.crops(settings["batch"] * smaller**2, settings["crop"] // smaller, stage.generator)
        guide = 0.0 if stage.start else settings["guide"] * max(0.0, 1 - stage.done / settings["guide_until"])
        with stage.autocast():
            posterior = vae.encode(x).latent_dist
            z = posterior.sample(generator=stage.noise)
            z = z + _noise(z, settings["noise"], stage.noise)
            y = vae.decode(z).sample
            losses = _picture_losses(settings, x, y)
            losses["kl"] = settings["kl"] * posterior.kl().mean()
            losses["spikes"] = settings["spikes"] * spikes.penalty()
            if stage.done >= settings["cycle_from"]:
                losses["cycle"] = settings["cycle"] * relative_error(vae.encode(y).latent_dist.mean, z.detach())
        losses["colour"] = settings["colour"] * colour_means(x - y.float(), axes).abs().mean()
        losses["guide"] = guide * (posterior.mean[:, :3].float() - colour_means(x, axes)).square().mean()
        losses |= _adversary(stage, settings, vae, critic, y, losses)
        spikes.clear()
        stage.descend("autoencoder", sum(losses.values()))
        if stage.done >= settings["adversary_from"]:
            losses["critic"] = _train_critic(stage, critic, x, y)
        return losses

    return stage.train(update, minutes)


def refine(
    configuration: dict, samples: Tensor, data: Path, run: Path, device: torch.device, minutes: float | None = None
) -> bool:
    """Go on with the cycle on generated latents; the arguments are those of :func:`train_autoencoder`, and

    samples: Latents (N, 4, h, w) sampled from the diffusion model, not scaled.
    """
    settings = configuration["autoencoder"] | configuration["refine"]
    vae = build_autoencoder(configuration)
    load_averages(run / "autoencoder.pt", {"vae": vae})
    before = copy.deepcopy(vae).to(device).requires_grad_(False).eval()
    stage = _stage(configuration, "refine", settings, vae, None, run, device)
    pictures, spikes = Pictures(data, device=device), _Spikes(vae)
    samples = samples.to(device)

    def cycle(z: Tensor) -> Tensor:
        return vae.encode(vae.decode(z).sample.clamp(-1, 1)).latent_dist.mean

    def update() -> dict[str, Tensor]:
        x, _ = pictures.crops(settings["batch"], settings["crop"], stage.generator)
        chosen = torch.randint(len(samples), (settings["batch"],), generator=stage.generator).to(device)
        g = _crop_latent(samples[chosen], settings["crop"] // 8, stage.generator)
        g = g + _noise(g, settings["noise"] / 2, stage.noise)
        with stage.autocast():
            z = vae.encode(x).latent_dist.mean
            losses = _picture_losses(settings, x, vae.decode(z).sample)
            y = vae.decode(g).sample
            losses["spikes"] = settings["spikes"] * spikes.penalty()
            losses["beyond"] = settings["beyond"] * F.relu(y.float().abs() - BRIGHTEST).mean()
            shown = y.clamp(-1, 1)
            answer = vae.encode(shown).latent_dist.mean
            losses["cycle"] = settings["cycle"] * relative_error(answer, g)
            with torch.no_grad():
                z_before, shown_before = before.encode(x).latent_dist.mean, before.decode(g).sample.clamp(-1, 1)
            steps = int(torch.randint(settings["plain_steps"], (), generator=stage.generator))
            losses["contraction"] = settings["contraction"] * contraction(cycle, g, answer, steps)
            anchors = relative_error(z, z_before) + (shown - shown_before).abs().float().mean()
            losses["anchor"] = settings["anchor"] * anchors
        spikes.clear()
        stage.descend("autoencoder", sum(losses.values()))
        return losses

    return stage.train(update, minutes)


def relative_error(z: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of `||z - target||^2 / ||target||^2`."""
    z, target = z.float().flatten(1), target.float().flatten(1)
    return ((z - target).square().sum(1) / target.square().sum(1).clamp_min(1e-6)).mean()


def contraction(cycle: Callable[[Tensor], Tensor], g: Tensor, answer: Tensor, steps: int) -> Tensor:
    """What the next plain step leaves of the error, over what it meets; mean over the batch.

    Arguments:
        cycle: `E o D`.
        g: Latents with shape (B, C, h, w).
        answer: `cycle(g)`, of the same shape, with its gradient.
        steps: Plain steps `z <- z - (cycle(z) - answer)` before it, from the answer on.
    """
    z = answer.detach()
    with torch.no_grad():
        for _ in range(steps):
            z = z - (cycle(z) - answer)
    return relative_error(cycle(z) - answer, z - g)


def _stage(configuration, name, settings, vae, critic, run, device, start=None) -> Stage:
    modules = {"vae": vae} | ({"critic": critic} if critic else {})
    optimizers = {"autoencoder": ["vae"]} | ({"critic": ["critic"]} if critic else {})
    return Stage(
        run / f"{name}.pt",
        configuration["model"],
        settings,
        modules,
        averaged=["vae"],
        optimizers=optimizers,
        device=device,
        start=start,
    )


@torch.no_grad()
def _prepare(vae: nn.Module, axes: Tensor) -> None:
    """What makes random weights see colours: see the head of this file."""
    first = vae.encoder.conv_in.weight
    first.copy_(torch.einsum("oahw,ac->ochw", first, axes.cpu()))
    channels = vae.config.latent_channels
    vae.quant_conv.bias[channels:] = NARROW


def _picture_losses(settings: dict, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"l1": (x - y.float()).abs().mean(), "structure": settings["structure"] * structure_loss(x, y)}


def _noise(z: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Noise on half of the latents, its spread between 0 and `largest` times theirs."""
    level = torch.empty(len(z), 1, 1, 1, device=z.device).uniform_(-1, 1, generator=generator).clamp_min(0)
    noise = torch.randn(z.shape, generator=generator, device=z.device)
    return largest * level * z.detach().float().std() * noise


def _crop_latent(z: Tensor, side: int, generator: torch.Generator) -> Tensor:
    top, left = (int(torch.randint(z.shape[i] - side + 1, (), generator=generator)) for i in (2, 3))
    return z[:, :, top : top + side, left : left + side]


def _adversary(stage: Stage, settings: dict, vae: nn.Module, critic: nn.Module, y: Tensor, losses: dict) -> dict:
    if stage.done < settings["adversary_from"]:
        return {}
    with stage.autocast():
        adversary = -critic(y).float().mean()
    last = vae.decoder.conv_out.weight
    (plain,) = torch.autograd.grad(losses["l1"] + losses["structure"], last, retain_graph=True)
    (sharp,) = torch.autograd.grad(adversary, last, retain_graph=True)
    weight = (plain.norm() / (sharp.norm() + 1e-6)).clamp(0, 100).detach()
    return {"adversary": settings["adversary"] * weight * adversary}


def _train_critic(stage: Stage, critic: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with stage.autocast():
        loss = F.relu(1 - critic(x).float()).mean() + F.relu(1 + critic(y.detach()).float()).mean()
    stage.descend("critic", loss)
    return loss


class _Spikes:
    """What the decoder's residual blocks put out beyond `SPIKE` root mean squares of each image's map."""

    def __init__(self, vae: nn.Module) -> None:
        self.terms: list[Tensor] = []
        for block in [*vae.decoder.mid_block.resnets, *(r for up in vae.decoder.up_blocks for r in up.resnets)]:
            block.register_forward_hook(self._watch)

    def _watch(self, block: nn.Module, inputs: tuple, output: Tensor) -> None:
        if output.requires_grad:
            h = output.float()
            scale = h.detach().square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)
            self.terms.append(F.relu(h.abs() / scale - SPIKE).square().mean())

    def penalty(self) -> Tensor:
        return torch.stack(self.terms).mean()

    def clear(self) -> None:
        self.terms.clear()
