"""How a run that cannot go on ends: in one sentence, with nothing lost."""

import contextlib
import os
import re
import sys

from cin_keras.callbacks import NonFiniteLoss
from cin_keras.data import DownloadError


def stop(message, status=130):
    """Prints a message on standard error and ends the process at once, from within `fit`, too.

    Not by `sys.exit`: Python would wait at its end for the threads of the pipeline that was
    interrupted, and these wait for Python, sometimes for ever.

    Args:
        message: Str.
        status: Int, the exit status. Defaults to 130, which shells use for Ctrl-C.

    Example:

    ```python
    stop("Interrupted.")
    ```
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(status)


@contextlib.contextmanager
def mistakes_in_one_sentence():
    """Ends the process with one sentence for a mistake of the user, before anything is running.

    Raises:
        SystemExit: In place of `OSError`, `ValueError` and `DownloadError`, with their sentence.

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
    except (OSError, ValueError, DownloadError) as error:
        sys.exit(f"error: {error}")


@contextlib.contextmanager
def accidents_in_one_sentence():
    """Ends the process with one sentence where training or evaluation cannot go on.

    That is a full disk, a loss that is not finite, or an image that cannot be decoded, which
    reaches us as an error of TensorFlow around that of Python. Any other error is a defect and
    keeps its traceback.

    Example:

    ```python
    with accidents_in_one_sentence():
        model.fit(train_data)
    ```
    """
    import tensorflow as tf

    try:
        yield
    except (NonFiniteLoss, OSError) as error:
        stop(f"\nerror: {error}", 1)
    except tf.errors.OpError as error:
        unreadable = re.search(r"UnreadableImage: (.+)", str(error))
        stop(f"\nerror: {unreadable[1] if unreadable else error}", 1)
