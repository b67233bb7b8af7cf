"""The model card: data with their licences, recipe, measures and samples, each from what was run."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..benchmarks.output import provenance, table, write_json
from ..files import write_atomically
from ..images import encode_image, to_image
from ..models.left_inverse import FILE_NAME, about
from ..models.prompts import draw_prompts
from ..models.registry import load_model
from .attribution import authors_by_licence, packages
from .captions import COLOURS, SUBJECTS
from .dataset import Pictures
from .loop import read_checkpoint
from .measures import PROMPTS, ROUND_TRIPS, SHOWN, measure

__all__ = ["write_card"]

GRID = 4
THUMBNAIL = 256
COMMANDS = {
    "autoencoder": "autoencoder",
    "small": "diffusion --small",
    "diffusion": "diffusion",
    "refine": "autoencoder --refine",
}
"""By the stage that it runs."""

CARD = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# {name}

A latent diffusion model of Stable Diffusion's geometry ({size}x{size} images, f = 8), small enough for two CPU cores,
so that wmark can be tried, tested and measured without a download or a GPU. It is in plain diffusers format:
`StableDiffusionPipeline.from_pretrained(folder)` loads it.

![Samples at guidance {shown}](samples.jpg)

{prompts}

{parts}

## Prompts

`a [dark|bright] [smooth|soft|detailed|rough] COLOUR [and COLOUR] SUBJECT wallpaper`

Colours: {colours}. Subjects: {subjects}. It knows these subjects only. Pictures of people were left out, as were logos
and text; here and there a small figure remains in a landscape.

## Data

{count} pictures for training and {held_out} held out, from Debian packages, in random crops; those that may have any
colour (abstract ones, patterns, planets and the like) with their channels shuffled. Captions are computed from each
crop's colours, brightness and gradients; the subject was stated for each picture after looking at it, or comes from the
file's name. `sources.toml` has the choices, `manifest.json` of the prepared dataset each picture's licence, authors and
hash.

{data}

## Licence

The weights are under the [Apache License 2.0](https://www.apache.org/licenses/LICENSE-2.0), as the code is. Whether
weights are an adaptation of the pictures they were trained on is not settled. If they are, every licence here allows
it, as long as authors are named and changes stated, which is done here and in NOTICE. Artwork under the GPL, the LGPL,
CC-BY-SA or terms that forbid changes or commerce was left out, because it could not be. The pictures were cropped,
scaled, mirrored, recoloured as said above and re-encoded for training; no author endorses this model.

{attribution}

## Training

{training}

The settings, seed {seed} among them, are those of `{config}.toml` in `wmark.training`:

{commands}

## Measured

By `{command}` on {device}; everything is in
`measures.json`. Errors are NMSE of the latent, or of the initial noise in the round trip, in dB; means over images.

{measures}

Encoder and iterations start from 8-bit images. The plain iteration is the better of ten forward steps (rho 1) and
twenty of inertial Krasnoselskii-Mann (alpha 0.9, 2 lambda rho 0.5), without any safeguard, at the number of steps that
serves all images best; diverged are the images that it leaves worse than the encoder did, and that all ten forward
steps do.
The round trip goes from the true latents of {trips} images through 50 plain DDIM steps, which ask for the noise at the
timestep they come from (Song et al., ICLR 2021), prompt known, at the guidance of the sampling; the unguided one at
guidance 1. The spread is that of the latents, over that of encoded held-out pictures. Clipped is the share of 0 and 255
among the values of the images, {clipped} in held-out pictures; named colours is the share of an image's area in a
colour that its prompt names, and beside it, in a colour that the next image's prompt names.

Held-out pictures: {psnr} dB PSNR of the reconstruction, {cycle} dB error of E(D(E(x))), over {held_out} pictures.

Distance to the nearest of {crops} training crops (16x16 colours about their mean): generated {generated_median} in the
median, {generated_smallest} at least; held-out pictures {held_out_median} and {held_out_smallest}.
{left_inverse}"""

LEFT_INVERSE = """
## Left inverse

`left_inverse.safetensors` is not part of the pipeline: an encoder that `wmark tune` made in {minutes:g} minutes from
{latents} sampled latents (seed {seed}). NMSE of one call on held-out latents:

{table}
"""


