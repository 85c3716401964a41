"""Decoding: from a file of whatever format and colour mode to an upright image in RGB.

There is one way, for training, evaluation, prediction and figures alike:

- the format is what the file's content says, whatever its name says;
- of an animation the first frame, of a document the first page;
- upright, as the EXIF (or XMP) orientation says;
- transparent parts are seen on white, as on a page;
- 16 bits of grey become 8 by dropping the lower eight, as 16 bits of colour do; 12 bits that say
  so are scaled from 12;
- CMYK in a JPEG counts from full ink (Adobe's way), as browsers have it; colour profiles are not
  applied;
- pixels whose range nobody knows (floating point, 32-bit integers) are refused, not guessed at.
"""

import contextlib
import errno
import io
import os
import re
import stat
import struct

import numpy as np
from PIL import Image

from cin_keras.checks import check_int, check_size, short
from cin_keras.data.stores import StoreError, file_state, is_remote, open_file

# Where Pillow's own, process-wide limit raises an error: 3/4 GB once decoded.
MAX_PIXELS = 178_956_970

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .webp .avif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm "
    ".jp2 .j2k .jpx .tga .ico .heic .heif".split()
)

# The formats that are ever opened, by their names in Pillow. Others may run a program (EPS runs
# Ghostscript) or are rarely tried by anybody but attackers. TGA is last: it has no mark of its
# own, and other files may look like one.
FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "ICO",
    "HEIF", "TGA",
)  # fmt: skip

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that make columns of rows, and those that begin with the last row.
_SIDEWAYS = {_UPRIGHT[5], _UPRIGHT[6], _UPRIGHT[7], _UPRIGHT[8]}
_FROM_THE_END = {_UPRIGHT[3], _UPRIGHT[4], _UPRIGHT[6], _UPRIGHT[7]}
_PIXELS_AT_A_TIME = 1_000_000
# Their decoders take twice the memory that those of the others take, or more.
_COSTLY = {"WEBP", "AVIF", "JPEG2000"}
_ORIENTATION = 0x0112
_PHOTOMETRIC_INTERPRETATION, _BITS_PER_SAMPLE = 262, 258

# What lies in folders of images under the name of an image.
_NO_IMAGES = (
    (rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body|script)", "it is a web page (HTML)"),
    (rb"\s*<(\?xml|svg)", "it is XML or SVG"),
    (rb"version https://git-lfs", "it is a pointer of Git LFS; get the file by `git lfs pull`"),
    (rb"(%!PS|\xc5\xd0\xd3\xc6)", "it is EPS or PostScript; convert it to PNG"),
    (rb"(\xff\x0a|....JXL )", "it is JPEG XL; convert it to JPEG or PNG"),
    (rb"\xff\xd8\xff\xf7", "it is JPEG-LS; convert it to PNG"),
    (rb"8BPS", "it is a Photoshop file (PSD); export it as PNG"),
    (rb"(v/1\x01|#\?RADIANCE)", "it has a high dynamic range (EXR, HDR); convert it to PNG"),
    (rb"(II\*\0....CR|IIRO|IIU\0|FUJIFILMCCD-RAW)", "it is a camera's raw file; develop it"),
    (rb".{128}DICM", "it is DICOM; convert it to PNG"),
    (rb"(BZh|7z\xbc\xaf|Rar!|\xfd7zXZ)", "it is an archive"),
    (rb"....ftyp(heic|heix|heim|heis|hevc|mif1|msf1)", "it is HEIC; convert it to JPEG"),
    (rb"....ftyp(avif|avis)", "it is AVIF, damaged or of a kind that Pillow cannot decode"),
    (rb"....ftyp", "it is a video"),
    (rb"%PDF", "it is a PDF"),
    (rb"PK\x03\x04", "it is a ZIP archive"),
    (rb"\x1f\x8b", "it is compressed by gzip"),
    (rb"\x00+$", "it begins with nothing but zero bytes"),
    (rb"[\t\n\r\x20-\x7e]+$", "it is text"),
)
# What Pillow turns into RGB; others (LAB) it loads but cannot convert.
_CONVERTIBLE = frozenset("1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV".split())
# The machine's trouble, for which no file is to blame.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class _UnknownColours(ValueError):
    """Whole, but of pixels that have no one meaning as RGB."""


class UnreadableImage(ValueError):
    """An image file that cannot be decoded, or whose colours nobody knows.

    Args:
        name: Str, the file's path, or the name of an image in memory.
        reason: Str, what is wrong with it.
        advice: Str, a sentence. Defaults to replacing the file or leaving it out.

    Attributes:
        name: As above.
        reason: As above.

    Example:

    >>> print(UnreadableImage("cat.jpg", "the file is empty"))
    Cannot decode 'cat.jpg' (the file is empty). Replace the file or leave it out of the data set.
    """

    def __init__(self, name, reason, advice="Replace the file or leave it out of the data set."):
        super().__init__(f"Cannot decode {name!r} ({reason}). {advice}")
        self.name = name
        self.reason = reason


