"""Embeddings that were made so far, in a file that only grows: for who is broken off."""

import json
import os

import numpy as np

from cin_keras.files import named_if_not_written


class PartFile:
    """A file of rows of float32 behind a line that says what they are.

    A row that a crash has cut off is dropped.

    Args:
        path: Str or path; the file is begun if there is none.
        about: Dict of what JSON can hold: with other things in the file, it is refused.
        width: Int ≥ 1, numbers in a row.

    Raises:
        ValueError: If there is a file that holds something else.
        OSError: If it cannot be written.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/embeddings.part"
    >>> PartFile(path, {"model": "a"}, 2).write(np.ones((3, 2)), 0)
    >>> PartFile(path, {"model": "a"}, 2).read().shape
    (3, 2)
    """

    def __init__(self, path, about, width):
        self.path = os.fspath(path)
        self.width = width
        head = json.dumps({"cin_keras": "embeddings", "width": width, **about}).encode() + b"\n"
        self._begin = len(head)
        if os.path.exists(self.path) and os.path.getsize(self.path):
            with open(self.path, "rb") as file:
                if file.read(len(head)) != head:
                    raise ValueError(
                        f"{self.path!r} holds embeddings of other photographs, of some that have "
                        "changed since, or of another model: delete it, or name another file."
                    )
        else:
            with named_if_not_written(self.path), open(self.path, "wb") as file:
                file.write(head)

    def read(self):
        """The rows, float32 `(rows, width)`."""
        with open(self.path, "rb") as file:
            file.seek(self._begin)
            numbers = np.frombuffer(file.read(), "<f4", count=self._rows() * self.width)
        return numbers.reshape(-1, self.width)

    def write(self, rows, at):
        """Writes rows, an array `(rows, width)`, from row `at` on, where a second process has, too.

        Raises:
            ValueError: If rows before these are missing, as where another process began anew.
        """
        with named_if_not_written(self.path), open(self.path, "rb+") as file:
            if at > self._rows():
                raise ValueError(
                    f"{self.path!r} was begun anew by another process: let that end, then run this "
                    "again."
                )
            file.seek(self._begin + 4 * self.width * at)
            file.write(np.ascontiguousarray(rows, "<f4").tobytes())

    def _rows(self):
        return (os.path.getsize(self.path) - self._begin) // (4 * self.width)
