"""Decoding JPEG and PNG by operations of TensorFlow, for a graph that serves without Python.

What `decoding.py` makes of a JPEG or PNG with Pillow, to the last bit: upright as EXIF (or XMP)
says, transparent parts on white, 16 bits without the lower eight, CMYK from full ink. Rare things
differ: a PNG without an end is refused; XMP that is compressed and EXIF that stands as text in a
PNG are not read; an orientation of EXIF counts only as one SHORT or LONG, and also where the
entries before it are broken.
"""

from cin_keras.data.decoding import MAX_PIXELS

_SHORT, _LONG = 3, 4  # types of TIFF


def decode_in_graph(encoded, which):
    """Decodes one JPEG or PNG.

    Args:
        encoded: String tensor of shape `()`, the content of the file.
        which: Integer tensor of shape `()`, the number that errors give the image.

    Returns:
        uint8 tensor of shape `(height, width, 3)`, RGB, upright.

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs, for what is neither JPEG nor PNG, is
            damaged, or has more than 178,956,970 pixels.

    Example:

    >>> import io, tensorflow as tf
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 77).save(file, "PNG")
    >>> decode_in_graph(tf.constant(file.getvalue()), tf.constant(0)).numpy()[0, 0].tolist()
    [77, 77, 77]
    """
    import tensorflow as tf

    # An offset beyond the end must find bytes: a file may break off anywhere.
    data = tf.concat([tf.io.decode_raw(encoded, tf.uint8), tf.zeros(32, tf.uint8)], axis=0)
    data = tf.cast(data, tf.int32)
    length = tf.strings.length(encoded)
    jpeg = _starts_with(encoded, b"\xff\xd8\xff")
    png = _starts_with(encoded, b"\x89PNG\r\n\x1a\n")

    def read_jpeg():
        header = _read_jpeg_header(encoded, data, length)
        with _check_header(header, which):
            # Pillow's inverse cosine transform.
            return tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE"), header

    def read_png():
        header = _read_png_header(encoded, data, length)
        with _check_header(header, which):
            image = tf.io.decode_png(encoded, channels=4)
            # Without any, TensorFlow's alpha of images of 1, 2 and 4 bits means nothing.
            colours = image[:, :, :3]
            return tf.cond(
                header["transparent"], lambda: _on_white(colours, image[:, :, 3:]), lambda: colours
            ), header

    with tf.control_dependencies([_check(jpeg | png, which, "is neither JPEG nor PNG")]):
        image, header = tf.cond(jpeg, read_jpeg, read_png)
    return _turn_upright(image, _orientation(header["exif"], header["xmp"]))


# === Headers: a walk from segment to segment ===


