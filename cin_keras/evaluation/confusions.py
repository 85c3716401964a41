"""Which classes a model confuses, which it knows least, and what it got most wrong."""

from typing import NamedTuple

import numpy as np

from cin_keras.checks import check_labels


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


def confusion_counts(true_labels, predicted_labels, num_classes):
    """How many images of each class were taken for each.

    Args:
        true_labels: Integers of shape `(images,)`, from 0 to `num_classes - 1`.
        predicted_labels: Integers of the same shape and range.
        num_classes: Int.

    Returns:
        Ints of shape `(true classes, predicted classes)`.

    Raises:
        ValueError: If there is no image, the numbers of labels differ, or a label is no class.

    Example:

    >>> confusion_counts([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    true_labels = check_labels("true_labels", true_labels, num_classes)
    predicted_labels = check_labels(
        "predicted_labels", predicted_labels, num_classes, len(true_labels)
    )
    cells = true_labels * num_classes + predicted_labels
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def most_confused_pairs(counts, limit):
    """The pairs of classes that are most often taken for each other.

    A pair has two classes in no order, and counts for as many images as were confused in both
    directions together: what separates the two is the same question either way. This is what
    "most confused" means in every figure and on the report.

    Args:
        counts: Ints `(true classes, predicted classes)`, numbers of images.
        limit: Int, at most how many pairs.

    Returns:
        List of `ConfusedPair`, the most confused first; of equally confused ones first that of
        the lower class numbers. Pairs without a confusion are left out.

    Example:

    >>> most_confused_pairs(np.array([[8, 1, 0], [3, 5, 0], [0, 1, 9]]), limit=1)
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


def order_of_mistakes(labels, predicted_labels, probabilities):
    """The wrong predictions, the worst first.

    Args:
        labels: Integers of shape `(images,)`.
        predicted_labels: Integers of the same shape.
        probabilities: Floats of shape `(images, classes)`.

    Returns:
        Ints, the indices of the wrong predictions, by the probability of the predicted class minus
        that of the true one, the largest first.

    Example:

    >>> order_of_mistakes(np.array([0, 0]), np.array([1, 1]), np.array([[0.4, 0.6], [0.1, 0.9]]))
    array([1, 0])
    """
    wrong = np.flatnonzero(predicted_labels != labels)
    lead = probabilities[wrong, predicted_labels[wrong]] - probabilities[wrong, labels[wrong]]
    return wrong[np.argsort(-lead, kind="stable")]
