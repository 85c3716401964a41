"""Accuracy for both kinds of labels, and which way a logged number is better."""

import keras
from keras import ops

from cin_keras.losses import class_numbers


@keras.saving.register_keras_serializable(package="cin_keras")
def accuracy(y_true, y_pred):
    """Whether the class with the highest score is the true one, for each image.

    Unlike the string `"accuracy"`, which Keras settles on the first batch, it takes class numbers
    in one batch and one-hot labels in the next. For `compile(metrics=[accuracy])`.

    Args:
        y_true: Class numbers, `(batch,)` or `(batch, 1)`, or one-hot labels, `(batch, classes)`.
        y_pred: Scores, `(batch, classes)`.

    Returns:
        float32 of shape `(batch,)`, 0 or 1.

    Raises:
        ValueError: If the labels are of another shape.

    Example:

    >>> scores = np.array([[0.9, 0.1], [0.8, 0.2]])
    >>> [float(hit) for hit in cin_keras.metrics.accuracy(np.array([0, 1]), scores)]
    [1.0, 0.0]
    """
    numbers = class_numbers(ops.convert_to_tensor(y_true), y_pred.shape[-1])
    predicted = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
    return ops.cast(ops.equal(numbers, predicted), "float32")


def better_way(name):
    """Which way a number that a CIN logs gets better.

    Args:
        name: Str, a key of the logs, such as `"val_accuracy"` or `"contrastive_loss"`.

    Returns:
        `"min"` for losses, `"max"` for accuracies, `None` for other names.

    Example:

    >>> better_way("val_loss"), better_way("val_accuracy"), better_way("seconds")
    ('min', 'max', None)
    """
    if name.endswith("loss"):
        return "min"
    return "max" if name.endswith("accuracy") else None
