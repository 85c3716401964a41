import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin

from cin_keras.data.decoding import MAX_PIXELS, decode
from cin_keras.serving.decoding import decode_in_graph


@pytest.fixture(scope="module")
def graph():
    return tf.function(
        lambda encoded: decode_in_graph(encoded, tf.constant(5)),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def picture(height=24, width=40, seed=0):
    """Smooth and noisy in places, so that every step of a decoder shows."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3)).astype("uint8"))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).copy()
    pixels[: height // 2] ^= rng.integers(0, 32, (height // 2, width, 3)).astype("uint8")
    return Image.fromarray(pixels)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def assert_same(graph, encoded):
    expected = np.asarray(decode(encoded))
    np.testing.assert_array_equal(graph(tf.constant(encoded)).numpy(), expected)
    return expected


def exif(orientation, endian):
    tags = Image.Exif()
    tags.endian = endian
    tags[0x010F] = "a maker with a long name"
    tags[0x0112] = orientation
    tags[0x0131] = "x"
    return tags.tobytes()


def test_jpeg(graph):
    for mode in ("RGB", "L", "CMYK"):
        image = picture(43, 61).convert(mode)
        assert_same(graph, encode(image, "JPEG", quality=60))
        assert_same(graph, encode(image, "JPEG", quality=95, subsampling=0, progressive=True))


def test_png(graph):
    rgb = picture()
    shades = np.random.default_rng(1).integers(0, 65536, (9, 11)).astype("uint16")
    alphas = np.stack(np.broadcast_arrays(*np.ogrid[:256, :256], 77), axis=-1).astype("uint8")
    few = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=9)
    for image, options in [
        (rgb, {}),
        (rgb, {"transparency": rgb.getpixel((3, 3))}),
        (rgb.convert("L"), {}),
        (rgb.convert("L"), {"transparency": 77}),
        (rgb.convert("1"), {}),
        (rgb.convert("1"), {"transparency": 0}),
        (rgb.convert("P"), {}),
        (rgb.convert("P"), {"transparency": bytes(range(256))}),
        (few, {"bits": 4}),
        (few, {"bits": 4, "transparency": bytes([0, 128, 255])}),
        (Image.fromarray(shades), {}),
        (Image.fromarray(shades), {"transparency": int(shades[0, 0])}),
        (Image.fromarray(np.dstack([alphas[..., [2, 0, 0]], alphas[..., 1]])), {}),
        (Image.fromarray(alphas[..., :2]), {}),
    ]:
        assert_same(graph, encode(image, "PNG", **options))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation(graph, kind):
    image = picture()
    shapes = []
    for orientation in range(10):
        for endian in "<>":
            encoded = encode(image, kind, exif=exif(orientation, endian))
            shapes.append(assert_same(graph, encoded).shape)
    assert shapes == [(24, 40, 3)] * 10 + [(40, 24, 3)] * 8 + [(24, 40, 3)] * 2

    for text, turned in {
        'é tiff:Orientation="6"': True,
        "<tiff:Orientation>8</tiff:Orientation>": True,
        'tiff:Orientation = "6" tiff:Orientation="3"': False,
        "tiff:Orientation": False,
    }.items():
        if kind == "JPEG":
            options = {"xmp": text.encode()}
        else:
            options = {"pnginfo": PngImagePlugin.PngInfo()}
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
        assert (assert_same(graph, encode(image, kind, **options)).shape[0] == 40) == turned


def test_a_broken_orientation_is_none(graph):
    whole = encode(picture(), "JPEG", exif=exif(6, "<"))
    start = whole.index(b"II*\0")
    for replacement in (b"XX*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\xf0\xff\0\0"):
        broken = whole[:start] + replacement + whole[start + len(replacement) :]
        assert assert_same(graph, broken).shape == (24, 40, 3)


def test_images_that_are_none(graph):
    jpeg = encode(picture(), "JPEG", exif=exif(6, ">"))
    png = encode(picture(), "PNG")
    broken_pixels = png[:200] + bytes([png[200] ^ 255]) + png[201:]
    for encoded, match in [
        (b"", "index 5 of the request is neither JPEG nor PNG"),
        (b"GIF89a", "neither JPEG nor PNG"),
        (jpeg[:3], "is damaged or breaks off"),
        (jpeg[:100], "is damaged or breaks off"),
        (jpeg[:-300], "is damaged or breaks off"),
        (jpeg[:-1], "is damaged or breaks off"),
        (b"\xff\xd8\xff\xe1\xff\xff", "is damaged or breaks off"),
        (png[:20], "is damaged or breaks off"),
        (png[:-30], "is damaged or breaks off"),
        (broken_pixels, "PNG"),
        (png[:16] + b"\0\0\xff\xff\0\0\xff\xff" + png[24:], f"more than {MAX_PIXELS} pixels"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=match):
            graph(tf.constant(encoded))
    assert_same(graph, jpeg)
