"""The one adapter over diffusers: a latent diffusion model as the rest of the package sees it.

E, D            images (B, 3, H, W) in [-1, 1]  <->  clean latents (B, C, h, w), scaled to about unit variance
eps(z, t, c)    noise prediction; a v-prediction is converted, eps = a_t v + s_t z
a_t, s_t        a_t = sqrt(alphas_cumprod[t]), s_t = sqrt(1 - alphas_cumprod[t])
sample          initial noise -> clean latent, by diffusers' own pipeline and scheduler
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from .left_inverse import LeftInverse
from .patches.half_precision import shrink_stream, widen_stream
from .patches.lean import make_lean
from .quiet import quiet

with quiet():
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline

__all__ = ["SCHEDULERS", "LatentDiffusion", "fingerprint"]

# Sampling ends at the lowest noise level, as DDIM does with Stable Diffusion's settings, not at zero: what is left of
# the initial noise there carries most of the evidence in smooth images.
SCHEDULERS = {
    "ddim": lambda config: DDIMScheduler.from_config(config),
    "dpmsolver++": lambda config: DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="sigma_min"
    ),
}


class LatentDiffusion:
    """A Stable Diffusion 1.x or 2.x pipeline, epsilon or v-prediction, of any size.

    Arguments:
        pipeline: The loaded pipeline. Its weights are frozen and moved to `device`.
        name: The name it is recorded under.
        fingerprint: Hash of its weights, from :func:`fingerprint`, or None if unknown.
        device: Where it runs.
        chunk: Images that are encoded or decoded at once; None picks 1 on the CPU (larger batches fall out of its
            cache) and 4 elsewhere. It is halved where the memory does not suffice.
        left_inverse: Tuned left inverse of the decoder, if there is one.
        tiled: Whether images larger than the autoencoder's own size are encoded and decoded in overlapping tiles, which
            bounds the memory and changes the result a little. Turned on where not even one image fits.

    Raises:
        ModelError: If the pipeline predicts something else than noise or velocity.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        name: str,
        fingerprint: str | None = None,
        device: str | torch.device = "cpu",
        chunk: int | None = None,
        left_inverse: LeftInverse | None = None,
        tiled: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.name, self.fingerprint = name, fingerprint
        self.pipeline = pipeline.to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.unet, self.vae = pipeline.unet, pipeline.vae
        for module in (self.unet, self.vae, pipeline.text_encoder):
            module.requires_grad_(False).eval()
        for module in (self.unet, self.vae):
            module.to(memory_format=torch.channels_last)
        self._prepare(self.vae)
        if self.vae.dtype is torch.bfloat16:
            widen_stream(self.vae)
        self.chunk = chunk or (1 if self.device.type == "cpu" else 4)
        self.tuned = None
        if left_inverse is not None:
            self.tuned = left_inverse.requires_grad_(False).eval().to(self.device, memory_format=torch.channels_last)
            self._prepare(self.tuned)
        if tiled:
            self.vae.enable_tiling()
        self.prediction_type = pipeline.scheduler.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction"):
            raise ModelError(
                f"{name} predicts {self.prediction_type!r}; wmark works with 'epsilon' and 'v_prediction' models"
            )

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def channels(self) -> int:
        """Number C of latent channels."""
        return self.vae.config.latent_channels

    @property
    def downsampling(self) -> int:
        """Pixels per latent pixel, f."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def native_size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""
        sample = self.unet.config.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return height * self.downsampling, width * self.downsampling

    @property
    def alphas_cumprod(self) -> Tensor:
        """Squared signal levels `a_t^2` of every training timestep, with shape (T,), float64."""
        return self.pipeline.scheduler.alphas_cumprod.double()

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latent of an image of this size in pixels."""
        f = self.downsampling
        if height % f or width % f or min(height, width) < f:
            raise ModelError(f"image size {width}x{height} is not a multiple of {f} pixels on each side")
        return self.channels, height // f, width // f

    def encode(self, image: Tensor) -> Tensor:
        """Posterior mean of the encoder, scaled: (B, 3, H, W) in [-1, 1] to (B, C, h, w)."""
        return self._in_chunks(lambda x: self.vae.encode(x).latent_dist.mean * self.vae.config.scaling_factor, image)

    def left_inverse(self, image: Tensor) -> Tensor:
        """`E'`, tuned so that `E'(D(z)) ~ z`, or the encoder where there is none or where images are tiled.

        Shapes are those of :meth:`encode`.
        """
        return self._in_chunks(self.tuned, image) if self.tuned and not self.vae.use_tiling else self.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """Decoder: (B, C, h, w) to (B, 3, H, W), about [-1, 1] and not clipped. Differentiable."""
        dtype = self.vae.decoder.conv_in.weight.dtype
        return self._in_chunks(lambda z: self.vae.decode(z / self.vae.config.scaling_factor).sample, latent, dtype)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings with shape (B, tokens, width)."""
        return self.pipeline.encode_prompt(list(prompts), self.device, 1, False)[0]

    def predict_noise(self, latent: Tensor, timestep: int | Tensor, embedding: Tensor) -> Tensor:
        """Noise prediction `eps(z_t, t, c)` in float32.

        Arguments:
            latent: Noisy latents z_t with shape (B, C, h, w).
            timestep: Training timestep t, one for all or one for each.
            embedding: Text embeddings with shape (B, tokens, width) or (1, tokens, width).
        """
        z = latent.to(self.device, self.dtype)
        prediction = self.unet(z, timestep, encoder_hidden_states=embedding.expand(len(z), -1, -1)).sample.float()
        if self.prediction_type == "epsilon":
            return prediction
        alpha = self.alphas_cumprod.to(self.device)[timestep].float().reshape(-1, 1, 1, 1)
        return alpha.sqrt() * prediction + (1 - alpha).sqrt() * latent.float()

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        prompts: Sequence[str],
        *,
        steps: int = 50,
        guidance_scale: float = 7.5,
        scheduler: str = "ddim",
        negative_prompt: str = "",
        callback: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Generate clean latents (B, C, h, w) from initial noise (B, C, h, w), one prompt each.

        Arguments:
            noise: Initial noise, about N(0, I).
            prompts: B prompts.
            steps: Sampling steps.
            guidance_scale: Weight w of classifier-free guidance; 1 turns it off.
            scheduler: `ddim` or `dpmsolver++`.
            negative_prompt: Prompt in the place of the empty one.
            callback: Called with the number of finished steps.
        """
        if scheduler not in SCHEDULERS:
            raise ModelError(f"unknown scheduler {scheduler!r}: choose one of {', '.join(SCHEDULERS)}")
        own = self.pipeline.scheduler
        self.pipeline.scheduler = SCHEDULERS[scheduler](own.config)

        def on_step(pipeline, step, timestep, state):
            if callback:
                callback(step + 1)
            return state

        try:
            return self.pipeline(
                list(prompts),
                negative_prompt=[negative_prompt] * len(prompts),
                latents=noise.to(self.device, self.dtype),
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                output_type="latent",
                callback_on_step_end=on_step,
            ).images.float()
        finally:
            self.pipeline.scheduler = own

    def _prepare(self, autoencoder: torch.nn.Module) -> None:
        make_lean(autoencoder)
        if self.vae.dtype is torch.float16:
            shrink_stream(autoencoder)

    def _in_chunks(
        self, function: Callable[[Tensor], Tensor], batch: Tensor, dtype: torch.dtype | None = None
    ) -> Tensor:
        batch = batch.to(self.device, dtype or self.vae.dtype)
        done: list[Tensor] = []
        start = 0
        while start < len(batch):
            chunk = batch[start : start + self.chunk].contiguous(memory_format=torch.channels_last)
            try:
                done.append(function(chunk))
                start += len(chunk)
            except torch.cuda.OutOfMemoryError:
                if self.chunk > 1:
                    self.chunk //= 2
                elif not self.vae.use_tiling:
                    self.vae.enable_tiling()
                else:
                    raise ModelError(f"{self.name} needs more memory than {self.device} has for one image") from None
        return torch.cat(done)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the weights that a model folder's parts are loaded from, shortened to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in ("text_encoder", "unet", "vae"):
        files = sorted(file for file in (folder / part).glob("*.safetensors") if file.name.count(".") == 1)
        for file in files or sorted((folder / part).glob("*.bin")):
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]
