"""What embeddings are worth for finding photographs of the same class, seen in training or not."""

import numpy as np

from cin_keras.checks import check_int, check_labels


def recall_at_1(embeddings, labels, block=1024):
    """Of how many images the nearest other one, by cosine similarity, is of the same class.

    The measure of metric learning (Oh Song et al., "Deep Metric Learning via Lifted Structured
    Feature Embedding", CVPR 2016): every image asks all others.

    Args:
        embeddings: Floats of shape `(images, dimensions)`, of any length.
        labels: Classes, integers from 0, shape `(images,)`.
        block: Int ≥ 1, how many images are compared with all others at a time. Defaults to 1024.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If there are fewer than two images, shapes do not fit together, or an embedding
            is not finite.

    Example:

    >>> embeddings = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]])
    >>> round(recall_at_1(embeddings, [0, 0, 1]), 3)
    0.667
    """
    embeddings = np.asarray(embeddings, "float64")
    block = check_int("block", block, least=1)
    labels = np.asarray(labels)
    are_numbers = np.issubdtype(labels.dtype, np.integer)
    labels = check_labels("labels", labels, int(labels.max(initial=0)) + 1 if are_numbers else 1)
    if embeddings.ndim != 2 or len(embeddings) != len(labels) or len(labels) < 2:
        raise ValueError(
            "`embeddings` must have shape (images, dimensions), one row a label, of two images or "
            f"more. Received: embeddings.shape={embeddings.shape}, {len(labels)} labels"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("`embeddings` must be finite. Received: numbers that are not.")
    # By the largest number first, so that no square is too large or too small to be one.
    largest = np.abs(embeddings).max(axis=1, keepdims=True, initial=0)
    scaled = embeddings / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    directions = (scaled / np.maximum(lengths, 1)).astype("float32")
    right = 0
    for begin in range(0, len(labels), block):
        asking = np.arange(begin, min(begin + block, len(labels)))
        similarity = directions[asking] @ directions.T
        similarity[np.arange(len(asking)), asking] = -np.inf  # not the image itself
        right += int((labels[similarity.argmax(axis=1)] == labels[asking]).sum())
    return right / len(labels)
