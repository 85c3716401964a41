"""How a run that cannot go on ends: in one sentence, with nothing lost."""

import contextlib
import re
import sys

from cin_keras.callbacks import NonFiniteLoss
from cin_keras.data import DownloadError
from cin_keras.streams import stop
from cin_keras.training.command import as_typed


def mistake(error):
    """What to tell the user of an error before anything is running, or `None` for a defect.

    Args:
        error: An exception.

    Returns:
        Str, or `None`.

    Example:

    >>> mistake(ValueError("Three is none.")), mistake(KeyError("defect"))
    ('Three is none.', None)
    """
    mistakes = (OSError, ValueError, DownloadError, MemoryError, ImportError)
    if not isinstance(error, mistakes) or _nobody_reads(error):
        return None
    # What Keras says of a layer stands in a frame of lines about its arguments.
    framed = re.search(r"Exception encountered when calling [^\n]*\n+(.+?)\n+Arg", str(error), re.S)
    return re.sub(r"\x1b\[\d*m", "", framed[1]) if framed else str(error)


def accident(error):
    """What to tell the user where training or evaluation cannot go on, or `None` for a defect.

    That is a full disk, a loss that is not finite, or an image that cannot be decoded, which
    reaches us as an error of TensorFlow around that of Python.

    Args:
        error: An exception.

    Returns:
        Str, or `None`.

    Example:

    >>> accident(OSError("The disk is full.")), accident(ValueError("defect"))
    ('The disk is full.', None)
    """
    import tensorflow as tf

    if isinstance(error, (NonFiniteLoss, OSError)) and not _nobody_reads(error):
        return str(error)
    if isinstance(error, tf.errors.OpError):
        return raised_inside(error) or str(error)
    return None


def raised_inside(error):
    """What our own code has raised within TensorFlow's (str), or `None`.

    Args:
        error: An exception of TensorFlow.

    Example:

    >>> raised_inside(ValueError("UnknownError: StoreError: s3://x cannot be reached"))
    's3://x cannot be reached'
    """
    inside = re.search(r"(?:UnreadableImage|ValueError|StoreError): (.+)", str(error))
    return inside and inside[1]


def _nobody_reads(error):
    """Whether it is the end of a pipe, which `tidy_streams` knows what to do about."""
    return isinstance(error, BrokenPipeError)


@contextlib.contextmanager
def mistakes_in_one_sentence(settings=None):
    """Ends the process with one sentence for a mistake of the user, before anything is running.

    Args:
        settings: Dict of settings that the sentence is to call what somebody types, or `None`.
            Defaults to `None`.

    Raises:
        SystemExit: In place of an error that is a `mistake`, with its sentence.

    Example:

    >>> try:
    ...     with mistakes_in_one_sentence():
    ...         cin_keras.data.image_folder("nowhere")
    ... except SystemExit as end:
    ...     str(end).startswith("error: ")
    True
    """
    try:
        yield
    except Exception as error:
        sentence = mistake(error)
        if sentence is None:
            raise
        sys.exit(f"error: {as_typed(sentence, settings) if settings else sentence}")


@contextlib.contextmanager
def accidents_in_one_sentence():
    """Ends the process with one sentence for an `accident`; other errors keep their traceback.

    Example:

    ```python
    with accidents_in_one_sentence():
        model.fit(train_data)
    ```
    """
    try:
        yield
    except Exception as error:
        sentence = accident(error)
        if sentence is None:
            raise
        stop(f"\nerror: {sentence}", 1)
