"""Which vectors of many are most similar: exactly, by NumPy in blocks."""

import numpy as np

QUERIES = 256  # at a time
ROWS = 16_384  # of the many, at a time: 16 MB of similarities


def nearest(queries, vectors, k):
    """The `k` most similar vectors for each query.

    Args:
        queries: float32 `(queries, width)`, of length 1.
        vectors: float32 `(vectors, width)`, of length 1.
        k: Int from 1 to the number of vectors.

    Returns:
        `(similarities, indices)`, float32 and int64 `(queries, k)`: cosines, the highest first,
        equal ones in the order of their indices. Which of several equal to the last are among the
        `k` is left open.

    Example:

    >>> similarities, indices = nearest(np.eye(2, dtype="float32"), np.eye(2, dtype="float32"), 1)
    >>> indices.tolist()
    [[0], [1]]
    """
    similarities = np.empty((len(queries), k), "float32")
    indices = np.empty((len(queries), k), "int64")
    for begin in range(0, len(queries), QUERIES):
        rows = slice(begin, begin + QUERIES)
        similarities[rows], indices[rows] = _nearest_of_block(queries[rows], vectors, k)
    return similarities, indices


def _nearest_of_block(queries, vectors, k):
    best = np.empty((len(queries), 0), "float32")
    found = np.empty((len(queries), 0), "int64")
    for begin in range(0, len(vectors), ROWS):
        block = queries @ vectors[begin : begin + ROWS].T
        here = np.arange(begin, begin + block.shape[1])
        block, here = _highest(block, np.broadcast_to(here, block.shape), k)
        best, found = np.concatenate([best, block], axis=1), np.concatenate([found, here], axis=1)
        best, found = _highest(best, found, k)
    order = np.lexsort((found, -best), axis=1)
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)


def _highest(values, indices, k):
    """The `k` highest values of each row, in any order, with their indices."""
    if values.shape[1] <= k:
        return values, indices
    kept = np.argpartition(-values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(values, kept, axis=1), np.take_along_axis(indices, kept, axis=1)


def nearest_of_each_class(queries, vectors, labels, num_classes):
    """The similarity of the most similar vector of every class.

    Args:
        queries: As for `nearest`.
        vectors: As for `nearest`.
        labels: Integers `(vectors,)`, from 0 to `num_classes - 1`.
        num_classes: Int.

    Returns:
        float32 `(queries, num_classes)`; `-inf` for a class without a vector.

    Example:

    >>> nearest_of_each_class(np.eye(2)[:1], np.eye(2), np.array([1, 0]), 2).tolist()
    [[0.0, 1.0]]
    """
    best = np.full((len(queries), num_classes), -np.inf, "float32")
    for begin in range(0, len(vectors), ROWS):
        own = labels[begin : begin + ROWS]
        order = np.argsort(own, kind="stable")
        present, starts = np.unique(own[order], return_index=True)
        for first in range(0, len(queries), QUERIES):
            rows = slice(first, first + QUERIES)
            block = (queries[rows] @ vectors[begin : begin + ROWS].T)[:, order]
            highest = np.maximum.reduceat(block, starts, axis=1)
            best[rows, present] = np.maximum(best[rows, present], highest)
    return best
