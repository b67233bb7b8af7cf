"""What the card says of a model, measured on held-out pictures, fresh prompts and fresh noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import rounded
from ..inversion.diffusion import ddim
from ..inversion.nmse import nmse_db
from ..models.base import Coder
from ..models.latent_diffusion import LatentDiffusion
from ..models.prompts import draw_prompts
from ..models.sampling import Sampling
from ..progress import progress
from .captions import COLOURS, colour_shares
from .dataset import Pictures

__all__ = ["PROMPTS", "ROUND_TRIPS", "SHOWN", "measure", "plain_iteration"]

GUIDANCE = (1.0, 3.0, 5.0, 7.5)
SHOWN = 7.5
"""Guidance scales that are measured, and the one whose images the card shows: what `wmark embed` takes."""

PROMPTS, NOISE = 1000, 2000
"""Seeds of the prompts and of the noise: not those of training, nor of the benchmarks."""

BATCH = 8
PLAIN = {"forward": (10, 0.0, 1.0), "inertial_km": (20, 0.9, 0.5)}
"""Steps, inertia and step size of the forward step method and of inertial Krasnoselskii-Mann."""

ROUND_TRIP = 50
ROUND_TRIPS = 8
"""Steps there and back, and how many of the images make them: they take as long as sampling."""

CLIPPED = 1 - 0.5 / 127.5


@torch.no_grad()
def measure(model: LatentDiffusion, training: Pictures, held_out: Pictures, count: int) -> tuple[dict, Tensor]:
    """Measure a model.

    Arguments:
        model: The exported model.
        training, held_out: The two splits.
        count: Images at each guidance scale.

    Returns:
        The measures by name, and the images of guidance 7.5 with shape (count, 3, H, W) in [-1, 1].
    """
    size = model.native_size[0]
    generator = torch.Generator().manual_seed(NOISE)
    pictures = held_out.centres(size)
    found: dict = {"reconstruction": reconstruction(model, pictures), "guidance": {}}
    encoded = _batched(model.encode, pictures)
    prompts = draw_prompts(count, PROMPTS)
    noise = torch.randn(count, *model.latent_shape(size, size), generator=generator)
    with progress(len(GUIDANCE) * count, "image") as bar:
        for scale in GUIDANCE:
            latents, images, errors = [], [], {method: [] for method in PLAIN}
            for begin in range(0, count, BATCH):
                part = slice(begin, begin + BATCH)
                z = model.sample(noise[part], prompts[part], Sampling(50, scale))
                image = rounded(model.decode(z).float())
                for method, settings in PLAIN.items():
                    errors[method].append(plain_iteration(model.encode, model.decode, image, z, *settings))
                latents.append(z.cpu())
                images.append(image.cpu())
                bar.update(len(z))
            z, images = torch.cat(latents), torch.cat(images)
            some = z[:ROUND_TRIPS], noise[:ROUND_TRIPS], prompts[:ROUND_TRIPS]
            unguided = _round_trip(model, *some, 1.0)
            found["guidance"][str(scale)] = {
                **_inversion({method: torch.cat(parts, 1) for method, parts in errors.items()}),
                "round_trip_db": unguided if scale == 1 else _round_trip(model, *some, scale),
                "unguided_round_trip_db": unguided,
                "spread": round(float(z.std() / encoded.std()), 3),
                "clipped": clipped(images),
                "named_colours": named_colours(images, prompts),
                "other_prompts_colours": named_colours(images, prompts[1:] + prompts[:1]),
            }
            if scale == SHOWN:
                shown = images
    found["nearest_training_crop"] = _nearest(shown, pictures, training, size)
    return found, shown


def reconstruction(model: LatentDiffusion, pictures: Tensor) -> dict:
    """PSNR of D(E(x)), and the error of E(D(z)) at z = E(x), over pictures (N, 3, H, W)."""
    psnr, cycle = [], []
    for x in pictures.split(BATCH):
        z = model.encode(x)
        y = model.decode(z).float().clamp(-1, 1)
        psnr.append(10 * torch.log10(4 / (y - x.to(y.device)).square().mean((1, 2, 3)).clamp_min(1e-12)).cpu())
        cycle.append(nmse_db(model.encode(y), z).cpu())
    return {
        "pictures": len(pictures),
        "psnr_db": round(float(torch.cat(psnr).mean()), 2),
        "cycle_db": round(float(torch.cat(cycle).mean()), 2),
        "clipped": clipped(pictures),
    }


def clipped(images: Tensor) -> float:
    """Share of an image's numbers that are at an end of the scale, where burnt-out pictures are."""
    return round(float((images.abs() > CLIPPED).float().mean()), 4)


