import pytest

from wmark import ImageError
from wmark.detectors.geometry import QUARTER_TURNS, Canvas, canvases, working_size

NATIVE = (512, 512)
WIDE = (512, 768)


@pytest.mark.parametrize(
    ("size", "expected", "working"),
    [
        ((512, 512), NATIVE, (512, 512)),
        ((1024, 1024), NATIVE, (512, 512)),
        ((256, 256), NATIVE, (512, 512)),
        ((512, 768), NATIVE, (512, 768)),
        ((400, 512), NATIVE, (400, 512)),
        ((2000, 3000), NATIVE, (344, 512)),
        ((509, 511), NATIVE, (512, 512)),
        ((512, 768), WIDE, (512, 768)),
        ((768, 512), WIDE, (768, 512)),  # Turned on its side.
        ((384, 256), WIDE, (768, 512)),
        ((512, 512), WIDE, (512, 512)),  # A square cut of it.
        ((1080, 1920), WIDE, (432, 768)),  # 16:9, and still that.
    ],
)
def test_an_image_keeps_its_shape(size, expected, working):
    assert working_size(size, expected, 8) == working


def test_narrow_images_are_refused():
    with pytest.raises(ImageError, match="2000x80 pixels is too narrow"):
        working_size((80, 2000), NATIVE, 8)


def test_the_canvas_that_was_stated_is_the_only_one():
    assert canvases((64, 64), (64, 64), (64, 96)) == [Canvas((64, 96))]


def test_the_likely_canvases_are_searched_in_full_and_the_common_ones_in_quarter_turns():
    found = canvases((64, 80), (64, 64), None)
    assert found[:2] == [Canvas((64, 80)), Canvas((64, 64))]
    others = {canvas.size for canvas in found[2:]}
    assert {(80, 64), (64, 96), (96, 64), (64, 114), (114, 64)} <= others
    assert (64, 80) not in others
    assert all(canvas.angle_step == QUARTER_TURNS for canvas in found[2:])
