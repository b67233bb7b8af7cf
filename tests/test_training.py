"""The training recipe at toy size: the same commands, on pictures made here."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import StableDiffusionPipeline
from PIL import Image

import wmark
from wmark.cli import main
from wmark.errors import WmarkError
from wmark.inversion.diffusion import ddim, dpmsolver
from wmark.models import prompts
from wmark.training import captions
from wmark.training.attribution import notice
from wmark.training.autoencoder import contraction, structure_loss
from wmark.training.configuration import FOLDER, load_configuration, read_toml
from wmark.training.dataset import Pictures
from wmark.training.diffusion import draw_timesteps, min_snr_weight
from wmark.training.licences import UNKNOWN, licence_of
from wmark.training.loop import read_checkpoint
from wmark.training.measures import clipped, named_colours, plain_iteration
from wmark.training.parts import build_tokenizer, build_unet
from wmark.training.sources import find_pictures

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: art

Files: *
Copyright: 2014, A Group
License: GPL-2+

Files: nature/*
       sea/Wave.png
Copyright: 2020, Ann Author <ann@example.org>
           2021-2022 Ben Builder
License: CC-BY-4.0

Files: debian/*
Copyright: 2022, A Packager
License: GPL-3+

License: CC-BY-4.0
 The text.
"""


def train(*arguments: str) -> str:
    outcome = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def drawing(seed: int, size: tuple[int, int] = (640, 520)) -> Image.Image:
    """Smooth colours, different for each seed."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Two packages of the recipe's list, as dpkg-deb would unpack them."""
    folder = tmp_path_factory.mktemp("unpacked")
    pictures = folder / "budgie-backgrounds_1.0-1" / "usr/share/backgrounds/mate/nature"
    pictures.mkdir(parents=True)
    for seed in range(11):
        drawing(seed).save(pictures / f"Sea{seed}.png")
    drawing(0, (1280, 1040)).save(pictures / "Sea0_large.jpg")
    Image.new("RGB", (600, 600), "white").save(pictures / "empty.png")
    drawing(20, (300, 300)).save(pictures / "small.png")
    drawing(21).save(pictures / "screenshot.png")
    cut_out = drawing(22)
    cut_out.putalpha(Image.new("L", cut_out.size, 128))
    cut_out.save(pictures / "cut-out.png")
    document = folder / "budgie-backgrounds_1.0-1" / "usr/share/doc/budgie-backgrounds/copyright"
    document.parent.mkdir(parents=True)
    document.write_text(COPYRIGHT)
    other = folder / "sddm-theme-maldives_2.0" / "usr/share/backgrounds"
    other.mkdir(parents=True)
    drawing(1).save(other / "copy.jpg")
    terms = folder / "sddm-theme-maldives_2.0" / "usr/share/doc/sddm-theme-maldives/copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("Files: *\nCopyright: 2020, Another\nLicense: CC-BY-3.0\n")
    return folder


