"""Two packages of pictures made here, unpacked and prepared, and the recipe's commands."""

from __future__ import annotations

import pytest
from PIL import Image
from training_fakes import COPYRIGHT, drawing, train


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Two packages of the recipe's list, as dpkg-deb would unpack them."""
    folder = tmp_path_factory.mktemp("unpacked")
    pictures = folder / "budgie-backgrounds_1.0-1" / "usr/share/backgrounds/mate/nature"
    pictures.mkdir(parents=True)
    for seed in range(11):
        drawing(seed).save(pictures / f"Sea{seed}.png")
    drawing(0, (1280, 1040)).save(pictures / "Sea0_large.jpg")
    Image.new("RGB", (600, 600), "white").save(pictures / "empty.png")
    drawing(20, (300, 300)).save(pictures / "small.png")
    drawing(21).save(pictures / "screenshot.png")
    cut_out = drawing(22)
    cut_out.putalpha(Image.new("L", cut_out.size, 128))
    cut_out.save(pictures / "cut-out.png")
    document = folder / "budgie-backgrounds_1.0-1" / "usr/share/doc/budgie-backgrounds/copyright"
    document.parent.mkdir(parents=True)
    document.write_text(COPYRIGHT)
    other = folder / "sddm-theme-maldives_2.0" / "usr/share/backgrounds"
    other.mkdir(parents=True)
    drawing(1).save(other / "copy.jpg")
    terms = folder / "sddm-theme-maldives_2.0" / "usr/share/doc/sddm-theme-maldives/copyright"
    terms.parent.mkdir(parents=True)
    terms.write_text("Files: *\nCopyright: 2020, Another\nLicense: CC-BY-3.0\n")
    return folder


@pytest.fixture(scope="module")
def prepared(unpacked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    assert "11 pictures" in train("data", "--data", folder, "--unpacked", unpacked, "--cap", "1")
    return folder
