"""The README's snippets, run as they stand, one after the other; their sampling is cut short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def fewer_steps(monkeypatch):
    """Sampling in 8 steps, whoever asks for more."""
    call = StableDiffusionPipeline.__call__

    def shorter(self, *args, num_inference_steps=50, **options):
        return call(self, *args, num_inference_steps=min(num_inference_steps, 8), **options)

    monkeypatch.setattr(StableDiffusionPipeline, "__call__", shorter)


def test_the_snippets_do_what_they_say(user_folders, fewer_steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(Path(__file__).parent.parent / "models")
    first, own_pipeline, plain = SNIPPETS
    names: dict = {}
    exec(first, names)
    assert (names["verdict"].found, names["verdict"].key_id) == (True, "my-studio")
    assert (tmp_path / "sunset.png.json").exists()

    exec(plain, names)
    pipeline = names["pipeline"]
    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {pipeline.dtype}
    assert (tmp_path / "sea.png").exists()

    names["prompts"] = ["a bright blue sea wallpaper", "a green forest wallpaper"]
    exec(own_pipeline, names)
    assert [(verdict.found, verdict.key_id) for verdict in names["verdicts"]] == [(True, "my-studio")] * 2
