"""The benchmarks of diffusion inversion at toy size: every method runs, a rerun measures nothing anew."""

import json

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import wmark
from wmark.benchmarks import (
    inversion,
    inversion_editing,
    inversion_full_size,
    inversion_gradients,
    inversion_guidance,
    inversion_photographs,
    inversion_restoration,
)
from wmark.benchmarks.inversion_methods import CAPS, Cell, methods_of
from wmark.benchmarks.null_sources import Picture
from wmark.models.guidance import guided
from wmark.models.restorer import Injector, Restorer
from wmark.models.rivals import inverted_by_diffusers


@pytest.fixture(scope="module")
def small(small_pipeline):
    return wmark.LatentDiffusion.from_pipeline(small_pipeline("v_prediction"), "small")


@pytest.fixture(scope="module")
def flow(small_pipeline):
    pipeline = small_pipeline("epsilon")
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler())
    return wmark.LatentDiffusion.from_pipeline(pipeline, "flow")


def test_every_method_is_measured_once_and_goes_on(small, flow, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inversion, "memory_of", lambda *_: 1.0)
    monkeypatch.setattr(inversion, "full_size_call", lambda *_: {"memory_gb": 1.0, "seconds": 2.0})
    extent = inversion.Extent(images=2, few=1, lengths=(2,), batch=2)
    first = inversion.run([small, flow], extent, seed=0, out=tmp_path)
    lines = (tmp_path / "inversion.jsonl").read_text()
    monkeypatch.setattr(inversion, "plot", lambda *_: None)
    again = inversion.run([small, flow], extent, seed=0, out=tmp_path)
    assert (tmp_path / "inversion.jsonl").read_text() == lines and again["results"] == first["results"]
    found = {(r["model"], r["sampler"], r["method"]) for r in first["results"]}
    assert found >= {("small", "ddim", "diffusers"), ("small", "unipc", "exact"), ("flow", "wired", "algebra")}
    assert found >= {("small", "ddim", f"anderson, {cap}") for cap in CAPS}
    calls = {
        (r["method"], r["guidance"], r["prompt"]): r["calls"]
        for r in first["results"]
        if (r["model"], r["sampler"], r["source"]) == ("small", "ddim", "latent")
    }
    assert calls["naive", 1, "known"] == calls["diffusers", 1, "known"] == calls["naive", 7.5, "unknown"] == 2
    assert calls["naive", 7.5, "known"] == 4 and calls["exact", 1, "known"] > 2
    assert {r["images"] for r in first["results"] if r["prompt"] == "unknown"} == {1}
    assert (tmp_path / "inversion.png").stat().st_size > 1000 and (tmp_path / "inversion.csv").exists()
    assert "diffusers" in capsys.readouterr().out


def test_a_wired_latent_of_a_cell_comes_back_by_algebra(small):
    cell = Cell("wired", 4, 1.0, True, "latent", 1)
    noise = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    latent = small.sample(noise, ["a sea"], wmark.Sampling(4, 1.0, "wired"))
    with torch.no_grad():
        predict = guided(small.denoiser, small.condition(["a sea"]), None, 1.0)
        found = {method.name: method.invert(predict, latent, noise) for method in methods_of(small, cell)}
    error = {name: ((z - noise).norm() / noise.norm()).item() for name, z in found.items()}
    assert error["algebra, both states"] < 1e-4 and error["algebra"] < error["naive"]


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++"])
def test_diffusers_inverse_schedulers_are_run_as_diffusers_runs_them(small, sampler):
    noise = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    latent = small.sample(noise, ["a sea"], wmark.Sampling(20, 1.0, sampler))
    predict = guided(small.denoiser, small.condition(["a sea"]), None, 1.0)
    schedule, scheduler = small.denoiser.schedule, small.pipeline.scheduler
    found = inverted_by_diffusers(predict, schedule, scheduler, sampler, latent, 20)
    assert ((found - noise).norm() / noise.norm()) < 0.5


def test_reconstructions_at_a_guidance_scale_are_measured(small, tmp_path):
    result = inversion_guidance.run(small, images=1, steps=3, guidance=5.0, seed=0, out=tmp_path)
    errors = {r["method"]: r["nmse_db"] for r in result["results"]}
    assert errors["null text"] < errors["plain"] and errors.keys() == inversion_guidance.METHODS.keys()


def test_what_an_inversion_costs_at_full_size():
    row = dict(model="m", sampler="ddim", method="naive", steps=20, guidance=1.0, prompt="known", source="latent")
    rows = [{**row, "calls": 20}, {**row, "method": "exact", "calls": 70.0}, {**row, "steps": 50, "calls": 50}]
    told = inversion_full_size.describe({"memory_gb": 1.5, "seconds": 2.0}, rows).splitlines()
    assert told[1:] == ["  ddim, naive: 20 calls, 40 s", "  ddim, exact: 70 calls, 140 s"] and "1.50 GB" in told[0]
    assert 0.03 < inversion_full_size.full_size_call(False)["memory_gb"] < 3


def test_edits_are_measured(small, tmp_path):
    options = dict(images=2, seed=0, out=tmp_path, sampling=wmark.Sampling(2))
    result = inversion_editing.run(small, **options)
    assert [r["decoder"] for r in result["results"]] == list(inversion_editing.DECODERS)
    assert (tmp_path / "editing.png").stat().st_size > 1000


def test_restorations_are_measured(small, tmp_path):
    options = dict(images=2, seed=0, out=tmp_path, sampling=wmark.Sampling(2))
    result = inversion_restoration.run(small, Restorer(Injector(4, 8, (1,))), **options)
    psnr = {(r["ratio"], r["way"]): r["psnr"] for r in result["results"] if r["patch"] == 1}
    assert psnr[0.5, "whole"] == 99 and psnr[0.1, "damaged"] < psnr[0.1, "filled"] < psnr[0.5, "filled"]


def test_gradients_are_measured(small, tmp_path, monkeypatch):
    monkeypatch.setattr(inversion_gradients, "full_size_memory", lambda way, steps: 1.0)
    monkeypatch.setattr(inversion_gradients, "LENGTHS", (2, 10))
    result = inversion_gradients.run(small, images=1, iterations=2, steps=3, seed=0, out=tmp_path)
    memory = {(r["way"], r["steps"]): r["memory_mb"] for r in result["results"]}
    assert memory["all", 10] > 3 * memory["all", 2]
    assert memory["wired", 10] < 1.1 * memory["wired", 2] and memory["last", 10] < 1.1 * memory["last", 2]


def test_photographs_are_measured(small, drawing, tmp_path, monkeypatch):
    chosen = []
    for seed in range(2):
        file = tmp_path / f"{seed}.png"
        drawing((120, 96), seed).save(file)
        chosen.append(
            Picture("art", "1", "0", file.name, (120, 96), "CC0", "photograph", f"{seed}" * 64, "0" * 32, file)
        )
    monkeypatch.setattr(inversion_photographs, "photographs", lambda folder, count: chosen[:count])
    pattern = wmark.Pattern.of("disc", 8)
    extent = inversion_photographs.Extent(2, (30.0,), ("direct", "spectrum"), pattern, ("none", "jpeg:50"))
    result = inversion_photographs.run(small, extent, data=tmp_path, seed=0, out=tmp_path / "out")
    p = {(r["way"], r["damage"]): r["median_log10_p"] for r in result["results"]}
    assert p["direct", "none"] <= p["spectrum", "none"]
    assert json.loads((tmp_path / "out" / "photographs.json").read_text())["pictures"] == ["art 1 0.png", "art 1 1.png"]
