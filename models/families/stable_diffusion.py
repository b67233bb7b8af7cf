"""Stable Diffusion 1.x and 2.x, epsilon or v-prediction, of any size: `StableDiffusionPipeline` of diffusers.

With the scheduler of a rectified flow, its U-Net is one (:mod:`.rectified_flow`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..base import Condition, Denoiser
from ..codec import AutoencoderCodec
from ..fingerprint import weights_fingerprint
from ..guidance import generate_on
from ..index import ModelFolder
from ..latent_diffusion import LatentDiffusion
from ..left_inverse import LeftInverse
from ..quiet import quiet
from ..reader import Reader
from ..sampling import SCHEDULERS, Sampling
from ..schedule import DiscreteSchedule, visited
from .rectified_flow import FlowDenoiser

with quiet():
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

__all__ = ["UNetDenoiser", "data_and_noise", "load", "model"]

PARTS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
TOKENIZERS = ("tokenizer.json", "vocab.json")
LARGEST = 1024
"""Side of a model's own latents beyond which it is taken for a mistake."""


class UNetDenoiser:
    """A U-Net that predicts noise, or velocity `v = alpha_t eps - sigma_t x0`.

    Arguments:
        unet: The network.
        scheduler: The pipeline's scheduler, which knows the levels and what is predicted.

    Raises:
        ModelError: If it predicts something else.
    """

    def __init__(self, unet: nn.Module, scheduler) -> None:
        self.unet, self.schedule = unet, DiscreteSchedule(scheduler.alphas_cumprod)
        # In the single precision of the predictions, like everything that is computed from them.
        squares = scheduler.alphas_cumprod.float()
        self.alpha, self.sigma = squares.sqrt().tolist(), (1 - squares).sqrt().tolist()
        self.prediction_type = scheduler.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction"):
            raise ModelError(
                f"it predicts {self.prediction_type!r}; wmark works with 'epsilon' and 'v_prediction' models"
            )

    def predict(self, z: Tensor, t: float, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Data and noise prediction of latents (B, C, h, w); see :class:`~..base.Denoiser`.

        Samplers end at timestep 1 and never ask at 0, so that is where the network is asked at the earliest.
        """
        i = max(1, self.schedule.timestep(t))
        alpha, sigma = self.alpha[i], self.sigma[i]
        asked = z.to(self.unet.device, self.unet.dtype)
        output = self.unet(asked, i, encoder_hidden_states=condition.expand(len(z), -1, -1)).sample.float()
        z = z.float()
        return data_and_noise(self.prediction_type, output, z, alpha, sigma)


def data_and_noise(
    prediction_type: str, output: Tensor, z: Tensor, alpha: Tensor | float, sigma: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Data and noise prediction of latents (B, C, h, w) at levels alpha and sigma, from a network's output."""
    if prediction_type == "epsilon":
        return (z - sigma * output) / alpha, output
    return alpha * z - sigma * output, alpha * output + sigma * z


def load(folder: ModelFolder, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Read a pipeline from its folder, and what it lacks from the other model's.

    Raises:
        ModelError: If a part is missing, of another class or damaged, or a tensor of it is missing.
    """
    parts = {}
    for name, kind in PARTS.items():
        stated = _class_name(folder.part(name))
        if stated != kind.__name__ and name != "text_encoder":
            raise ModelError(f"its {name} is a {stated or 'part of no stated class'}: wmark works with {kind.__name__}")
        parts[name], about = kind.from_pretrained(
            folder.part(name), torch_dtype=dtype, local_files_only=True, output_loading_info=True
        )
        if missing := sorted(about["missing_keys"]):
            raise ModelError(f"its {name} lacks {len(missing)} tensors, {missing[0]} among them: get its files again")
        for tensor, weights in parts[name].named_parameters():
            if not weights.detach().sum(dtype=torch.float32).isfinite():
                raise ModelError(f"its {name} has values in {tensor} that are not finite: get its files again")
    words = folder.part("tokenizer")
    if not any((words / name).is_file() for name in TOKENIZERS):
        raise ModelError(f"its folder tokenizer has no {' or '.join(TOKENIZERS)}: get its files again")
    if words.parent != folder.path:
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(words, local_files_only=True)
    return StableDiffusionPipeline.from_pretrained(
        folder.path,
        **parts,
        torch_dtype=dtype,
        local_files_only=True,
        safety_checker=None,
        requires_safety_checker=False,
    )


def model(
    pipeline: StableDiffusionPipeline,
    name: str,
    *,
    fingerprint: str | None = None,
    left_inverse: LeftInverse | None = None,
    reader: Reader | None = None,
    tiled: bool = False,
    ours: bool = False,
) -> LatentDiffusion:
    """The model of a pipeline, which is left as it is: its autoencoder, which is patched, is copied.

    Arguments:
        pipeline: A loaded pipeline, where it is to run.
        name: The name it is recorded under.
        fingerprint: Hash of its weights; None computes one from those in memory.
        left_inverse: Tuned left inverse of its decoder.
        reader: Learned reader of its noise.
        tiled: Whether large images are always encoded and decoded in tiles.
        ours: Whether the pipeline is nobody else's: its autoencoder needs no copy, its other parts may be frozen.

    Raises:
        ModelError: If its parts do not make sense.
    """
    device = torch.device(pipeline.device)
    try:
        vae = pipeline.vae if ours else copy.deepcopy(pipeline.vae)
        codec = AutoencoderCodec(vae, device, tiled=tiled, left_inverse=left_inverse)
        denoiser = (FlowDenoiser if _flows(pipeline) else UNetDenoiser)(pipeline.unet, pipeline.scheduler)
        height, width = own_size(pipeline.unet.config.sample_size)
    except ModelError as error:
        raise ModelError(f"the model {name} cannot be used: {error}") from error

    def encode_prompts(prompts: list[str]) -> Tensor:
        return pipeline.encode_prompt(prompts, device, 1, False)[0]

    if ours:
        pipeline.unet.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        pipeline.text_encoder.requires_grad_(False).eval()
    return LatentDiffusion(
        name=name,
        fingerprint=fingerprint or weights_fingerprint(pipeline.vae, pipeline.unet, pipeline.text_encoder),
        native_size=(height * codec.downsampling, width * codec.downsampling),
        codec=codec,
        encode_prompts=encode_prompts,
        denoiser=denoiser,
        generate=partial(generate, pipeline, denoiser, encode_prompts),
        cut=partial(cut, pipeline.tokenizer),
        pipeline=pipeline,
        device=device,
        dtype=pipeline.unet.dtype,
        reader=reader.to(device) if reader else None,
    )


def own_size(sample_size: object) -> tuple[int, int]:
    """Height and width in latent pixels that a U-Net was made for, from its configuration.

    Raises:
        ModelError: If they are none.
    """
    sides = sample_size if isinstance(sample_size, list | tuple) else (sample_size, sample_size)
    if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side <= LARGEST for side in sides):
        raise ModelError(f"the sample_size {sample_size!r} of its unet is not from 1 to {LARGEST}: get its files again")
    return sides[0], sides[1]


def generate(
    pipeline: StableDiffusionPipeline,
    denoiser: Denoiser,
    encode_prompts: Condition,
    noise: Tensor,
    prompts: list[str],
    sampling: Sampling,
    callback: Callable[[int], None] | None = None,
) -> Tensor:
    """Clean latents from initial noise by diffusers' own pipeline, with a scheduler of the sampling's own.

    What that pipeline does not run, rectified flows and the wired sampler, is sampled here.
    """
    config = pipeline.scheduler.config
    if _flows(pipeline) or sampling.scheduler == "wired":
        with quiet():
            scheduler = (
                type(pipeline.scheduler).from_config(config) if _flows(pipeline) else SCHEDULERS["wired"](config)
            )
        grid = visited(scheduler, sampling.steps)
        return generate_on(grid, denoiser, encode_prompts, noise.to(pipeline.device), prompts, sampling, callback)

    def on_step(pipeline, step, timestep, state):
        if callback:
            callback(step + 1)
        return state

    with quiet():
        scheduler = SCHEDULERS[sampling.scheduler](config)
        parts = {**pipeline.components, "scheduler": scheduler}
        sampler = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        sampler.set_progress_bar_config(disable=True)
    return sampler(
        prompts,
        negative_prompt=[sampling.negative_prompt] * len(prompts),
        latents=noise.to(pipeline.device, pipeline.unet.dtype),
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        output_type="latent",
        callback_on_step_end=on_step,
    ).images.float()


def _flows(pipeline: StableDiffusionPipeline) -> bool:
    return isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)


def cut(tokenizer: CLIPTokenizer, prompt: str) -> str:
    """What of a prompt lies beyond the tokenizer's length; empty if nothing does."""
    with quiet():
        tokens = tokenizer(prompt, add_special_tokens=False).input_ids
    room = tokenizer.model_max_length - 2
    return tokenizer.decode(tokens[room:]).strip() if len(tokens) > room else ""


def _class_name(part: Path) -> str:
    try:
        config = json.loads((part / "config.json").read_text())
        return str(config.get("_class_name") or (config.get("architectures") or [""])[0])
    except FileNotFoundError:
        raise ModelError(f"it has no {part.name}/config.json: get its files again") from None
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ModelError(f"its {part.name}/config.json cannot be read: get its files again") from error
