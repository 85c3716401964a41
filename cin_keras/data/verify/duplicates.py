"""Photographs that stand in two sets, where a test would only ask what training has shown."""

import collections
import dataclasses
import hashlib

import numpy as np

from cin_keras.data.samples import Samples, check_samples
from cin_keras.progress import progress_bar

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
        train, test = self.train, self.test
        shown = "; ".join(f"{train.paths[i]!r} = {test.paths[j]!r}" for i, j in self.pairs[:5])
        other = sum(
            train.class_names[train.labels[i]] != test.class_names[test.labels[j]]
            for i, j in self.pairs
        )
        return (
            f"{len(self)} of the {len(test)} images of the one set are in the other, too"
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
    for samples in (train, test):
        check_samples(samples)
    sizes = [[samples.encoded_size(i) for i in range(len(samples))] for samples in (train, test)]
    common = set(sizes[0]) & set(sizes[1])
    todo = [[i for i, size in enumerate(of_set) if size in common] for of_set in sizes]
    count = len(todo[0]) + len(todo[1])
    where = collections.defaultdict(list)
    pairs, train_indices = [], set()
    with progress_bar(count, "file", verbose and count > _SHOW_PROGRESS_ABOVE) as bar:
        for i in todo[0]:
            where[digest(train.encoded_bytes(i))].append(i)
            bar.update()
        for j in todo[1]:
            same = where.get(digest(test.encoded_bytes(j)), ())
            if same:
                pairs.append((same[0], j))
                train_indices.update(same)
            bar.update()
    return Duplicates(train, test, tuple(pairs), tuple(sorted(train_indices)))


def digest(encoded):
    """What tells images of the same bytes: a hash of `encoded` (bytes)."""
    return hashlib.blake2b(encoded, digest_size=16).digest()
