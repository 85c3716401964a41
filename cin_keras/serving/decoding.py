"""Decoding and cropping by operations of TensorFlow, for a graph that serves without Python.

What `decoding.py` makes of a JPEG or PNG with Pillow, to the last bit: upright as EXIF (or XMP)
says, transparent parts on white, 16 bits without the lower eight, CMYK from full ink. Rare things
differ: a PNG without an end is refused; XMP that is compressed and EXIF that stands as text in a
PNG are not read; an orientation of EXIF counts only as one SHORT or LONG, and also where the
entries before it are broken.

The bytes may be a stranger's. What they unfold to is known from their first bytes, and refused
beyond a limit; up to it, decoding needs at most about three times the memory of the pixels (where
TensorFlow uses oneDNN, its pool of memory may have grown by more).
"""

import tensorflow as tf

from cin_keras.data.cropping import RESIZE_RATIO
from cin_keras.data.decoding import MAX_PIXELS

_SHORT, _LONG = 3, 4  # types of TIFF
MAX_PARTS = 20_000  # of a file, the pixels in their parts included; they are read one by one
MAX_EXIF = 2**20  # bytes, beyond which no further part of it is read
_BAND = 2**18  # pixels that are composed at a time
_BLOCK = 2**20  # bytes that are searched at a time


def decode_in_graph(encoded, which, max_pixels=MAX_PIXELS):
    """Decodes one JPEG or PNG.

    Args:
        encoded: String tensor of shape `()`, the content of the file.
        which: Integer tensor of shape `()`, the number that errors give the image.
        max_pixels: Int ≥ 1; an image of more pixels (width × height) is refused before it takes
            any memory. Defaults to 178,956,970.

    Returns:
        `(image, orientation)`: uint8 tensor of shape `(height, width, 3)`, RGB, as it lies in the
        file, and an integer tensor of shape `()`, EXIF's orientation, for `turn_upright`.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, for what is neither JPEG nor PNG, is
            damaged, has more than `max_pixels` or more than 20,000 parts.

    Example:

    >>> import io, tensorflow as tf
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 77).save(file, "PNG")
    >>> image, orientation = decode_in_graph(tf.constant(file.getvalue()), tf.constant(0))
    >>> turn_upright(image, orientation).numpy()[0, 0].tolist()
    [77, 77, 77]
    """
    # An offset beyond the end must find bytes: a file may break off anywhere.
    data = tf.concat([tf.io.decode_raw(encoded, tf.uint8), tf.zeros(32, tf.uint8)], axis=0)
    length = tf.strings.length(encoded)
    jpeg = _starts_with(encoded, b"\xff\xd8\xff")
    png = _starts_with(encoded, b"\x89PNG\r\n\x1a\n")

    def read_jpeg():
        header = _read_jpeg_header(encoded, data, length)
        with _check_header(header, which, max_pixels):
            # Pillow's inverse cosine transform.
            return tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE"), header

    def read_png():
        header = _read_png_header(encoded, data, length)
        with _check_header(header, which, max_pixels):
            # Where there is none, TensorFlow's alpha of images of 1, 2 and 4 bits means nothing.
            return tf.cond(
                header["transparent"],
                lambda: _on_white(tf.io.decode_png(encoded, channels=4)),
                lambda: tf.io.decode_png(encoded, channels=3),
            ), header

    with tf.control_dependencies([_check(jpeg | png, which, "is neither JPEG nor PNG")]):
        image, header = tf.cond(jpeg, read_jpeg, read_png)
    return image, _orientation(header["exif"], header["xmp"])


