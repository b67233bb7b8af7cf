import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest

import wmark
from wmark import (
    ArgumentError,
    Detector,
    ImageError,
    Key,
    KeyringError,
    LatentDiffusion,
    ModelError,
    Pattern,
    WmarkError,
)
from wmark.attacks import NAMED, damaged
from wmark.detectors.alignment import IDENTITY
from wmark.detectors.statistic import hypercone_log10_p
from wmark.images import to_pixels, to_tensor
from wmark.inversion.chain import invert_decoder, recover
from wmark.inversion.recovery import EXACT, FAST, Recovery, recoveries
from wmark.inversion.whitening import whiten
from wmark.watermark.spectrum import read

CHEAP = Recovery("cheap", steps=2)


def test_the_key_of_a_marked_image_is_found_and_named(model, ring, marked):
    (verdict,) = Detector(model, ring.active()).verify([marked])
    assert verdict.found
    assert verdict.key_id == "one"
    assert verdict.log10_p < -20
    assert verdict.look == "reader/identity"
    assert verdict.alignment == IDENTITY
    told = verdict.to_json()["alignment"]
    assert (told["words"], told["outline"][0], told["outline"][8]) == ("as it was marked", [0, 0], [1, 1])


@pytest.mark.parametrize("name", NAMED)
def test_ordinary_damage_is_survived(model, ring, marked, name):
    (verdict,) = Detector(model, [ring.key("one"), ring.key("two")]).verify([damaged(name, marked, seed=1)])
    assert verdict.found, verdict
    assert verdict.key_id == "one"


def test_the_alignment_is_reported(model, ring, marked):
    turned = marked.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(75, Image.Resampling.BICUBIC)
    (verdict,) = Detector(model, [ring.key("one")], "fast", align="full").verify([turned])
    assert verdict.alignment.mirror
    assert verdict.alignment.angle == pytest.approx(75, abs=2)
    assert verdict.alignment.scale == pytest.approx(1, abs=0.04)
    told = verdict.to_json()["alignment"]
    assert told["words"].startswith("mirrored, turned by 7")
    assert sorted(np.hypot(*(np.array(told["outline"])[::4] - 0.5).T)) == pytest.approx([0.5**0.5] * 4, abs=0.05)


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
    assert verdict.log10_p == pytest.approx(single + math.log10(2 * 3))
    assert (verdict.keys_tested, verdict.alignments_tested, verdict.looks_allowed) == (3, 1, 1)

    (searched,) = Detector(model, keys[:1], [CHEAP], align="auto", fpr=1e-300).verify([marked])
    assert searched.looks_allowed == 2
    detector = Detector(model, keys[:1], [CHEAP], align="full")
    (full,) = detector.verify([marked])
    assert full.alignments_tested > 10**7
    expected = float(hypercone_log10_p(full.cosine, Pattern.of().dimension)) + math.log10(2 * full.alignments_tested)
    assert full.log10_p == pytest.approx(expected)


def test_both_signs_are_tested_and_paid_for(model, ring, inverted, unmarked):
    pushed, missed = Detector(model, ring.active(), [CHEAP], align="off").verify([inverted, unmarked])
    assert (pushed.found, pushed.key_id, pushed.inverted) == (True, "one", True)
    one_sided = float(hypercone_log10_p(-pushed.cosine, Pattern.of().dimension))
    assert pushed.log10_p == pytest.approx(one_sided + math.log10(2 * 3))
    assert not missed.found
    assert missed.to_json()["inverted"] is None
    assert missed.to_json(scores=True)["inverted"] == (missed.cosine < 0)


def test_auto_stops_as_soon_as_it_is_decisive(model, ring, marked, unmarked, monkeypatch):
    used = []
    monkeypatch.setattr(
        "wmark.detectors.following.recover",
        lambda m, r, x, known: used.append((r.name, len(x))) or recover(m, r, x, known),
    )
    cheap = [Recovery("first", steps=2), Recovery("second", steps=3)]
    verdicts = Detector(model, [ring.key("one")], cheap, align="off").verify([marked, unmarked])
    assert used == [("first", 2), ("second", 1)]
    assert [v.found for v in verdicts] == [True, False]
    assert all(v.looks_allowed == 2 for v in verdicts)