def named_colours(images: Tensor, prompts: list[str]) -> float:
    """Share of the area of images (B, 3, H, W) that has a colour which the prompt of each names."""
    shares = colour_shares(F.interpolate(images.float(), size=(64, 64), mode="area"))
    named = torch.tensor([[colour in prompt.split() for colour in COLOURS] for prompt in prompts])
    return round(float((shares * named).sum(1).mean()), 3)


def plain_iteration(
    encode: Coder, decode: Coder, image: Tensor, truth: Tensor, iterations: int, inertia: float, rho: float
) -> Tensor:
    """NMSE in dB along `y = z_k + inertia (z_k - z_{k-1})`, `z_{k+1} = y - rho T(y)`, with shape (iterations + 1, B).

    Without inertia it is the forward step method, with it inertial Krasnoselskii-Mann; without any safeguard.

    Arguments:
        encode, decode: E and D.
        image: Images with shape (B, 3, H, W).
        truth: The latents that they were decoded from, with shape (B, C, h, w).
        iterations: Number of steps.
        inertia, rho: As above, with `T(y) = E(D(y)) - E(x)`.
    """
    start = encode(image).float()
    z, before, errors = start, start, [nmse_db(start, truth)]
    for _ in range(iterations):
        y = z + inertia * (z - before)
        z, before = y - rho * (encode(decode(y).clamp(-1, 1)).float() - start), z
        errors.append(nmse_db(z, truth))
    return torch.stack(errors).nan_to_num(torch.inf).cpu()


def _inversion(errors: dict[str, Tensor]) -> dict:
    """Encoder alone; the best plain iteration and number of steps, the same for all images; who ends above the encoder.

    Arguments:
        errors: From :func:`plain_iteration`, by method.
    """
    means = {name: along.mean(1) for name, along in errors.items()}
    best = min(means, key=lambda name: means[name].min())
    encoder, along = means[best][0], errors[best]
    steps = int(means[best].argmin())
    return {
        "encoder_db": round(float(encoder), 2),
        "encoder_worst_db": round(float(along[0].max()), 2),
        "plain": best,
        "plain_steps": steps,
        "plain_db": round(float(means[best][steps]), 2),
        "gain_db": round(float(encoder - means[best][steps]), 2),
        "diverged": round(float((along[steps] > along[0]).float().mean()), 4),
        "forward_diverged": round(float((errors["forward"][-1] > errors["forward"][0]).float().mean()), 4),
    }


def _round_trip(
    model: LatentDiffusion, latents: Tensor, noise: Tensor, prompts: list[str], guidance_scale: float
) -> float:
    """NMSE in dB of the initial noise by plain DDIM inversion of the true latents, prompts known."""
    errors = []
    for begin in range(0, len(latents), BATCH):
        part = slice(begin, begin + BATCH)
        text, empty = model.condition(prompts[part]), model.unprompted

        def predict(z: Tensor, t: float, text: Tensor = text, empty: Tensor = empty) -> tuple[Tensor, Tensor]:
            conditional = model.denoiser.predict(z, t, text)
            if guidance_scale == 1:
                return conditional
            unconditional = model.denoiser.predict(z, t, empty)
            return tuple(torch.lerp(u, c, guidance_scale) for u, c in zip(unconditional, conditional, strict=True))

        z = latents[part].to(model.device)
        found = ddim(predict, model.denoiser.schedule, z, steps=ROUND_TRIP, evaluate_at="start").noise.cpu()
        errors.append(nmse_db(found, noise[part]))
    return round(float(torch.cat(errors).mean()), 2)


def _nearest(images: Tensor, held_out: Tensor, training: Pictures, size: int) -> dict:
    """Distances to the nearest training crop, as root mean squares of 16x16 colours about their mean.

    A model that had memorised its pictures would be nearer to them than held-out pictures are.
    """
    generator = torch.Generator().manual_seed(NOISE)
    crops = [_thumbnail(training.crops(64, size, generator)[0]) for _ in range(32)]
    crops = torch.cat([*crops, _thumbnail(training.centres(size))])
    crops = torch.cat([crops, crops.flip(-1)]).flatten(1)

    def nearest(x: Tensor) -> Tensor:
        return torch.cdist(_thumbnail(x).flatten(1), crops).amin(1) / crops.shape[1] ** 0.5

    generated, real = nearest(images), nearest(held_out)
    return {
        "training_crops": len(crops),
        "generated_median": round(float(generated.median()), 4),
        "generated_smallest": round(float(generated.min()), 4),
        "held_out_median": round(float(real.median()), 4),
        "held_out_smallest": round(float(real.min()), 4),
    }


def _thumbnail(images: Tensor) -> Tensor:
    small = F.interpolate(images.float().cpu(), size=(16, 16), mode="area")
    return small - small.mean((2, 3), keepdim=True)


def _batched(function, images: Tensor) -> Tensor:
    return torch.cat([function(part).float().cpu() for part in images.split(BATCH)])
