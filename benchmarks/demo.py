"""`make demo`: embed, damage, verify, and show the result.

python -m wmark.benchmarks.demo --out demo
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from ..detectors.detector import Detector
from ..detectors.notation import format_p
from ..detectors.plot import plot_verdict
from ..files import write_atomically
from ..images import encode_image
from ..models.registry import load_model
from ..watermark.embed import embed
from ..watermark.keyring import Keyring
from ..watermark.patterns import Pattern
from .attacks import attack as damage
from .report import table

__all__ = ["main"]

PROMPTS = (
    "a red and teal flower wallpaper",
    "a bright orange and purple sunset wallpaper",
    "a detailed green and brown forest wallpaper",
)
SHOWN = ("none", "jpeg-25", "crop-80%", "blur-4", "noise-0.1", "rotation-75", "mirror")
TILE = 224


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(out: Path, seed: int) -> None:
    """Watermark three images, damage them in seven ways, verify all, and draw what happened."""
    say = partial(print, flush=True)
    say("loading the embedded model and generating 3 watermarked images ...")
    model = load_model("tiny")
    with Keyring.edit(out / "keyring.json", create=Pattern.of()) as ring:
        known = {entry.id for entry in ring.entries}
        names = [f"demo-{i + 1}" for i in range(len(PROMPTS))]
        keys = [ring.key(name) if name in known else ring.add(name) for name in names]
    stranger = Keyring.create().add("somebody-else")
    images = []
    for i, (key, prompt) in enumerate(zip(keys, PROMPTS, strict=True)):
        (marked,) = embed(model, key, [prompt], seed=seed + i)
        marked.save(out / f"marked-{i + 1}.png", overwrite=True)
        images.append(marked.image)

    say("damaging and verifying them: each damage on each image, against all three keys ...\n")
    detector = Detector(model, keys, keep_evidence=True)
    rows, tiles = [], []
    for i, (image, key) in enumerate(zip(images, keys, strict=True)):
        for name in SHOWN:
            damaged = damage(name, image, seed=seed + i)
            (verdict,) = detector.verify(damaged)
            right = verdict.found and verdict.key_id == key.id
            rows.append(
                (
                    f"marked-{i + 1}",
                    name,
                    "found" if verdict.found else "not found",
                    verdict.key_id if right else "-",
                    format_p(verdict.log10_p),
                    f"{verdict.cosine:.3f}",
                    f"{verdict.seconds:.1f}",
                )
            )
            tiles.append((damaged, f"{name}\np {format_p(verdict.log10_p)}", right))
            if name in ("none", "rotation-75") and i == 0:
                file = out / f"{name}.png"
                write_atomically(file, encode_image(damaged, ".png"))
                plot_verdict(file, verdict, key, out / f"spectrum-{name}.png")
    (verdict,) = Detector(model, [stranger]).verify(images[0])
    rows.append(
        (
            "marked-1",
            "none, a stranger's key",
            "found" if verdict.found else "not found",
            "-",
            format_p(verdict.log10_p),
            f"{verdict.cosine:.3f}",
            f"{verdict.seconds:.1f}",
        )
    )

    say(table(("image", "damage", "verdict", "key", "p", "cosine", "seconds"), rows))
    write_atomically(out / "contact-sheet.png", encode_image(contact_sheet(tiles, len(SHOWN)), ".png"))
    say(
        f"\nlook at {out}/contact-sheet.png, {out}/spectrum-none.png and {out}/spectrum-rotation-75.png, and try\n"
        f"    {Path(sys.prefix).name}/bin/wmark verify {out}/marked-1.png --keyring {out}/keyring.json"
    )
    missed = [row for row in rows[:-1] if row[3] == "-"]
    if missed or verdict.found:
        sys.exit(f"{len(missed)} damaged images were missed")


def contact_sheet(tiles: list[tuple[Image.Image, str, bool]], columns: int) -> Image.Image:
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
