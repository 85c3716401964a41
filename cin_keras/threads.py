"""How many threads are of use."""

import os


def available_cores():
    """Int, the CPU cores that this process may use.

    Example:

    >>> available_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
