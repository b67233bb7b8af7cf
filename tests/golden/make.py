"""The golden images and their verdicts: `python tests/golden/make.py images`, then `verdicts`.

24 images, marked, damaged and unmarked, kept as WebP, and what the detector says of each as numbers. `verdicts` is run
again only where a change is meant to change what is found, and its difference is read before it is committed.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import wmark
from wmark.attacks import damaged
from wmark.images import to_image
from wmark.inversion.recovery import recoveries

HERE = Path(__file__).parent
VERDICTS = HERE / "verdicts.json"

MARKED = {  # name: key, seed, size (height, width), prompt
    "a": ("one", 3, (512, 512), "an orange and purple sunset wallpaper"),
    "b": ("two", 4, (512, 512), "a detailed green forest wallpaper"),
    "c": ("three", 5, (512, 512), "a bright blue sea wallpaper"),
    "d": ("one", 6, (512, 640), "a rough brown wood wallpaper"),
    "e": ("flat", 7, (512, 512), "a red flower wallpaper"),
}
DAMAGED = [  # base, damage
    ("a", "jpeg-25"), ("b", "jpeg-25"), ("c", "blur-4"), ("a", "noise-0.1"), ("b", "brightness-2"),
    ("a", "rotation-75"), ("b", "rotation-random"), ("c", "mirror"),
    ("a", "crop-80%"), ("b", "crop-80%"), ("d", "mirror"),
]  # fmt: skip


def ring() -> wmark.Keyring:
    """Three discs, as small as discs once were, and a ring of a fixed secret."""
    ring = wmark.Keyring(bytes(range(32)), wmark.Pattern.of("disc", 16))
    for name in ("one", "two", "three"):
        ring.add(name)
    ring.add("flat", wmark.Pattern.of("ring"))
    return ring


def images() -> None:
    model, keys = wmark.load_model("tiny", device="cpu"), ring()
    made = {}
    for name, (key, seed, size, prompt) in MARKED.items():
        (marked,) = wmark.embed(model, keys.key(key), [prompt], seed=seed, size=size, sampling=wmark.Sampling(steps=20))
        made[f"{name}-none"] = marked.image
    for base, damage in DAMAGED:
        made[f"{base}-{damage.removesuffix('%')}"] = damaged(damage, made[f"{base}-none"], seed=1)
    made["a-small"] = made["a-none"].resize((300, 300), Image.Resampling.LANCZOS)
    made["b-cut"] = made["b-none"].crop((40, 80, 512, 512))
    for i, (height, width) in enumerate([(512, 512), (512, 512), (384, 512)]):
        noise = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(20 + i))
        latent = model.sample(noise, [list(MARKED.values())[i][3]], wmark.Sampling(20))
        with torch.no_grad():
            made[f"unmarked-{i + 1}"] = to_image(model.decode(latent)[0])
    made["unmarked-4"] = damaged("crop-80%", made["unmarked-1"], seed=1)
    y, x = np.mgrid[0:360, 0:720] / 360
    waves = np.stack([np.sin(9 * x + 5 * y), np.cos(7 * x * y), x - y], axis=-1)
    made["drawn"] = Image.fromarray((127.5 + 100 * waves.clip(-1, 1)).astype(np.uint8))
    made["grey"] = Image.new("RGB", (512, 512), "gray")
    assert len(made) == 24, len(made)
    for name, image in made.items():
        image.save(HERE / f"{name}.webp", quality=92, method=6)


def readings() -> dict[str, tuple[list[Path], dict]]:
    """Which images are read how, by name."""
    files = sorted(HERE.glob("*.webp"))
    quick = [file for file in files if file.stem not in ("drawn", "grey", "unmarked-1", "unmarked-3", "unmarked-4")]
    few = [file for file in files if file.stem in ("a-crop-80", "d-mirror", "unmarked-2")]
    one = [file for file in files if file.stem == "c-none"]
    alternatives = {
        "adam": recoveries("exact", "adam", 3, "dpmsolver++", 4),
        "anderson": recoveries("exact", "anderson", 2, "ddim", 6, tuned=False),
    }
    return {
        "auto": (quick, {}),
        "fast, off": (files, {"effort": "fast", "align": "off"}),
        "exact, full": (few, {"effort": "exact", "align": "full"}),
        "adam, off": (one, {"effort": alternatives["adam"], "align": "off"}),
        "anderson, off": (one, {"effort": alternatives["anderson"], "align": "off"}),
    }


def verdicts(model: wmark.LatentDiffusion, reading: str) -> dict[str, list]:
    """What is found in one reading, by image: found, key, log10 p, cosine and look."""
    files, options = readings()[reading]
    answers = wmark.Detector(model, ring().active(), **options).verify(files)
    return {file.stem: numbers(answer) for file, answer in zip(files, answers, strict=True)}


def numbers(verdict: wmark.Verdict) -> list:
    return [verdict.found, verdict.key_id, verdict.log10_p, verdict.cosine, verdict.look]


def machine() -> dict:
    """What the last digits depend on."""
    capability = torch.backends.cpu.get_cpu_capability()
    processor = sorted(set(re.findall(r"^(?:vendor_id|cpu family|model)\s*:.*$", processors(), re.MULTILINE)))
    return {"torch": torch.__version__, "cpu": capability, "processor": processor, "threads": torch.get_num_threads()}


def processors() -> str:
    """What Linux says of them: for the same instructions, too, libraries choose kernels by vendor and model."""
    about = Path("/proc/cpuinfo")
    return about.read_text() if about.exists() else platform.processor()


if __name__ == "__main__":
    if sys.argv[1] == "images":
        images()
    else:
        tiny = wmark.load_model("tiny", device="cpu")
        found = {reading: verdicts(tiny, reading) for reading in readings()}
        VERDICTS.write_text(json.dumps({"machine": machine(), "verdicts": found}, indent=1) + "\n")
