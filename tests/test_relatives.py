"""Relatives of a model: U-Nets of their own on its other parts, trained by the same commands, at toy size."""

from __future__ import annotations

import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image

import wmark
from wmark.cli import main
from wmark.errors import ModelError
from wmark.files import sha256
from wmark.models import architectures
from wmark.training import parts
from wmark.training.configuration import load_configuration
from wmark.training.dataset import prepare
from wmark.training.flow import Levels
from wmark.training.loop import read_checkpoint
from wmark.training.narrowed import narrowed
from wmark.training.sources import Picture

PROMPTS = ["a blue sea wallpaper", "a red leaf wallpaper"]


def train(*arguments) -> str:
    outcome = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The toy with random weights."""
    configuration = load_configuration("toy")
    torch.manual_seed(0)
    tokenizer = parts.build_tokenizer(configuration)
    vae, unet = parts.build_autoencoder(configuration), parts.build_unet(configuration)
    vae.register_to_config(scaling_factor=0.7)
    text_encoder, scheduler = parts.build_text_encoder(configuration, tokenizer), parts.build_scheduler(configuration)
    folder = tmp_path_factory.mktemp("models") / "toy"
    architectures.pipeline(vae, unet, text_encoder, tokenizer, scheduler).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Pictures of smooth colours."""
    folder, found = tmp_path_factory.mktemp("pictures"), []
    for seed in range(4):
        file, grid = folder / f"{seed}.png", np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(grid).resize((640, 520), Image.Resampling.BICUBIC).save(file)
        digest = "1" + sha256(file)[1:]
        found.append(Picture("art", "1", file.name, "CC0-1.0", [], "sea", digest, file, np.zeros(128, bool)))
    prepare(found, tmp_path_factory.mktemp("prepared"), 1_000_000)
    return tmp_path_factory.getbasetemp() / "prepared0"


@pytest.fixture(scope="module")
def flow(base, prepared, tmp_path_factory):
    """A run of the flow through all its stages, and the model that comes of it."""
    run, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models") / "toy-flow"
    options = ["--config", "toy-flow", "--run", run, "--data", prepared, "--set", f'relative.base="{base}"']
    for stage in (["--small"], []):
        assert "finished" in train("diffusion", *stage, *options, "--device", "cpu")
    assert "MB" in train("export", *options, folder)
    return run, folder


@pytest.fixture(scope="module")
def one(base, flow, tmp_path_factory):
    """The same of the one-step model."""
    run, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models") / "toy-one"
    options = ["--config", "toy-one", "--run", run, "--set", f'relative.base="{base}"']
    options += ["--set", f'relative.teacher="{flow[1]}"', "--device", "cpu"]
    assert "finished" in train("diffusion", *options)
    train("export", *options, folder)
    return run, folder


def test_a_relative_holds_its_unet_alone_and_works_with_the_parts_of_its_base(base, flow):
    folder = flow[1]
    assert {path.name for path in folder.iterdir()} == {"unet", "scheduler", "model_index.json", "README.md"}
    model, whole = wmark.load_model(folder, device="cpu"), wmark.load_model(base, device="cpu")
    assert model.denoiser.prediction_type == "flow" and model.codec.scale == whole.codec.scale == 0.7
    assert (model.usual.steps, model.usual.guidance_scale) == (4, 3.0)
    assert torch.equal(model.condition(PROMPTS), whole.condition(PROMPTS))
    assert model.fingerprint != whole.fingerprint
    card = (folder / "README.md").read_text()
    assert "a rectified flow" in card and "`small`: 2 steps" in card and "{" not in card


def test_plain_diffusers_loads_a_relative_as_its_card_says(base, flow):
    unet = UNet2DConditionModel.from_pretrained(flow[1] / "unet")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(flow[1] / "scheduler")
    pipeline = StableDiffusionPipeline.from_pretrained(base, unet=unet, scheduler=scheduler, safety_checker=None)
    model = wmark.load_model(flow[1], device="cpu")
    noise, times = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), [1, 0.667, 0.334, 0.001, 0]
    z = noise
    with torch.no_grad():
        text = pipeline.encode_prompt(PROMPTS, "cpu", 1, False)[0]
        for t, t_next in itertools.pairwise(times):
            z = z + (t_next - t) * unet(z, 1000 * t, encoder_hidden_states=text).sample
    torch.testing.assert_close(model.sample(noise, PROMPTS, wmark.Sampling(4, 1.0)), z, atol=1e-4, rtol=1e-4)


def test_a_flow_is_distilled_to_one_step(flow, one):
    run, folder = one
    pairs = [read_checkpoint(path) for path in sorted((run / "pairs").iterdir())]
    assert [len(part["latents"]) for part in pairs] == [2, 2, 1]
    model = wmark.load_model(folder, device="cpu")
    assert (model.usual.steps, model.usual.guidance_scale) == (1, 1.0)
    assert "InstaFlow" in (folder / "README.md").read_text()
    moved = model.pipeline.unet.state_dict()["conv_in.weight"]
    from_ = wmark.load_model(flow[1], device="cpu").pipeline.unet.state_dict()["conv_in.weight"]
    assert 0 < (moved - from_).abs().max() < 0.1


