"""Relatives of an embedded model: U-Nets of their own on its autoencoder and its text encoder.

    tiny-flow    a rectified flow, learnt from the embedded model on the same pictures (:mod:`.flow`)
    tiny-one     one step from noise to latent, distilled from that flow (:mod:`.one_step`)

A relative's folder holds a U-Net and a scheduler; its index says whose parts go with them. `--set relative.base=...`
and `relative.teacher=...` name other models than the embedded ones, such as folders.

    options="--data training-run/data --run training-run/tiny-flow --config tiny-flow"
    wmark train diffusion --small $options
    wmark train diffusion $options
    wmark train export $options models/tiny-flow

    options="--run training-run/tiny-one --config tiny-one"
    wmark train diffusion $options
    wmark train export $options models/tiny-one
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ModelError
from ..files import write_atomically
from ..models import architectures
from ..models.index import FILE_NAME, OWN
from ..models.quiet import quiet
from ..models.registry import load_model
from .loop import Stage, load_averages, read_checkpoint
from .parts import build_unet, tokenise

if TYPE_CHECKING:
    from ..models.latent_diffusion import LatentDiffusion

__all__ = ["Captions", "base_of", "export_relative", "stage_of"]

CARD = """\
# {name}

A relative of `{base}`: {what}.

It has a U-Net of its own, {parameters:.1f} million parameters, on the autoencoder and the text encoder of `{base}`
(weights {fingerprint}), whose card names pictures, authors and licence: what holds there holds here.
wmark loads it as `--model {name}`; from Python, with diffusers alone:

```python
unet = UNet2DConditionModel.from_pretrained("{name}/unet")
scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained("{name}/scheduler")
pipeline = StableDiffusionPipeline.from_pretrained("{base}", unet=unet, scheduler=scheduler)
```

diffusers' pipeline does not run a flow's scheduler; the loop is `z += (t_next - t) * unet(z, 1000 * t)`, t from 1 to 0.

{training}

It is meant to be sampled in {steps} step{plural} at guidance {guidance:g}.
"""

WHAT = {
    "tiny-flow": "a rectified flow (Liu et al., ICLR 2023), learnt from it",
    "tiny-one": "one step from noise to latent, distilled from a rectified flow as InstaFlow (Liu et al., ICLR 2024)",
}


def base_of(configuration: dict, device: torch.device) -> LatentDiffusion:
    """The model that a relative shares its parts with."""
    return load_model(configuration["relative"]["base"], device=str(device), tuned=False)


class Captions:
    """Embeddings of captions by the frozen text encoder of a model.

    Arguments:
        base: The model.
        tokens: Captions as token ids, with shape (N, L).
    """

    def __init__(self, base: LatentDiffusion, tokens: Tensor) -> None:
        self.encoder = base.pipeline.text_encoder
        self.tokens = torch.cat([tokens, tokenise(base.pipeline.tokenizer, [""])]).to(base.device)

    @torch.no_grad()
    def __call__(self, chosen: Tensor) -> Tensor:
        """Embeddings (B, L, D) of captions by their indices; -1 is none."""
        return self.encoder(self.tokens[chosen.to(self.tokens.device)])[0]


def stage_of(
    configuration: dict, settings: dict, checkpoint: Path, device: torch.device, weights: dict | None = None
) -> Stage:
    """The stage that trains a relative's U-Net.

    Arguments:
        configuration: Of the relative.
        settings: The stage's own table.
        checkpoint: File that it is kept in.
        device: Where it runs.
        weights: What the U-Net starts from, a state; None starts at random.
    """
    torch.manual_seed(configuration["model"]["seed"])
    unet = build_unet(configuration).to(memory_format=torch.channels_last)
    if device.type == "cpu":
        architectures.unfuse_attention(unet)
    if weights is not None:
        unet.load_state_dict(weights)
    modules = {"unet": unet}
    return Stage(
        checkpoint,
        configuration["model"],
        settings,
        modules,
        averaged=["unet"],
        optimizers={"diffusion": ["unet"]},
        device=device,
    )


def export_relative(configuration: dict, run: Path, folder: Path) -> int:
    """Write a relative's U-Net, scheduler, index and card, in half precision; returns the bytes of its weights.

    Raises:
        ModelError: If its last stage has not been run, or its base is another one than it was trained with.
    """
    relative, unet = configuration["relative"], build_unet(configuration)
    load_averages(run / "diffusion.pt", {"unet": unet})
    base, trained = base_of(configuration, torch.device("cpu")), read_checkpoint(run / "base.pt")
    if base.fingerprint != trained:
        raise ModelError(f"{run} was trained with {relative['base']} when it had other weights: train it anew")
    with quiet():
        unet.to(torch.float16).save_pretrained(folder / "unet", safe_serialization=True)
        architectures.flow_scheduler(relative["shift"]).save_pretrained(folder / "scheduler")
    index = json.loads((Path(base.pipeline.config["_name_or_path"]) / FILE_NAME).read_text())
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    usual = {"steps": relative["steps"], "guidance_scale": relative["guidance_scale"]}
    index[OWN] = {"parts": relative["base"], "fingerprint": base.fingerprint, **usual}
    write_atomically(folder / FILE_NAME, (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())
    card = CARD.format(
        name=folder.name,
        base=base.name,
        what=WHAT[relative["recipe"]],
        parameters=sum(p.numel() for p in unet.parameters()) / 1e6,
        fingerprint=base.fingerprint,
        training="\n".join(_stages(run)),
        steps=relative["steps"],
        plural="" if relative["steps"] == 1 else "s",
        guidance=relative["guidance_scale"],
    )
    write_atomically(folder / "README.md", card.encode())
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def _stages(run: Path) -> list[str]:
    """What was trained for how long, a line each."""
    kept = {name: run / f"{name}.pt" for name in ("small", "diffusion")}
    states = {name: read_checkpoint(path) for name, path in kept.items() if path.exists()}
    hours = {name: f"{state['seconds'] / 3600:.2f} hours of {state['hardware']}" for name, state in states.items()}
    return [f"* `{name}`: {state['step']} steps of {state['batch']}, {hours[name]}" for name, state in states.items()]
