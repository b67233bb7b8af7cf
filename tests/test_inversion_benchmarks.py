import json
import math

import pytest
import torch

from wmark.benchmarks import autoencoders, clips, cocoercivity, decoder_inversion, latent
from wmark.benchmarks.inversion_summary import compare, frontier, stops
from wmark.benchmarks.inversion_variants import Variant, scheduled
from wmark.benchmarks.memory import counted_memory
from wmark.inversion.recovery import Recovery
from wmark.models.latent_diffusion import LatentDiffusion
from wmark.models.sampling import Sampling


def small_autoencoder(dtype):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).requires_grad_(False)


VARIANTS = (
    Variant("forward", "paper", "forward", {"rho": 0.5}, 3),
    Variant("Adam in 2", "paper", "adam", {"learning_rate": 0.1}, 2),
    Variant("gradient in 2", "gradient", "gradient", {"learning_rate": 0.1}, 2),
    Variant("Anderson", "ours", "anderson", {}, 3),
)


@pytest.fixture(scope="module")
def small(small_pipeline):
    return LatentDiffusion.from_pipeline(small_pipeline("epsilon"), "small")


def test_decoder_inversion_is_measured_once_and_goes_on(small, tmp_path, capsys):
    options = {"seed": 0, "out": tmp_path, "variants": VARIANTS, "sampling": Sampling(2)}
    first = decoder_inversion.run({"fp32": small}, images=2, **options)
    lines = (tmp_path / "decoder-inversion.jsonl").read_text()
    again = decoder_inversion.run({"fp32": small}, images=2, **options)
    assert (tmp_path / "decoder-inversion.jsonl").read_text() == lines
    assert again["results"] == first["results"]
    decoder_inversion.run({"fp32": small}, images=3, **options)
    assert (tmp_path / "decoder-inversion.jsonl").read_text().startswith(lines)
    assert all(r["worse_by_residual"] == 0 for r in first["results"])
    assert {(r["variant"], r["iterations"]) for r in first["results"]} >= {("forward", 3), ("Adam in 2", 2)}
    assert ("Adam in 2", 1) not in {(r["variant"], r["iterations"]) for r in first["results"]}
    assert json.loads((tmp_path / "decoder-inversion.json").read_text())["targets"].keys() >= {"paper_best", "Anderson"}
    assert (tmp_path / "decoder-inversion.png").stat().st_size > 1000
    assert "| Anderson" in capsys.readouterr().out


def test_ablation_takes_the_images_of_the_other_benchmark(small, tmp_path, capsys):
    options = {"seed": 0, "out": tmp_path, "sampling": Sampling(2)}
    every = decoder_inversion.run({"fp32": small}, images=3, variants=VARIANTS, **options)["results"]
    rows = [json.loads(line) for line in (tmp_path / "decoder-inversion.jsonl").read_text().splitlines()[1:]]
    errors = [row["nmse_db"][0] for row in rows]
    few = decoder_inversion.run({"fp32": small}, images=2, among=3, name="ablation", variants=VARIANTS[:3], **options)[
        "results"
    ]
    assert few[0]["nmse_db"] == pytest.approx((min(errors) + max(errors)) / 2, abs=1e-3)
    assert {r["images"] for r in every} == {3} and {r["images"] for r in few} == {2}
    assert {r["variant"] for r in few} == {v.name for v in VARIANTS[:3]}
    assert (tmp_path / "ablation.png").stat().st_size > 1000
    assert "| gradient in 2" in capsys.readouterr().out


def test_what_is_compared_with_the_papers_best():
    traces = {
        "forward": {"nmse_db": [-10, -12, -14, -16, -18], "seconds": [0, 1, 2, 3, 4]},
        "gradient": {"nmse_db": [-10, -10.5, -11, -11.5, -12], "seconds": [0, 10, 20, 30, 40]},
        "Anderson": {"nmse_db": [-10, -18, -21, -21, -21], "seconds": [0, 1, 2, 3, 4]},
    }

    variants = [
        Variant("forward", "paper", "forward", {}, 4),
        Variant("gradient", "gradient", "gradient", {"schedule": False}, 4),
        Variant("Anderson", "ours", "anderson", {}, 4),
    ]
    found = compare({name: [trace] for name, trace in traces.items()}, variants)["Anderson"]
    assert (found["iterations_to_paper_best"], found["calls_ratio"], found["db_below_paper_best"]) == (1, 4, 3)
    assert found["times_faster_than_gradient_at_equal_nmse"] == 40
    assert found["db_below_gradient_at_equal_time"] == 9


def test_few_images_are_taken_from_easy_to_hard():
    assert decoder_inversion.spread([-20, -9, -15, -12, -18], 3) == [0, 2, 1]
    assert decoder_inversion.spread([-20, -9], 1) == [0] and decoder_inversion.spread([-20, -9], 0) == []
    assert sorted(decoder_inversion.spread([-20, -9], 6)) == [0, 1]


def test_scheduled_variants_of_one_rate_are_one_curve():
    variants = [scheduled("paper", "adam", 0.1, 5, "bf16"), scheduled("paper", "adam", 0.1, 50, "bf16")]
    assert [v.name for v in variants] == ["Adam, 0.1 in 5, bf16", "Adam, 0.1 in 50, bf16"]
    assert {v.curve for v in variants} == {"Adam, 0.1, bf16"}
    assert [stops(v) for v in variants] == [[5], [50]]


def test_frontier_keeps_what_nothing_cheaper_beats():
    assert frontier([(3, -1.0), (1, -2.0), (2, -4.0), (4, -5.0), (9, -3.0)]) == ([1, 2, 4, 9], [-2.0, -4.0, -5.0, -5.0])