def crop_in_graph(image, height, width, sideways=False):
    """The centre of an image, as evaluation shows it.

    `cin_keras.data.cropping.crop` has Pillow resize a box of the image with a bilinear filter that
    is widened where it shrinks (antialiased); TensorFlow has the same filter. Pillow rounds to 8
    bits between the axes and TensorFlow once, so a pixel differs by 0.15 on average.

    Args:
        image: uint8 tensor of shape `(rows, columns, 3)`.
        height: Int, in pixels.
        width: Int, in pixels.
        sideways: Bool or tensor of shape `()`, whether the image is to be turned by a quarter
            afterwards: then the crop has the other shape. Defaults to `False`.

    Returns:
        uint8 tensor of shape `(height, width, 3)` or `(width, height, 3)`, within one grey level of
        `cin_keras.data.cropping.crop(image, height, width)`.

    Example:

    >>> import tensorflow as tf
    >>> crop_in_graph(tf.fill((90, 160, 3), tf.constant(7, tf.uint8)), 4, 4).numpy().max()
    np.uint8(7)
    """
    size = tf.where(sideways, (width, height), (height, width))
    extent = RESIZE_RATIO * tf.cast(size, tf.float32)
    resized = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=size,
        scale=extent / tf.cast(tf.shape(image)[:2], tf.float32),
        translation=(tf.cast(size, tf.float32) - extent) / 2,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.saturate_cast(tf.round(resized[0]), tf.uint8)


def turn_upright(image, orientation):
    """An image as EXIF's orientation says; one that is none of 1 to 8 counts as 1.

    Args:
        image: Tensor of shape `(rows, columns, channels)`.
        orientation: Integer tensor of shape `()`.

    Returns:
        Tensor of that type and shape, or of `(columns, rows, channels)` for an orientation from 5
        on.

    Example:

    >>> import tensorflow as tf
    >>> turn_upright(tf.constant([[[1], [2]]]), tf.constant(6)).numpy()[..., 0].tolist()
    [[1], [2]]
    """

    def transposed():
        return tf.transpose(image, (1, 0, 2))

    ways = [  # from orientation 1 on
        lambda: image,
        lambda: tf.reverse(image, [1]),
        lambda: tf.reverse(image, [0, 1]),
        lambda: tf.reverse(image, [0]),
        lambda: transposed(),
        lambda: tf.reverse(transposed(), [1]),
        lambda: tf.reverse(transposed(), [0, 1]),
        lambda: tf.reverse(transposed(), [0]),
    ]
    known = (orientation >= 1) & (orientation <= len(ways))
    return tf.switch_case(tf.where(known, orientation - 1, 0), ways)


# === Headers: a walk from segment to segment ===


def _read_jpeg_header(encoded, data, length):
    """Width, height, EXIF and XMP, from the segments before the pixels; whether an end follows."""

    def more(at, found):
        # SOS, the start of the pixels, or EOI.
        ends = (data[at] == 0xFF) & ((data[at + 1] == 0xDA) | (data[at + 1] == 0xD9))
        return (at + 4 <= length) & ~ends

    def segment(at, found):
        marker, size = tf.cast(data[at + 1], tf.int32), _big_endian(data, at + 2, 2)
        content = tf.strings.substr(encoded, at + 4, tf.maximum(size - 2, 0))
        exif = _starts_with(content, b"Exif\0\0") & (marker == 0xE1)
        xmp = _starts_with(content, b"http://ns.adobe.com/xap/1.0/\0") & (marker == 0xE1)
        # SOF0 to SOF15, without DHT, JPG and DAC, which stand between them.
        frame = (marker >= 0xC0) & (marker <= 0xCF) & (marker % 4 != 0) | (marker == 0xC0)
        found = {
            **found,
            # A long EXIF goes on in further segments, each behind a header of its own.
            "exif": tf.where(
                exif & (tf.strings.length(found["exif"]) < MAX_EXIF),
                found["exif"] + _after(content, 6),
                found["exif"],
            ),
            "xmp": tf.where(xmp, content, found["xmp"]),
            "height": tf.where(frame, _big_endian(data, at + 5, 2), found["height"]),
            "width": tf.where(frame, _big_endian(data, at + 7, 2), found["width"]),
        }
        return tf.minimum(at + 2 + tf.maximum(size, 2), length), found

    def step(at, found):
        # Between segments, as Pillow has it: filling, and markers that stand alone.
        filling = (data[at] != 0xFF) | (data[at + 1] == 0xFF)
        marker = data[at + 1]
        alone = (marker == 0) | (marker == 1) | (marker >= 0xD0) & (marker <= 0xD8)
        return tf.case(
            [(filling, lambda: (at + 1, found)), (alone, lambda: (at + 2, found))],
            default=lambda: segment(at, found),
        )

    start = (tf.constant(2), _nothing_found())
    at, found = tf.while_loop(more, step, start, maximum_iterations=MAX_PARTS)
    return {
        **found,
        "whole": _holds_end(data, at) & (found["width"] > 0),
        "few_parts": ~more(at, found),
    }