def test_efforts_are_made_of_the_measured_recoveries():
    assert recoveries("auto") == (FAST, EXACT)
    assert recoveries("exact", iterations=7)[0].iterations == 7
    (only,) = recoveries("auto", decoder="encoder", steps=7)
    assert (only.decoder, only.iterations, only.steps) == ("encoder", None, 7)
    assert recoveries("exact", decoder="adam")[0].iterations is None
    for options in ({"decoder": "x"}, {"diffusion": "x"}, {"steps": -1}, {"effort": "heroic"}):
        with pytest.raises(WmarkError):
            recoveries(**options)


@pytest.mark.parametrize(("method", "calls"), [("encoder", ["tuned"]), ("anderson", ["tuned", "plain", "tuned"])])
def test_iterations_of_the_left_inverse_start_from_the_encoder(model, marked, monkeypatch, method, calls):
    codec, called = model.codec, []
    encode = codec.encode
    monkeypatch.setattr(codec, "left_inverse", codec.left_inverse or object())

    def encode_and_tell(x, note, tuned=False):
        called.append("tuned" if tuned else "plain")
        return encode(x, note)

    monkeypatch.setattr(codec, "encode", encode_and_tell)
    iterations = 1 if method == "anderson" else None
    invert_decoder(model, Recovery("any", method, iterations), to_tensor(marked)[None])
    assert called[:3] == calls
    called.clear()
    invert_decoder(model, Recovery("any", method, iterations, tuned=False), to_tensor(marked)[None])
    assert set(called) == {"plain"}


def test_p_values_of_one_unmarked_image_are_uniform_over_keys(model, unmarked):
    """The hypercone test is exact over the draw of the key, whatever the image."""
    coordinates = read(whiten(recover(model, FAST, to_pixels(unmarked)[None]).noise), Pattern.of())[0].double().numpy()
    coordinates /= np.linalg.norm(coordinates)
    directions = [Key.derive(b"n" * 32, f"n{i}", Pattern.of()).direction for i in range(500)]
    p = 10 ** hypercone_log10_p(np.array(directions) @ coordinates, Pattern.of().dimension)
    assert kstest(p, "uniform").pvalue > 0.001


def test_ring_keys_are_read_without_search(model, marked):
    ring = Key.derive(b"r" * 32, "r", Pattern.of("ring"))
    detector = Detector(model, [ring], "fast")
    assert [look.reading for look in detector.plan.looks] == ["identity"]
    assert not detector.verify([marked])[0].found


def test_patterns_may_be_mixed(model, ring, marked):
    keys = [Key.derive(b"r" * 32, "r", Pattern.of("ring")), ring.key("one")]
    (verdict,) = Detector(model, keys, [CHEAP]).verify([marked])
    assert (verdict.found, verdict.key_id) == (True, "one")


def test_a_crop_that_is_not_scaled_back_is_found(model, ring, marked):
    (verdict,) = Detector(model, [ring.key("one")], "fast").verify([marked.crop((40, 80, 512, 512))])
    assert verdict.found