def _read_jpeg_header(encoded, data, length):
    """Width, height, EXIF and XMP, from the segments before the pixels; whether an end follows."""
    import tensorflow as tf

    def more(at, found):
        # SOS, the start of the pixels, or EOI.
        ends = (data[at] == 0xFF) & ((data[at + 1] == 0xDA) | (data[at + 1] == 0xD9))
        return (at + 4 <= length) & ~ends

    def segment(at, found):
        marker, size = data[at + 1], _big_endian(data, at + 2, 2)
        content = tf.strings.substr(encoded, at + 4, tf.maximum(size - 2, 0))
        exif = _starts_with(content, b"Exif\0\0") & (marker == 0xE1)
        xmp = _starts_with(content, b"http://ns.adobe.com/xap/1.0/\0") & (marker == 0xE1)
        # SOF0 to SOF15, without DHT, JPG and DAC, which stand between them.
        frame = (marker >= 0xC0) & (marker <= 0xCF) & (marker % 4 != 0) | (marker == 0xC0)
        found = {
            **found,
            # A long EXIF goes on in further segments, each behind a header of its own.
            "exif": tf.where(exif, found["exif"] + _after(content, 6), found["exif"]),
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

    at, found = tf.while_loop(more, step, (tf.constant(2), _nothing_found()))
    # EOI, the end, stands nowhere within pixels.
    end = (data[at:-1] == 0xFF) & (data[at + 1 :] == 0xD9)
    return {**found, "whole": tf.reduce_any(end) & (found["width"] > 0)}


def _read_png_header(encoded, data, length):
    """Width, height, EXIF and XMP, which may stand behind the pixels; whether there is an end."""
    import tensorflow as tf

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
    return tf.while_loop(more, step, (tf.constant(8), found))[1]


def _nothing_found():
    import tensorflow as tf

    text, number, no = tf.constant(""), tf.constant(0), tf.constant(False)
    return {
        "exif": text,
        "xmp": text,
        "height": number,
        "width": number,
        "transparent": no,
        "whole": no,
    }


def _check_header(header, which):
    """A context whose operations run only for a whole image of no more than `MAX_PIXELS`."""
    import tensorflow as tf

    pixels = tf.cast(header["width"], tf.int64) * tf.cast(header["height"], tf.int64)
    return tf.control_dependencies(
        [
            _check(pixels <= MAX_PIXELS, which, f"has more than {MAX_PIXELS} pixels"),
            _check(header["whole"], which, "is damaged or breaks off before its end"),
        ]
    )


# === Orientation ===


def _orientation(exif, xmp):
    """1 to 8, of EXIF if it has any, else of XMP, else 1."""
    import tensorflow as tf

    exif = tf.cond(_starts_with(exif, b"Exif\0\0"), lambda: _after(exif, 6), lambda: exif)
    byte_order = tf.strings.substr(exif, 0, 2)
    is_tiff = (byte_order == b"II") | (byte_order == b"MM")
    found = tf.cond(
        is_tiff & (tf.strings.length(exif) >= 10), lambda: _tiff_orientation(exif), lambda: -1
    )
    return tf.where(found == -1, _xmp_orientation(xmp), found)


def _tiff_orientation(tiff):
    """The value of tag 0x0112 in the first directory of a TIFF structure, -1 if there is none."""
    import tensorflow as tf

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
    import tensorflow as tf

    after = tf.strings.split(xmp, "tiff:Orientation")[1:] + "   "
    begin = tf.strings.substr(after, 0, 3)
    attribute = tf.strings.regex_full_match(begin, '="[0-9]')
    element = tf.strings.regex_full_match(tf.strings.substr(begin, 0, 2), ">[0-9]")
    digits = tf.where(attribute, tf.strings.substr(begin, 2, 1), tf.strings.substr(begin, 1, 1))
    digits = tf.boolean_mask(digits, attribute | element)
    return tf.reduce_sum(tf.strings.to_number(digits[:1], tf.int32))


def _turn_upright(image, orientation):
    import tensorflow as tf

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


# === Pixels ===


def _on_white(colours, alpha):
    """uint8 `(height, width, 3)` and `(height, width, 1)` as RGB, with Pillow's rounding."""
    import tensorflow as tf

    colours, alpha = tf.cast(colours, tf.int32), tf.cast(alpha, tf.int32)
    mixed = (colours * alpha + 255 * (255 - alpha) + 128) * 128
    return tf.cast((mixed // 256 + mixed) // 256 // 128, tf.uint8)


# === Bytes ===


def _check(condition, which, fault):
    import tensorflow as tf

    sentence = tf.strings.join(
        [
            "The image at index ",
            tf.strings.as_string(which),
            f" of the request {fault}: send it again as a whole JPEG or PNG, or leave it out.",
        ]
    )
    return tf.debugging.Assert(condition, [sentence])


def _starts_with(text, begin):
    import tensorflow as tf

    return tf.strings.substr(text, 0, len(begin)) == begin


def _after(text, begin):
    """What follows the first `begin` bytes of a text."""
    import tensorflow as tf

    length = tf.strings.length(text)
    return tf.strings.substr(text, tf.minimum(begin, length), length)


def _big_endian(data, at, size):
    import tensorflow as tf

    return tf.reduce_sum(data[at : at + size] * _powers(size))


def _powers(size):
    return [256**i for i in reversed(range(size))]
