import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cin_keras.data.cropping import crop
from cin_keras.data.decoding import decode
from cin_keras.serving.cropping import crop_in_graph
from cin_keras.serving.decoding import decode_in_graph, turn_upright

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data" / "CUB_200_2011"


def assert_close(received, expected):
    assert received.dtype == np.uint8
    differences = np.abs(received.astype(int) - expected)
    assert differences.max() <= 1 and differences.mean() < 0.25


@pytest.mark.parametrize("size", [(16, 16), (20, 33)])
def test_every_pixel_is_within_one_grey_level_of_evaluation(size):
    rng = np.random.default_rng(0)
    graph = tf.function(
        lambda image: crop_in_graph(image, *size),
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
        autograph=False,
    )
    # Larger, smaller, flat and tall; with steps from black to white.
    for shape in [(64, 64), (61, 90), (200, 30), (37, 20), (21, 300), (8, 5), (17, 17), (1, 1)]:
        image = rng.integers(0, 256, (*shape, 3)).astype("uint8")
        image[:, : shape[1] // 2] = 255 * (image[:, : shape[1] // 2] > 127)
        expected = crop(Image.fromarray(image), *size)
        assert_close(graph(image).numpy(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_that_is_turned_is_the_crop_of_the_turned_image(orientation):
    image = np.random.default_rng(1).integers(0, 256, (61, 90, 3)).astype("uint8")
    upright = turn_upright(tf.constant(image), tf.constant(orientation)).numpy()
    cropped = crop_in_graph(image, 20, 33, sideways=orientation >= 5)
    received = turn_upright(cropped, tf.constant(orientation)).numpy()
    assert_close(received, crop(Image.fromarray(upright), 20, 33))


@pytest.mark.skipif(not REAL.exists(), reason="no photographs beside the checkout")
def test_photographs():
    graph = tf.function(
        lambda encoded: crop_in_graph(decode_in_graph(encoded, tf.constant(0))[0], 64, 64),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )
    for path in sorted(REAL.rglob("*.jpg"))[::20]:
        encoded = path.read_bytes()
        expected = crop(decode(encoded), 64, 64)
        assert_close(graph(tf.constant(encoded)).numpy(), expected)
