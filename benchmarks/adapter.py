"""`wmark bench adapter`: full-size Stable Diffusion 2.1 through the whole chain.

The architecture of `stabilityai/stable-diffusion-2-1` and `-2-1-base`, built with random weights, so that nothing is
downloaded: 866 M parameters in the U-Net, 84 M in the autoencoder, 1024-wide text embeddings. It proves that the
adapter serves the real shapes, epsilon and v-prediction, and what they cost; the pictures are noise.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ..detectors.detector import Detector
from ..inversion.recovery import recoveries
from ..models import architectures
from ..models.latent_diffusion import LatentDiffusion
from ..models.registry import EMBEDDED
from ..models.sampling import Sampling
from ..watermark.embed import embed
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .report import provenance, table, write_csv, write_json

__all__ = ["run", "stable_diffusion_2"]


def stable_diffusion_2(
    prediction_type: str, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> LatentDiffusion:
    """Stable Diffusion 2.1 with random weights.

    Arguments:
        prediction_type: `epsilon` for the 512x512 base model, `v_prediction` for the 768x768 one.
        dtype, device: Of the weights.
    """
    torch.manual_seed(0)
    pipeline = architectures.stable_diffusion_2(prediction_type, EMBEDDED["tiny"] / "tokenizer", dtype)
    return LatentDiffusion.from_pipeline(pipeline.to(device), f"random-stable-diffusion-2-1-{prediction_type}")


def run(*, out: Path, seed: int, dtype: str = "fp32", device: str | None = None) -> dict:
    """Embed and verify one image with each prediction type; writes `adapter.{csv,json}`."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    key = Key.derive(b"wmark bench adapter".ljust(32, b"\0"), "adapter", Pattern.of())
    results = []
    for prediction_type in ("epsilon", "v_prediction"):
        begin = time.perf_counter()
        model = stable_diffusion_2(prediction_type, precision, device)
        built = time.perf_counter()
        (marked,) = embed(
            model, key, ["a blue sea wallpaper"], seed=seed, sampling=Sampling(steps=2, guidance_scale=1.0)
        )
        embedded = time.perf_counter()
        chosen = recoveries("fast", steps=2)
        (verdict,) = Detector(model, [key], chosen, align="off").verify([marked.image])
        results.append(
            {
                "prediction": prediction_type,
                "image": f"{marked.image.width}x{marked.image.height}",
                "unet_parameters_m": round(sum(p.numel() for p in model.pipeline.unet.parameters()) / 1e6),
                "vae_parameters_m": round(sum(p.numel() for p in model.pipeline.vae.parameters()) / 1e6),
                "build_seconds": round(built - begin, 1),
                "embed_seconds": round(embedded - built, 1),
                "verify_seconds": round(time.perf_counter() - embedded, 1),
                "log10_p": round(verdict.log10_p, 2),
            }
        )
        del model
    about = provenance(None, seed=seed, dtype=dtype, device=device, sampling_steps=2, inversion_steps=2)
    write_json(out / "adapter.json", {**about, "results": results})
    write_csv(out / "adapter.csv", list(results[0]), [list(r.values()) for r in results])
    print(table(list(results[0]), [list(r.values()) for r in results]))
    return {**about, "results": results}
