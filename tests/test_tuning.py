from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from wmark import ModelError, Pattern, WmarkError, load_model
from wmark.attacks import find_damage
from wmark.cli import main
from wmark.commands import tune as command
from wmark.commands.material import find_pictures
from wmark.detectors.reading import without
from wmark.images import rounded, to_image, to_pixels, to_tensor
from wmark.images.synthetic import synthetic
from wmark.inversion.chain import recover
from wmark.inversion.recovery import FAST
from wmark.models import left_inverse
from wmark.models import reader as learned
from wmark.models.left_inverse import LeftInverse
from wmark.models.reader import Reader, ReaderNet, Shape
from wmark.training import left_inverse as stage
from wmark.training import looks as looking
from wmark.training import reader as reading
from wmark.training import timed
from wmark.training.common import DIRECTIONS, common_directions
from wmark.training.reader import TESTS, ReaderSettings, evidence, train_reader
from wmark.training.readings import Versions, drawn_readings
from wmark.training.samples import Samples, hold_out, sample_latents
from wmark.training.turning import find_turning, turned
from wmark.watermark.spectrum import mask_coordinates


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Neither what the user has tuned nor what the last test has."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def folder(tmp_path, small_pipeline):
    small_pipeline("epsilon").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def small(folder):
    return load_model(folder, device="cpu")


class Clock:
    """Half a second passes whenever somebody looks."""

    now = 0.0

    def perf_counter(self):
        self.now += 0.5
        return self.now


def samples_of(model, count=20):
    noise = torch.randn(2, count, *model.latent_shape(96, 96), generator=torch.Generator().manual_seed(0))
    return hold_out(Samples(*noise))


def latents_of(model):
    return [samples.latents for samples in samples_of(model)]


def test_it_starts_as_the_encoder(small):
    x = torch.rand(2, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(LeftInverse(small.codec.vae)(x), small.encode(x), atol=1e-6)
        assert torch.equal(small.encode(x, tuned=True), small.encode(x))


def test_tuning_brings_the_latent_closer_and_leaves_the_encoder_alone(small, tmp_path, monkeypatch):
    before = {name: value.clone() for name, value in small.codec.vae.state_dict().items()}
    monkeypatch.setattr(timed, "time", Clock())
    settings = stage.Settings(learning_rate=2e-2, damaged=0.2, batch=1)
    tuned = stage.tune(small, *latents_of(small), minutes=0.3, folder=tmp_path, settings=settings)
    assert [point["minutes"] for point in tuned.curve] == [0, 0.3]
    assert tuned.curve[-1]["none"] < tuned.curve[0]["none"] - 0.3
    assert all(torch.equal(value, before[name]) for name, value in small.codec.vae.state_dict().items())


def test_an_interrupted_tuning_goes_on_where_it_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(timed, "EVALUATE_EVERY", 0.0)  # A checkpoint after each step.
    latents, settings = latents_of(small), stage.Settings()

    def interrupt(share, curve):
        if curve[-1]["steps"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.tune(small, *latents, minutes=1, folder=tmp_path, settings=settings, callback=interrupt)
    kept = torch.load(tmp_path / "checkpoint.pt")
    tuned = stage.tune(small, *latents, minutes=(kept["spent"] + 0.1) / 60, folder=tmp_path, settings=settings)
    assert [point["steps"] for point in tuned.curve[:5]] == [0, 1, 2, 3, 4]
    assert tuned.curve[:4] == kept["curve"]


def test_sampled_latents_are_kept(small, tmp_path, monkeypatch):
    first = sample_latents(small, ["a", "b", "c"], tmp_path, steps=2, seed=0, batch=2)
    assert first.noise.shape == first.latents.shape == (3, 4, 24, 24)
    monkeypatch.setattr(type(small), "sample", None)
    again = sample_latents(small, ["a", "b", "c"], tmp_path, steps=2, seed=0, batch=2)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.latents, again.latents)


def test_saved_beside_the_model_it_is_used_from_then_on(small, folder):
    inverse = LeftInverse(small.codec.vae)
    with torch.no_grad():
        inverse.encoder.conv_out.weight.mul_(2)
    inverse.save(folder / left_inverse.FILE_NAME, small.fingerprint, {"minutes": 1})
    again = load_model(folder, device="cpu")
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert (again.encode(x, tuned=True) - inverse(x)).abs().max() < 1e-2
        assert torch.equal(again.encode(x), small.encode(x))
    assert again.fingerprint == small.fingerprint
    assert again.left_inverse_fingerprint == inverse.fingerprint != LeftInverse(small.codec.vae).fingerprint
    assert load_model(folder, device="cpu", tuned=False).codec.left_inverse is None
    assert left_inverse.about(folder / left_inverse.FILE_NAME) == {"minutes": 1}


def test_one_of_other_weights_or_damaged_is_refused(small, folder):
    path = folder / left_inverse.FILE_NAME
    LeftInverse(small.codec.vae).save(path, "0123456789abcdef", {})
    with pytest.raises(ModelError, match="tuned for other weights"):
        load_model(folder, device="cpu")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder, device="cpu")


