"""Edits keep what is outside their mask; restorations keep what is known."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import wmark
from wmark.images import to_tensor
from wmark.inversion.diffusion import Correction
from wmark.inversion.editing import Edit, composite, edit
from wmark.inversion.recovery import Recovery
from wmark.inversion.restoration import filled, kept_pixels, restore, restored_latent
from wmark.models.restorer import Injector, Restorer
from wmark.training.restorer import fit_restorer


@pytest.fixture(scope="module")
def small(small_pipeline):
    return wmark.LatentDiffusion.from_pipeline(small_pipeline("v_prediction"), "small")


def disc(size=96, radius=20):
    rows = torch.arange(size)[:, None] - size // 2
    return rows.square() + rows.T.square() < radius**2


def test_an_edit_follows_the_pictures_own_path_outside_its_mask(small, drawing):
    """Where nothing is edited the latent is the one that was found, where something is it is another."""
    x, mask = to_tensor(drawing((96, 96))), disc()
    how = Edit(wmark.Sampling(4, 7.5), Recovery("", tuned=False), correction=Correction(iterations=20, tolerance=1e-5))
    made = edit(small, x, mask, "a red leaf wallpaper", how)
    with torch.no_grad():
        latent = small.encode(x[None])[0]
    near = (made.latent - latent).abs().amax(dim=0)
    assert near[:4].max() < 1e-5 and near[:, :4].max() < 1e-5 and near[11:13, 11:13].min() > 1e-3
    assert made.image.shape == x.shape and made.background > 0


def test_an_edit_with_nothing_to_say_comes_back(small_pipeline, drawing):
    """At guidance 1 with the source's own prompt an edit is the sampler run back down its own inversion."""
    pipeline = small_pipeline("epsilon")
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler())
    flow, x = wmark.LatentDiffusion.from_pipeline(pipeline, "flow"), to_tensor(drawing((96, 96)))
    how = Edit(wmark.Sampling(40, 1.0), Recovery("", tuned=False), correction=Correction(iterations=60, tolerance=1e-6))
    made = edit(flow, x, disc(), "", how)
    with torch.no_grad():
        assert (made.latent - flow.encode(x[None])[0]).abs().max() < 1e-3


def test_pixels_away_from_the_mask_are_untouched():
    image, made, mask = torch.zeros(3, 64, 64), torch.ones(3, 64, 64), disc(64, 12)
    result = composite(image, made, mask, feather=4)
    assert (result[:, mask] == 1).all() and (result[:, ~disc(64, 25)] == 0).all()
    assert 0 < result[0, 32, 32 + 15] < 1


def test_filling_in_keeps_what_is_known_and_is_smooth():
    rows = torch.linspace(-1, 1, 64)[:, None].expand(64, 50)
    image, known = rows.expand(1, 3, 64, 50), kept_pixels((64, 50), 0.2, torch.Generator().manual_seed(0))[None, None]
    found = filled(torch.where(known, image, torch.nan).nan_to_num(7.0), known)
    assert torch.equal(found[known.expand_as(found)], image[known.expand_as(image)])
    assert (found - image).abs().mean() < 0.1
    assert 0.15 < known.float().mean() < 0.25
    patches = kept_pixels((64, 50), 0.5, torch.Generator().manual_seed(0), patch=16)
    assert patches.shape == (64, 50) and patches[:16, :16].unique().numel() == 1 and patches.unique().numel() == 2
    nothing = filled(image, torch.zeros_like(known))
    assert nothing.isfinite().all()


def test_an_untrained_restorer_stays_at_what_is_filled_in(small, drawing):
    x = to_tensor(drawing((96, 96)))[None]
    known = kept_pixels((96, 96), 0.3, torch.Generator().manual_seed(1))[None, None]
    untrained = Restorer(Injector(4, 8, (1, 2)))
    guess = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (restored_latent(small, untrained, guess, known) - guess).norm() < 0.1 * guess.norm()
    made = restore(small, untrained, x, known)
    assert torch.equal(made[known.expand_as(made)], x[known.expand_as(x)]) and made.abs().max() <= 1


def test_the_gradient_through_the_wired_chain_reaches_the_injector(small):
    net = Injector(4, 8, (1, 2))
    guess, known = torch.randn(1, 4, 24, 24), kept_pixels((96, 96), 0.3, torch.Generator().manual_seed(1))[None, None]
    restored_latent(small, Restorer(net), guess, known).square().sum().backward()
    assert net.out.weight.grad.abs().max() > 0


def test_a_restorer_is_fitted_kept_and_found_again(small, tmp_path):
    latents = torch.randn(6, 4, 24, 24, generator=torch.Generator().manual_seed(0)) * 0.5
    restorer, curve = fit_restorer(small, latents[:4], latents[4:], minutes=0.02, folder=tmp_path)
    assert curve[0]["filled_db"] == curve[-1]["filled_db"] and curve[-1]["steps"] > 0
    assert curve[-1]["restored_db"] < curve[0]["restored_db"]
    restorer.save(tmp_path / "restorer.safetensors", "abc")
    again = Restorer.load(tmp_path / "restorer.safetensors", "abc", 4)
    assert again.times == restorer.times
    assert torch.allclose(again.net.out.weight, restorer.net.out.weight, atol=1e-3)
    with pytest.raises(wmark.ModelError, match="other weights"):
        Restorer.load(tmp_path / "restorer.safetensors", "def", 4)
    np.testing.assert_equal(again.about["minutes"], 0.02)
