"""`wmark bench null-names`: what is said of pictures that carry no name of the keyrings asked about."""

import numpy as np
import pytest

from wmark import Sampling
from wmark.benchmarks import null_names
from wmark.benchmarks.null_names import Extent, run, told_as_planted
from wmark.benchmarks.null_readings import Subject
from wmark.detectors.detector import Detector
from wmark.images.synthetic import periodic, synthetic
from wmark.models.latent_diffusion import LatentDiffusion


@pytest.fixture(scope="module")
def model(small_pipeline):
    """A model with random weights, whose latents the pattern of names fits."""
    pipeline = small_pipeline("epsilon")
    pipeline.unet.register_to_config(sample_size=64)
    return LatentDiffusion.from_pipeline(pipeline, "small")


def test_statements_are_counted_by_kind_and_a_rerun_goes_on(model, tmp_path, monkeypatch, capsys):
    extent = Extent(keyrings=3, pictures=2, searching=1, searched=1)
    settings = dict(data=None, out=tmp_path, sampling=Sampling(2))
    rows = run(model, extent, **settings)["results"]
    assert {row["kind"] for row in rows} == {"flat", "noise", "periodic", "model", "another keyring's"}
    assert {(row["way"], row["tests"]) for row in rows} == {("as planted", 6), ("searched", 1)}
    for row in rows:
        shares = [row["share_below"][level]["share"] for level in ("0.1", "0.01", "0.001", "0.0001", "1e-05")]
        assert shares == sorted(shares, reverse=True)
        assert row["share_below"]["0.0001"]["share"] == 0
        assert (row["rejected"] is not None) == (row["statement"] == "presence" and row["way"] == "as planted")
    assert "| periodic          | searched   | identity  | 1     |" in capsys.readouterr().out
    assert (tmp_path / "null-names.csv").exists()

    monkeypatch.setattr(null_names, "identify", None)
    monkeypatch.setattr(Detector, "verify", None)
    assert run(model, extent, **settings)["results"] == rows


def test_a_keyring_that_was_planted_is_counted(model, tmp_path, monkeypatch):
    subjects = {"flat": [Subject("flat", "0", lambda: synthetic("flat", 0, model.native_size))]}
    told = null_names.read

    def marked(detector, subjects, bar):
        names = null_names.keyring(1)
        for place in told(detector, subjects, bar):
            yield null_names.Place(names.coordinates(5), place.held, place.canvas)

    monkeypatch.setattr(null_names, "read", marked)
    rows = {row["statement"]: row for row in told_as_planted(model, subjects, 2, tmp_path)}
    for statement in ("presence", "series", "identity"):
        assert rows[statement]["share_below"]["1e-05"]["share"] == 0.5, statement


def test_a_large_picture_is_reduced_and_named_apart():
    large = Subject("photograph", "ab", lambda: periodic(0, (800, 400)))
    small = null_names.reduced(large, (256, 512))
    assert small.load().size == (128, 256)
    assert small.hash != large.hash


def test_periodic_pictures_repeat_and_differ():
    images = [np.asarray(periodic(n, (96, 128))) for n in range(6)]
    assert all(image.shape == (96, 128, 3) and image.std() > 1 for image in images)
    assert len({image.tobytes() for image in images}) == 6
    assert np.array_equal(images[1], np.asarray(periodic(1, (96, 128))))
