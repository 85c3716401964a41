"""A disk that is full, as far as a process can tell."""

import contextlib

import pytest


@contextlib.contextmanager
def no_room_beyond(size):
    """Lets the kernel refuse to write more than `size` bytes to a file, as on a full disk."""
    resource = pytest.importorskip("resource", reason="no limit on the size of files here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
