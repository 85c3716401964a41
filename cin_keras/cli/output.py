"""Where a result goes, how JSON lines are written, and what is said beside them."""

import contextlib
import json
import re
import sys

from tqdm import tqdm

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


class Form:
    """How the result of each photograph is written.

    Args:
        out: Text file.
    """

    def __init__(self, out):
        self.out = out

    def write_json(self, entry):
        """Writes a dict as a line."""
        print(json_line(entry), file=self.out, flush=True)


def write_each(args, paths, problems, make_form, results):
    """Writes what was found of each photograph, and reports those that cannot be read.

    Args:
        args: What the parser returned: `json`, `output` and `progress`.
        paths: List of str, the photographs.
        problems: List of `(path, reason)`, what cannot be read and is no photograph.
        make_form: Function of a text file that returns a `Form` with a method `write`.
        results: Iterable of `(path, what, reason)`: `what` are the arguments of `write` after the
            path, or `reason` says why there are none.

    Returns:
        Int, the exit status: 1 if something could not be read.
    """
    for path, reason in problems:
        report_unreadable(path, reason)
    bad = len(problems)
    with open_output(args.output) as out:
        form = make_form(out)
        # On one terminal with the result, bar and result would write over each other.
        wanted = False if args.progress is None and out.isatty() else args.progress
        with progress_bar(len(paths), "image", wanted) as bar:
            for path, what, reason in results:
                if reason is None:
                    form.write(path, *what)
                else:
                    bad += 1
                    report_unreadable(path, reason)
                    if args.json:
                        form.write_json({"path": path, "error": reason})
                bar.update()
    if bad > 1:
        say(f"{bad} could not be read.")
    return 1 if bad else 0


def json_line(entry):
    """A JSON object on one line (str).

    Example:

    >>> json_line({"path": "grün\\u2028.jpg"})
    '{"path": "grün\\\\u2028.jpg"}'
    """
    # JSON escapes the end of a line, but not what Unicode takes for one, too.
    text = json.dumps(entry, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029]", lambda end: f"\\u{ord(end[0]):04x}", text)


def say(message):
    """Prints a message (str) on standard error, above a progress bar if there is one."""
    with tqdm.external_write_mode(file=sys.stderr):
        print(message, file=sys.stderr, flush=True)


def report_unreadable(path, reason):
    """Says on standard error that a file or folder (str) cannot be read, and why."""
    say(f"cannot read {path!r}: {reason}")
