"""Encoded images inside large files, each found by its place."""

import os
import threading

import numpy as np

from cin_keras.data.stores import is_remote, open_file


class Records:
    """A sequence of bytes, parts of files, that are read when they are asked for.

    For `Samples(encoded=...)`. A local file is read at the place alone, without a lock, by any
    number of threads; of an object store (`gs://`, `s3://`, as far as TensorFlow reads it), a
    request brings the part.

    Args:
        files: Sequence of str, the paths of the files.
        file_numbers: Integers of shape `(records,)`, which file.
        offsets: Integers of shape `(records,)`, the first byte.
        sizes: Integers of shape `(records,)`, how many bytes.

    Example:

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "all"
    >>> _ = file.write_bytes(b"onetwo")
    >>> records = Records([str(file)], [0, 0], [0, 3], [3, 3])
    >>> records[1], len(records.subset([1]))
    (b'two', 1)
    """

    def __init__(self, files, file_numbers, offsets, sizes):
        self.files = tuple(files)
        self.file_numbers = np.asarray(file_numbers, "int32")
        self.offsets = np.asarray(offsets, "int64")
        self.sizes = np.asarray(sizes, "int64")
        self._opened = {}
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        """The bytes of one record; OSError if the file lacks them."""
        path = self.files[self.file_numbers[index]]
        offset, size = int(self.offsets[index]), int(self.sizes[index])
        if is_remote(path):
            with open_file(path) as file:
                file.seek(offset)
                content = file.read(size)
        else:
            content = os.pread(self._open(path), size, offset)
        if len(content) != size:
            raise OSError(f"{path} ends before it should.")
        return content

    def subset(self, indices):
        """The records at `indices`, in that order: `Records`."""
        places = self.file_numbers, self.offsets, self.sizes
        return Records(self.files, *(values[indices] for values in places))

    def join(self, others):
        """These records and those of other `Records`, in that order: `Records`."""
        together = [self, *others]
        firsts = np.cumsum([0, *(len(records.files) for records in together)])
        return Records(
            [file for records in together for file in records.files],
            np.concatenate([r.file_numbers + first for r, first in zip(together, firsts)]),
            np.concatenate([records.offsets for records in together]),
            np.concatenate([records.sizes for records in together]),
        )

    def __reduce__(self):
        return Records, (self.files, self.file_numbers, self.offsets, self.sizes)

    def _open(self, path):
        if path not in self._opened:
            with self._lock:
                if path not in self._opened:
                    self._opened[path] = os.open(path, os.O_RDONLY)
        return self._opened[path]

    def __del__(self, close=os.close):  # as Python ends, `os` may be gone before
        for number in self._opened.values():
            close(number)
