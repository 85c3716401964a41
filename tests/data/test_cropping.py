"""What a network sees of a photograph; the crops themselves are tested with the pipelines."""

import numpy as np
import pytest
from PIL import Image

from cin_keras.data import Samples, decode, image_dataset
from cin_keras.data.cropping import crop, resized_size
from tests.data.small_sets import encode


def photograph(width=400, height=300, seed=0):
    """Smooth, with some grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), "uint8"))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255)


@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (None, (400, 300)),
        ((300, 400), (400, 300)),
        ((151, 10), (400, 300)),
        ((150, 200), (200, 150)),
        ((76, 10), (200, 150)),
        ((10, 101), (200, 150)),
        ((75, 100), (100, 75)),
        (75, (100, 75)),
        ((1, 1), (50, 38)),
        ((1000, 1000), (400, 300)),
    ],
)
def test_a_jpeg_comes_no_smaller_than_it_must(at_least, size):
    assert decode(encode(photograph(), "JPEG"), at_least=at_least).size == size
    assert decode(encode(photograph(), "PNG"), at_least=at_least).size == (400, 300)
    with pytest.raises(ValueError, match="`at_least` must be a positive int or .height, width."):
        decode(encode(photograph(), "PNG"), at_least=0)


def test_one_that_lies_on_its_side():
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = encode(photograph(), "JPEG", exif=exif)
    assert decode(encoded, at_least=(200, 150)).size == (150, 200)
    assert decode(encoded, at_least=(150, 200)).size == (300, 400)


@pytest.mark.parametrize("mode", ["L", "CMYK", "MPO"])
def test_other_kinds_of_jpeg(mode):
    image = Image.fromarray(photograph().astype("uint8"))
    options = {"save_all": True, "append_images": [image]} if mode == "MPO" else {}
    image = image if mode == "MPO" else image.convert(mode)
    encoded = encode(image, "MPO" if mode == "MPO" else "JPEG", **options)
    small, whole = decode(encoded, at_least=(75, 100)), decode(encoded)
    assert (small.size, small.mode, whole.size) == ((100, 75), "RGB", (400, 300))
    means = whole.resize((100, 75), Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(means)).mean() < 2


def test_crops_of_large_photographs_hardly_differ_from_those_of_all_their_pixels():
    samples = Samples(["a.jpg"], [0], ["a"], encoded=[encode(photograph(), "JPEG", quality=95)])
    (seen,) = np.asarray(next(iter(image_dataset(samples, 56)))[0])
    whole = crop(samples.read(0), 56, 56)
    assert seen.tolist() != whole.tolist(), "decoded at half its size"
    difference = np.abs(seen.astype(int) - whole)
    assert difference.mean() < 0.5 and difference.max() <= 4


def test_what_is_cut_keeps_its_pixels():
    strip = Samples(
        ["a.jpg"], [0], ["a"], encoded=[encode(photograph(), "JPEG")], bottom_strips=[100]
    )
    box = Samples(
        ["a.jpg"], [0], ["a"], encoded=[encode(photograph(), "JPEG")], boxes=[[10, 20, 110, 60]]
    ).crop_to_boxes()
    assert strip.read(0, at_least=(10, 10)).size == (400, 200)
    assert box.read(0, at_least=(10, 10)).size == (100, 40)


def test_the_size_before_the_crop():
    assert resized_size(448, 224) == (512, 256)
    assert resized_size(96, 1) == (110, 1)
