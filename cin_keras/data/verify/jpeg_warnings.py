"""What libjpeg says of a damaged JPEG that it decodes all the same.

Where the compressed data of a JPEG are damaged, libjpeg fills in grey, or goes on with garbage, and
gives a warning. Pillow drops these warnings; the libjpeg of TensorFlow writes them to the standard
error of the process, and says nothing of which image: they are caught there.
"""

import contextlib
import re

from cin_keras.streams import standard_error_through

_WARNING = re.compile(
    r"^(?:Corrupt JPEG data: (?!bad ICC)(?P<corrupt>.*)"
    r"|(?P<other>Inconsistent progression sequence.*|Premature end of JPEG file.*))$\n?",
    re.MULTILINE,
)


def jpeg_warnings(contents, run=map):
    """Decodes JPEGs only to hear what libjpeg says.

    Args:
        contents: Sequence of bytes, JPEGs.
        run: A function like `map` that decodes them, such as that of a pool of threads; used
            for a first pass that finds out whether any is damaged. Defaults to `map`.

    Returns:
        List with one entry a JPEG: the first warning (str), or `None`.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> Image = __import__("PIL.Image").Image
    >>> Image.effect_noise((64, 64), 50).save(file, "JPEG")
    >>> whole, half = file.getvalue(), file.getvalue()[:1500] + b"\\xff\\xd9"
    >>> jpeg_warnings([whole, half])
    [None, 'premature end of data segment']
    """
    if not contents:
        return []
    import tensorflow as tf

    def decode(content):
        # What TensorFlow refuses (it is stricter than Pillow), Pillow has decoded.
        with contextlib.suppress(tf.errors.OpError), tf.device("CPU"):
            tf.io.decode_jpeg(content)

    def warning_of(some, run):
        said = []
        with standard_error_through(lambda text: said.append(text) or _WARNING.sub("", text)):
            list(run(decode, some))
        warning = _WARNING.search("".join(said))
        return warning and (warning["corrupt"] or warning["other"])

    if not warning_of(contents, run):
        return [None] * len(contents)
    return [warning_of([content], map) for content in contents]