@pytest.fixture(scope="module")
def prepared(unpacked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    assert "11 pictures" in train("data", "--data", folder, "--unpacked", unpacked, "--cap", "1")
    return folder


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    """A run through all stages without a stop."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--config", "toy", "--data", prepared, "--run", folder, "--device", "cpu"]
    for stage in (["autoencoder"], ["diffusion", "--small"], ["diffusion"], ["autoencoder", "--refine"]):
        assert "finished" in train(*stage, *options)
    return folder


def test_pictures_are_sifted_deduplicated_and_described(prepared, unpacked):
    pictures = json.loads((prepared / "manifest.json").read_text())["pictures"]
    assert len({picture["hash"] for picture in pictures}) == 11
    by_name = {picture["path"].rpartition("/")[2]: picture for picture in pictures}
    assert "Sea0_large.jpg" in by_name and "Sea0.png" not in by_name
    sea = by_name["Sea3.png"]
    assert (sea["package"], sea["version"], sea["licence"]) == ("budgie-backgrounds", "1.0-1", "CC-BY-4.0")
    assert sea["authors"] == ["Ann Author <ann@example.org>", "Ben Builder"] and sea["subject"] == "sea"
    assert 0 < sum(picture["held_out"] for picture in pictures) < 6
    assert sum(file.stat().st_size for file in prepared.iterdir()) < 1e6


def test_pictures_that_cannot_be_read_here_are_not_left_out_silently(unpacked, tmp_path, monkeypatch):
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    (tmp_path / "budgie-backgrounds_1.0-1" / "usr" / "Sea.jxl").write_bytes(b"")
    sources = {"packages": [{"name": "budgie-backgrounds"}], "exclude": []}
    monkeypatch.setattr(Image, "registered_extensions", dict)
    with pytest.raises(WmarkError, match=r"1 pictures are JPEG XL.*wmark\[training\]"):
        find_pictures(sources, tmp_path)


def test_limit_of_a_package(unpacked):
    sources = {"packages": [{"name": "budgie-backgrounds", "limit": 3}], "exclude": []}
    assert len(find_pictures(sources, unpacked)) == 3


def test_terms_and_subjects_stated_for_a_package(unpacked):
    rules = {
        "name": "budgie-backgrounds",
        "drop": ["Sea[12].png", "budgie-backgrounds_1.*/Sea3.png"],
        "licences": [{"files": ["Sea4.png"], "licence": "CC0-1.0", "authors": ["Kay"], "reason": "AUTHORS"}],
        "subjects": {"planet": ["nature/Sea5*", "Sea4.png"]},
        "shortest": 300,
    }
    sources = {"packages": [rules], "exclude": ["*cut-out*"], "licences": ["CC-BY-4.0", "CC0-1.0"]}
    found = {picture.path.rpartition("/")[2]: picture for picture in find_pictures(sources, unpacked)}
    assert not found.keys() & {"Sea1.png", "Sea2.png", "Sea3.png"} and "small.png" in found
    assert (found["Sea4.png"].licence, found["Sea4.png"].authors) == ("CC0-1.0", ["Kay"])
    assert [found[f"Sea{i}.png"].subject for i in (4, 5, 6)] == ["planet", "planet", "sea"]
    assert find_pictures({**sources, "packages": [{**rules, "version": "2.*"}]}, unpacked) == []
    stated = find_pictures({**sources, "licences": ["CC0-1.0"]}, unpacked)
    assert [picture.licence for picture in stated] == ["CC0-1.0"]
    assert find_pictures({**sources, "licences": ["MIT"]}, unpacked) == []


def test_a_picture_is_taken_in_its_largest_size(unpacked, tmp_path):
    """Under the terms of the package that says more of it."""
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    large = tmp_path / "high-dpi_2.0" / "usr" / "nature"
    large.mkdir(parents=True)
    drawing(3, (1280, 1040)).save(large / "Sea3@2x.png")
    rules = {"name": "budgie-backgrounds", "larger": {"package": "high-dpi", "suffix": "@2x"}}
    sources = {"packages": [rules], "exclude": ["*cut-out*"], "licences": ["CC-BY-4.0"]}
    (found,) = [picture for picture in find_pictures(sources, tmp_path) if "Sea3" in picture.path]
    assert (found.package, found.version, found.area) == ("high-dpi", "2.0", 1280 * 1040)
    assert (found.licence, found.subject) == ("CC-BY-4.0", "sea")


def test_channels_are_shuffled_where_any_colour_will_do(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    shuffled = {}
    for subject in ("sea", "abstract"):
        told = [picture | {"subject": subject} for picture in manifest["pictures"]]
        (tmp_path / "manifest.json").write_text(json.dumps({"pictures": told}))
        crops, _ = Pictures(tmp_path).crops(30, 64, torch.Generator().manual_seed(0))
        shuffled[subject] = crops
    same = [torch.equal(a, b) for a, b in zip(shuffled["sea"], shuffled["abstract"], strict=True)]
    assert 1 <= sum(same) <= 12
    orders = torch.stack([crops.sort(dim=1).values for crops in shuffled.values()])
    assert torch.equal(orders[0], orders[1])


def test_shipped_sources_are_consistent():
    sources = read_toml(FOLDER / "sources.toml")
    names = [rules["name"] for rules in sources["packages"]]
    assert len(set(names)) == len(names)
    assert sources["subjects"].keys() <= set(captions.SUBJECTS)
    for rules in sources["packages"]:
        known = {"name", "version", "include", "drop", "shortest", "limit", "larger", "licences", "subjects"}
        assert rules.keys() <= known
        assert rules.get("subjects", {}).keys() <= set(captions.SUBJECTS)
        assert all(
            stated["licence"] in sources["licences"] and stated["reason"] for stated in rules.get("licences", [])
        )


def test_notice_names_who_asks_for_it(prepared, tmp_path):
    train("notice", tmp_path / "NOTICE", "--data", prepared)
    text = (tmp_path / "NOTICE").read_text()
    assert "Under CC-BY-4.0, https://creativecommons.org/licenses/by/4.0/:\n  Sea" in text
    assert "Sea3.png, by Ann Author, Ben Builder (Debian package budgie-backgrounds)" in text
    assert "cropped, scaled, mirrored" in text and "MIT" not in text
    entries = [
        {"path": "a/b.jpg", "package": "p", "licence": licence, "authors": [f"{licence} author"]}
        for licence in ("MIT", "CC0-1.0")
    ]
    both = notice(entries)
    assert "b.jpg, by MIT author" in both and "Permission is hereby granted" in both and "CC0-1.0 author." in both


@pytest.mark.parametrize(
    ("path", "licence", "authors"),
    [
        ("usr/share/backgrounds/mate/nature/Dune.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/sea/Wave.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/Wave.png", "CC-BY-4.0", ["Ann Author <ann@example.org>", "Ben Builder"]),
        ("usr/share/backgrounds/mate/sea/Other.png", "GPL-2+", ["A Group"]),
    ],
)
def test_licence_of_a_file(path, licence, authors):
    assert licence_of(path, COPYRIGHT) == (licence, authors)


def test_licence_elsewhere():
    metadata = json.dumps({"KPlugin": {"License": "CC-BY-SA-4.0", "Authors": [{"Name": "Kay"}]}})
    assert licence_of("a.png", COPYRIGHT, metadata) == ("CC-BY-SA-4.0", ["Kay"])
    desktop = "[Desktop Entry]\nName=A\nX-KDE-PluginInfo-Author=Kay\nX-KDE-PluginInfo-License=LGPLv3\n"
    assert licence_of("a.png", COPYRIGHT, desktop) == ("LGPL-3.0-only", ["Kay"])
    assert licence_of("a.png", "Copyright: whoever wrote it.") == (UNKNOWN, [])


@pytest.mark.parametrize(
    ("rgb", "caption"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "gray"),
        ((220, 20, 20), "red"),
        ((255, 140, 0), "orange"),
        ((100, 60, 20), "brown"),
        ((250, 240, 30), "yellow"),
        ((20, 150, 30), "green"),
        ((0, 150, 150), "teal"),
        ((20, 60, 220), "blue"),
        ((130, 40, 180), "purple"),
        ((255, 105, 180), "pink"),
    ],
)
def test_colours_have_their_names(rgb, caption):
    image = torch.tensor(rgb).reshape(1, 3, 1, 1).expand(1, 3, 64, 64) / 127.5 - 1
    assert captions.COLOURS[captions.colour_shares(image).argmax()] == caption


def test_captions_speak_the_benchmarks_language():
    spoken = {word for prompt in prompts.draw_prompts(2000, 0) for word in prompt.split()}
    assert spoken <= set(captions.words())
    halves = torch.cat(
        [torch.full((3, 64, 32), -1.0), torch.tensor([-0.9, -0.5, 0.9])[:, None, None].expand(3, 64, 32)], 2
    )
    (caption,) = captions.captions(halves[None], ["sea"], seed=1)
    assert caption.split()[-5:] in (
        ["black", "and", "blue", "sea", "wallpaper"],
        ["blue", "and", "black", "sea", "wallpaper"],
    )
    assert set(caption.split()) <= set(captions.words())


@pytest.mark.parametrize(
    ("path", "subject"),
    [("backgrounds/SeaSunset.jpg", "sunset"), ("x/OceanView/1.png", "sea"), ("x/fossa.jpg", "abstract")],
)
def test_subject_from_a_path(path, subject):
    assert captions.subject_of(path, {"sea": ["ocean"]}) == subject


def test_each_word_is_one_token():
    configuration = load_configuration("tiny")
    tokenizer = build_tokenizer(configuration)
    for word in captions.words():
        assert len(tokenizer(word).input_ids) == 3
    assert len(tokenizer("a word it never saw", padding="max_length").input_ids) == 24


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


def test_exported_model_is_a_model(run, prepared, tmp_path):
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