def _holds_end(data, at):
    """Whether EOI, the end of a JPEG, which stands nowhere within pixels, follows from `at` on."""

    def more(end, found):
        return (end > at) & ~found

    def step(end, found):
        begin = tf.maximum(end - _BLOCK, at)
        here = (data[begin:end] == 0xFF) & (data[begin + 1 : end + 1] == 0xD9)
        return begin, tf.reduce_any(here)

    # From the last on, where it mostly is.
    return tf.while_loop(more, step, (tf.size(data) - 1, tf.constant(False)))[1]


def _read_png_header(encoded, data, length):
    """Width, height, EXIF and XMP, which may stand behind the pixels; whether there is an end."""
    keyword = b"XML:com.adobe.xmp\0\0"  # the last byte says that it is not compressed

    def more(at, found):
        return at + 12 <= length

    def step(at, found):
        size = tf.minimum(_big_endian(data, at, 4) & 0x7FFFFFFF, length - at)
        kind = tf.strings.substr(encoded, at + 4, 4)
        content = tf.strings.substr(encoded, at + 8, size)
        xmp = (kind == b"iTXt") & _starts_with(content, keyword)
        found = {
            **found,
            "exif": tf.where(kind == b"eXIf", content, found["exif"]),
            "xmp": tf.where(xmp, content, found["xmp"]),
            "transparent": found["transparent"] | (kind == b"tRNS"),
            "whole": found["whole"] | (kind == b"IEND"),
        }
        return at + 12 + size, found

    found = {
        **_nothing_found(),
        "width": _big_endian(data, 16, 4),
        "height": _big_endian(data, 20, 4),
        "transparent": (data[25] == 4) | (data[25] == 6),  # grey and colours with alpha
    }
    start = (tf.constant(8), found)
    at, found = tf.while_loop(more, step, start, maximum_iterations=MAX_PARTS)
    return {**found, "few_parts": ~more(at, found)}


def _nothing_found():
    text, number, no = tf.constant(""), tf.constant(0), tf.constant(False)
    return {
        "exif": text,
        "xmp": text,
        "height": number,
        "width": number,
        "transparent": no,
        "whole": no,
        "few_parts": no,
    }


def _check_header(header, which, max_pixels):
    """A context whose operations run only for a whole image of no more than `max_pixels`."""
    pixels = tf.cast(header["width"], tf.int64) * tf.cast(header["height"], tf.int64)
    return tf.control_dependencies(
        [
            _check(pixels <= max_pixels, which, f"has more than {max_pixels} pixels"),
            _check(header["few_parts"], which, f"has more than {MAX_PARTS} parts"),
            _check(header["whole"], which, "is damaged or breaks off before its end"),
        ]
    )


# === Orientation ===


def _orientation(exif, xmp):
    """What EXIF says if it says anything, else XMP's digit, else 0; 1 to 8 have a meaning."""
    exif = tf.cond(_starts_with(exif, b"Exif\0\0"), lambda: _after(exif, 6), lambda: exif)
    byte_order = tf.strings.substr(exif, 0, 2)
    is_tiff = (byte_order == b"II") | (byte_order == b"MM")
    found = tf.cond(
        is_tiff & (tf.strings.length(exif) >= 10), lambda: _tiff_orientation(exif), lambda: -1
    )
    return tf.where(found == -1, _xmp_orientation(xmp), found)


