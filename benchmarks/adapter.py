"""`wmark bench adapter`: full-size Stable Diffusion 2.1 through the whole chain.

The architecture of `stabilityai/stable-diffusion-2-1` and `-2-1-base`, built with random weights, so that nothing is
downloaded: 866 M parameters in the U-Net, 84 M in the autoencoder, 1024-wide text embeddings. It proves that the
adapter serves the real shapes, epsilon and v-prediction, and what they cost: two sampling steps, verification by two
steps of inversion, and by a reader of the usual shape with random weights. The pictures are noise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..detectors.detector import Detector
from ..inversion.recovery import READER, recoveries
from ..models import architectures
from ..models.clock import clock
from ..models.latent_diffusion import LatentDiffusion
from ..models.reader import Reader, ReaderNet, Shape
from ..models.registry import DTYPES, EMBEDDED, find_device
from ..models.sampling import Sampling
from ..watermark.embed import embed
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .output import Columns, provenance, tabulate, write_results

__all__ = ["run"]

COLUMNS: Columns = {
    name: f"{{{name}}}"
    for name in (
        "prediction",
        "image",
        "unet_parameters_m",
        "vae_parameters_m",
        "build_seconds",
        "embed_seconds",
        "verify_seconds",
        "reader_seconds",
        "log10_p",
    )
}


def random_model(prediction_type: str, dtype: torch.dtype, device: torch.device) -> LatentDiffusion:
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
    where, precision = find_device(device), getattr(torch, DTYPES[dtype])
    results = [measure(prediction, seed, precision, where) for prediction in ("epsilon", "v_prediction")]
    about = provenance(None, seed=seed, dtype=dtype, device=str(where), sampling_steps=2, inversion_steps=2)
    result = {**about, "results": results}
    write_results(out / "adapter", COLUMNS, results, result)
    print(tabulate(COLUMNS, results))
    return result


def measure(prediction_type: str, seed: int, dtype: torch.dtype, device: torch.device) -> dict:
    """Build, embed and verify, with the seconds of each."""
    key = Key.derive(b"wmark bench adapter".ljust(32, b"\0"), "adapter", Pattern.of())
    begin = clock(device)
    model = random_model(prediction_type, dtype, device)
    built = clock(device)
    (marked,) = embed(model, key, ["a blue sea wallpaper"], seed=seed, sampling=Sampling(steps=2, guidance_scale=1.0))
    embedded = clock(device)
    (verdict,) = Detector(model, [key], recoveries("fast", steps=2), align="off").verify([marked.image])
    verified = clock(device)
    read = replace(
        model, reader=Reader(ReaderNet(Shape(channels=model.latent_shape(*model.native_size)[0]))).to(device)
    )
    Detector(read, [key], [READER], align="off").verify([marked.image])
    by_reader = clock(device)
    return {
        "prediction": prediction_type,
        "image": f"{marked.image.width}x{marked.image.height}",
        "unet_parameters_m": round(sum(p.numel() for p in model.pipeline.unet.parameters()) / 1e6),
        "vae_parameters_m": round(sum(p.numel() for p in model.pipeline.vae.parameters()) / 1e6),
        "build_seconds": round(built - begin, 1),
        "embed_seconds": round(embedded - built, 1),
        "verify_seconds": round(verified - embedded, 1),
        "reader_seconds": round(by_reader - verified, 1),
        "log10_p": round(verdict.log10_p, 2),
    }
