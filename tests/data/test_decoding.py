import errno
import io
import os
import struct
import subprocess
import threading

import numpy as np
import PIL
import pytest
from PIL import Image, ImageFile, features

from cin_keras.data import Samples, UnreadableImage, decode, image_dataset, pair_dataset
from cin_keras.data.decoding import FORMATS, MAX_PIXELS
from tests import processes
from tests.data.small_sets import encode

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), "uint8")


def pixels(encoded, **kwargs):
    image = decode(encoded, **kwargs)
    assert image.mode == "RGB"
    return np.asarray(image)


# === Colours ===


def grey_16_bits(values, format, **kwargs):
    return encode(Image.fromarray(np.array([values], "uint16")), format, **kwargs)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bits_of_grey_are_scaled_not_clipped(format):
    values = [0, 255, 256, 12_345, 40_000, 65_535]
    kwargs = {"irreversible": False} if format == "JPEG2000" else {}
    grey = pixels(grey_16_bits(values, format, **kwargs))
    expected = [value // 256 for value in values]
    np.testing.assert_array_equal(grey, np.repeat(expected, 3).reshape(1, -1, 3))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_16_bits_of_either_byte_order(byte_order, compression):
    image = Image.fromarray(np.array([[0, 1000, 65_535]], byte_order + "u2"))
    grey = pixels(encode(image, "TIFF", compression=compression))
    np.testing.assert_array_equal(grey[0, :, 0], [0, 3, 255])


def test_16_bits_where_zero_is_white():
    grey = pixels(grey_16_bits([0, 1000, 65_535], "TIFF", tiffinfo={262: 0}))
    np.testing.assert_array_equal(grey[0, :, 0], [255, 252, 0])


def test_12_bits_in_a_tiff_fill_the_range():
    # Two values of 12 bits in three bytes: 0xFFF and 0x800.
    file = bytearray(grey_16_bits([0, 0], "TIFF"))
    with Image.open(io.BytesIO(file)) as image:
        tags = image.tag_v2
        offset = tags[273][0]
    file[offset : offset + 3] = b"\xff\xf8\x00"
    entry = file.index((258).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    file[entry + 8 : entry + 10] = (12).to_bytes(2, "little")
    np.testing.assert_array_equal(pixels(bytes(file))[0, :, 0], [255, 128])


def test_16_bits_of_colour_and_of_grey_agree():
    # Pillow writes no 16-bit colour: a PPM of one pixel.
    colour = b"P6 1 1 65535 " + np.array([40_000] * 3, ">u2").tobytes()
    difference = pixels(colour).astype(int) - pixels(grey_16_bits([40_000], "PNG"))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("alpha, expected", [(0, WHITE), (255, RED), (128, (255, 127, 127))])
def test_transparent_parts_lie_on_white(alpha, expected):
    for format in ("PNG", "TIFF", "WEBP"):
        kwargs = {"lossless": True, "exact": True} if format == "WEBP" else {}
        encoded = encode(Image.new("RGBA", (4, 4), (*RED, alpha)), format, **kwargs)
        np.testing.assert_allclose(decode(encoded).getpixel((1, 1)), expected, atol=1)


def test_transparent_grey_and_transparent_colours_lie_on_white():
    assert decode(encode(Image.new("LA", (4, 4), (0, 0)), "PNG")).getpixel((1, 1)) == WHITE
    black = Image.new("RGB", (4, 4), BLACK)
    assert decode(encode(black, "PNG", transparency=BLACK)).getpixel((1, 1)) == WHITE
    assert decode(encode(black, "PNG", transparency=RED)).getpixel((1, 1)) == BLACK
    grey = encode(black.convert("L"), "PNG", transparency=0)
    assert decode(grey).getpixel((1, 1)) == WHITE
    grey = pixels(grey_16_bits([7, 8, 40_000], "PNG", transparency=8))
    np.testing.assert_array_equal(grey[0, :, 0], [0, 255, 156])


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palettes(format):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLACK])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(pixels(encode(image, format))[0], [RED, BLACK])
    np.testing.assert_array_equal(pixels(encode(image, format, transparency=1))[0], [RED, WHITE])
    if format == "PNG":  # half transparent
        half = pixels(encode(image, format, transparency=bytes([255, 128])))
        np.testing.assert_allclose(half[0], [RED, (127, 127, 127)], atol=1)


