"""Everything meets on the model's device, whichever that is, and the verdict is that of the CPU."""

from __future__ import annotations

import pytest
import torch
from elsewhere import elsewhere
from PIL import Image

import wmark
from wmark.benchmarks.identities import issued, named_origins
from wmark.images import to_image
from wmark.watermark.numbers import NUMBERS

if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip("this torch knows no device that is written in Python", allow_module_level=True)

SAMPLING = wmark.Sampling(steps=5)


@pytest.fixture(scope="module")
def names():
    return issued(NUMBERS)


@pytest.fixture(scope="module")
def named(model, names):
    """A picture that carries a name."""
    _, (origin,) = named_origins(names, model, 1, seed=1)
    with torch.no_grad():
        return to_image(model.decode(model.sample(origin.noise[None], [origin.prompt], SAMPLING))[0])


@pytest.fixture(scope="module")
def there():
    """The embedded model on the other device."""
    with elsewhere() as device:
        return wmark.load_model("tiny", device=device)


def pasted(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (700, 640), (90, 120, 60))
    page.paste(image.resize((380, 380)), (200, 150))
    return page


@pytest.mark.parametrize(
    ("damage", "look"),
    [
        (lambda image: image, "reader/identity"),
        (lambda image: image.rotate(7, Image.Resampling.BICUBIC), "reader/search"),
        (pasted, "reader/parts"),
    ],
    ids=["whole", "turned", "pasted"],
)
def test_names_are_told_on_another_device(there, names, named, damage, look):
    with elsewhere():
        (verdict,) = wmark.Detector(there, names=names).verify(damage(named))
    assert verdict.names.identity.found and verdict.look == look


@pytest.mark.parametrize("options", [dict(effort="fast"), dict(effort="exact", align="off")], ids=["searched", "exact"])
def test_a_key_is_found_on_another_device_as_on_the_cpu(model, there, ring, marked, options):
    picture = marked if options.get("align") else marked.crop((0, 0, 400, 512))
    (expected,) = wmark.Detector(model, ring.key("one"), **options).verify(picture)
    with elsewhere():
        (verdict,) = wmark.Detector(there, ring.key("one"), **options).verify(picture)
    assert verdict.found and verdict.look == expected.look
    assert verdict.log10_p == pytest.approx(expected.log10_p, rel=0.01)


def test_samplers_run_on_another_device_as_on_the_cpu(model, there):
    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    for scheduler in ("ddim", "dpmsolver++", "unipc", "wired"):
        sampling = wmark.Sampling(2, 2.0, scheduler)
        with elsewhere() as device:
            sampled = there.sample(noise, ["a meadow"], sampling)
            assert sampled.device.type == device
            sampled = sampled.cpu()
        assert torch.allclose(sampled, model.sample(noise, ["a meadow"], sampling), atol=1e-3), scheduler
