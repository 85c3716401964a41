"""A progress bar on standard error, where it is in the way of no result."""

import sys

from tqdm import tqdm


def progress_bar(count, unit, wanted=True):
    """A bar of tqdm, to be used in a `with` block and moved on by `update()`.

    Args:
        count: Int, how many there are.
        unit: Str, what is counted, such as `"image"`.
        wanted: Bool, or `None` for a bar if standard error is a terminal; without it, nothing is
            shown. Defaults to `True`.

    Example:

    >>> with progress_bar(2, "image", wanted=False) as bar:
    ...     bar.update()
    """
    closed = sys.stderr is None or sys.stderr.closed
    on_terminal = not closed and sys.stderr.isatty()
    # In a log file every update is a line of its own: few will do.
    interval = 0.1 if on_terminal else 30
    shown = count and not closed and (on_terminal if wanted is None else wanted)
    return tqdm(total=count, unit=f" {unit}s", mininterval=interval, disable=not shown)
