import math

import pytest
import torch
import torch.nn.functional as F

from wmark.inversion import decoder
from wmark.inversion.decoder import (
    anderson,
    encoder_only,
    forward_step,
    gradient_based,
    invert_clip,
    paper_schedule,
)
from wmark.inversion.recovery import DECODER_INVERSIONS
from wmark.models.base import Coders

METHODS = {name: getattr(decoder, function) for name, function in DECODER_INVERSIONS.items()}

REPELLING = [-0.5, 0.8, 1.3, 0.9] * 4
ITERATIVE = [name for name in METHODS if name != "encoder"]


class Linear:
    """An autoencoder with E(D(z)) = gain * z, and D onto orthonormal features.

    Gains that differ by coordinate, some of them negative, make one like the distilled tiny autoencoders: not a
    contraction, whatever the step, so that every plain iteration drifts away.
    """

    def __init__(self, gain, batch=3):
        generator = torch.Generator().manual_seed(0)
        self.basis = torch.linalg.qr(torch.randn(3 * 64, 16, generator=generator))[0]
        self.gain = torch.as_tensor(gain).expand(16)
        self.latent = torch.randn(batch, 1, 4, 4, generator=generator) * 0.2

    def decode(self, z):
        return (z.flatten(1) @ self.basis.T).reshape(-1, 3, 8, 8)

    def begin(self, x):
        return self.encode(x)

    start = None

    def encode(self, x):
        return (self.gain * (x.flatten(1) @ self.basis)).reshape(-1, 1, 4, 4)

    def error(self, found):
        return ((found.latent - self.latent).flatten(1).norm(dim=1) / self.latent.flatten(1).norm(dim=1)).max().item()


@pytest.mark.parametrize("method", ITERATIVE)
def test_iterations_recover_the_latent_where_the_encoder_alone_does_not(method):
    coder = Linear(0.7)
    image = coder.decode(coder.latent)
    assert coder.error(encoder_only(coder, image)) == pytest.approx(0.3, abs=1e-5)
    options = (
        {"iterations": 60} if method in ("forward", "km", "anderson") else {"iterations": 60, "learning_rate": 0.02}
    )
    found = METHODS[method](coder, image, **options)
    assert coder.error(found) < 0.03
    assert (found.residual < found.initial_residual).all()


@pytest.mark.parametrize("gain", [2.5, 6.0])
@pytest.mark.parametrize("method", ["forward", "km", "adam", "anderson"])
def test_divergence_never_returns_a_larger_residual(method, gain):
    coder = Linear(gain)
    found = METHODS[method](coder, coder.decode(coder.latent), iterations=30)
    assert (found.residual <= found.initial_residual).all()
    assert torch.isfinite(found.latent).all()


@pytest.mark.parametrize("method", ["forward", "km", "adam"])
def test_the_papers_methods_do_no_harm_where_the_map_repels(method):
    coder = Linear(REPELLING)
    image = coder.decode(coder.latent)
    found = METHODS[method](coder, image, iterations=30)
    assert (found.residual <= found.initial_residual).all()
    assert (found.history.nan_to_num().amax(dim=0) > found.initial_residual).all()
    assert coder.error(found) > 0.1


def test_restarts_with_smaller_steps_solve_what_the_full_step_cannot():
    coder = Linear(2.5)
    image = coder.decode(coder.latent)
    plain = forward_step(coder, image, iterations=40)
    assert plain.diverged.all()
    assert (plain.restarts == 0).all()
    turned = forward_step(coder, image, iterations=40, restarts=3)
    assert (turned.restarts > 0).all()
    assert not turned.diverged.any()
    assert (turned.residual < 0.01 * turned.initial_residual).all()


@pytest.mark.parametrize("in_image", [True, False])
@pytest.mark.parametrize("coder", [Linear(0.4), Linear(2.5), Linear(REPELLING)])
def test_anderson_needs_fewer_calls_and_no_tuned_step(coder, in_image):
    image = coder.decode(coder.latent)
    found = anderson(coder, image, iterations=12, in_image=in_image, tolerance=1e-5)
    assert (found.residual < 1e-2 * found.initial_residual).all()
    same_calls = forward_step(coder, image, iterations=12, rho=0.5)
    assert (found.residual <= same_calls.residual).all()


def test_calls_are_counted_for_each_image():
    coder = Linear(0.5)
    coder.latent[0] = 0.0
    found = forward_step(coder, coder.decode(coder.latent), iterations=4, tolerance=1e-6)
    assert found.calls.tolist() == [1, 5, 5]


def test_a_lower_error_in_the_image_never_pays_for_a_larger_residual():
    """The best iterate by the image is refused where `T` is worse than at the encoder's answer."""
    coder = Linear(0.7, batch=1)
    image = coder.decode(coder.latent)
    flip = lambda x: -coder.encode(x)  # noqa: E731
    found = anderson(Coders(flip, coder.decode), image, iterations=6)
    assert (found.residual <= found.initial_residual).all()


