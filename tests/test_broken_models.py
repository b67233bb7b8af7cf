"""A model that is broken answers nothing: it is refused when it is loaded, or at the first thing that is not finite."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file

import wmark
from wmark import ModelError, load_model


@pytest.fixture
def folder(tmp_path, small_pipeline):
    small_pipeline("epsilon").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def weights(folder, part):
    (file,) = (folder / part).glob("*.safetensors")
    return file


def change(folder, part, name, **values):
    file = folder / part / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def without_a_tensor(part):
    def damage(folder):
        state = load_file(weights(folder, part))
        del state[sorted(state)[0]]
        save_file(state, weights(folder, part), metadata={"format": "pt"})

    return damage


def with_another_autoencoder(folder):
    shutil.rmtree(folder / "vae")
    AutoencoderTiny(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
                    num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)).save_pretrained(folder / "vae")  # fmt: skip
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", "AutoencoderTiny"]
    (folder / "model_index.json").write_text(json.dumps(index))


def without_a_vocabulary(folder):
    for file in (folder / "tokenizer").iterdir():
        file.unlink()


SCHEDULER = ("scheduler", "scheduler_config.json")
REFUSED = [
    (without_a_tensor("vae"), "its vae lacks 1 tensors"),
    (without_a_tensor("unet"), "its unet lacks 1 tensors"),
    (without_a_tensor("text_encoder"), "its text_encoder lacks 1 tensors"),
    (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer has no tokenizer.json or vocab.json"),
    (without_a_vocabulary, "tokenizer has no tokenizer.json or vocab.json"),
    (lambda folder: shutil.rmtree(folder / "unet"), "unet/config.json"),
    (with_another_autoencoder, "AutoencoderTiny"),
    (lambda folder: (folder / "model_index.json").write_text("[" * 100_000), "model_index.json"),
    (lambda folder: (folder / "model_index.json").write_text("[]"), "model_index.json"),
    (lambda folder: (folder / "vae" / "config.json").write_text("[" * 100_000), "vae/config.json"),
    (lambda folder: change(folder, "vae", "config.json", scaling_factor=float("nan")), "scaling factor nan"),
    (lambda folder: change(folder, "vae", "config.json", scaling_factor=0.0), "scaling factor 0.0"),
    (lambda folder: change(folder, "vae", "config.json", scaling_factor="x"), "scaling factor x"),
    (lambda folder: change(folder, "vae", "config.json", scaling_factor=None), "scaling factor None"),
    *(
        (lambda folder, size=size: change(folder, "unet", "config.json", sample_size=size), "sample_size")
        for size in (None, float("nan"), 0, -3, "x", [64], 100_000)
    ),
    (lambda folder: change(folder, "scheduler", "scheduler_config.json", beta_end=float("nan")), "betas are broken"),
    (
        lambda folder: change(folder, "scheduler", "scheduler_config.json", num_train_timesteps=3),
        "3 training timesteps",
    ),
]


@pytest.mark.parametrize(("damage", "expected"), REFUSED)
def test_a_broken_model_is_refused_when_it_is_loaded(folder, damage, expected):
    damage(folder)
    with pytest.raises(ModelError, match=expected) as error:
        load_model(folder, device="cpu")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
@pytest.mark.parametrize(
    "part",
    ["model_index.json", "vae/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json",
     "unet/diffusion_pytorch_model.safetensors", "left_inverse.safetensors"],
)  # fmt: skip
def test_a_part_that_never_ends_is_refused(folder, part):
    file = folder / part
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    with pytest.raises(ModelError, match=f"its {part} is a pipe, not a regular file"):
        load_model(folder, device="cpu")
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=f"its {part} is a device, not a regular file"):
        load_model(folder, device="cpu")
    if file.suffix == ".json":
        file.unlink()
        file.touch()
        os.truncate(file, 20 << 30)
        with pytest.raises(ModelError, match=f"its {part} has 21,474,836,480 bytes"):
            load_model(folder, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_weights_that_are_not_finite_are_refused_when_they_are_loaded(folder, part, value):
    """One is enough, wherever it stands: `fast` never asks the decoder, and iterations would pass over it."""
    state = load_file(weights(folder, part))
    name = sorted(state)[0]
    state[name].view(-1)[-1] = value
    save_file(state, weights(folder, part), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"its {part} has values in .*{name} that are not finite"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_a_pipeline_that_is_not_finite_gives_no_verdict(small_pipeline, part):
    pipeline = small_pipeline("epsilon")
    with torch.no_grad():
        for values in getattr(pipeline, part).parameters():
            values.fill_(torch.nan)
    model = wmark.LatentDiffusion.from_pipeline(pipeline)
    key = wmark.Key.derive(b"k" * 32, "k", wmark.Pattern.of(radius=8))
    with pytest.raises(ModelError, match=r"not finite: its weights are broken$"):
        wmark.Detector(model, key, "fast", align="off").verify(Image.new("RGB", (96, 96), "teal"))


@pytest.mark.parametrize("device", ["meta", "warp", "cuda:99", "hpu"])
def test_a_device_without_values_is_refused(device):
    with pytest.raises(ModelError, match="not available"):
        load_model("tiny", device=device)
