import io
import json
import os
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin

from cin_keras.data.cropping import crop
from cin_keras.data.decoding import MAX_PIXELS, decode
from cin_keras.serving import decoding
from cin_keras.serving.decoding import crop_in_graph, decode_in_graph, turn_upright


def upright_decoder():
    return tf.function(
        lambda encoded: turn_upright(*decode_in_graph(encoded, tf.constant(5))),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


@pytest.fixture(scope="module")
def graph():
    return upright_decoder()


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


def test_the_limit_of_pixels_is_an_argument():
    png = encode(picture(24, 40), "PNG")
    image, _ = decode_in_graph(tf.constant(png), tf.constant(0), max_pixels=24 * 40)
    assert image.shape == (24, 40, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 959 pixels"):
        decode_in_graph(tf.constant(png), tf.constant(0), max_pixels=959)


def test_a_file_of_very_many_parts_is_refused(monkeypatch):
    """Each takes a step of a loop: a small file would keep the server busy for minutes."""
    assert decoding.MAX_PARTS == 20_000
    monkeypatch.setattr(decoding, "MAX_PARTS", 200)
    graph = upright_decoder()
    png, jpeg = encode(picture(), "PNG"), encode(picture(), "JPEG")
    start = png.index(b"IDAT") - 4
    empty = b"\0\0\0\0teXt" + zlib.crc32(b"teXt").to_bytes(4)
    for count, fits in [(100, True), (250, False)]:
        for encoded in (
            png[:start] + count * empty + png[start:],
            jpeg[:2] + count * b"\xff" + jpeg[2:],
        ):
            if fits:
                assert_same(graph, encoded)
                continue
            with pytest.raises(tf.errors.InvalidArgumentError, match="more than 200 parts"):
                graph(tf.constant(encoded))


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="no such measure here")
def test_decoding_takes_three_times_the_memory_of_the_pixels():
    # oneDNN's allocator, the usual one on newer processors, keeps what it once had.
    env = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run([sys.executable, "-c", MEMORY], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 4
    for name, (megabytes, times) in found.items():
        assert 0.5 < times < 3, f"{name}, {megabytes:.0f} MB as RGB, takes {times:.1f} times as much"


MEMORY = """
import io, json, re
import numpy as np, tensorflow as tf
from PIL import Image
from cin_keras.serving.decoding import crop_in_graph, decode_in_graph, turn_upright

def read(one):
    image, orientation = decode_in_graph(one, tf.constant(0))
    return turn_upright(crop_in_graph(image, 64, 64, orientation >= 5), orientation)

graph = tf.function(read, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)

def encode(mode, size, kind, **options):
    file = io.BytesIO()
    image = Image.effect_noise((64, 64), 99).convert(mode).resize(size, Image.Resampling.NEAREST)
    if kind == "JPEG":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    image.save(file, kind, **options)
    return tf.constant(file.getvalue())

def memory(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

size, found = (6000, 4000), {}
for mode, kind in [("RGB", "JPEG"), ("L", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG")]:
    graph(encode(mode, (40, 30), kind))
    encoded = encode(mode, size, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    graph(encoded)
    pixels = 3 * size[0] * size[1]
    found[f"{mode} {kind}"] = pixels / 2**20, (memory("VmHWM") - before) / pixels
print(json.dumps(found))
"""


# === The crop ===

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
