"""Where a result goes, how JSON lines are written, and what is said beside them."""

import contextlib
import csv
import json
import re
import sys

from tqdm import tqdm

from cin_keras.data import Samples
from cin_keras.files import whole_file
from cin_keras.progress import progress_bar
from cin_keras.streams import one_line


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


def write_each(args, paths, problems, read, *, look, as_text, as_entry, as_rows, columns):
    """Writes what was found of each photograph, and reports those that cannot be read.

    Args:
        args: What the parser returned: `json`, `csv`, `output` and `progress`.
        paths: List of str, the photographs.
        problems: List of `(path, reason)`, what cannot be read and is no photograph.
        read: Function from `Samples` to an iterable of `(index, row, reason)`, as `predict_each`.
        look: Function from a row to the arguments of the three that follow, a tuple.
        as_text: Function of the path and these that returns lines of text, a list of str.
        as_entry: Function of these that returns what a JSON object has beside the path, a dict.
        as_rows: Function of these that returns rows of a table without the path, lists.
        columns: List of str, the names of the columns of a row.

    Returns:
        Int, the exit status: 1 if something could not be read.
    """
    for path, reason in problems:
        report_unreadable(path, reason)
    bad = len(problems)
    results = read(Samples(paths, [0] * len(paths), ["unknown"])) if paths else ()
    with open_output(args.output) as out:
        table = csv.writer(out, lineterminator="\n")
        if args.csv:
            table.writerow(["path", *columns])
        # On one terminal with the result, bar and result would write over each other.
        wanted = False if args.progress is None and out.isatty() else args.progress
        with progress_bar(len(paths), "image", wanted) as bar:
            for index, row, reason in results:
                path, entry = paths[index], {}
                if reason is not None:
                    bad += 1
                    entry = {"error": report_unreadable(path, reason)}
                elif args.json:
                    entry = as_entry(*look(row))
                elif args.csv:
                    table.writerows([path, *each] for each in as_rows(*look(row)))
                else:
                    print(*map(one_line, as_text(path, *look(row))), sep="\n", file=out)
                if args.json:
                    print(json_line({"path": path, **entry}), file=out)
                out.flush()
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
    """Says on standard error that a file or folder (str) cannot be read; returns why, as it says it."""
    reason = reason_as_typed(reason)
    say(f"cannot read {path!r}: {reason}")
    return reason


def reason_as_typed(reason):
    """Why a photograph cannot be decoded (str), with the option as it is typed.

    Example:

    >>> reason_as_typed("9×9 pixels are more than max_pixels=64")
    '9×9 pixels are more than --max-pixels=64'
    """
    return reason.replace("max_pixels=", "--max-pixels=")
