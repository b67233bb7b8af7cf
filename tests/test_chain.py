import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest

import wmark
from wmark import Detector, ImageError, Key, KeyringError, Pattern
from wmark.benchmarks.attacks import ATTACKS, attack
from wmark.detectors.alignment import IDENTITY
from wmark.detectors.statistic import hypercone_log10_p
from wmark.images import to_tensor
from wmark.inversion.recovery import EXACT, FAST, Stage, stages

CHEAP = Stage("cheap", steps=2)


def test_the_key_of_a_marked_image_is_found_and_named(model, ring, marked):
    (verdict,) = Detector(model, ring.active()).verify([marked])
    assert verdict.found
    assert verdict.key_id == "one"
    assert verdict.log10_p < -20
    assert verdict.look == "fast/identity"
    assert verdict.alignment == IDENTITY


@pytest.mark.parametrize("name", ATTACKS)
def test_ordinary_damage_is_survived(model, ring, marked, name):
    (verdict,) = Detector(model, [ring.key("one"), ring.key("two")]).verify([attack(name, marked, seed=1)])
    assert verdict.found, verdict
    assert verdict.key_id == "one"


def test_the_alignment_is_reported(model, ring, marked):
    turned = marked.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(75, Image.Resampling.BICUBIC)
    (verdict,) = Detector(model, [ring.key("one")], "fast", align="full").verify([turned])
    assert verdict.alignment.mirror
    assert verdict.alignment.angle == pytest.approx(75, abs=2)
    assert verdict.alignment.scale == pytest.approx(1, abs=0.04)


def test_unmarked_images_and_strangers_keys_are_not_found(model, ring, marked, unmarked):
    stranger = Key.derive(b"s" * 32, "stranger", Pattern.of())
    for keys, image in ((ring.active(), unmarked), ([stranger], marked)):
        (verdict,) = Detector(model, keys).verify([image])
        assert not verdict.found
        assert verdict.log10_p > -3
        assert verdict.to_json()["key_id"] is None


def test_every_look_key_and_alignment_is_paid_for(model, ring, marked):
    keys = ring.active()
    (verdict,) = Detector(model, keys, [CHEAP], align="off").verify([marked])
    single = float(hypercone_log10_p(verdict.cosine, Pattern.of().dimension))
    assert verdict.log10_p == pytest.approx(single + math.log10(3))
    assert (verdict.keys, verdict.alignments, verdict.looks) == (3, 1, 1)

    (searched,) = Detector(model, keys[:1], [CHEAP], align="auto", fpr=1e-300).verify([marked])
    assert searched.looks == 2
    detector = Detector(model, keys[:1], [CHEAP], align="full")
    (full,) = detector.verify([marked])
    assert full.alignments > 10**7
    expected = float(hypercone_log10_p(full.cosine, Pattern.of().dimension)) + math.log10(full.alignments)
    assert full.log10_p == pytest.approx(expected)


def test_auto_stops_as_soon_as_it_is_decisive(model, ring, marked, unmarked, monkeypatch):
    used = []
    recover = Stage.recover
    monkeypatch.setattr(Stage, "recover", lambda self, m, x: used.append((self.name, len(x))) or recover(self, m, x))
    cheap = [Stage("first", steps=2), Stage("second", steps=3)]
    verdicts = Detector(model, [ring.key("one")], cheap, align="off").verify([marked, unmarked])
    assert used == [("first", 2), ("second", 1)]
    assert [v.found for v in verdicts] == [True, False]
    assert all(v.looks == 2 for v in verdicts)


def test_efforts_are_made_of_the_measured_stages():
    assert stages("auto") == (FAST, EXACT)
    assert stages("exact", iterations=3)[0].decoder_options == {"iterations": 3}
    (only,) = stages("auto", decoder_inversion="encoder", steps=7)
    assert (only.decoder_inversion, only.steps) == ("encoder", 7)
    assert stages("exact", decoder_inversion="adam")[0].decoder_options == {}


@pytest.mark.parametrize(("method", "calls"), [("encoder", ["tuned"]), ("anderson", ["plain"] + 3 * ["tuned"])])
def test_iterations_of_the_left_inverse_start_from_the_encoder(model, marked, monkeypatch, method, calls):
    encode, called = model.encode, []
    monkeypatch.setattr(model, "encode", lambda x: called.append("plain") or encode(x))
    monkeypatch.setattr(model, "left_inverse", lambda x: called.append("tuned") or encode(x))
    options = {"iterations": 1} if method == "anderson" else {}
    Stage("any", method, options).invert_decoder(model, to_tensor(marked)[None])
    assert called == calls
    called.clear()
    Stage("any", method, options, left_inverse=False).invert_decoder(model, to_tensor(marked)[None])
    assert set(called) == {"plain"}