def test_a_relative_embeds_and_verifies(one, ring):
    model = wmark.load_model(one[1], device="cpu")
    (made,) = wmark.embed(model, ring.key("one"), PROMPTS[:1], seed=1, sampling=model.usual)
    (verdict,) = wmark.Detector(model, ring.key("one")).verify([made.image])
    assert made.record["sampler"]["steps"] == 1 and verdict.log10_p <= 0


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_a_diffusion_model_is_read_as_the_flow_through_its_levels(predicts):
    z, n = torch.randn(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    alpha = torch.linspace(1, 0.01, 50)
    sigma = (1 - alpha.square()).sqrt()

    def unet(x, timesteps, encoder_hidden_states):
        a, s = (level[timesteps].reshape(-1, 1, 1, 1) for level in (alpha, sigma))
        torch.testing.assert_close(x, a * z + s * n)
        return SimpleNamespace(sample=n if predicts == "epsilon" else a * n - s * z)

    denoiser = SimpleNamespace(prediction_type=predicts, alpha=alpha.tolist(), sigma=sigma.tolist())
    levels = Levels(SimpleNamespace(denoiser=denoiser, pipeline=SimpleNamespace(unet=unet)))
    timesteps = levels.nearest(torch.tensor([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]))
    assert timesteps.tolist() == sorted(timesteps.tolist()) and timesteps[0] == 1 and timesteps[-1] == 49
    points, t, velocity = levels.velocity(z, n, timesteps, torch.zeros(1))
    assert (t[1:-1] >= torch.tensor([0.2, 0.5, 0.8, 0.95])).all()
    t = t.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(points, (1 - t) * z + t * n)
    torch.testing.assert_close(velocity, n - z, atol=1e-3, rtol=1e-3)


def unets(*channels):
    torch.manual_seed(0)
    attentive = [False, False, True, True]
    return [architectures.unet(8, widths, attentive, heads=2, context=16, layers=1, groups=4) for widths in channels]


def test_a_narrower_unet_keeps_what_it_has_room_for():
    wide, narrow = (8, 16, 32, 32), (8, 16, 24, 24)
    one, other = (unet.state_dict() for unet in unets(wide, narrow))
    kept = narrowed(one, other, wide, narrow)
    assert {name: value.shape for name, value in kept.items()} == {name: value.shape for name, value in other.items()}
    assert torch.equal(kept["conv_in.weight"], one["conv_in.weight"])
    # Three of every four channels; what comes from below and what skips keep their places where they are joined.
    rows = [row for row in range(32) if row % 4 != 3]
    assert torch.equal(
        kept["down_blocks.3.resnets.0.conv1.weight"], one["down_blocks.3.resnets.0.conv1.weight"][rows][:, rows]
    )
    joined = one["up_blocks.2.resnets.0.conv1.weight"]
    assert joined.shape[1] == 32 + 16
    assert torch.equal(kept["up_blocks.2.resnets.0.conv1.weight"], joined[:, [*rows, *range(32, 48)]])
    assert narrowed(one, one, wide, wide).keys() == one.keys()


def test_a_unet_of_another_make_cannot_be_narrowed():
    wide, channels = (8, 16, 32, 32), (8, 16, 40, 40)
    one, other = (unet.state_dict() for unet in unets(wide, channels))
    with pytest.raises(ModelError, match="channels where the table"):
        narrowed(one, other, wide, channels)
    with pytest.raises(ModelError, match="other layers"):
        narrowed(one, {}, wide, channels)


@pytest.mark.parametrize("kind", ["flow", "one"])
def test_interrupted_and_resumed_gives_the_same_weights(kind, base, prepared, flow, one, tmp_path):
    whole = {"flow": flow, "one": one}[kind][0]
    options = ["--config", f"toy-{kind}", "--run", tmp_path, "--data", prepared, "--set", f'relative.base="{base}"']
    if kind == "one":
        options += ["--set", f'relative.teacher="{flow[1]}"']
    for stage in (["--small"], [])[kind == "one" :]:
        while "stopped" in train("diffusion", *stage, *options, "--device", "cpu", "--minutes", "0"):
            pass
    one_go, pieces = (read_checkpoint(folder / "diffusion.pt")["averages"]["unet"] for folder in (whole, tmp_path))
    for name, value in one_go.items():
        assert torch.equal(value, pieces[name]), name


def test_parts_of_other_weights_are_refused(base, flow, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(base, other)
    index = json.loads((flow[1] / "model_index.json").read_text())
    relative = tmp_path / "relative"
    shutil.copytree(flow[1], relative)
    index["_wmark"]["parts"] = str(other)
    (relative / "model_index.json").write_text(json.dumps(index))
    assert wmark.load_model(relative, device="cpu").fingerprint == wmark.load_model(flow[1], device="cpu").fingerprint
    shutil.copytree(flow[1] / "unet", other / "unet", dirs_exist_ok=True)
    with pytest.raises(ModelError, match="had other weights"):
        wmark.load_model(relative, device="cpu")


def test_a_relative_goes_with_the_base_that_it_was_trained_with(base, flow, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(base, other)
    shutil.copytree(flow[1] / "unet", other / "unet", dirs_exist_ok=True)
    options = ["export", "--config", "toy-flow", "--run", str(flow[0]), "--set", f'relative.base="{other}"']
    outcome = CliRunner().invoke(main, ["train", *options, str(tmp_path / "model")])
    assert outcome.exit_code == 2 and "train it anew" in outcome.output


@pytest.mark.parametrize("name", ["tiny-flow", "tiny-one"])
def test_shipped_relatives_stay_small(name):
    unet = parts.build_unet(load_configuration(name))
    assert 2 * sum(p.numel() for p in unet.parameters()) < 8e6


def test_an_unknown_recipe_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text('[relative]\nrecipe = "magic"\n')
    outcome = CliRunner().invoke(main, ["train", "diffusion", "--config", str(tmp_path / "mine.toml")])
    assert outcome.exit_code == 2 and "no recipe 'magic'" in outcome.output