def test_other_generation_sizes_are_tried_beside_the_models_own(model, ring):
    sampling = wmark.Sampling(steps=20)
    (wide,) = wmark.embed(model, ring.key("one"), "a rough brown wood", seed=0, size=(512, 640), sampling=sampling)
    (verdict,) = Detector(model, [ring.key("one")]).verify(wide.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert verdict.found
    assert verdict.canvas == (64, 80)
    assert verdict.alignment.mirror


WIDE = Path(__file__).parent / "golden" / "d-none.webp"  # 640x512, with the key `one`, a small disc.


@pytest.fixture
def small():
    return Key.derive(bytes(range(32)), "one", Pattern.of("disc", 16))


def on_its_side(image):
    return image.transpose(Image.Transpose.ROTATE_90)


def cut_to_a_square(image):
    return image.crop((70, 0, 582, 512))


def padded_to_a_square(image):
    canvas = Image.new("RGB", (640, 640), "black")
    canvas.paste(image, (0, 64))
    return canvas


def padded_on_its_side(image):
    return on_its_side(padded_to_a_square(image))


def cut_and_mirrored(image):
    return cut_to_a_square(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@pytest.mark.parametrize(
    "damage", [on_its_side, cut_to_a_square, padded_to_a_square, padded_on_its_side, cut_and_mirrored]
)
def test_the_canvas_of_a_wide_image_is_tried_whatever_became_of_its_shape(model, small, damage):
    (verdict,) = Detector(model, small, "fast").verify(damage(Image.open(WIDE).convert("RGB")))
    assert verdict.found, verdict
    assert verdict.canvas == (64, 80)
    assert verdict.log10_p < -20


def test_a_stated_size_names_the_canvas_and_stretches_nothing(model, small):
    wide = Image.open(WIDE).convert("RGB").crop((0, 80, 640, 440))  # 16:9
    for image in (wide, on_its_side(Image.open(WIDE).convert("RGB")), wide.resize((1280, 720))):
        (verdict,) = Detector(model, small, "fast", size=(512, 640)).verify(image)
        assert verdict.found, verdict
        assert verdict.canvas == (64, 80)


def test_one_image_and_one_key_need_no_list(model, ring, marked, tmp_path):
    marked.save(tmp_path / "a.png")
    detector = Detector(model, ring.key("one"), [CHEAP], align="off")
    path = tmp_path / "a.png"
    for images in (marked, path, str(path), bytes(path), (each for each in [path]), {path}):
        assert len(detector.verify(images)) == 1


def test_a_verdict_says_what_it_rests_on_and_below_the_threshold_no_score(model, ring, marked, unmarked):
    revoked = replace(ring.key("one"), revoked="2026-01-02T03:04:05Z", keyring="0123456789abcdef")
    found, missed = Detector(model, revoked, [CHEAP], align="off").verify([marked, unmarked])
    told = found.to_json()
    assert told["basis"] == {
        "model": "tiny",
        "model_fingerprint": model.fingerprint,
        "left_inverse_fingerprint": model.left_inverse_fingerprint,
        "reader_fingerprint": model.reader.fingerprint if model.reader else None,
        "dtype": "float32",
        "keyring": "0123456789abcdef",
        "version": wmark.__version__,
        "effort": ["cheap"],
        "align": "off",
    }
    assert (told["key_id"], told["key_revoked"], told["fallbacks"]) == ("one", "2026-01-02T03:04:05Z", [])
    assert told["cosine"] == round(found.cosine, 2) != found.cosine
    hidden = missed.to_json()
    assert isinstance(hidden["log10_p"], int) and hidden["log10_p"] >= missed.log10_p
    assert [hidden[name] for name in ("key_id", "cosine", "alignment", "look")] == [None] * 4
    assert "closest_key_id" not in hidden
    assert missed.to_json(scores=True)["cosine"] == round(missed.cosine, 6)


def test_what_was_done_otherwise_is_in_the_verdict(model, ring, marked, monkeypatch):
    coders = LatentDiffusion.coders

    def short_of_memory(self, tuned, note):
        note("in tiles through the autoencoder: memory was short")
        return coders(self, tuned, note)

    monkeypatch.setattr(LatentDiffusion, "coders", short_of_memory)
    (verdict,) = Detector(model, ring.key("one"), [CHEAP], align="off").verify(marked)
    assert verdict.fallbacks == ("in tiles through the autoencoder: memory was short",)


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
    with pytest.raises(WmarkError, match="effort"):
        Detector(model, ring.active(), "heroic")
    with pytest.raises(ImageError, match="narrow"):
        Detector(model, ring.active()).verify([Image.new("RGB", (2000, 80))])
    for keys in ("one", ["one"], ring, None):
        with pytest.raises(ArgumentError, match="is no key: take one from a keyring"):
            Detector(model, keys)
    for size in ("512x512", 512, (512.0, 512.0), (512, 512, 3)):
        with pytest.raises(ArgumentError, match="height and a width"):
            Detector(model, ring.active(), size=size)
    with pytest.raises(ModelError, match="more than 16 times"):
        Detector(model, ring.active(), size=(8192, 8192))
    with pytest.raises(KeyringError, match="latent of 2x2 pixels holds too few frequencies"):
        Detector(model, ring.active(), size=(16, 16))
    for images in (None, 5, [None], np.zeros((512, 512, 3)), [torch.zeros(3, 512, 512)]):
        with pytest.raises(ArgumentError, match="is no image"):
            Detector(model, ring.active()).verify(images)
    for batch_size in (0, -1):
        with pytest.raises(ArgumentError, match="batches of"):
            Detector(model, ring.active()).verify(["a.png"], batch_size=batch_size)


def test_recovery_works_alone(model, ring, marked):
    noise = recover(model, FAST, to_pixels(marked)[None]).noise
    planted = wmark.initial_noise(ring.key("one"), seed=3)
    assert noise.shape == planted.shape == (1, 4, 64, 64)
    assert torch.cosine_similarity(noise.flatten(), planted.flatten(), dim=0) > 0.15
