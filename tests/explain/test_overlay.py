import keras
import numpy as np
import pytest

from cin_keras.explain import overlay, upsample


def spot(height, width, row, column):
    map = np.zeros((height, width))
    map[row, column] = 1.0
    return map


@pytest.mark.parametrize("row", [0, 4])
@pytest.mark.parametrize("column", [0, 6])
@pytest.mark.parametrize("size", [(50, 70), (53, 66)])
def test_a_spot_in_a_corner_lands_in_that_corner(row, column, size):
    up = upsample(spot(5, 7, row, column), size)
    assert up.shape == size and up.dtype == np.float32
    peak = np.array(np.unravel_index(up.argmax(), size)) + 0.5
    # The peak lies in the rectangle that the cell covers, and so does most of the light.
    cell = np.floor(peak / np.array(size) * (5, 7)).astype(int)
    assert cell.tolist() == [row, column]
    rows = np.floor((np.arange(size[0]) + 0.5) / size[0] * 5) == row
    columns = np.floor((np.arange(size[1]) + 0.5) / size[1] * 7) == column
    assert up[np.ix_(rows, columns)].sum() > 0.5 * up.sum()
    # Mirrored maps give mirrored pictures: nothing is shifted by half a pixel.
    mirrored = upsample(spot(5, 7, 4 - row, 6 - column), size)
    np.testing.assert_allclose(up, mirrored[::-1, ::-1], atol=1e-6)


def test_half_pixel_centres():
    # In 3 pixels a cell the middle one has the cell's own value.
    map = np.random.default_rng(0).normal(size=(2, 4, 5))
    up = upsample(map, (12, 15))
    np.testing.assert_allclose(up[:, 1::3, 1::3], map, rtol=1e-6)
    # A straight slope stays one, but for the cells at the border.
    up = upsample(np.arange(8.0)[None], (1, 32))[0]
    expected = (np.arange(32) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(up[6:-6], expected[6:-6], atol=1e-6)


def test_smooth_and_near_the_range_of_the_map():
    map = np.random.default_rng(1).normal(size=(6, 6))
    up = upsample(map, 240)
    spread = np.ptp(map)
    assert up.max() <= map.max() + 0.2 * spread and up.min() >= map.min() - 0.2 * spread
    # No creases: the slope changes from pixel to pixel by a small part of the steepest slope.
    for axis in (0, 1):
        slopes = np.diff(up, axis=axis)
        assert np.abs(np.diff(slopes, axis=axis)).max() < 0.2 * np.abs(slopes).max()
    np.testing.assert_allclose(upsample(np.full((1, 3), 2.5), (4, 9)), 2.5)
    np.testing.assert_allclose(upsample(map, 6), map, rtol=1e-6)


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("column", [0, 3])
def test_the_overlay_is_brightest_where_the_spot_is(row, column):
    image = np.full((36, 44, 3), 90, "uint8")
    picture = overlay(image, spot(4, 4, row, column))
    assert picture.shape == (36, 44, 3) and picture.dtype == np.uint8
    brightness = picture.astype(float) @ (0.2126, 0.7152, 0.0722)
    cell = brightness[9 * row : 9 * row + 9, 11 * column : 11 * column + 11]
    assert cell.max() == brightness.max() and cell.mean() > 1.5 * brightness.mean()


def test_colours_and_limits():
    image = np.random.default_rng(2).integers(0, 256, (6, 6, 3))
    np.testing.assert_array_equal(overlay(image, np.eye(2), opacity=0), image)
    # Perceptually uniform: the lightness rises in even steps.
    ramp = overlay(np.zeros((1, 256, 3)), np.arange(256.0)[None], opacity=1)[0] / 255
    linear = np.where(ramp <= 0.04045, ramp / 12.92, ((ramp + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    lightness = 116 * np.cbrt(luminance) - 16
    steps = np.diff(lightness[8::16])
    assert steps.min() > 0.7 * steps.mean() and steps.max() < 1.3 * steps.mean()
    clipped = overlay(np.zeros((1, 4, 3)), [[-9.0, 0.0, 1.0, 9.0]], limits=(0, 1), opacity=1)
    np.testing.assert_array_equal(clipped[0, 0], clipped[0, 1])
    np.testing.assert_array_equal(clipped[0, 2], clipped[0, 3])
    flat = overlay(image, np.full((2, 2), 7.0))
    assert flat.shape == image.shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": np.zeros((6, 6))}, r"\(height, width, 3\)"),
        ({"image": np.full((6, 6, 3), -1.0)}, "0 to 255"),
        ({"map": np.zeros((1, 2, 2))}, r"\(height, width\)"),
        ({"map": [[np.nan, 0.0]]}, "finite"),
        ({"map": "map"}, "numbers"),
        ({"map": np.zeros((7, 7))}, "no smaller than the maps, 7×7"),
        ({"limits": (1, 0)}, "low first"),
        ({"opacity": 1.5}, "opacity=1.5"),
        ({"colour_map": "jet"}, "viridis.*'jet'"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(ValueError, match=words):
        overlay(**{"image": np.zeros((6, 6, 3)), "map": np.eye(2), **arguments})


@pytest.mark.every_backend
def test_a_tensor_is_taken_as_an_array():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype("float32")
    tensor = keras.Variable(image).value  # on PyTorch one with a gradient
    np.testing.assert_array_equal(overlay(tensor, np.eye(6)), overlay(image, np.eye(6)))
