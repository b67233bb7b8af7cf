import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention

from wmark import LatentDiffusion, ModelError, Sampling, load_model
from wmark.benchmarks.memory import counted_memory
from wmark.models.patches.half_precision import shrink_stream
from wmark.models.registry import EMBEDDED
from wmark.models.sampling import SCHEDULERS


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def folder(request, tmp_path_factory, small_pipeline):
    folder = tmp_path_factory.mktemp("models") / request.param
    small_pipeline(request.param).save_pretrained(folder)
    return folder


def test_any_diffusers_folder_loads_through_the_same_path(folder):
    model = load_model(folder, device="cpu")
    assert model.denoiser.prediction_type == folder.name
    assert (model.channels, model.downsampling, model.native_size) == (4, 4, (96, 96))
    assert model.latent_shape(96, 48) == (4, 24, 12)
    image = torch.zeros(2, 3, 96, 48)
    assert model.encode(image).shape == (2, 4, 24, 12)
    assert model.decode(model.encode(image)).shape == image.shape


def test_predictions_become_data_and_noise(folder):
    model = load_model(folder, device="cpu")
    z, condition, i = torch.randn(2, 4, 24, 24), model.condition(["a red leaf wallpaper"]), 300
    with torch.no_grad():
        raw = model.pipeline.unet(z, i, encoder_hidden_states=condition.expand(2, -1, -1)).sample
        data, noise = model.denoiser.predict(z, i / 999, condition)
    scheduler = model.pipeline.scheduler
    scheduler.set_timesteps(10)
    expected = scheduler.step(raw, i, z)
    alpha, sigma = model.denoiser.schedule(i / 999)
    assert torch.allclose(data, expected.pred_original_sample, atol=1e-4)
    assert torch.allclose(alpha * data + sigma * noise, z, atol=1e-4)


def test_inversion_undoes_sampling(folder):
    """Without guidance and with the prompt known, exact DDIM inversion comes back to the noise it started from."""
    from wmark.inversion.diffusion import Correction, exact_ddim

    model = load_model(folder, device="cpu")
    condition, schedule = model.condition(["a red leaf wallpaper"]), model.denoiser.schedule
    predict = lambda z, t: model.denoiser.predict(z, t, condition)  # noqa: E731
    times = schedule.times(25)
    noise = z = torch.randn(1, 4, 24, 24)
    with torch.no_grad():
        for t, s in zip(times[:0:-1], times[-2::-1], strict=True):
            data, eps = predict(z, t)
            alpha, sigma = schedule(s)
            z = alpha * data + sigma * eps
        found = exact_ddim(predict, schedule, z, steps=25, how=Correction(iterations=12, tolerance=1e-5))
    assert (found.noise - noise).norm() / noise.norm() < 1e-3


def test_the_embedded_model_is_small_and_fingerprinted(model):
    size = sum(file.stat().st_size for file in EMBEDDED["tiny"].rglob("*") if file.is_file())
    assert size < 30e6
    assert (model.name, len(model.fingerprint)) == ("tiny", 16)
    assert model.native_size == (512, 512)


def test_fingerprints_tell_weights_apart(folder, model):
    assert load_model(folder, device="cpu").fingerprint not in (None, model.fingerprint)


def test_models_of_the_hub_are_loaded_from_where_they_were_downloaded_to(folder, monkeypatch):
    asked = []
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda name: asked.append(name) or str(folder))
    model = load_model("owner/name", device="cpu")
    assert asked == ["owner/name"]
    assert (model.name, model.fingerprint) == ("owner/name", load_model(folder, device="cpu").fingerprint)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_sampling_is_reproducible_and_batch_invariant(model, scheduler):
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    both = model.sample(noise, ["a red leaf wallpaper"] * 2, Sampling(3, scheduler=scheduler))
    again = model.sample(noise[1:], ["a red leaf wallpaper"], Sampling(3, scheduler=scheduler))
    assert (both[1:] - again).abs().max() < 1e-3


def test_sampling_leaves_the_models_scheduler_alone(model):
    before = model.pipeline.scheduler
    model.sample(torch.randn(1, 4, 64, 64), ["x"], Sampling(1, scheduler="dpmsolver++"))
    assert model.pipeline.scheduler is before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dtype": "int8"}, "precision"),
        ({"device": "warp"}, "not available"),
        ({"name": "missing/folder/of/models"}, "there is no model"),
    ],
)
def test_bad_requests_are_refused(arguments, expected):
    with pytest.raises(ModelError, match=expected):
        load_model(**arguments)


def test_other_predictions_are_refused(tmp_path, small_pipeline):
    pipeline = small_pipeline("epsilon")
    pipeline.scheduler.register_to_config(prediction_type="sample")
    pipeline.save_pretrained(tmp_path / "odd")
    with pytest.raises(ModelError, match="'sample'"):
        load_model(tmp_path / "odd", device="cpu")


