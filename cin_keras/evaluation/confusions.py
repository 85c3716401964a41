"""Which classes a model confuses, and which it knows least."""

from typing import NamedTuple

import numpy as np


class ConfusedPair(NamedTuple):
    """Two classes that are taken for each other.

    Attributes:
        true: Int, the class of which more images were taken for the other one.
        taken_for: Int, the other one.
        count: Int ≥ 1, images of `true` taken for `taken_for`.
        reverse: Int from 0 to `count`, images of `taken_for` taken for `true`.
    """

    true: int
    taken_for: int
    count: int
    reverse: int


class ClassResult(NamedTuple):
    """How a class fared of which not every image was right.

    Attributes:
        label: Int, the class.
        images: Int ≥ 1.
        right: Int, fewer than `images`.
        taken_for: Int, the class that it was most often taken for.
        times: Int ≥ 1, how often.
    """

    label: int
    images: int
    right: int
    taken_for: int
    times: int


def most_confused_classes(counts, limit):
    """The pairs of classes with the most confusions, both directions together.

    Args:
        counts: Ints `(true classes, predicted classes)`, numbers of images.
        limit: Int, at most how many pairs.

    Returns:
        List of `ConfusedPair`, the most confused first; of equally confused ones first that of
        the lower class numbers.

    Example:

    >>> most_confused_classes(np.array([[8, 1, 0], [3, 5, 0], [0, 1, 9]]), limit=1)
    [ConfusedPair(true=1, taken_for=0, count=3, reverse=1)]
    """
    upper = np.triu(counts + counts.T, k=1)
    pairs = []
    for a, b in np.argwhere(upper).tolist():
        if counts[a, b] < counts[b, a]:
            a, b = b, a
        pairs.append(ConfusedPair(a, b, int(counts[a, b]), int(counts[b, a])))
    # Sorting keeps the order of equals.
    return sorted(pairs, key=lambda pair: -(pair.count + pair.reverse))[:limit]


def worst_classes(counts, limit):
    """The classes with the lowest accuracies, of those with at least one mistake.

    Args:
        counts: Ints `(true classes, predicted classes)`, numbers of images.
        limit: Int, at most how many classes.

    Returns:
        List of `ClassResult`, the lowest accuracy first; of equal ones first that with more
        images, then the lower class number.

    Example:

    >>> worst_classes(np.array([[8, 1, 0], [3, 5, 0], [0, 0, 9]]), limit=1)
    [ClassResult(label=1, images=8, right=5, taken_for=0, times=3)]
    """
    results = []
    for label, row in enumerate(counts.tolist()):
        images, right = sum(row), row[label]
        if right < images:
            others = [*row[:label], -1, *row[label + 1 :]]
            times = max(others)
            results.append(ClassResult(label, images, right, others.index(times), times))
    results.sort(key=lambda result: (result.right / result.images, -result.images))
    return results[:limit]