def test_cmyk():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    adobe = encode(inks, "JPEG", quality=100)
    assert b"Adobe" in adobe  # its samples are inverted
    np.testing.assert_allclose(decode(adobe).getpixel((8, 8)), RED, atol=3)
    assert decode(encode(inks, "TIFF")).getpixel((8, 8)) == RED


@pytest.mark.parametrize("mode", ["1", "L", "YCbCr", "P"])
def test_other_modes(mode):
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 reads no TIFF of YCbCr as it writes them")
    image = Image.fromarray(NOISE).convert(mode)
    format = "TIFF" if mode == "YCbCr" else "PNG"
    np.testing.assert_array_equal(pixels(encode(image, format)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    "mode, message",
    [("F", "floating-point numbers"), ("I", "32-bit integers"), ("LAB", "its colours are LAB")],
)
def test_colours_that_nobody_knows_are_refused(mode, message):
    with pytest.raises(UnreadableImage, match=f"Cannot decode 'x.tif' .*{message}.*convert it"):
        decode(encode(Image.new(mode, (3, 2)), "TIFF"), name="x.tif")


# === Formats ===


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_the_content_tells_the_format_not_the_name(tmp_path, format):
    path = tmp_path / "photograph.jpg"
    image = Image.fromarray(NOISE).quantize(64).convert("RGB")
    path.write_bytes(encode(image, format, **({"lossless": True} if format == "WEBP" else {})))
    np.testing.assert_array_equal(pixels(path), np.asarray(image))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE, BLACK)]
    kwargs = {"lossless": True} if format == "WEBP" else {}
    encoded = encode(frames[0], format, save_all=True, append_images=frames[1:], **kwargs)
    assert Image.open(io.BytesIO(encoded)).n_frames == 3
    assert decode(encoded).getpixel((3, 3)) == RED


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_one_pixel_fills_every_pipeline(format):
    encoded = encode(Image.new("RGB", (1, 1), (200, 200, 200)), format)
    assert decode(encoded).size == (1, 1)
    samples = Samples(["dot"] * 4, [0, 0, 1, 1], ["a", "b"], encoded=[encoded] * 4)
    (images, _), *_ = image_dataset(samples, 8)
    ((images_a, _), _), *_ = pair_dataset(samples, 8, 2)
    for batch in (images, images_a):
        np.testing.assert_allclose(np.asarray(batch), 200, atol=2)


# === Orientation ===


def photograph():
    """20 wide, 30 high, of which every quarter has a colour of its own."""
    image = np.zeros((30, 20, 3), "uint8")
    image[:15, :10], image[:15, 10:], image[15:, :10] = RED, (0, 255, 0), (0, 0, 255)
    return image


# How the camera has stored what is upright, by the EXIF orientation that says so.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}


def turned(orientation, format="PNG", **kwargs):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(STORED.get(orientation, STORED[1])(photograph()), format, exif=exif, **kwargs)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [*STORED, 0, 9])
def test_a_telephones_photograph_is_upright(orientation, format):
    kwargs = {"lossless": True} if format == "WEBP" else {}
    image = decode(turned(orientation, format, **kwargs))
    np.testing.assert_array_equal(np.asarray(image), photograph())
    assert image.getexif().get(0x0112, 0) not in range(2, 9)  # nobody turns it again


def test_training_evaluation_and_prediction_see_it_upright():
    samples = Samples(
        ["a", "b"], [0, 1], ["a", "b"], encoded=[turned(1, "JPEG"), turned(6, "JPEG")]
    )
    pairs = pair_dataset(samples, (30, 20), 1, positive_fraction=0.0, augment=None)
    ((images_a, images_b), _), *_ = pairs
    (images, _), *_ = image_dataset(samples, (30, 20))
    for one, other in ((images_a[0], images_b[0]), (images[0], images[1])):
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), atol=40)
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).mean() < 4


def test_broken_exif_costs_no_photograph():
    encoded = encode(NOISE, "PNG", exif=b"Exif\0\0no TIFF header at all")
    np.testing.assert_array_equal(pixels(encoded), NOISE)
    # A whole orientation beside a tag of a type that cannot be written again.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + bytes.fromhex(
        "0112 0003 00000001 000600009286 0007 7fffffff 00ffffff00000000"
    )
    encoded = encode(np.rot90(photograph()), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(encoded), photograph())


