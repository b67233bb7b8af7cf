"""`make demo`: embed, damage, verify, and show the result.

python -m wmark.benchmarks.demo --out demo
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from ..attacks import damaged
from ..detectors.detector import Detector
from ..detectors.notation import format_p
from ..detectors.plot import plot_verdict
from ..files import write_atomically
from ..images import encode_image
from ..models.latent_diffusion import LatentDiffusion
from ..models.registry import load_model
from ..watermark.embed import embed
from ..watermark.keyring import Keyring
from ..watermark.keys import Key
from ..watermark.patterns import Pattern
from .output import Columns, tabulate

__all__ = ["main"]

PROMPTS = (
    "a red and teal flower wallpaper",
    "a bright orange and purple sunset wallpaper",
    "a detailed green and brown forest wallpaper",
)
SHOWN = ("none", "jpeg-25", "crop-80%", "blur-4", "noise-0.1", "rotation-75", "mirror")
TILE = 224


COLUMNS: Columns = {
    "image": "{image}",
    "damage": "{damage}",
    "verdict": lambda r: "found" if r["verdict"].found else "not found",
    "key": lambda r: r["verdict"].key_id if r["right"] else "-",
    "p": lambda r: format_p(r["verdict"].log10_p),
    "cosine": "{verdict.cosine:.3f}",
    "seconds": "{verdict.seconds:.1f}",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(out: Path, seed: int) -> None:
    """Watermark three images, damage them in seven ways, verify all, and draw what happened."""
    say = partial(print, flush=True)
    say("loading the embedded model and generating 3 watermarked images ...")
    model = load_model("tiny")
    keys = keys_of(out / "keyring.json")
    images = mark(model, keys, seed, out)

    say("damaging and verifying them: each damage on each image, against all three keys ...\n")
    rows = judge(Detector(model, keys, keep_evidence=True), images, seed)
    stranger = Keyring.create().add("somebody-else")
    (verdict,) = Detector(model, [stranger]).verify(images[0])
    foreign = {"image": "marked-1", "damage": "none, a stranger's key", "verdict": verdict, "right": False}
    say(tabulate(COLUMNS, [*rows, foreign]))

    draw(rows, keys[0], out)
    say(
        f"\nlook at {out}/contact-sheet.png, {out}/spectrum-none.png and {out}/spectrum-rotation-75.png, and try\n"
        f"    {Path(sys.prefix).name}/bin/wmark verify {out}/marked-1.png --keyring {out}/keyring.json"
    )
    missed = sum(not row["right"] for row in rows)
    if missed or verdict.found:
        sys.exit(f"{missed} damaged images were missed" + ", and a stranger's key was found" * verdict.found)


def keys_of(keyring: Path) -> list[Key]:
    """A key for each prompt, in a keyring that an earlier run may have left."""
    with Keyring.edit(keyring, create=Pattern.of()) as ring:
        known = {entry.id for entry in ring.entries}
        names = [f"demo-{i + 1}" for i in range(len(PROMPTS))]
        return [ring.key(name) if name in known else ring.add(name) for name in names]


def mark(model: LatentDiffusion, keys: Sequence[Key], seed: int, out: Path) -> list[Image.Image]:
    """An image for each prompt and key, written to `marked-N.png`."""
    images = []
    for i, (key, prompt) in enumerate(zip(keys, PROMPTS, strict=True)):
        (marked,) = embed(model, key, [prompt], seed=seed + i)
        marked.save(out / f"marked-{i + 1}.png", overwrite=True)
        images.append(marked.image)
    return images


def judge(detector: Detector, images: Sequence[Image.Image], seed: int) -> list[dict]:
    """Every image after every damage: its name, the damage, the picture, its verdict, and whether that is right."""
    rows = []
    for i, (image, key) in enumerate(zip(images, detector.keys, strict=True)):
        for name in SHOWN:
            picture = damaged(name, image, seed=seed + i)
            (verdict,) = detector.verify(picture)
            right = verdict.found and verdict.key_id == key.id
            rows.append(
                {"image": f"marked-{i + 1}", "damage": name, "picture": picture, "verdict": verdict, "right": right}
            )
    return rows


def draw(rows: Sequence[dict], key: Key, out: Path) -> None:
    """The contact sheet, and what the detector saw of the first image, whole and turned."""
    for row in rows[: len(SHOWN)]:
        if row["damage"] in ("none", "rotation-75"):
            file = out / f"{row['damage']}.png"
            write_atomically(file, encode_image(row["picture"], ".png"))
            plot_verdict(file, row["verdict"], key, out / f"spectrum-{row['damage']}.png")
    tiles = [(row["picture"], f"{row['damage']}\np {format_p(row['verdict'].log10_p)}", row["right"]) for row in rows]
    write_atomically(out / "contact-sheet.png", encode_image(contact_sheet(tiles, len(SHOWN)), ".png"))


def contact_sheet(tiles: Sequence[tuple[Image.Image, str, bool]], columns: int) -> Image.Image:
    """Thumbnails with their captions, framed green where the right key was found and red where not."""
    caption = 40
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (TILE + 12) + 12, rows * (TILE + caption + 12) + 12), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for i, (image, text, right) in enumerate(tiles):
        x, y = 12 + (i % columns) * (TILE + 12), 12 + (i // columns) * (TILE + caption + 12)
        draw.rectangle((x - 4, y - 4, x + TILE + 3, y + TILE + 3), fill="#2a9d5c" if right else "#c8352b")
        sheet.paste(image.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y))
        draw.multiline_text((x, y + TILE + 5), text, fill="black", font=font, spacing=2)
    return sheet


if __name__ == "__main__":
    main()
