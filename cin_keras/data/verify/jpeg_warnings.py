"""What libjpeg says of a damaged JPEG that it decodes all the same.

Where the compressed data of a JPEG are damaged, libjpeg fills in grey, or goes on with garbage, and
gives a warning. Pillow drops these warnings; the libjpeg of TensorFlow writes them to the standard
error of the process, and says nothing of which image: they are caught there.
"""

import contextlib
import os
import re
import sys
import tempfile

_WARNING = re.compile(
    r"^(?:Corrupt JPEG data: (?!bad ICC)(?P<corrupt>.*)"
    r"|(?P<other>Inconsistent progression sequence.*|Premature end of JPEG file.*))$",
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
        text = _standard_error_of(lambda: list(run(decode, some)))
        for line in filter(None, _WARNING.sub("", text).split("\n")):  # somebody else's
            print(line, file=sys.stderr)
        warning = _WARNING.search(text)
        return warning and (warning["corrupt"] or warning["other"])

    if not warning_of(contents, run):
        return [None] * len(contents)
    return [warning_of([content], map) for content in contents]


def _standard_error_of(work):
    """What everybody, C code, too, writes to standard error while the function `work` runs."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            work()
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
        file.seek(0)
        return file.read().decode(errors="replace")
