"""Noise that is recovered look by look, of one picture."""

from dataclasses import replace

import pytest
import torch

from wmark.detectors import following
from wmark.detectors.following import Seen, recover_whole
from wmark.detectors.pyramid import Levels
from wmark.images import to_unit
from wmark.inversion.chain import recover
from wmark.inversion.recovery import FAST, LATENT, READER, STEP, TURNED
from wmark.models.latent_diffusion import LatentDiffusion
from wmark.models.reader import Reader, ReaderNet, Shape


@pytest.fixture
def model(small_pipeline):
    torch.manual_seed(0)
    turning = {"weight": torch.randn(4, 4, 3, 3), "bias": torch.randn(4)}
    reader = Reader(ReaderNet(Shape(width=8, dilations=(1,))), turning=turning)
    return replace(LatentDiffusion.from_pipeline(small_pipeline("epsilon"), "small"), reader=reader)


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("order", [(READER, TURNED), (LATENT, STEP, FAST)])
def test_the_clean_latent_is_looked_for_once(model, pixels, order, monkeypatch):
    known = []

    def watched(model, recovery, images, found=None):
        known.append(found)
        return recover(model, recovery, images, found)

    monkeypatch.setattr(following, "recover", watched)
    seen = [Seen(Levels.of(one, (96, 96), ())) for one in pixels]
    for recovery in order:
        recover_whole(model, seen, recovery)
        alone = recover(model, recovery, pixels)
        for row, one in enumerate(seen):
            torch.testing.assert_close(one.recovered.reading, alone.reading[row : row + 1], atol=1e-4, rtol=1e-4)
    assert known[0] is None and all(found is not None for found in known[1:])
    recover_whole(model, seen, order[-1])
    assert len(known) == len(order)


def test_another_decoder_inversion_looks_for_it_again(model, pixels, monkeypatch):
    seen = [Seen(Levels.of(one, (96, 96), ())) for one in pixels]
    recover_whole(model, seen, READER)
    recover_whole(model, seen, replace(FAST, decoder="forward", tuned=False))
    expected = recover(model, replace(FAST, decoder="forward", tuned=False), pixels)
    torch.testing.assert_close(seen[1].recovered.latent, expected.latent[1:], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected.latent, model.encode(to_unit(pixels)))
