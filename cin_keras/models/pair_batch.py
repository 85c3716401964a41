"""Pair batches: `((images_a, images_b), (labels_a, labels_b))`, with or without weights.

Inside the model a pair batch becomes one batch of `2 N` images in which the two of a pair stand
next to each other: `a_0, b_0, a_1, b_1, …`. The backbone then runs once, batch normalisation sees
all images, and an engine that shards the batch never parts a pair.
"""

from keras import ops

from cin_keras.checks import agree
from cin_keras.layers.interleave import interleave
from cin_keras.layers.numerics import unit_length

_EXPECTED = (
    "fit() of this model takes a pair dataset: batches ((images_a, images_b), (labels_a, labels_b)), "
    "optionally with (weights_a, weights_b), such as cin_keras.data.pair_dataset(...) makes."
)


def is_pair(x):
    """Whether `x` is a tuple or list of two."""
    return isinstance(x, (tuple, list)) and len(x) == 2


def holds_pairs(data):
    """Whether a training batch, `(x, y, ...)`, is one of pairs of images."""
    return is_pair(data[0] if isinstance(data, (tuple, list)) else data)


def interleave_pair(pair):
    """`(a, b)`, each `(pairs, ...)`, as one tensor `(2 * pairs, ...)`: `a_0, b_0, a_1, b_1, …`.

    Raises:
        ValueError: If it is no pair, or the shapes of the two differ.
    """
    # JAX and PyTorch build a model on its first batch before `train_step` sees it: check here too.
    if not is_pair(pair):
        raise ValueError(f"{_EXPECTED} Received: no pair where one is needed, {_shapes(pair)}")
    a, b = (ops.convert_to_tensor(x) for x in pair)
    if not agree(a.shape, b.shape):
        raise ValueError(f"{_EXPECTED} Received: a pair of two that differ in {_shapes(pair)}")
    return interleave([a, b])


def choose_pairs(partner, features, labels=None):
    """Which images of a batch are compared, if not the given pairs alone.

    Args:
        partner: `"hardest"` or `"all"`, as for `CIN`.
        features: `(2 * pairs, channels)`, of the images in the order of `interleave_pair`.
        labels: Class numbers `(2 * pairs,)`, or `None` where nobody knows them (as Keras builds a
            model): then `"hardest"` leaves the pairs as they are. Defaults to `None`.

    Returns:
        int32 tensor `(comparisons, 2)`.

    Example:

    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [1.0, 0.1]])
    >>> found = choose_pairs("hardest", features, np.array([0, 1, 2, 2]))
    >>> keras.ops.convert_to_numpy(found).tolist()
    [[0, 3], [2, 3]]
    """
    count = ops.shape(features)[0]
    if partner == "all":
        # Shift by shift around the batch, so that nothing needs to know its size.
        number = ops.arange(count * (count - 1) // 2, dtype="int32")
        first = number % count
        return ops.stack([first, (first + number // count + 1) % count], axis=1)
    first = 2 * ops.arange(count // 2, dtype="int32")
    second = first + 1
    if labels is not None:
        features = ops.cast(ops.stop_gradient(ops.convert_to_tensor(features)), "float32")
        directions = unit_length(features)
        similarity = ops.matmul(directions[::2], ops.transpose(directions))
        others = ops.not_equal(labels[::2][:, None], labels[None, :])
        hardest = ops.argmax(ops.where(others, similarity, -2.0), axis=-1)
        negative = ops.not_equal(labels[::2], labels[1::2])
        second = ops.where(negative, ops.cast(hardest, "int32"), second)
    return ops.stack([first, second], axis=1)


def take_pairs(x, partners):
    """The two of every comparison, `(a, b)`, out of a tensor that holds all images.

    Args:
        x: `(images, ...)`.
        partners: `(comparisons, 2)`, as from `choose_pairs`.
    """
    return tuple(ops.take(x, partners[:, side], axis=0) for side in (0, 1))


def interleave_targets(labels, weights):
    """Labels and weights, each a pair, for the images of `interleave_pair`; weights may be `None`."""
    return interleave_pair(labels), None if weights is None else interleave_pair(weights)


def mean_of_two(weights):
    """The weight of a pair, `(pairs,)`, float32, given those of its two images."""
    a, b = (ops.cast(ops.reshape(weight, (-1,)), "float32") for weight in weights)
    return (a + b) / 2


def unpack_pair_batch(data):
    """Takes a training batch apart.

    Args:
        data: What Keras hands to `train_step`: a tuple or list `(x, y)` or
            `(x, y, sample_weight)`.

    Returns:
        `(images, labels, weights)`, each a pair `(a, b)`; weights may be `None`.

    Raises:
        ValueError: For anything else, in one sentence that says what was received.
    """
    parts = list(data) if isinstance(data, (tuple, list)) else [data]
    x, y, weights = (parts + [None, None])[:3]
    if len(parts) > 3 or not is_pair(x):
        raise ValueError(
            f"{_EXPECTED} Received: single images, x of {_shapes(x)}; for these, use "
            "evaluate() or predict()."
        )
    if not is_pair(y):
        raise ValueError(f"{_EXPECTED} Received: labels that are no pair, y of {_shapes(y)}")
    if weights is not None and not is_pair(weights):
        raise ValueError(
            f"{_EXPECTED} Received: sample weights that are no pair, of {_shapes(weights)}"
        )
    if len(x[0].shape) != 4:
        raise ValueError(
            f"{_EXPECTED} Images are (pairs, height, width, 3). Received: {_shapes(x)}"
        )
    for name, pair in (("labels", y), ("sample weights", weights or y)):
        if len(pair[0].shape) == 0 or not agree(x[0].shape[:1], pair[0].shape[:1]):
            raise ValueError(
                f"{_EXPECTED} Received: {name} of {_shapes(pair)} for images of {_shapes(x)}"
            )
    return tuple(x), tuple(y), None if weights is None else tuple(weights)


def check_single_images(data, method):
    """Raises ValueError if a batch given to `evaluate`, say, holds pairs of images."""
    if holds_pairs(data):
        raise ValueError(
            f"{method} of this model takes single images, batches (images, labels) such as "
            "cin_keras.data.image_dataset(...) makes. Received: a pair, images of "
            f"{_shapes(data[0])}"
        )


def _shapes(x):
    if isinstance(x, (tuple, list)):
        return "shapes " + " and ".join(str(tuple(getattr(part, "shape", ()))) for part in x)
    return f"shape {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
