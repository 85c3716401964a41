"""Standard output and standard error: there, one line a message, and no trouble at the end."""

import contextlib
import os
import sys
import tempfile
import unicodedata
import warnings

READER_GONE = 141  # what shells use for whoever writes to a pipe that nobody reads any more


def open_standard_streams():
    """Gives a process that was started without standard streams, as by `>&-`, ones of no effect.

    Without them, files that it opens would get their numbers, and what libraries write to
    standard error would end up in a file; and Python's own streams would be `None`.

    Example:

    >>> open_standard_streams()
    """
    number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


@contextlib.contextmanager
def tidy_streams():
    """What a command does with its streams, whoever reads them: for a `with` block or a function.

    There are streams, also where they were closed; warnings are one line; a name that a terminal
    cannot show is shown escaped. At Ctrl-C the process ends and says so, and if nobody reads any
    more (`| head`), in silence, as others do.

    Example:

    >>> @tidy_streams()
    ... def main():
    ...     print("Whole, or not at all.")
    >>> main()
    Whole, or not at all.
    """
    open_standard_streams()
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with one_line_warnings():
            yield
        for stream in streams:
            stream.flush()
    except BrokenPipeError:
        stop(None, READER_GONE)
    except KeyboardInterrupt:
        stop("\nInterrupted.")


@contextlib.contextmanager
def standard_error_through(change):
    """Holds back what is written to standard error, by C code, too, until the `with` block ends.

    Args:
        change: Function of the text (str) that returns what of it comes out in the end.

    Example:

    >>> with standard_error_through(lambda text: ""):
    ...     print("Nobody sees it.", file=sys.stderr)
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
            sys.stderr.write(change(caught.read().decode(errors="replace")))


@contextlib.contextmanager
def one_line_warnings():
    """Shows every warning as one line on standard error, without the line of code it comes from.

    Example:

    ```python
    with one_line_warnings():
        cin_keras.data.image_folder("photographs")
    ```
    """

    def show(message, category, filename, lineno, file=None, line=None):
        print(
            f"warning: {one_line(' '.join(str(message).split()))}",
            file=file or sys.stderr,
            flush=True,
        )

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def one_line(text):
    """A text on one line that a terminal takes as text: what controls either is escaped.

    Args:
        text: Str, or anything with a `str`: perhaps the name of a file, which may hold anything.

    Returns:
        Str.

    Example:

    >>> one_line("two\\nlines of grün.jpg")
    'two\\\\nlines of grün.jpg'
    """

    def escaped(character):
        controls = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        return repr(character)[1:-1] if controls else character

    return "".join(map(escaped, str(text)))


def stop(message, status=130):
    """Prints a message on standard error and ends the process at once, from within `fit`, too.

    Not by `sys.exit`: Python would wait at its end for the threads of the pipeline that was
    interrupted, and these wait for Python, sometimes for ever.

    Args:
        message: Str, or `None` for no message.
        status: Int, the exit status. Defaults to 130, which shells use for Ctrl-C.

    Example:

    ```python
    stop("Interrupted.")
    ```
    """
    for stream, text in ((sys.stdout, None), (sys.stderr, message)):
        with contextlib.suppress(OSError):  # nobody may read any more
            if text:
                print(text, file=stream)
            stream.flush()
    os._exit(status)