def decode(source, *, name=None, max_pixels=MAX_PIXELS, at_least=None):
    """Decodes an image; the rules are at the top of this file.

    Args:
        source: Path of a file, or the encoded image as bytes.
        name: Str that errors name, or `None` for the path. Defaults to `None`.
        max_pixels: Int ≥ 1; an image of more pixels (width × height) is refused before it takes
            any memory, WebP, AVIF and JPEG 2000, which take twice as much, at half of it. It is
            the limit of this call; `PIL.Image.MAX_IMAGE_PIXELS` is neither read nor written.
            Defaults to 178,956,970.
        at_least: Int or `(height, width)` of the upright image that will do, in pixels: a larger JPEG is
            decoded at a half, a quarter or an eighth of its size, if that has as many, in a third
            of the time; or `None` for all pixels. Defaults to `None`.

    Returns:
        A `PIL.Image.Image` in mode RGB, upright: pixels alone, without metadata.

    Raises:
        UnreadableImage: A ValueError, if the file is missing, is no image, is damaged or
            truncated, is larger than `max_pixels`, or has pixels of unknown range; one sentence
            names the file and says what is wrong.
        ValueError: For an argument out of range.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 77).save(file, "PNG")
    >>> decode(file.getvalue()).getpixel((0, 0))
    (77, 77, 77)
    """
    height, width = (None, None) if at_least is None else check_size("at_least", at_least)
    with open_image(source, name=name, max_pixels=max_pixels) as image:
        if at_least is not None:
            lies = _UPRIGHT.get(read_orientation(image)) in _SIDEWAYS
            image.draft(image.mode, (height, width) if lies else (width, height))
        return to_rgb(image)


@contextlib.contextmanager
def open_image(source, *, name=None, max_pixels=MAX_PIXELS):
    """Opens an image without decoding it, as a context manager; arguments as for `decode`.

    Returns:
        A `PIL.Image.Image` as its file has it. Whatever goes wrong with it inside the context
        comes out as `UnreadableImage`.
    """
    in_memory = isinstance(source, (bytes, bytearray, memoryview))
    if not in_memory and not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"`source` must be the path of an image file, or its bytes. Received: {short(source)} "
            f"of type {type(source).__name__}"
        )
    check_int("max_pixels", max_pixels, least=1)
    name = str(name or ("image" if in_memory else source))
    with naming(source, name):
        if not in_memory and is_remote(source):
            source, in_memory = file_bytes(source), True
        if not in_memory:
            _check_is_file(source, name)
        with io.BytesIO(source) if in_memory else open(source, "rb") as file:
            yield _identify(file, name, max_pixels)


def _check_size(kind, width, height, name, max_pixels):
    """Raises UnreadableImage for more pixels than may be unfolded."""
    times = 2 if kind in _COSTLY else 1
    needed = times * width * height
    if needed > max_pixels:
        raise UnreadableImage(
            name,
            f"{width}×{height} pixels{', each counted twice,' * (times > 1)} are more than "
            f"max_pixels={max_pixels}, the limit that keeps a file from filling the memory",
            f"If it is what it should be, pass `max_pixels={needed}`.",
        )


def _sizes_in_icon(file):
    """Yields width and height of each picture in an icon, as its own header has them.

    The icon's list of pictures may say otherwise; and Pillow unfolds one when it opens the file.
    """
    (count,) = struct.unpack("<4xH", file.read(6))
    for _, offset in list(struct.iter_unpack("<8xII", file.read(16 * count))):
        file.seek(offset)
        start = file.read(24)
        if start.startswith(b"\x89PNG"):
            yield struct.unpack(">16xII", start)
        else:  # twice as high as it is seen: a mask lies below it
            width, height = struct.unpack("<4xii12x", start)
            yield abs(width), abs(height) // 2


