"""Loading TensorFlow without what its C++ code tells of the machine."""

import functools
import re

from cin_keras.streams import standard_error_through

_NOTE = re.compile(
    r"^(?:[IW]\d{4} \d\d:\d\d:.*|WARNING: All log messages before absl.*"
    r"|To enable the following instructions: .*)\n?",
    re.MULTILINE,
)


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
    return standard_error_through(functools.partial(_NOTE.sub, ""))
