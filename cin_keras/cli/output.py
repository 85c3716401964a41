"""Where a result goes, and how JSON lines are written."""

import contextlib
import json
import re
import sys

from cin_keras.files import whole_file
from cin_keras.progress import progress_bar


@contextlib.contextmanager
def open_output(path):
    """Standard output, or a file that is there when it is whole.

    Args:
        path: Str, or `None` for standard output.

    Yields:
        Text file.
    """
    if path is None:
        yield sys.stdout
        return
    with (
        whole_file(path) as partial,
        open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def bar_beside(out, count, wanted):
    """A progress bar of images, unless it and the result would write over each other.

    Args:
        out: Text file that the result goes to.
        count: Int, how many images there are.
        wanted: Bool, or `None` if nobody said.

    Returns:
        As `progress_bar`.
    """
    return progress_bar(count, "image", False if wanted is None and out.isatty() else wanted)


def json_line(entry):
    """A JSON object on one line (str).

    Example:

    >>> json_line({"path": "grün\\u2028.jpg"})
    '{"path": "grün\\\\u2028.jpg"}'
    """
    # JSON escapes the end of a line, but not what Unicode takes for one, too.
    text = json.dumps(entry, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029]", lambda end: f"\\u{ord(end[0]):04x}", text)
