"""How a run that cannot go on ends: in one sentence, with nothing lost."""

import contextlib
import re
import sys

from cin_keras.callbacks import NonFiniteLoss
from cin_keras.data import DownloadError
from cin_keras.streams import stop
from cin_keras.training.command import as_typed

# What TensorFlow, XLA, PyTorch and NumPy say, of a GPU and of a CPU.
_OUT_OF_MEMORY = re.compile(
    "out of memory|OOM when allocating|(allocate|not enough) memory:|ALLOC_FAILED|^Unable to allocate", re.I
)


def mistake(error, settings=None):
    """What to tell the user of an error before anything is running, or `None` for a defect.

    Args:
        error: An exception.
        settings: As for `out_of_memory`. Defaults to `None`.

    Returns:
        Str, or `None`.

    Example:

    >>> mistake(ValueError("Three is none.")), mistake(KeyError("defect"))
    ('Three is none.', None)
    """
    if sentence := out_of_memory(error, settings):
        return sentence
    mistakes = (OSError, ValueError, DownloadError, MemoryError, ImportError)
    if not isinstance(error, mistakes) or _nobody_reads(error):
        return None
    # What Keras says of a layer stands in a frame of lines about its arguments.
    framed = re.search(r"Exception encountered when calling [^\n]*\n+(.+?)\n+Arg", str(error), re.S)
    return re.sub(r"\x1b\[\d*m", "", framed[1]) if framed else str(error)


def accident(error, settings=None):
    """What to tell the user where training or evaluation cannot go on, or `None` for a defect.

    That is a full disk, too little memory, a loss that is not finite, or an image that cannot be
    decoded, which reaches us as an error of TensorFlow around that of Python.

    Args:
        error: An exception.
        settings: As for `out_of_memory`. Defaults to `None`.

    Returns:
        Str, or `None`.

    Example:

    >>> accident(OSError("The disk is full.")), accident(ValueError("defect"))
    ('The disk is full.', None)
    """
    import tensorflow as tf

    if sentence := out_of_memory(error, settings):
        return sentence
    if isinstance(error, (NonFiniteLoss, OSError, MemoryError)) and not _nobody_reads(error):
        return str(error)
    if isinstance(error, tf.errors.OpError):
        return raised_inside(error) or str(error)
    return None


def out_of_memory(error, settings=None):
    """What to do where arrays do not fit into the memory of this machine, or of its accelerator.

    Args:
        error: An exception, of any backend.
        settings: Dict of the settings that may be named, or `None`. Defaults to `None`.

    Returns:
        Str, or `None` for another error.

    Example:

    >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), {"image_size": 448})
    'There is not enough memory with `image_size=448`: lower it.'
    """
    if isinstance(error, (OSError, ValueError)) or not _OUT_OF_MEMORY.search(str(error)):
        return None
    names = ("pairs_per_batch", "batch_size", "image_size")
    given = [f"`{name}={settings[name]}`" for name in names if settings and settings.get(name)]
    if not given:
        return "There is not enough memory: take fewer images at a time, or smaller ones."
    return (
        f"There is not enough memory with {' and '.join(given)}: lower "
        f"{'it' if len(given) == 1 else 'one of them'}."
    )


def raised_inside(error):
    """What our own code has raised within TensorFlow's (str), or `None`.

    Args:
        error: An exception of TensorFlow.

    Example:

    >>> raised_inside(ValueError("UnknownError: StoreError: s3://x cannot be reached"))
    's3://x cannot be reached'
    """
    inside = re.search(r"(?:UnreadableImage|ValueError|StoreError|MemoryError): (.+)", str(error))
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
        sentence = mistake(error, settings)
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
