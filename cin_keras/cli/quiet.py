"""Loading TensorFlow without what its C++ code tells of the machine."""

import contextlib
import os
import re
import sys
import tempfile

_NOTE = re.compile(
    r"^(?:[IW]\d{4} \d\d:\d\d:.*|WARNING: All log messages before absl.*"
    r"|To enable the following instructions: .*)\n?",
    re.MULTILINE,
)


@contextlib.contextmanager
def without_notes():
    """Drops TensorFlow's notes and warnings from standard error, of C code, too, while it loads.

    At this point TensorFlow does not heed `TF_CPP_MIN_LOG_LEVEL` yet. All else that was written
    comes out when the `with` block ends.

    Example:

    ```python
    with without_notes():
        import tensorflow
    ```
    """
    try:
        original = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            caught.seek(0)
            sys.stderr.write(_NOTE.sub("", caught.read().decode(errors="replace")))
