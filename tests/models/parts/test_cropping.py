import numpy as np
import pytest
from keras import ops

from cin_keras.models.parts.cropping import MEAN_COLOUR, PartCrops, crop_parts
from tests import reference

pytestmark = pytest.mark.every_backend


def gradient_image(height=9, width=7):
    """Whose two channels are the number of the row and of the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns], axis=-1).astype("float32")


def test_a_planted_gradient_is_read_at_the_positions_of_the_samples():
    crop = crop_parts(gradient_image()[None], np.array([[[2.0, 1.0, 7.0, 5.0]]]), (9, 4))
    rows, columns = np.meshgrid(np.linspace(2, 6, 9), np.linspace(1, 4, 4), indexing="ij")
    expected = np.stack([rows, columns], axis=-1)
    np.testing.assert_allclose(ops.convert_to_numpy(crop)[0, 0], expected, atol=1e-5)


def test_agrees_with_the_loop_also_beyond_the_border():
    rng = np.random.default_rng(0)
    images = rng.uniform(1, 255, (2, 9, 7, 3)).astype("float32")
    boxes = np.array([[[0, 0, 9, 7], [-3.5, 2.2, 4.1, 11.3]], [[1.3, -9, 5, -2], [2, 2, 4, 4]]])
    crops = ops.convert_to_numpy(crop_parts(images, boxes, (5, 6)))
    for i, k in np.ndindex(2, 2):
        expected = reference.crop(images[i].astype("float64"), boxes[i, k], (5, 6))
        reference.assert_close(crops[i, k], expected, absolute=1e-4)
    assert (crops[1, 0] == 0).all() and (crops[0, 1, 0] == 0).all() and crops[0, 1, -1].any()
    first = crop_parts(np.moveaxis(images, -1, 1).copy(), boxes, (5, 6), "channels_first")
    np.testing.assert_allclose(np.moveaxis(ops.convert_to_numpy(first), 2, -1), crops, rtol=1e-5)


def test_the_whole_image_at_its_own_size_is_itself():
    image = gradient_image()[None]
    crop = ops.convert_to_numpy(crop_parts(image, np.array([[[0, 0, 9, 7]]]), (9, 7)))
    np.testing.assert_allclose(crop[:, 0], image, atol=1e-5)


def test_photographs_are_grey_beyond_the_border():
    images = np.full((2, 8, 8, 3), 200, "uint8")
    boxes = np.tile(np.array([[0, 0, 4, 4], [-9, -9, -2, -2], [4, 4, 8, 8]], "float32"), (2, 1, 1))
    crops = ops.convert_to_numpy(PartCrops((3, 3))((ops.cast(images, "float32"), boxes)))
    assert crops.shape == (6, 3, 3, 3)
    np.testing.assert_allclose(crops[[0, 2, 3, 5]], 200, atol=1e-3)
    np.testing.assert_allclose(crops[1], np.broadcast_to(MEAN_COLOUR, (3, 3, 3)), rtol=1e-5)
