"""Keras' progress bar, on standard error, where it is in the way of no result."""

import contextlib
import sys

import keras


class Progress:
    """A bar, or none, and messages that do not run into it.

    Args:
        count: Int, how many photographs there are.
        wanted: Bool, or `None` for a bar if standard error is a terminal. Defaults to `None`.

    Example:

    >>> progress = Progress(3, wanted=False)
    >>> progress.advance()
    """

    def __init__(self, count, wanted=None):
        on_terminal = sys.stderr.isatty()
        self.bar = None
        if count and (on_terminal if wanted is None else wanted):
            # In a log file every update is a line of its own: few will do.
            interval = 0.1 if on_terminal else 30
            with contextlib.redirect_stdout(sys.stderr):
                self.bar = keras.utils.Progbar(count, unit_name="image", interval=interval)

    def advance(self):
        """Moves the bar on by one photograph."""
        if self.bar:
            with contextlib.redirect_stdout(sys.stderr):
                self.bar.add(1)

    def cannot_read(self, path, reason):
        """Says that a photograph (str) cannot be read, and why."""
        if self.bar:
            print(file=sys.stderr)
        report_unreadable(path, reason)


def say(message):
    """Prints a message on standard error."""
    print(message, file=sys.stderr, flush=True)


def report_unreadable(path, reason):
    """Says on standard error that a file or folder (str) cannot be read, and why."""
    say(f"cannot read {path!r}: {reason}")
