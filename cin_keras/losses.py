"""Losses of the Channel Interaction Network.

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020,
section 3.3: the total loss is `L_soft + α L_cont`.
"""

import keras
from keras import ops

from cin_keras.checks import check_bool, check_number


@keras.saving.register_keras_serializable(package="cin_keras")
class ContrastiveLoss(keras.losses.Loss):
    """Pulls the embeddings of one class together and pushes those of two classes apart.

    With `d = ‖e_a − e_b‖`: `d²` for a positive pair (same class), `max(0, margin − d)²` for a
    negative one. Gao et al., AAAI 2020 (arXiv:2003.05235), equation 8; after Hadsell et al.,
    CVPR 2006. The gradient is finite for identical embeddings; there, a negative pair gives zero,
    since no direction leads apart.

    Args:
        margin: Float > 0, the distance from which negative pairs cost nothing. Defaults to 0.5.
        reduction: As for every Keras loss. Defaults to `"sum_over_batch_size"`, the mean over
            pairs.
        name: Str. Defaults to `"contrastive_loss"`.
        dtype: Dtype of the computation. Defaults to `None`, float32 unless `keras.config.floatx()`
            says otherwise.

    Call arguments:
        y_true: `(pairs,)`, 1 for the same class and 0 otherwise.
        y_pred: `(pairs, 2, embedding)`, the two embeddings of every pair.
        sample_weight: Optional, `(pairs,)`.

    Raises:
        ValueError: If `margin` is not positive or the shapes are others.

    Example:

    >>> same_class = np.array([1, 0])
    >>> embeddings = np.array([[[0.0, 0.0], [0.3, 0.4]], [[1.0, 0.0], [1.0, 0.0]]])
    >>> float(cin_keras.losses.ContrastiveLoss(margin=0.5)(same_class, embeddings))
    0.25
    """

    def __init__(
        self, margin=0.5, reduction="sum_over_batch_size", name="contrastive_loss", dtype=None
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.margin = check_number("margin", margin, above=0)

    def call(self, y_true, y_pred):
        if len(y_pred.shape) != 3 or y_pred.shape[1] != 2:
            raise ValueError(
                "`y_pred` must hold the two embeddings of every pair, shape (pairs, 2, embedding)."
                f" Received: y_pred.shape={tuple(y_pred.shape)}"
            )
        pairs = y_pred.shape[0]
        shape = tuple(y_true.shape)
        if len(shape) == 2 and shape[1] == 1:
            y_true = ops.squeeze(y_true, axis=1)
        if len(y_true.shape) != 1 or None not in (pairs, shape[0]) and shape[0] != pairs:
            raise ValueError(
                "`y_true` must hold one label a pair, 1 for the same class and 0 otherwise, shape "
                f"(pairs,). Received: y_true.shape={shape}, y_pred.shape={tuple(y_pred.shape)}"
            )
        squared = ops.sum(ops.square(y_pred[:, 0] - y_pred[:, 1]), axis=-1)
        # The root has no finite gradient at zero, and where() alone would pass its NaN on.
        differs = squared > 0
        distance = ops.where(differs, ops.sqrt(ops.where(differs, squared, 1.0)), 0.0)
        apart = ops.square(ops.maximum(self.margin - distance, 0.0))
        return y_true * squared + (1.0 - y_true) * apart

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="cin_keras")
class SoftmaxCrossentropy(keras.losses.Loss):
    """Softmax cross-entropy for integer and for one-hot (or soft) labels alike, `L_soft`.

    Args:
        from_logits: Bool, whether predictions are logits. Defaults to `True`.
        label_smoothing: Float in [0, 1), the share of every label spread over all classes.
            Defaults to 0.0.
        reduction: As for every Keras loss. Defaults to `"sum_over_batch_size"`.
        name: Str. Defaults to `"softmax_crossentropy"`.
        dtype: As for `ContrastiveLoss`. Defaults to `None`.

    Call arguments:
        y_true: Class numbers from 0, `(batch,)` or `(batch, 1)`, or class shares,
            `(batch, classes)`. A number that is no class gives NaN.
        y_pred: `(batch, classes)`.
        sample_weight: Optional, `(batch,)`.

    Raises:
        ValueError: If `label_smoothing` is out of range or the shapes are others.

    Example:

    >>> loss = cin_keras.losses.SoftmaxCrossentropy()
    >>> logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    >>> bool(loss(np.array([0, 1]), logits) == loss(np.eye(2), logits))
    True
    """

    def __init__(
        self,
        from_logits=True,
        label_smoothing=0.0,
        reduction="sum_over_batch_size",
        name="softmax_crossentropy",
        dtype=None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.from_logits = check_bool("from_logits", from_logits)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, least=0, below=1)

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        if is_sparse(y_true, classes):
            numbers = ops.cast(ops.reshape(y_true, (-1, 1)), "int32")
            known = ops.logical_and(numbers >= 0, numbers < classes)
            # Unknown classes would raise on one backend and cost nothing, in silence, on another.
            one_hot = ops.one_hot(
                ops.clip(numbers[:, 0], 0, classes - 1), classes, dtype=y_pred.dtype
            )
            y_true = ops.where(known, one_hot, float("nan"))
        return keras.losses.categorical_crossentropy(
            y_true,
            y_pred,
            from_logits=self.from_logits,
            label_smoothing=self.label_smoothing,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
        }


def is_sparse(labels, num_classes):
    """Whether labels are class numbers, `(batch,)` or `(batch, 1)`; if not, they are one-hot.

    Raises:
        ValueError: If they are neither.
    """
    shape = tuple(labels.shape)
    if len(shape) == 1 or len(shape) == 2 and shape[1] == 1:
        return True
    if len(shape) == 2 and shape[1] == num_classes:
        return False
    raise ValueError(
        f"Labels must be class numbers, shape (batch,), or one-hot, shape (batch, {num_classes}). "
        f"Received: shape={shape}"
    )