def to_rgb(image):
    """An opened `PIL.Image.Image` of any mode as RGB: upright, on white, 8 bits.

    A large one is turned a strip at a time, so that no third picture of its size is in memory
    beside the one that was decoded and the one that is returned.

    Returns:
        A `PIL.Image.Image` in mode RGB, without metadata.

    Raises:
        ValueError: If the range of its pixels is not known.
    """
    image.load()  # Some formats carry the orientation behind the pixels.
    turn = _UPRIGHT.get(read_orientation(image))
    to_8_bits = _from_16_bits if _has_16_bits(image) else None
    if to_8_bits is None and image.mode in ("I", "F"):
        kind = "floating-point numbers" if image.mode == "F" else "signed or 32-bit integers"
        raise _UnknownColours(
            f"its pixels are {kind}, of no known range; convert it to 8 or 16 bits"
        )
    if to_8_bits is None and image.mode not in _CONVERTIBLE:
        raise _UnknownColours(f"its colours are {image.mode}; convert it to RGB")
    rows = max(_PIXELS_AT_A_TIME // image.width, 1)
    if rows >= image.height or image.mode == "RGB" and not is_transparent(image) and turn is None:
        upright = _turned(_plain(image, image, to_8_bits), turn)
    else:
        upright = Image.new("RGB", image.size[::-1] if turn in _SIDEWAYS else image.size)
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            part = _turned(_plain(strip, image, to_8_bits), turn)
            # Where the rows of this strip come to lie: counted from the beginning or the end.
            begin = image.height - top - strip.height if turn in _FROM_THE_END else top
            upright.paste(part, (begin, 0) if turn in _SIDEWAYS else (0, begin))
    # Who turns what this returns upright must not turn it twice.
    upright.info = {}
    return upright


def _plain(part, image, to_8_bits):
    """A part of an image, or all of it, as RGB on white."""
    if to_8_bits:
        part = to_8_bits(part, image)
    elif is_transparent(image):
        if "transparency" in image.info:
            part.info["transparency"] = image.info["transparency"]
        part = part.convert("LA").convert("RGBA") if part.mode == "La" else part.convert("RGBA")
        part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
    return part if part.mode == "RGB" else part.convert("RGB")


def _turned(image, turn):
    return image if turn is None else image.transpose(turn)


def read_orientation(image):
    """The EXIF orientation of a decoded image, 1 to 8; `None` where it has none or a broken one."""
    # Not ImageOps.exif_transpose: it fails on photographs whose other EXIF tags are broken.
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # Pillow raises many kinds here, too, and the pixels are whole.
        return None


def is_transparent(image):
    """Whether an image (of any mode) has transparency."""
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


def _has_16_bits(image):
    return image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM")


def _from_16_bits(part, image):
    """8-bit grey from 16-bit grey, of a part of an image."""
    values = np.asarray(part).astype("int32")
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    grey = np.clip(values >> (bits - 8), 0, 255).astype("uint8")
    if tags.get(_PHOTOMETRIC_INTERPRETATION) == 0:
        grey = 255 - grey  # TIFF's WhiteIsZero, which Pillow heeds for 8 bits only.
    if isinstance(image.info.get("transparency"), int):
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey)


def _check_is_file(path, name):
    """Raises UnreadableImage for what could be opened only to fail, or to wait for ever."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage(name, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage(name, "it is no regular file")
    if status.st_size == 0:
        raise UnreadableImage(name, "the file is empty")


def _identify(file, name, max_pixels):
    """`PIL.Image.open` with a limit of its own, not the process-wide `PIL.Image.MAX_IMAGE_PIXELS`."""
    start = file.read(1024)
    if not start:
        raise UnreadableImage(name, "the file is empty")
    damaged = []
    Image.init()
    for kind in FORMATS:
        if kind not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[kind]
        accepted = False
        try:
            accepted = accept(start[:16]) if accept else True
            if isinstance(accepted, str):  # a format that this Pillow is built without
                damaged.append(accepted)
            elif accepted:
                file.seek(0)
                if kind == "ICO":
                    for size in _sizes_in_icon(file):
                        _check_size(kind, *size, name, max_pixels)
                    file.seek(0)
                image = factory(file, "")
                if image.width < 1 or image.height < 1:
                    raise UnreadableImage(name, f"it has {image.width}×{image.height} pixels")
                _check_size(kind, image.width, image.height, name, max_pixels)
                return image
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            # So says a plugin that the file is not of its format after all.
            if re.match(r"cannot handle \d+-bit layers", str(error)):
                bits = re.search(r"\d+", str(error))[0]
                raise UnreadableImage(
                    name, f"it is a JPEG of {bits} bits a colour; convert it to one of 8, or to PNG"
                ) from error
            if accept and accepted:
                damaged.append(f"it begins like {kind} but is damaged: {error}")
    for pattern, description in _NO_IMAGES:
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            raise UnreadableImage(name, description)
    raise UnreadableImage(
        name, "; ".join(damaged) or "it is in no image format that is read here (JPEG, PNG, …)"
    )


def _reason(error, path):
    """What an exception of the operating system or of Pillow says about the file."""
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return f"it is a broken link, to {os.readlink(path)!r}"
        return "there is no such file; it may have been moved or deleted after it was listed"
    if isinstance(error, PermissionError):
        return "its permissions, or its folder's, forbid reading it"
    if isinstance(error, _UnknownColours):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"the limit PIL.Image.MAX_IMAGE_PIXELS of this process refuses it: {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "null byte" in str(error):
        return "no file can have such a name"
    if "truncated" in str(error).lower():
        return f"it is truncated, its end is missing: {error}"
    return f"it is damaged: {type(error).__name__}: {error}"


def file_bytes(path):
    """The content of an image file; `UnreadableImage` where it cannot be read."""
    with naming(path, str(path)):
        if not is_remote(path):
            _check_is_file(path, str(path))
        with open_file(path) as file:
            return file.read()


def file_size(path):
    """The bytes of an image file (int); `UnreadableImage` where there is none."""
    with naming(path, str(path)):
        return file_state(path)[0]


@contextlib.contextmanager
def naming(source, name):
    """Turns what goes wrong with a file into a sentence that names it."""
    try:
        yield
    except (UnreadableImage, StoreError):
        raise
    except MemoryError as error:
        raise MemoryError(f"Not enough memory to decode {name!r}") from error
    except Exception as error:  # Pillow raises many kinds for a broken file.
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise
        raise UnreadableImage(name, _reason(error, source)) from error