def test_cocoercivity_of_a_linear_map():
    """With E(D(z)) = g z, T(z) - T(z*) = g (z - z*): beta is 1 / g."""
    latent = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)) / 10
    decode = lambda z: z.repeat(1, 3, 1, 1)  # noqa: E731
    encode = lambda x: 0.8 * x.mean(1, keepdim=True)  # noqa: E731
    path = cocoercivity.cocoercivity(encode, decode, decode(latent), latent, iterations=3, rho=0.5)
    assert path["beta"] == pytest.approx([1 / 0.8] * 4, abs=1e-3)
    assert path["nmse_db"] == pytest.approx([20 * math.log10(0.2 * 0.6**k) for k in range(4)], abs=0.05)


def test_cocoercivity_benchmark(small, tmp_path, capsys):
    result = cocoercivity.run(small, images=3, iterations=2, rho=0.5, seed=0, out=tmp_path, sampling=Sampling(2))
    assert result["results"]["encoder"]["images"] == 3
    assert (tmp_path / "cocoercivity.png").stat().st_size > 1000
    assert "rank correlation" in capsys.readouterr().out


def test_frames_of_a_clip_are_standard_normal_and_turn_slowly(small):
    noise = clips.turning_noise(small, 3, 0.05, 0).flatten(1)
    assert noise.std(dim=1) == pytest.approx([1, 1, 1], abs=0.15)
    assert (noise[1] - noise[0]).norm() / noise[0].norm() == pytest.approx(0.05, abs=0.02)


def test_clips_benchmark(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clips, "TURNS", (0.01, 0.2))
    monkeypatch.setattr(clips, "ITERATIONS", (1,))
    options = {"clips": 1, "frames": 2, "seed": 0, "out": tmp_path, "sampling": Sampling(2)}
    first = clips.run(small, **options)
    assert [(r["turn"], r["carried"]) for r in first["results"]] == [
        (0.01, False),
        (0.01, True),
        (0.2, False),
        (0.2, True),
    ]
    assert clips.run(small, **options)["results"] == first["results"]
    assert (tmp_path / "clips.png").stat().st_size > 1000
    assert "the frame before" in capsys.readouterr().out


def test_latent_benchmark(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latent, "INVERSIONS", {"encoder": Recovery("encoder", tuned=False), "left": Recovery("left")})
    monkeypatch.setattr(latent, "STEPS", (2, 3))
    monkeypatch.setattr(latent, "TRIED", ("none", "jpeg-25"))
    result = latent.run(model, images=1, seed=0, out=tmp_path, sampling=Sampling(10))
    lines = (tmp_path / "latent.jsonl").read_text()
    assert latent.run(model, images=1, seed=0, out=tmp_path, sampling=Sampling(10))["results"] == result["results"]
    assert (tmp_path / "latent.jsonl").read_text() == lines
    by_name = {(r["damage"], r["latent"]): r["median_log10_p"]["3"] for r in result["results"]}
    assert by_name["none", "true latent"] < by_name["none", "encoder"] < -6
    assert (tmp_path / "latent.png").stat().st_size > 1000
    assert "true latent" in capsys.readouterr().out


def test_memory_is_counted_with_and_without_gradients():
    weight = torch.randn(1000, 1000, requires_grad=True)

    def chain(grad):
        def call():
            with torch.set_grad_enabled(grad):
                h = weight
                for _ in range(4):
                    h = h.sin()
                return h.sum()

        return call

    assert counted_memory(chain(False)) == pytest.approx(8e6, rel=0.01)
    assert counted_memory(chain(True)) == pytest.approx(16e6, rel=0.01)
    assert counted_memory(lambda: weight.detach().add_(0)) == 0


def test_seconds_are_measured_where_the_memory_is_there(monkeypatch):
    monkeypatch.setattr(autoencoders, "autoencoder", small_autoencoder)
    with_gradient, without = (
        autoencoders.measure_seconds((1, 64, 64), torch.float32, "cpu", 1, fits) for fits in (True, False)
    )
    assert list(with_gradient) == ["E", "reader", "D", "D and gradient"]
    assert list(without) == ["E", "reader", "D"]


def test_autoencoders_are_measured_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(autoencoders, "autoencoder", small_autoencoder)
    monkeypatch.setattr(autoencoders, "SHAPES", {"image": (1, 64, 64), "clip": (3, 64, 32)})
    options = {"out": tmp_path, "timed": True, "device": "cpu", "repeats": 1}
    image, _, clip, _ = first = autoencoders.run(**options)["results"]
    assert clip["memory_gb"]["gradient-based, frames at once"] > 2 * clip["memory_gb"]["gradient-based"]
    assert "gradient-based, frames at once" not in image["memory_gb"]
    monkeypatch.delattr(autoencoders, "memory_of")
    assert autoencoders.run(**options)["results"] == first
    assert (tmp_path / "autoencoders.png").stat().st_size > 1000
    assert "| clip  | 3x 64x32 | bf16" in capsys.readouterr().out


def test_memory_of_a_full_size_autoencoder_is_known_without_having_it():
    small, large = (autoencoders.memory_of("gradient-free", (1, side, side), torch.float32) for side in (128, 256))
    assert large == pytest.approx(4 * small, rel=0.05)
    assert autoencoders.memory_of("gradient-based", (1, 256, 256), torch.float32) > 6 * large
    assert autoencoders.memory_of("gradient-free", (1, 256, 256), torch.bfloat16) == pytest.approx(large, rel=0.01)