# === Size ===


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(
        UnreadableImage,
        match=f"'bomb.png' .20000×20000 pixels are more than max_pixels={MAX_PIXELS}.*"
        "pass `max_pixels=400000000`",
    ):
        decode(bomb, name="bomb.png")


def bombs():
    """Files of few bytes that announce many pixels: name → bytes."""
    found = {}
    for format, marker, offset, code in (
        ("BMP", b"BM", 18, "<ii"),
        ("GIF", b"\x2c\0\0\0\0", 5, "<HH"),  # the frame, larger than the screen
        ("TGA", b"\0", 12, "<HH"),
        ("JPEG", b"\xff\xc0", 5, ">HH"),
        ("JPEG2000", b"\xff\x51", 6, ">II"),
        ("AVIF", b"ispe", 8, ">II"),
    ):
        if format != "AVIF" or features.check("avif"):
            encoded = bytearray(encode(NOISE, format, **{"no_jp2": True} if "2" in format else {}))
            struct.pack_into(code, encoded, encoded.index(marker) + offset, 16000, 16000)
            found[format] = bytes(encoded)
    return found


@pytest.mark.parametrize("format", bombs())
def test_what_announces_too_much_is_never_unfolded(monkeypatch, format):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("unfolds"))
    with pytest.raises(UnreadableImage, match="16000×16000 pixels.* are more than max_pixels"):
        decode(bombs()[format])


def test_the_limit_is_the_calls_and_nobody_elses(monkeypatch):
    encoded = encode(NOISE, "PNG")
    # Below: Pillow's own limit would refuse the image.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(pixels(encoded, max_pixels=24 * 24), NOISE)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(UnreadableImage, match="24×24 pixels are more than max_pixels=575"):
        decode(encoded, max_pixels=24 * 24 - 1)
    samples = Samples(["a"], [0], ["class"], encoded=[encoded])
    cropped = Samples(["a"], [0], ["class"], encoded=[encoded], crops=[[1, 2, 21, 24]])
    np.testing.assert_array_equal(cropped.read(0), NOISE[2:24, 1:21])
    with pytest.raises(UnreadableImage, match="'a' .24×24 pixels.*max_pixels=9,"):
        samples.read(0, max_pixels=9)
    with pytest.raises(Exception, match="24×24 pixels are more than max_pixels=9"):
        next(iter(image_dataset(samples, 8, max_pixels=9)))


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "JPEG2000"])
def test_what_takes_twice_the_memory_counts_twice(format):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    encoded = encode(NOISE, format)
    assert decode(encoded, max_pixels=2 * 24 * 24).size == (24, 24)
    with pytest.raises(UnreadableImage, match="24×24 pixels, each counted twice, are more than"):
        decode(encoded, max_pixels=2 * 24 * 24 - 1)


@pytest.mark.parametrize("format", ["png", "bmp"])
def test_an_icon_that_understates_its_size(format, monkeypatch):
    encoded = bytearray(encode(NOISE, "ICO", sizes=[(24, 24)], bitmap_format=format))
    assert decode(encoded, max_pixels=24 * 24).size == (24, 24)
    encoded[6:8] = 1, 1  # 1×1, it says
    monkeypatch.setattr("PIL.IcoImagePlugin.IcoImageFile.load", lambda self: pytest.fail("unfolds"))
    with pytest.raises(UnreadableImage, match="24×24 pixels are more than max_pixels=575"):
        decode(encoded, max_pixels=24 * 24 - 1)
    with pytest.raises(UnreadableImage, match="it begins like ICO but is damaged"):
        decode(encoded[:30])


def test_an_icon_is_not_taken_for_a_targa_image():
    picture = encode(Image.effect_noise((200, 100), 99), "PNG")
    length = 2**16 + 9  # whose third byte is where TGA says how many bits a pixel has
    entry = struct.pack("<BBBBHHII", 200, 100, 0, 0, 1, 8, length, 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + picture
    assert decode(icon.ljust(22 + length, b"\0")).size == (200, 100)


MODES = {
    "RGBA": "PNG", "LA": "PNG", "P": "PNG", "L": "JPEG", "1": "PNG", "CMYK": "JPEG", "I;16": "PNG",
    "RGB": "JPEG",
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", MODES)
def test_a_large_image_in_strips_is_the_same(monkeypatch, mode, orientation):
    rng = np.random.default_rng(1)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, (23, 17), "uint16"))
    else:
        rgba = Image.fromarray(rng.integers(0, 256, (23, 17, 4), "uint8"), "RGBA")
        image = rgba.convert(mode) if mode in ("RGBA", "LA") else rgba.convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    kwargs = {"transparency": 3} if mode == "P" else {}
    encoded = encode(image, MODES[mode], exif=exif, **kwargs)
    expected = pixels(encoded)
    assert expected.shape == ((17, 23, 3) if orientation > 4 else (23, 17, 3))
    for rows in (1, 5):
        monkeypatch.setattr("cin_keras.data.decoding._PIXELS_AT_A_TIME", rows * 17)
        np.testing.assert_array_equal(pixels(encoded), expected)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux counts it")
