"""What a command says on standard error, where it is in the way of no result."""

import sys

from tqdm import tqdm


def say(message):
    """Prints a message (str) on standard error, above a progress bar if there is one."""
    with tqdm.external_write_mode(file=sys.stderr):
        print(message, file=sys.stderr, flush=True)


def report_unreadable(path, reason):
    """Says on standard error that a file or folder (str) cannot be read, and why."""
    say(f"cannot read {path!r}: {reason}")
