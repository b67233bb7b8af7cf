from __future__ import annotations

import pytest

PROMPT = "an orange and purple sunset wallpaper"


@pytest.fixture(scope="session", autouse=True)
def user_folders(tmp_path_factory):
    """Neither the keyring nor the left inverses of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="session")
def model(user_folders):
    import wmark

    return wmark.load_model("tiny", device="cpu")


@pytest.fixture(scope="session")
def ring():
    """Three keys of a fixed secret, so that a test that passes keeps passing."""
    import wmark

    ring = wmark.Keyring(bytes(range(32)), wmark.Pattern.of())
    for name in ("one", "two", "three"):
        ring.add(name)
    return ring


@pytest.fixture(scope="session")
def marked(model, ring):
    """An image that carries the key `one`."""
    import wmark

    (image,) = wmark.embed(model, ring.key("one"), [PROMPT], seed=3, sampling=wmark.Sampling(steps=20))
    return image.image


@pytest.fixture(scope="session")
def inverted(model, ring):
    """An image whose noise stands at a negative cosine to the key `one`."""
    import torch

    import wmark
    from wmark.images import to_image

    noise = -wmark.initial_noise(ring.key("one"), seed=3)
    with torch.no_grad():
        return to_image(model.decode(model.sample(noise, [PROMPT], wmark.Sampling(10)))[0])


@pytest.fixture(scope="session")
def unmarked(model):
    """An image from unmarked noise."""
    import torch

    import wmark
    from wmark.images import to_image

    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return to_image(model.decode(model.sample(noise, [PROMPT], wmark.Sampling(20)))[0])


@pytest.fixture(scope="session")
def drawing():
    """From a size (width, height) and a seed to a picture: smooth colours with a little grain."""
    import numpy as np
    from PIL import Image

    def draw(size, seed=0):
        rng = np.random.default_rng(seed)
        cells = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(cells.resize(size, Image.Resampling.BICUBIC))
        return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))

    return draw


@pytest.fixture(scope="session")
def trial_certificate(tmp_path_factory):
    """Three files: a certificate to sign manifests with, its key, and the authority's certificate."""
    pytest.importorskip("c2pa", reason="needs the extra wmark[c2pa]")
    from wmark.provenance.authority import issue

    folder, made = tmp_path_factory.mktemp("certificate"), issue("Example studio", 3)
    paths = folder / "certificate.pem", folder / "certificate.key", folder / "authority.pem"
    for path, content in zip(paths, (made.chain, made.key, made.authority), strict=True):
        path.write_bytes(content)
    paths[1].chmod(0o600)
    return paths


@pytest.fixture(scope="session")
def small_pipeline():
    """From a prediction type to a pipeline of Stable Diffusion's make with random weights, a few thousand of them."""
    return build_small_pipeline


def build_small_pipeline(prediction_type):
    """A pipeline of Stable Diffusion's make with random weights, a few thousand of them."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from wmark.models.registry import EMBEDDED

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED["tiny"] / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=24,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3, norm_num_groups=4, sample_size=96,
        ),
        unet=UNet2DConditionModel(
            sample_size=24, block_out_channels=(8, 8), norm_num_groups=4, cross_attention_dim=16, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(prediction_type=prediction_type, clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


class Toy:
    """Stable Diffusion's noise levels and a small random network, in double precision."""

    def __init__(self):
        import torch

        from wmark.models.schedule import DiscreteSchedule

        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.schedule = DiscreteSchedule((1 - betas).cumprod(0))

    def network(self, schedule=None, flow=False):
        """Two layers at random that predict velocity, smooth in the latent and in time."""
        import torch

        weights = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 5

        def predict(z, t):
            v = (torch.tanh(z.movedim(1, -1) @ weights[0] + t) @ weights[1]).movedim(-1, 1)
            alpha, sigma = (schedule or self.schedule)(t)
            if flow:
                return z - t * v, z + (1 - t) * v
            return alpha * z - sigma * v, alpha * v + sigma * z

        return predict

    def noise(self, *shape, seed=1):
        import torch

        return torch.randn(shape or (2, 4, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def apart(self, found, expected):
        """Relative distance."""
        return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture(scope="session")
def toy():
    return Toy()