def test_a_reader_learns_what_noise_pictures_come_from(small, tmp_path, monkeypatch):
    """On a decoder that shows the latent and a latent that shows the noise, at the places that geometry takes it to."""
    noise = torch.randn(40, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    samples, held_out = hold_out(Samples(noise, noise))
    bank = drawn_readings(small, samples, tmp_path, versions=Versions(1, 0, 2), seed=0)
    assert bank.latents.shape == bank.noise.shape == (24 * 4, 4, 24, 24)
    assert torch.equal(bank.noise[::4], samples.noise.half())
    assert torch.equal(bank.noise[1::4], samples.noise.half())
    assert not torch.equal(bank.noise[2::4], samples.noise.half())
    again = drawn_readings(small, samples, tmp_path, versions=Versions(1, 0, 2), seed=0)
    assert torch.equal(bank.latents, again.latents)

    perfect = bank._replace(latents=bank.noise)
    monkeypatch.setattr(timed, "time", Clock())
    settings = ReaderSettings(width=8, dilations=(1,), learning_rate=5e-3, batch=8)
    reader = train_reader(small, perfect, held_out, minutes=2, folder=tmp_path, settings=settings)
    assert [*reader.about["curve"][0]] == ["minutes", "steps", *TESTS]
    assert torch.cosine_similarity(reader(noise).flatten(), noise.flatten(), dim=0) > 0.9
    assert (evidence(reader(noise), noise) < -100).all()


@pytest.fixture
def one_test(monkeypatch):
    """One damage to evaluate after: seven of them take a minute."""
    for module in (reading, looking):
        monkeypatch.setattr(module, "TESTS", ("none",))
    monkeypatch.setattr(command, "SYNTHETIC_PICTURES", 9)


def test_looks_are_kept_that_add_to_what_the_reader_says(small, one_test):
    class Blind(ReaderNet):
        def forward(self, latent):
            return torch.zeros_like(latent).index_fill_(1, torch.tensor([0]), 1e-3)

    _, held_out = samples_of(small)
    looks, worth = looking.find_looks(small, Reader(Blind(Shape(width=8, dilations=(1,)))), held_out, seed=0)
    assert [look.name for look in looks[:2]] == ["reader/identity", "reader/search"]
    assert all(look.after is None for look in looks[:2])
    assert all(look.after is not None and look.recovery.beside for look in looks[2:])
    assert {"reader", "fast", "exact"} < set(worth)


def test_common_directions_take_most_of_what_readings_of_drawings_share(small):
    """Of pictures that they were not learnt from."""
    common = common_directions(small, [FAST], pictures=30)["fast"]
    assert common.shape == (DIRECTIONS, 4, 24, 24)
    assert torch.allclose(common.flatten(1) @ common.flatten(1).T, torch.eye(DIRECTIONS), atol=1e-5)
    images = torch.stack([to_pixels(synthetic("shapes", i, (96, 96))) for i in range(12)])
    pattern = Pattern.of("square").fitted((24, 24))
    seen = mask_coordinates(recover(small, FAST, images).reading, pattern)
    left = without(seen, mask_coordinates(common, pattern))

    def shared(coordinates):
        return torch.nn.functional.normalize(coordinates.flatten(1)).mean(0).norm()

    assert shared(left) < 0.8 * shared(seen)


def test_what_further_pictures_share_is_learnt_as_well(small, tmp_path):
    """A picture that is nothing like those that are drawn, among files that are none."""
    grating = Image.fromarray(np.uint8(np.indices((96, 96)).sum(0) % 8 * 36)).convert("RGB")
    for i in range(30):
        grating.save(tmp_path / f"{i:02d}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"no picture either")
    files = find_pictures(tmp_path)
    assert [path.name for path in files] == [f"{i:02d}.png" for i in range(30)]
    reading = torch.nn.functional.normalize(recover(small, FAST, to_pixels(grating)[None]).reading.flatten(1))

    def seen(common):
        return float((common["fast"].flatten(1) @ reading[0]).square().sum())

    assert seen(common_directions(small, [FAST], pictures=12)) < 0.9
    assert seen(common_directions(small, [FAST], pictures=12, further=files)) > 0.99


def test_a_folder_without_pictures_teaches_nothing(tmp_path):
    with pytest.raises(WmarkError, match="holds no pictures"):
        find_pictures(tmp_path)


def test_a_reader_beside_the_model_is_used_from_then_on(small, folder):
    torch.manual_seed(0)
    common = {"reader": torch.randn(3, 4, 24, 24)}
    reader = Reader(ReaderNet(Shape(width=8, dilations=(1, 2))), common, [], {"minutes": 1})
    reader.save(folder / learned.FILE_NAME, small.fingerprint)
    again = load_model(folder, device="cpu").reader
    z = torch.randn(1, 4, 24, 24)
    assert (again(z) - reader(z)).abs().max() < 1e-2
    assert again.fingerprint == reader.fingerprint
    assert again.about == {"minutes": 1}
    assert torch.allclose(again.common["reader"], reader.common["reader"], atol=2e-3)
    assert load_model(folder, device="cpu", tuned=False).reader is None


def test_turned_colours_are_told_from_the_latent_alone(small):
    samples, held_out = samples_of(small)
    picture = small.decode(held_out.latents[:1])
    assert torch.allclose(turned(turned(picture)), picture, atol=1e-6)
    hue = find_damage("hue:180")(to_image(picture[0]), 0)
    assert (to_tensor(hue) - turned(rounded(picture))[0]).abs().mean() < 0.02

    reader = Reader(ReaderNet(Shape(width=8, dilations=(1,))))
    with pytest.raises(ModelError, match="does not know turned colours"):
        reader.turn(held_out.latents)
    knows = replace(reader, turning=find_turning(small, samples.latents))
    assert knows.fingerprint != reader.fingerprint
    shown = rounded(picture)
    seen, wanted = (small.encode(one) for one in (shown, turned(shown)))
    assert (knows.turn(seen) - wanted).square().mean() < 0.8 * (seen - wanted).square().mean()


def test_a_reader_of_other_weights_or_damaged_is_refused(small, folder):
    path = folder / learned.FILE_NAME
    reader = Reader(ReaderNet(Shape(width=8, dilations=(1,))))
    reader.save(path, "0123456789abcdef")
    with pytest.raises(ModelError, match="tuned for other weights"):
        load_model(folder, device="cpu")
    LeftInverse(small.codec.vae).save(path, small.fingerprint, {})
    with pytest.raises(ModelError, match="not written by `wmark tune`"):
        load_model(folder, device="cpu")
    reader.save(path, small.fingerprint)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder, device="cpu")


def test_the_command_tunes_saves_and_goes_on(folder, tmp_path, monkeypatch, one_test):
    monkeypatch.setattr(timed, "EVALUATE_EVERY", 1.0)
    (tmp_path / "prompts.txt").write_text("a red leaf\n\na blue sea\n")
    arguments = ["tune", str(folder), "--minutes", "0.05", "--latents", "18", "--steps", "1", "--device", "cpu",
                 "--prompts", str(tmp_path / "prompts.txt"), "--plot", str(tmp_path / "curve.png")]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "looks that pay: reader" in done.output
    learnt = load_model(folder, device="cpu").reader
    assert learnt.plan and learnt.turning["weight"].shape == (4, 4, 3, 3) and "turned" in learnt.common
    assert (folder / left_inverse.FILE_NAME).exists() == ("not saved" not in done.output)
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_command_refuses_prompts_that_are_none(folder, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    done = CliRunner().invoke(main, ["tune", str(folder), "--prompts", str(tmp_path / "empty.txt"), "--device", "cpu"])
    assert (done.exit_code, "holds no prompts" in done.output) == (2, True)