def test_images_stop_on_their_own():
    coder = Linear(0.5)
    coder.latent[0] = 0.0
    calls = []

    def decode(z):
        calls.append(len(z))
        return coder.decode(z)

    image = coder.decode(coder.latent)
    found = forward_step(Coders(coder.encode, decode), image, iterations=30)
    assert calls[0] == 3
    assert calls[-1] < 3
    assert found.converged.all()
    assert found.iterations[0] == 0
    assert len(found.history) < 31
    assert torch.isnan(found.history[-1, 0])


def test_not_a_number_falls_back_to_the_encoder():
    coder = Linear(0.5)
    broken = lambda z: coder.decode(z) * math.nan  # noqa: E731
    image = coder.decode(coder.latent)
    found = forward_step(Coders(coder.encode, broken), image, iterations=3)
    assert torch.equal(found.latent, coder.encode(image))


def test_callback_sees_every_iteration():
    coder, seen = Linear(0.7), []
    forward_step(coder, coder.decode(coder.latent), iterations=4, tolerance=0,
                 callback=seen.append)  # fmt: skip
    assert [len(found.history) for found in seen] == [1, 2, 3, 4, 5]
    residuals = [found.residual.max().item() for found in seen]
    assert sorted(residuals, reverse=True) == residuals


def test_gradient_based_works_inside_no_grad():
    coder = Linear(0.7)
    with torch.no_grad():
        found = gradient_based(coder, coder.decode(coder.latent), iterations=5)
    assert not found.latent.requires_grad


def test_paper_schedule():
    rates = paper_schedule(torch.arange(100), 100, 0.1).tolist()
    assert rates[:10] == pytest.approx([0.01 * (k + 1) for k in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[80:] == pytest.approx([rates[80]] * 20)
    assert 0 < rates[-1] < 0.02
    assert paper_schedule(torch.tensor(150), 200, 0.1).item() == pytest.approx(rates[-1])
    assert paper_schedule(torch.tensor(0), 1, 0.1) > 0


@pytest.mark.parametrize("method", ["forward", "adam", "anderson"])
def test_half_precision_stays_close_to_single(model, marked, method):
    import wmark
    from wmark.images import to_tensor

    half = wmark.load_model("tiny", dtype="bf16", device="cpu")
    image = to_tensor(marked)[None, :, 192:320, 192:320]
    with torch.no_grad():
        single, low = (METHODS[method](m.coders(tuned=False), image, iterations=4).latent for m in (model, half))
    assert low.dtype == torch.float32
    assert (low - single).norm() / single.norm() < 0.1


def test_a_hostile_region_neither_ends_worse_nor_keeps_the_others_from_converging(monkeypatch):
    """A spot of the latent where the map repels, each pixel by another factor, more than a memory of five can learn."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 1, 48, 48, generator=generator) * 0.1
    gain = 0.7 + 0.1 * torch.rand(1, 1, 48, 48, generator=generator)
    hostile = torch.zeros_like(gain, dtype=torch.bool)
    hostile[..., :10, :10] = True
    gain[hostile] = 6 * torch.rand(100, generator=generator) - 3

    def decode(z):
        return F.interpolate(z, scale_factor=2).expand(-1, 3, -1, -1)

    def encode(x):
        return gain * F.avg_pool2d(x[:, :1], 2)

    def errors():
        found = anderson(Coders(encode, decode), decode(latent), iterations=12)
        error = (found.latent - latent).square()
        return error[hostile].mean().sqrt().item(), error[..., 24:, 24:].mean().sqrt().item()

    at_start = (encode(decode(latent)) - latent)[hostile].square().mean().sqrt().item()
    spot, elsewhere = errors()
    monkeypatch.setattr("wmark.inversion.decoder.accelerated.WORSE", float("inf"))
    spot_without, elsewhere_without = errors()
    assert spot < at_start < spot_without
    assert elsewhere < elsewhere_without / 4


def test_a_clip_carries_its_correction_over_and_starts_anew_at_a_cut():
    coder = Linear([0.5, 0.7, 0.9, 1.2] * 4, batch=2)
    scene, other = coder.latent.split(1)
    latents = torch.cat([scene, 1.01 * scene, 1.02 * scene, -other, -1.01 * other])
    coder.latent = latents
    frames, ready = coder.decode(latents), []
    alone = anderson(coder, frames, iterations=1, tolerance=0.0)
    found = invert_clip(
        Coders(coder.encode, coder.decode),
        frames,
        iterations=1,
        first_iterations=6,
        tolerance=0.0,
        callback=ready.append,
    )
    error = lambda found: (found.latent - latents).flatten(1).norm(dim=1) / latents.flatten(1).norm(dim=1)  # noqa: E731
    assert (error(found)[[1, 2, 4]] < 0.3 * error(alone)[[1, 2, 4]]).all()
    assert ready == [1, 2, 3, 4, 5]
    assert found.calls.tolist() == [7, 4, 4, 9, 4]
    assert found.history.shape == (7, 5)
    assert found.history[:, 1].isfinite().sum() == 2
    assert (found.residual <= alone.initial_residual).all()
