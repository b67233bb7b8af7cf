"""The training recipe at toy size: the same commands, on pictures made here."""

from __future__ import annotations

import functools
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from diffusers import StableDiffusionPipeline
from PIL import Image
from training_fakes import train

import wmark
from wmark.cli import main
from wmark.inversion.diffusion import ddim, dpmsolver
from wmark.training.autoencoder import contraction, structure_loss
from wmark.training.configuration import load_configuration
from wmark.training.diffusion import draw_timesteps, min_snr_weight
from wmark.training.loop import read_checkpoint
from wmark.training.measures import clipped, named_colours, plain_iteration
from wmark.training.parts import build_unet


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    """A run through all stages without a stop."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--config", "toy", "--data", prepared, "--run", folder, "--device", "cpu"]
    for stage in (["autoencoder"], ["diffusion", "--small"], ["diffusion"], ["autoencoder", "--refine"]):
        assert "finished" in train(*stage, *options)
    return folder


def test_losses():
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    assert structure_loss(x, x).abs() < 1e-5
    assert structure_loss(x, x.flip(-1)) > structure_loss(x, x + 0.01 * torch.randn_like(x))
    settings = load_configuration("tiny")["diffusion"] | {"prediction_type": "epsilon"}
    alpha = torch.tensor([0.999, 0.5, 0.01])
    torch.testing.assert_close(min_snr_weight(settings, alpha)[1:], torch.ones(2))
    timesteps = draw_timesteps(settings | {"batch": 4000}, 1000, torch.Generator().manual_seed(0))
    assert timesteps.min() >= 0 and timesteps.max() < 1000 and (timesteps >= 600).float().mean() > 0.5


def test_contraction_is_what_a_plain_step_leaves():
    """An answer of k (z - g) to the error z - g leaves 1 - k of it, at any step, in energy (1 - k)^2."""
    g, off = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    for k, steps, left in ((1.0, 0, 0.0), (0.5, 0, 0.25), (0.5, 2, 0.25), (0.0, 1, 1.0), (2.5, 1, 2.25)):

        def cycle(z, k=k):
            return g + off + k * (z - g)

        torch.testing.assert_close(contraction(cycle, g, cycle(g), steps), torch.tensor(left), rtol=1e-4, atol=1e-6)
    gain = torch.tensor(0.5, requires_grad=True)
    contraction(lambda z: g + off + gain * (z - g), g, g + off, 1).backward()
    torch.testing.assert_close(gain.grad, torch.tensor(-1.0))


def test_plain_iterations_halve_what_half_an_answer_leaves():
    g = torch.rand(2, 3, 8, 8) - 0.5
    for inertia, factors in ((0.0, [0.5, 0.25, 0.125]), (0.9, [0.5, 0.25, 0.0125])):
        along = plain_iteration(lambda x: x, lambda z: z / 2, g / 2, g, 2, inertia, 1.0)
        expected = 20 * torch.tensor(factors).log10()[:, None].expand(3, 2)
        torch.testing.assert_close(along, expected, rtol=0, atol=1e-3)


def test_the_embedded_model_stays_small():
    unet = build_unet(load_configuration("tiny"))
    assert sum(p.numel() for p in unet.parameters()) < 11e6


def test_colours_and_clipping_are_measured():
    red, sky = torch.tensor([1.0, -0.9, -0.9]), torch.tensor([-0.7, 0.3, 1.0])
    images = torch.stack([red, sky])[:, :, None, None].expand(2, 3, 64, 64)
    prompts = ["a dark red sky wallpaper", "a blue sky wallpaper"]
    assert named_colours(images, prompts) == 1 and named_colours(images, prompts[::-1]) == 0
    assert clipped(images) == pytest.approx(1 / 3, abs=1e-3)


def test_interrupted_and_resumed_gives_the_same_weights(run, prepared, tmp_path):
    """With no time at all, each command makes one step."""
    options = ["--config", "toy", "--data", prepared, "--run", tmp_path, "--device", "cpu", "--minutes", "0"]
    for stage in ("autoencoder", "small", "diffusion"):
        command = ["diffusion", "--small"] if stage == "small" else [stage]
        while "stopped" in train(*command, *options):
            pass
        whole, pieces = (read_checkpoint(folder / f"{stage}.pt") for folder in (run, tmp_path))
        assert whole["step"] == pieces["step"] > 1
        for kind in ("modules", "averages"):
            for name, state in whole[kind].items():
                for key, value in state.items():
                    torch.testing.assert_close(value, pieces[kind][name][key], rtol=0, atol=0)
    assert (tmp_path / "diffusion.jsonl").read_text().count("loss") == 3


def test_exported_model_is_a_model(run, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("wmark.training.measures.ROUND_TRIP", 5)
    options = ["--config", "toy", "--data", prepared, "--run", run, "--device", "cpu"]
    assert "MB" in train("export", tmp_path, *options)
    model = wmark.load_model(tmp_path, device="cpu")
    assert model.native_size == (64, 64) and model.denoiser.prediction_type == "epsilon"
    latent = model.sample(torch.randn(1, 4, 8, 8), ["a blue sea wallpaper"], wmark.Sampling(2))
    assert model.decode(latent).shape == (1, 3, 64, 64)
    parts = StableDiffusionPipeline.from_pretrained(tmp_path).components.values()
    assert {part.dtype for part in parts if hasattr(part, "dtype")} == {torch.float32}
    train("card", tmp_path, *options, "--count", "2")
    card = (tmp_path / "README.md").read_text()
    assert "| budgie-backgrounds | 1.0-1" in card and "CC-BY-4.0 (" in card and "{" not in card
    assert "Ann Author; Ben Builder" in card and "ann@example.org" not in card
    assert "license: apache-2.0" in card and "one core" in card
    began = [[cell.strip() for cell in line.split("|")[1:3]] for line in card.splitlines() if "one core" in line]
    assert began == [
        ["autoencoder", "nothing"],
        ["small", "nothing"],
        ["diffusion", "small"],
        ["refine", "autoencoder"],
    ]
    measures = json.loads((tmp_path / "measures.json").read_text())
    assert measures["guidance"]["7.5"].keys() >= {
        "encoder_db",
        "gain_db",
        "diverged",
        "round_trip_db",
        "unguided_round_trip_db",
        "spread",
        "named_colours",
    }
    assert Image.open(tmp_path / "samples.jpg").size == (1024, 256)
    again = ["--config", "toy", "--data", prepared, "--run", tmp_path / "again", "--start", tmp_path, "--minutes", "0"]
    assert "stopped" in train("autoencoder", *again, "--set", "autoencoder.learning_rate=0.0")
    before, after = (
        model.codec.vae.state_dict(),
        read_checkpoint(tmp_path / "again" / "autoencoder.pt")["modules"]["vae"],
    )
    torch.testing.assert_close(after["decoder.conv_in.weight"], before["decoder.conv_in.weight"])


def test_training_goes_on_from_an_exported_model(run, prepared, tmp_path):
    """Without a step, what is exported is what was started from: its weights, tokenizer and scaling factor."""
    first, options = tmp_path / "first", ["--config", "toy", "--data", prepared, "--device", "cpu"]
    train("export", first, *options, "--run", run)
    vocabulary = first / "tokenizer" / "tokenizer_config.json"
    vocabulary.write_text(json.dumps(json.loads(vocabulary.read_text()) | {"model_max_length": 20}))
    config = first / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.5}))
    options += ["--run", tmp_path / "run", "--set", "autoencoder.steps=0", "--set", "diffusion.steps=0"]
    for stage in ("autoencoder", "diffusion"):
        assert "finished" in train(stage, *options, "--start", first)
    train("export", tmp_path / "second", *options)
    before, after = (wmark.load_model(folder, device="cpu") for folder in (first, tmp_path / "second"))
    assert after.fingerprint == before.fingerprint
    assert after.pipeline.vae.config.scaling_factor == 0.5
    assert after.pipeline.tokenizer.model_max_length == 20


def test_another_model_is_the_same_one_with_its_autoencoder_trained_on(run, prepared, tmp_path):
    """By the commands that the package `training` gives for it."""
    first, options = tmp_path / "first", ["--config", "toy", "--data", prepared, "--device", "cpu"]
    train("export", first, *options, "--run", run)
    options += ["--run", tmp_path / "run", "--start", first, "--set", "model.seed=7"]
    assert "finished" in train("autoencoder", *options)
    assert "finished" in train("diffusion", *options, "--set", "diffusion.steps=0")
    train("export", tmp_path / "second", *[o for o in options if o not in ("--start", first)])
    one, other = (wmark.load_model(folder, device="cpu") for folder in (first, tmp_path / "second"))
    noise, prompt = torch.randn(1, 4, 8, 8), ["a blue sea wallpaper"]
    latent = one.sample(noise, prompt, wmark.Sampling(2))
    torch.testing.assert_close(other.sample(noise, prompt, wmark.Sampling(2)), latent)
    assert other.fingerprint != one.fingerprint
    assert (other.decode(latent) - one.decode(latent)).abs().max() > 1e-3


def test_training_goes_on_from_small_pictures(run, prepared, tmp_path):
    for file in ("autoencoder.pt", "small.pt", "bank-32.pt"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    train("diffusion", "--config", "toy", "--data", prepared, "--run", tmp_path, "--set", "diffusion.steps=0")
    small, after = (read_checkpoint(tmp_path / f"{name}.pt")["averages"] for name in ("small", "diffusion"))
    torch.testing.assert_close(after["unet"]["module.conv_in.weight"], small["unet"]["module.conv_in.weight"])
    banks = [read_checkpoint(tmp_path / f"bank-{size}.pt") for size in (32, 64)]
    assert [bank["latents"].shape[-1] for bank in banks] == [4, 8]
    assert banks[0]["scaling_factor"] == banks[1]["scaling_factor"]


def test_v_prediction_is_a_setting(run, prepared, tmp_path):
    for file in ("autoencoder.pt", "bank-64.pt"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    options = ["--config", "toy", "--data", prepared, "--run", tmp_path, "--device", "cpu"]
    options += ["--set", 'diffusion.prediction_type="v_prediction"']
    train("diffusion", *options)
    train("export", tmp_path / "model", *options)
    model = wmark.load_model(tmp_path / "model", device="cpu")
    assert model.denoiser.prediction_type == "v_prediction" and model.denoiser.schedule(1.0)[0] == 0
    prompt = ["a blue sea wallpaper"]
    predict = functools.partial(model.denoiser.predict, condition=model.condition(prompt))
    for scheduler, invert in (("ddim", ddim), ("dpmsolver++", dpmsolver)):
        latent = model.sample(torch.randn(1, 4, 8, 8), prompt, wmark.Sampling(2, scheduler=scheduler))
        assert invert(predict, model.denoiser.schedule, latent, steps=2).noise.isfinite().all()


def test_caption_weight_is_what_captions_add(run, prepared, tmp_path):
    """At 0 the target is what the model says without a caption already, whatever the picture."""
    losses = {}
    for weight in (0.0, 0.5, 1.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        for file in ("autoencoder.pt", "bank-64.pt"):
            (folder / file).write_bytes((run / file).read_bytes())
        options = [f"diffusion.caption_weight={weight}", "diffusion.text_dropout=0.0", "diffusion.steps=1"]
        settings = [part for option in options for part in ("--set", option)]
        train("diffusion", "--config", "toy", "--data", prepared, "--run", folder, "--device", "cpu", *settings)
        losses[weight] = json.loads((folder / "diffusion.jsonl").read_text())["loss"]
    assert losses[0.0] < 0.01 * losses[1.0]
    assert losses[0.5] == pytest.approx(0.25 * losses[1.0], rel=0.2)


def test_samples_of_another_diffusion_model_are_refused(run, prepared, tmp_path):
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    options = ["--config", "toy", "--data", prepared, "--run", tmp_path, "--device", "cpu"]
    assert "finished" in train("autoencoder", "--refine", *options)
    (tmp_path / "diffusion.pt").write_bytes((tmp_path / "small.pt").read_bytes())
    outcome = CliRunner().invoke(main, ["train", "autoencoder", "--refine", *map(str, options)])
    assert outcome.exit_code == 2 and "earlier diffusion model" in outcome.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["diffusion", "--config", "nothing"], "cannot be read"),
        (["diffusion", "--config", "toy", "--set", "diffusion.nonsense=1"], "other settings"),
        (["diffusion", "--config", "toy", "--set", "nonsense"], "not a setting"),
        (["diffusion", "--config", "toy"], "is missing"),
        (["autoencoder", "--config", "toy"], "not a prepared dataset"),
    ],
)
def test_trouble_is_one_sentence(arguments, sentence, tmp_path):
    places = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"), "--device", "cpu"]
    outcome = CliRunner().invoke(main, ["train", *arguments, *places])
    assert outcome.exit_code == 2 and sentence in outcome.output and "Traceback" not in outcome.output