def test_p_values_of_one_unmarked_image_are_uniform_over_keys(model, unmarked):
    """The hypercone test is exact over the draw of the key, whatever the image."""
    detector = Detector(model, [Key.derive(b"n" * 32, "n", Pattern.of())], [FAST], align="off", keep_noise=True)
    (verdict,) = detector.verify([unmarked])
    coordinates = detector.coordinates(verdict.noise, Pattern.of(), verdict.canvas)
    coordinates /= np.linalg.norm(coordinates)
    directions = [Key.derive(b"n" * 32, f"n{i}", Pattern.of()).direction for i in range(500)]
    p = 10 ** hypercone_log10_p(np.array(directions) @ coordinates, Pattern.of().dimension)
    assert kstest(p, "uniform").pvalue > 0.001


def test_ring_keys_are_read_without_search(model, marked):
    ring = Key.derive(b"r" * 32, "r", Pattern.of("ring"))
    detector = Detector(model, [ring], "fast")
    assert [reading for _, reading in detector.looks] == ["identity"]
    assert not detector.verify([marked])[0].found


def test_patterns_may_be_mixed(model, ring, marked):
    keys = [Key.derive(b"r" * 32, "r", Pattern.of("ring")), ring.key("one")]
    (verdict,) = Detector(model, keys, [CHEAP]).verify([marked])
    assert (verdict.found, verdict.key_id) == (True, "one")


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((512, 512), (512, 512)),
        ((1024, 1024), (512, 512)),
        ((256, 256), (512, 512)),
        ((768, 512), (512, 768)),
        ((512, 400), (400, 512)),
        ((3000, 2000), (344, 512)),
        ((511, 509), (512, 512)),
    ],
)
def test_working_sizes(model, ring, size, working):
    assert Detector(model, [ring.key("one")]).working_size(Image.new("RGB", size)) == working


def test_a_crop_that_is_not_scaled_back_is_found(model, ring, marked):
    (verdict,) = Detector(model, [ring.key("one")], "fast").verify([marked.crop((40, 80, 512, 512))])
    assert verdict.found


def test_other_generation_sizes_are_tried_beside_the_models_own(model, ring):
    detector = Detector(model, [ring.key("one")])
    assert detector.canvases(torch.zeros(4, 64, 64), Pattern.of()) == [(64, 64)]
    assert detector.canvases(torch.zeros(4, 64, 96), Pattern.of()) == [(64, 96), (64, 64)]
    assert detector.canvases(torch.zeros(4, 20, 64), Pattern.of()) == [(64, 64)]
    (wide,) = wmark.embed(model, ring.key("one"), ["a rough brown wood wallpaper"], size=(512, 640), steps=20)
    (verdict,) = detector.verify([wide.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    assert verdict.found
    assert verdict.canvas == (64, 80)
    assert verdict.alignment.mirror


def test_sizes_of_a_batch_may_differ(model, ring, marked, unmarked):
    images = [unmarked.resize((640, 480)), marked, unmarked]
    assert [v.found for v in Detector(model, [ring.key("one")], [CHEAP], align="off").verify(images)] == [
        False,
        True,
        False,
    ]


def test_flat_images_are_not_found(model, ring):
    images = [Image.new("RGB", (512, 512), colour) for colour in ("black", "white", "red")]
    assert not any(v.found for v in Detector(model, ring.active(), "fast").verify(images))


def test_refusals(model, ring):
    with pytest.raises(KeyringError, match="no active key"):
        Detector(model, [])
    with pytest.raises(KeyringError, match="'zeros'"):
        Detector(model, [Key.derive(b"z" * 32, "z", Pattern.of("zeros"))])
    with pytest.raises(KeyringError, match="channel 7"):
        Detector(model, [Key.derive(b"z" * 32, "z", Pattern.of(channels=(7,)))])
    with pytest.raises(ValueError, match="effort"):
        Detector(model, ring.active(), "heroic")
    with pytest.raises(ImageError, match="narrow"):
        Detector(model, ring.active()).verify([Image.new("RGB", (2000, 80))])


def test_stages_work_alone(model, ring, marked):
    noise = FAST.recover(model, to_tensor(marked)[None])
    planted = wmark.initial_noise(ring.key("one"), seed=3)
    assert noise.shape == planted.shape == (1, 4, 64, 64)
    assert torch.cosine_similarity(noise.flatten(), planted.flatten(), dim=0) > 0.3
