"""What embeddings are worth for finding photographs of the same class, seen in training or not."""

import numpy as np

from cin_keras.checks import check_labels


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
    embeddings = np.asarray(embeddings, "float32")
    labels = check_labels("labels", labels, int(np.max(labels, initial=0)) + 1)
    if embeddings.ndim != 2 or len(embeddings) != len(labels) or len(labels) < 2:
        raise ValueError(
            "`embeddings` must have shape (images, dimensions), one row a label, of two images or "
            f"more. Received: embeddings.shape={embeddings.shape}, {len(labels)} labels"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("`embeddings` must be finite. Received: numbers that are not.")
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.maximum(lengths, 1e-12)
    right = 0
    for begin in range(0, len(labels), block):
        asking = np.arange(begin, min(begin + block, len(labels)))
        similarity = directions[asking] @ directions.T
        similarity[np.arange(len(asking)), asking] = -np.inf  # not the image itself
        right += int((labels[similarity.argmax(axis=1)] == labels[asking]).sum())
    return right / len(labels)
