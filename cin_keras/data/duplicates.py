"""Photographs that stand in two sets, where a test would only ask what training has shown."""

import collections
import dataclasses
import hashlib
import os

import keras
import numpy as np

from cin_keras.data.samples import Samples

_SHOW_PROGRESS_ABOVE = 1000  # files to read


@dataclasses.dataclass(frozen=True, repr=False)
class Duplicates:
    """What `find_duplicates` has found.

    Args:
        train: `Samples`.
        test: `Samples`.
        pairs: Tuple of `(index in train, index in test)`, one for every sample of `test` that is
            in `train`, too, in the order of `test`, with its first match.
        train_indices: Tuple of int, every sample of `train` that is in `test`.

    Example:

    ```python
    found = find_duplicates(train, test)
    print(found)
    train = found.train_without()
    ```
    """

    train: Samples
    test: Samples
    pairs: tuple
    train_indices: tuple

    def __len__(self):
        return len(self.pairs)

    def __repr__(self):
        if not self.pairs:
            return "No image of the one set is in the other."
        shown = "; ".join(
            f"{self.train.paths[i]!r} = {self.test.paths[j]!r}" for i, j in self.pairs[:5]
        )
        names = [
            (
                self.train.class_names[self.train.labels[i]],
                self.test.class_names[self.test.labels[j]],
            )
            for i, j in self.pairs
        ]
        other = sum(a != b for a, b in names)
        return (
            f"{len(self)} of the {len(self.test)} images of the one set are in the other, too"
            + (f", {other} of them under another class" if other else "")
            + f": {shown}{'; …' if len(self) > 5 else ''}"
        )

    def train_without(self):
        """The samples of `train` that are not in `test`; ValueError if none is left."""
        return self.train.subset(np.setdiff1d(np.arange(len(self.train)), self.train_indices))


def find_duplicates(train, test, verbose=1):
    """Finds the samples that are in both sets: files, or images in memory, of the same bytes.

    Files are compared by their sizes first, and only those of a size that both sets have are read.

    Args:
        train: `Samples`.
        test: `Samples`.
        verbose: Int, 1 for a progress bar where more than 1,000 files must be read, 0 for none.
            Defaults to 1.

    Returns:
        `Duplicates`, which prints as a sentence that names the first, and whose length is their
        number.

    Raises:
        ValueError: If a file cannot be read; it names the file.

    Example:

    >>> train = Samples(["a", "b"], [0, 1], ["cat", "dog"], encoded=[b"one", b"two"])
    >>> test = Samples(["c", "d"], [0, 1], ["cat", "dog"], encoded=[b"six", b"one"])
    >>> find_duplicates(train, test)
    1 of the 2 images of the one set are in the other, too, 1 of them under another class: 'a' = 'd'
    """
    sizes = [[_size(samples, i) for i in range(len(samples))] for samples in (train, test)]
    common = set(sizes[0]) & set(sizes[1])
    todo = [[i for i, size in enumerate(of_set) if size in common] for of_set in sizes]
    count = len(todo[0]) + len(todo[1])
    bar = keras.utils.Progbar(count, unit_name="file")
    bar = bar if verbose and count > _SHOW_PROGRESS_ABOVE else None
    where = collections.defaultdict(list)
    for i in todo[0]:
        where[_digest(train, i)].append(i)
        if bar:
            bar.add(1)
    pairs, train_indices = [], set()
    for j in todo[1]:
        same = where.get(_digest(test, j), ())
        if same:
            pairs.append((same[0], j))
            train_indices.update(same)
        if bar:
            bar.add(1)
    return Duplicates(train, test, tuple(pairs), tuple(sorted(train_indices)))


def _size(samples, index):
    if samples.encoded is not None:
        return len(samples.encoded[index])
    with _naming(samples.paths[index]):
        return os.path.getsize(samples.paths[index])


def _digest(samples, index):
    if samples.encoded is not None:
        return hashlib.sha256(samples.encoded[index]).digest()
    with _naming(samples.paths[index]), open(samples.paths[index], "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class _naming:
    """Turns an error of the operating system into a sentence that names the file."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, OSError):
            raise ValueError(
                f"Cannot read {self.path!r} ({error.strerror or error}). Replace the file or leave "
                "it out of the data set."
            ) from error
