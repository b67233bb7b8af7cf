from __future__ import annotations

import pytest

PROMPT = "a bright orange and purple sunset wallpaper"


@pytest.fixture(scope="session")
def model():
    import wmark

    return wmark.load_model("tiny", device="cpu")


@pytest.fixture(scope="session")
def ring():
    """Three keys of a fixed secret, so that a test that passes keeps passing."""
    import wmark

    ring = wmark.Keyring(bytes(range(32)), wmark.Pattern())
    for name in ("one", "two", "three"):
        ring.add(name)
    return ring


@pytest.fixture(scope="session")
def marked(model, ring):
    """An image that carries the key `one`."""
    import wmark

    (image,) = wmark.embed(model, ring.key("one"), [PROMPT], seed=3, steps=20)
    return image.image


@pytest.fixture(scope="session")
def unmarked(model):
    """An image from unmarked noise."""
    import torch

    from wmark.images import to_image

    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return to_image(model.decode(model.sample(noise, [PROMPT], steps=20))[0])