def test_decoding_takes_three_times_the_decoded_picture_whatever_follows_it(tmp_path):
    frames = [Image.new("RGB", (1000, 700), (9 * i, i, 9)) for i in range(20)]
    animations = ["GIF", "PNG", "WEBP", "TIFF", "AVIF"][: 5 if features.check("avif") else 4]
    for format in animations:
        options = {"speed": 10} if format == "AVIF" else {}
        frames[0].save(tmp_path / format, format, save_all=True, append_images=frames[1:], **options)
    large = Image.new("RGBA", (5000, 5000), (1, 2, 3, 99))
    large.save(tmp_path / "large", "PNG", compress_level=1)
    code = (
        "import sys\n"
        "from cin_keras.data import decode\n"
        "def memory(kind):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(kind))\n"
        "for path in sys.argv[1:]:\n"
        "    open('/proc/self/clear_refs', 'w').write('5')\n"  # so that the peak is a new one
        "    before = memory('VmRSS')\n"
        "    image = decode(path)\n"
        "    print((memory('VmHWM') - before) / (3 * image.width * image.height))"
    )
    paths = [tmp_path / name for name in (*animations, "large")]
    done = processes.run("-c", code, *paths)
    assert done.returncode == 0, done.stderr
    *animated, large = map(float, done.stdout.split())
    assert 1 < large < 3.1
    assert max(animated) < 10 < len(frames), animated  # the buffers of a decoder, not all frames


# === What is never opened ===


def test_only_formats_that_are_listed_are_opened(tmp_path, monkeypatch):
    # Ghostscript would read this, whatever its name says.
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n"
    path = tmp_path / "photograph.jpg"
    path.write_bytes(eps)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(args))
    monkeypatch.setattr(os, "system", started.append)
    for source in (path, eps):
        with pytest.raises(UnreadableImage, match="it is EPS or PostScript"):
            decode(source)
    Image.init()
    unlisted = set(Image.SAVE) - set(FORMATS) - {"PDF", "EPS", "MPO", "PALM", "MPEG"}
    for format in ("PCX", "SGI", "XBM", "DDS", "MSP", "IM"):
        assert format in unlisted
        mode = "1" if format in ("XBM", "MSP") else "RGB"
        with pytest.raises(UnreadableImage, match="no image format that is read here|it is text"):
            decode(encode(Image.new(mode, (8, 8)), format))
    assert not started


@pytest.mark.parametrize("source", [None, 3, ["a.jpg"], np.zeros((4, 4, 3), "uint8")])
def test_what_is_no_source(source):
    with pytest.raises(ValueError, match="`source` must be the path of an image file, or its byte"):
        decode(source)
    for limit in (0, True, 1e9):
        with pytest.raises(ValueError, match="`max_pixels` must be an int of at least 1"):
            decode(encode(NOISE), max_pixels=limit)


def test_bytes_of_any_kind():
    for kind in (bytearray, memoryview):
        np.testing.assert_array_equal(pixels(kind(encode(NOISE))), NOISE)


# === What is no image ===

SAVED_AS_JPG = {
    "it is a web page .HTML.": b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
    "it is XML or SVG": b'<?xml version="1.0"?><svg></svg>',
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "it is HEIC; convert it to JPEG": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "it is a video": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "it is a PDF": b"%PDF-1.7",
    "it is EPS or PostScript; convert it": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "EPS or PostScript": b"\xc5\xd0\xd3\xc6" + bytes(26),
    "it is JPEG XL; convert it": b"\xff\x0a\xfa\x1f\x01",
    "it is JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "it is a Photoshop file": b"8BPS\0\x01" + bytes(20),
    "it is a camera's raw file": b"II*\0\x10\0\0\0CR\x02\0",
    "it is DICOM": b"\1" * 128 + b"DICM",
    "it is a JPEG of 12 bits a colour; convert it": b"\xff\xd8\xff\xc1\0\x0b\x0c\0\4\0\4\1\1\x11\0",
    "it is a ZIP archive": b"PK\x03\x04\x14",
    "it is compressed by gzip": b"\x1f\x8b\x08",
    "it begins with nothing but zero bytes": bytes(5000),
    "it is text": b"Access denied.\n",
    "in no image format that is read here": b"\xfe\xdc\xba" * 50,
    "the file is empty": b"",
    "it begins like PNG but is damaged": encode(NOISE)[:16] + b"\1" + encode(NOISE)[17:],
}