def _tiff_orientation(tiff):
    """The value of tag 0x0112 in the first directory of a TIFF structure, -1 if there is none."""
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32)
    little = tf.strings.substr(tiff, 0, 2) == b"II"

    def number(parts, size):
        """Of `size` bytes in the last axis."""
        parts = tf.where(little, tf.reverse(parts, [-1]), parts)
        return tf.reduce_sum(parts * _powers(size), axis=-1)

    start = number(data[4:8], 4)
    inside = (start >= 0) & (start <= tf.size(data) - 2)
    start = tf.where(inside, start, tf.size(data) - 2)
    entries = tf.minimum(number(data[start : start + 2], 2), (tf.size(data) - start - 2) // 12)
    table = tf.reshape(data[start + 2 : start + 2 + 12 * entries], (-1, 12))
    tag, kind, count = (
        number(table[:, first:last], last - first) for first, last in ((0, 2), (2, 4), (4, 8))
    )
    value = tf.where(kind == _SHORT, number(table[:, 8:10], 2), number(table[:, 8:12], 4))
    fits = (tag == 0x0112) & (count == 1) & ((kind == _SHORT) | (kind == _LONG))
    return tf.concat([[-1], tf.boolean_mask(value, fits)], axis=0)[-1]


def _xmp_orientation(xmp):
    """The first `tiff:Orientation="6"` or `<tiff:Orientation>6<` in a text; 0 if there is none."""
    after = tf.strings.split(xmp, "tiff:Orientation")[1:] + "   "
    begin = tf.strings.substr(after, 0, 3)
    attribute = tf.strings.regex_full_match(begin, '="[0-9]')
    element = tf.strings.regex_full_match(tf.strings.substr(begin, 0, 2), ">[0-9]")
    digits = tf.where(attribute, tf.strings.substr(begin, 2, 1), tf.strings.substr(begin, 1, 1))
    digits = tf.boolean_mask(digits, attribute | element)
    return tf.reduce_sum(tf.strings.to_number(digits[:1], tf.int32))


# === Pixels ===


def _on_white(image):
    """uint8 `(height, width, 4)` as RGB on white, with Pillow's rounding, some rows at a time."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    rows = tf.maximum(_BAND // tf.maximum(width, 1), 1)
    count = -(-height // rows)

    def compose(i, image, bands):
        band = tf.cast(image[i * rows : (i + 1) * rows], tf.uint16)
        colours, alpha = band[:, :, :3], band[:, :, 3:]
        mixed = colours * alpha + 255 * (255 - alpha) + 128
        return i + 1, image, bands.write(i, tf.cast((mixed // 256 + mixed) // 256, tf.uint8))

    bands = tf.TensorArray(
        tf.uint8, count, infer_shape=False, element_shape=tf.TensorShape((None, None, 3))
    )
    _, image, bands = tf.while_loop(
        lambda i, image, bands: i < count, compose, (0, image, bands), parallel_iterations=1
    )
    # The bands are put together once the loop has given the image back, not beside it.
    with tf.control_dependencies([tf.shape(image)]):
        return bands.concat()


# === Bytes ===


def _check(condition, which, fault):
    sentence = tf.strings.join(
        [
            "The image at index ",
            tf.strings.as_string(which),
            f" of the request {fault}: send it again as a whole JPEG or PNG, or leave it out.",
        ]
    )
    return tf.debugging.Assert(condition, [sentence])


def _starts_with(text, begin):
    return tf.strings.substr(text, 0, len(begin)) == begin


def _after(text, begin):
    """What follows the first `begin` bytes of a text."""
    length = tf.strings.length(text)
    return tf.strings.substr(text, tf.minimum(begin, length), length)


def _big_endian(data, at, size):
    return tf.reduce_sum(tf.cast(data[at : at + size], tf.int32) * _powers(size))


def _powers(size):
    return [256**i for i in reversed(range(size))]