def write_card(
    configuration: dict, folder: Path, data: Path, run: Path, device: torch.device, count: int, name: str = "tiny"
) -> None:
    """Measure an exported model and write its card.

    Arguments:
        configuration: From :func:`~.configuration.load_configuration`.
        folder: The exported model; gets `README.md`, `measures.json` and `samples.jpg`.
        data: The prepared dataset.
        run: The run's checkpoints.
        device: Where it is measured.
        count: Images at each guidance scale.
        name: The configuration's name.
    """
    model = load_model(folder, device=str(device))
    training, held_out = Pictures(data), Pictures(data, held_out=True)
    entries = training.entries + held_out.entries
    found, images = measure(model, training, held_out, count)
    options = f" --config {name}" if name != "tiny" else ""
    command = f"wmark train card{options} FOLDER --count {count}"
    write_json(folder / "measures.json", {**provenance(model, count=count), "command": command, **found})
    write_atomically(folder / "samples.jpg", encode_image(_grid(images), ".jpg"))
    prompts = draw_prompts(min(count, GRID**2), PROMPTS)
    scales = found["guidance"]
    header = ["guidance", *(key.replace("_", " ").replace(" db", "") for key in next(iter(scales.values())))]
    card = CARD.format(
        name=folder.name,
        config=name,
        command=command,
        commands=_commands(run, options),
        size=configuration["model"]["size"],
        seed=configuration["model"]["seed"],
        shown=SHOWN,
        prompts="; ".join(prompts) + ".",
        parts=table(["part", "class", "parameters"], _parts(model)),
        colours=", ".join(COLOURS),
        subjects=", ".join(SUBJECTS),
        count=len(training.entries),
        held_out=len(held_out.entries),
        data=table(["package", "versions", "pictures", "licences"], packages(entries)),
        attribution=table(["licence", "pictures", "authors"], authors_by_licence(entries)),
        training=table(["stage", "from the weights of", "steps", "batch", "hours"], _training(run)),
        trips=min(count, ROUND_TRIPS),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "the CPU",
        measures=table(header, [[scale, *row.values()] for scale, row in scales.items()]),
        psnr=found["reconstruction"]["psnr_db"],
        cycle=found["reconstruction"]["cycle_db"],
        clipped=found["reconstruction"]["clipped"],
        crops=found["nearest_training_crop"].pop("training_crops"),
        left_inverse=_left_inverse(folder),
        **found["nearest_training_crop"],
    )
    write_atomically(folder / "README.md", card.encode())


def _parts(model) -> list[list[str]]:
    parts = {name: getattr(model.pipeline, name) for name in ("vae", "unet", "text_encoder")}
    return [
        [f"`{name}`", type(part).__name__, f"{sum(p.numel() for p in part.parameters()) / 1e6:.1f} M"]
        for name, part in parts.items()
    ]


def _left_inverse(folder: Path) -> str:
    file = folder / FILE_NAME
    if not file.exists():
        return ""
    known = about(file)
    first, last = known["curve"][0], known["curve"][-1]
    rows = [
        [damage, f"{first[damage]:.1f} dB", f"{last[damage]:.1f} dB"]
        for damage in first
        if damage not in ("minutes", "steps")
    ]
    return LEFT_INVERSE.format(**known, table=table(["damage", "encoder", "left inverse"], rows))


def _stages(run: Path) -> dict[str, dict]:
    """The checkpoints of the stages that were run, by name, in their order."""
    paths = {name: run / f"{name}.pt" for name in COMMANDS}
    return {name: read_checkpoint(path) for name, path in paths.items() if path.exists()}


def _training(run: Path) -> list[list]:
    stages = _stages(run)
    before = {"diffusion": "small" in stages and "small", "refine": "autoencoder"}
    return [
        [
            name,
            state["start"] or before.get(name) or "nothing",
            state["step"],
            state["batch"],
            f"{state['seconds'] / 3600:.2f} on {state['hardware']}",
        ]
        for name, state in stages.items()
    ]


def _commands(run: Path, options: str) -> str:
    stages = [
        f"{COMMANDS[name]}{options}" + (f" --start {state['start']}" if state["start"] else "")
        for name, state in _stages(run).items()
    ]
    commands = ["data", *stages, f"export{options} FOLDER"]
    return "\n".join(f"    wmark train {command}" for command in commands)


def _grid(images: Tensor) -> Image.Image:
    images = images[: GRID**2]
    rows = -(-len(images) // GRID)
    sheet = Image.new("RGB", (GRID * THUMBNAIL, rows * THUMBNAIL), "white")
    for i, image in enumerate(images):
        thumbnail = to_image(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, (i % GRID * THUMBNAIL, i // GRID * THUMBNAIL))
    return sheet