def test_lean_blocks_change_nothing(model):
    """Without a gradient the autoencoder works in place, with one it is diffusers' own: same numbers."""
    z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image = model.decode(z)
        latent = model.encode(image)
    assert torch.allclose(model.decode(z.requires_grad_()), image, atol=1e-5)
    assert torch.allclose(model.encode(image.requires_grad_()), latent, atol=1e-5)


def test_a_shrunk_stream_is_the_same_function():
    """Every kind of block that an autoencoder of Stable Diffusion has, with streams of a large scale and biases."""
    torch.manual_seed(0)
    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
    vae = AutoencoderKL(**blocks, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4, latent_channels=4)
    assert any(isinstance(part, Attention) for part in vae.modules())
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (1.0 if "bias" in name else 0.1))
        x, z = torch.rand(1, 3, 32, 32) * 2 - 1, torch.randn(1, 4, 16, 16)
        before = vae.encode(x).latent_dist.mean, vae.decode(z).sample
        scale = vae.decoder.conv_in(z).abs().max()
        shrink_stream(vae, 64)
        after = vae.encode(x).latent_dist.mean, vae.decode(z).sample
        assert torch.allclose(64 * vae.decoder.conv_in(z).abs().max(), scale)
    assert all(torch.allclose(a, b, atol=1e-4 * b.abs().max()) for a, b in zip(after, before, strict=True))


def test_half_precision_stays_in_its_range(model):
    """The residual stream of the embedded decoder reaches a million and more; float16 ends at 65504."""
    half = load_model("tiny", dtype="fp16", device="cpu")
    noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    z = model.sample(noise, ["a red leaf wallpaper"], Sampling(2))
    with torch.no_grad():
        image = model.decode(z)
        for name, given, options in ("decode", z, {}), ("encode", image, {}), ("encode", image, {"tuned": True}):
            expected, found = (getattr(m, name)(given, **options).float() for m in (model, half))
            assert (found - expected).square().mean().sqrt() < 2e-3 * expected.std(), (name, options)


def test_brain_floats_decode_below_the_rounding_of_an_8_bit_file(model):
    """Against the same weights in single precision, rounded: what is left is the noise of the activations."""
    half, same = (load_model("tiny", dtype=dtype, device="cpu") for dtype in ("bf16", "fp32"))
    for parameter in same.codec.vae.parameters():
        parameter.data = parameter.bfloat16().float()
    noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    z = model.sample(noise, ["a red leaf wallpaper"], Sampling(2))
    rounding = (2 / 255) ** 2 / 12
    with torch.no_grad():
        assert (half.decode(z) - same.decode(z)).square().mean() < 0.03 * rounding
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(half.decode(z.requires_grad_()).square().mean(), z)
        (expected,) = torch.autograd.grad(same.decode(z).square().mean(), z)
    assert (slope - expected).norm() < 0.1 * expected.norm()


def test_images_are_decoded_in_smaller_chunks_where_memory_is_short_and_that_is_said(folder):
    codec, sizes, notes = load_model(folder, device="cpu").codec, [], []
    codec.chunk = 4

    def short(vae, batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return 2 * batch

    batch = torch.arange(5.0).reshape(5, 1, 1, 1)
    assert torch.equal(codec._in_chunks(short, batch, notes.append), 2 * batch)
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert len(notes) == 2 and "memory was short" in notes[0]
    assert codec.chunk == 4  # As it was set; the next call tries again.


def test_tiles_are_the_last_resort_and_too_little_memory_for_them_is_one_sentence(folder):
    codec, notes = load_model(folder, device="cpu").codec, []

    def whole_only(vae, batch):
        if not vae.use_tiling:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return batch

    assert codec._in_chunks(whole_only, torch.zeros(1, 1, 1, 1), notes.append).shape == (1, 1, 1, 1)
    assert "tiles" in notes[-1]
    assert not codec.vae.use_tiling

    def never(vae, batch):
        raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(ModelError, match="more memory than"):
        codec._in_chunks(never, torch.zeros(1, 1, 1, 1), notes.append)


def test_large_images_are_decoded_in_tiles(folder):
    model = load_model(folder, device="cpu")
    tiled = LatentDiffusion.from_pipeline(model.pipeline, tiled=True)
    z = torch.randn(1, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert tiled.decode(z).shape == model.decode(z).shape
        assert counted_memory(lambda: tiled.decode(z)) < 0.7 * counted_memory(lambda: model.decode(z))
        small = z[..., :24, :24]
        assert torch.equal(tiled.decode(small), model.decode(small))
