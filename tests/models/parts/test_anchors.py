import numpy as np
import pytest

from cin_keras.models.parts.anchors import check_room, map_stride, part_anchors
from tests import reference


@pytest.mark.parametrize(
    ("size", "stride", "count"), [(448, 32, 1614), (224, 32, 426), (100, 32, 129), (32, 8, 129)]
)
def test_count_centres_and_sides(size, stride, count):
    cells = -(-size // stride)
    assert map_stride((size, size), (cells, cells)) == stride
    boxes = part_anchors((size, size), (cells, cells))
    assert boxes.shape == (count, 4) and boxes.dtype == np.float32
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    expected = reference.part_anchors(size, stride)
    np.testing.assert_allclose(np.concatenate([middles, sides], axis=1), expected, rtol=1e-4)


def test_the_facts_of_the_paper():
    boxes = part_anchors((448, 448), (14, 14))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (round(float(sides.min())), round(float(sides.max()))) == (49, 373)
    assert boxes.min() == pytest.approx(-122.6, abs=0.1)
    assert boxes.max() == pytest.approx(634.6, abs=0.1)


def test_images_need_not_be_square():
    boxes = part_anchors((64, 128), (2, 4))
    assert len(boxes) == 6 * 8 + 6 * 2 + 9 * 1
    assert (boxes[0, :2] + boxes[0, 2:]).tolist() == pytest.approx([32, 32])


def test_too_small_an_image_is_named():
    check_room(part_anchors((448, 448), (14, 14)), 6, 0.25, (448, 448))
    with pytest.raises(ValueError, match="64×64 pixels is too small for 6 parts .* room for 5"):
        check_room(part_anchors((64, 64), (2, 2)), 6, 0.25, (64, 64))


def test_a_map_of_millions_of_positions_is_refused():
    with pytest.raises(ValueError, match="map of 4000×4000 for images of 128000×128000"):
        part_anchors((128_000, 128_000), (4000, 4000))