@pytest.mark.parametrize("message", SAVED_AS_JPG)
def test_what_is_no_image_is_called_by_its_name(tmp_path, message):
    path = tmp_path / "photograph.jpg"
    path.write_bytes(SAVED_AS_JPG[message])
    for source, name in ((path, "photograph.jpg"), (SAVED_AS_JPG[message], "image")):
        with pytest.raises(
            UnreadableImage, match=f"^Cannot decode .*{name}' .*{message}"
        ) as caught:
            decode(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_truncated_files_are_refused(format, share):
    encoded = encode(NOISE, format)
    pixels(encoded)
    with pytest.raises(UnreadableImage, match="truncated|damaged"):
        decode(encoded[: int(share * len(encoded))])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("missing", [1, 2, 3, 50])
def test_not_even_the_last_byte_of_a_jpeg_may_be_missing(missing):
    with pytest.raises(UnreadableImage, match="it is truncated, its end is missing"):
        decode(encode(NOISE, "JPEG")[:-missing])


# === Files ===


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # which would wait for ever
    expected = {
        "folder.jpg": "it is a folder",
        "link.jpg": "it is a broken link, to '.*gone.jpg'",
        "loop.jpg": "symbolic links",
        "pipe.jpg": "it is no regular file",
        "missing.jpg": "no such file; it may have been moved or deleted",
        "x" * 300 + ".jpg": "File name too long",
        "nul\0.jpg": "no file can have such a name",
    }
    for name, message in expected.items():
        with pytest.raises(UnreadableImage, match=message):
            decode(tmp_path / name)


def test_unreadable_permissions(tmp_path, monkeypatch):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encode(NOISE, "JPEG"))

    def forbidden(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    if os.geteuid() == 0:  # who may read everything
        monkeypatch.setattr("builtins.open", forbidden)
    path.chmod(0)
    with pytest.raises(UnreadableImage, match="secret.jpg' .its permissions"):
        decode(path)


def test_a_file_that_disappears_after_it_was_listed(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(encode(NOISE))
    dataset = image_dataset(Samples(paths, [0, 1], ["a", "b"]), 8, 1)
    assert len(list(dataset)) == 2
    paths[1].unlink()
    with pytest.raises(Exception, match="Cannot decode .*b.png' .there is no such file"):
        list(dataset)


@pytest.mark.parametrize("name", ["Größe 猫 🚗.jpg", "x" * 250 + ".jpg", b"\xff\xfe.jpg"])
def test_any_name_will_do(tmp_path, name):
    path = os.path.join(tmp_path, os.fsdecode(name))
    with open(path, "wb") as file:
        file.write(encode(NOISE))
    samples = Samples([path], [0], ["class"])
    np.testing.assert_array_equal(np.asarray(samples.read(0)), NOISE)
    assert len(list(image_dataset(samples, 8))) == 1
    os.truncate(path, 100)
    with pytest.raises(Exception, match="Cannot decode .* truncated"):
        list(image_dataset(samples, 8))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_the_machines_trouble_is_not_the_files(tmp_path, monkeypatch, number):
    path = tmp_path / "a.png"
    path.write_bytes(encode(NOISE))

    def fail(*args):
        raise OSError(number, "trouble")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(OSError, match="trouble"):
        decode(path)


def test_memory_that_runs_out_names_the_file(monkeypatch):
    def fail(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError, match="'large.bmp'"):
        decode(encode(NOISE, "BMP"), name="large.bmp")


def test_threads_decode_at_once():
    encoded = [encode(np.roll(NOISE, shift), "PNG") for shift in range(8)]
    results = [None] * 8

    def work(i):
        for _ in range(20):
            results[i] = pixels(encoded[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for shift, result in enumerate(results):
        np.testing.assert_array_equal(result, np.roll(NOISE, shift))
