"""Losses of the Channel Interaction Network and of the systems it is compared with.

Gao et al., "Channel Interaction Networks for Fine-Grained Image Categorization", AAAI 2020,
section 3.3: the total loss is `L_soft + α L_cont`.
"""

import keras
from keras import ops

from cin_keras.checks import agree, check_bool, check_number
from cin_keras.layers.numerics import root, unit_length


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
        shape = tuple(y_true.shape)
        if len(shape) == 2 and shape[1] == 1:
            y_true = ops.squeeze(y_true, axis=1)
        if len(y_true.shape) != 1 or not agree(shape[:1], y_pred.shape[:1]):
            raise ValueError(
                "`y_true` must hold one label a pair, 1 for the same class and 0 otherwise, shape "
                f"(pairs,). Received: y_true.shape={shape}, y_pred.shape={tuple(y_pred.shape)}"
            )
        squared = ops.sum(ops.square(y_pred[:, 0] - y_pred[:, 1]), axis=-1)
        apart = ops.square(ops.maximum(self.margin - root(squared, squared > 0), 0.0))
        return y_true * squared + (1.0 - y_true) * apart

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="cin_keras")
class MultiAttentionMultiClassLoss(keras.losses.Loss):
    """MAMC: features of one attention and class closer than any that differ in either.

    Every feature of the batch is an anchor `f`, of length 1 after division by its own. The others
    are of the same attention and the same class (`sasc`), the same attention and a different class
    (`sadc`), a different attention and the same class (`dasc`) or of neither (`dadc`). For
    `(P, N)` of `(sasc, sadc ∪ dasc ∪ dadc)`, `(sadc, dadc)` and `(dasc, dadc)` the anchor costs
    the sum over `f₊ ∈ P` of `log(1 + Σ_{f₋ ∈ N} exp(f · f₋ − f · f₊))`; the loss is the mean over
    anchors. Sun et al., ECCV 2018 (arXiv:1806.05372), equations 4 to 8, which add half of it to
    the cross-entropy. An anchor without any positive costs nothing.

    Args:
        reduction: As for every Keras loss. Defaults to `"sum_over_batch_size"`, the mean over
            images.
        name: Str. Defaults to `"multi_attention_multi_class_loss"`.
        dtype: As for `ContrastiveLoss`, but never half precision, which would round class numbers:
            it is float32 then. Defaults to `None`.

    Call arguments:
        y_true: Class numbers, `(batch,)` or `(batch, 1)`, or one-hot, `(batch, classes)`; the
            batch must hold several images of a class for `sasc` to have a say.
        y_pred: `(batch, attentions, features)`, such as
            `cin_keras.layers.OneSqueezeMultiExcitation` returns.
        sample_weight: Optional, `(batch,)`, of an image's anchors.

    Raises:
        ValueError: If the shapes are others.

    Example:

    >>> features = np.eye(4)[[0, 1, 2, 3]].reshape(2, 2, 4)  # nothing is alike
    >>> loss = cin_keras.losses.MultiAttentionMultiClassLoss()
    >>> round(float(loss(np.array([0, 1]), features)), 4)  # 2 log 2 an anchor
    1.3863
    """

    def __init__(
        self,
        reduction="sum_over_batch_size",
        name="multi_attention_multi_class_loss",
        dtype=None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=_whole(dtype))

    def call(self, y_true, y_pred):
        if len(y_pred.shape) != 3:
            raise ValueError(
                "`y_pred` must hold the features of every attention of an image, shape (batch, "
                f"attentions, features). Received: y_pred.shape={tuple(y_pred.shape)}"
            )
        if len(y_true.shape) not in (1, 2) or not agree(y_true.shape[:1], y_pred.shape[:1]):
            raise ValueError(
                "`y_true` must hold one label an image, shape (batch,), or one-hot, (batch, "
                f"classes). Received: y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        attentions, features = y_pred.shape[1:]
        anchors = unit_length(ops.reshape(y_pred, (-1, features)))
        labels = ops.repeat(class_numbers(y_true, y_true.shape[-1]), attentions, axis=0)
        # As many rows as images: the numbers of the attentions, and of the anchors themselves.
        ones = ops.ones_like(labels)
        numbers = ops.cumsum(ones) - 1
        attention = ops.mod(numbers, attentions)

        def equal(values):
            return ops.cast(values[:, None] == values[None, :], anchors.dtype)

        same_class, same_attention = equal(labels), equal(attention)
        sasc = same_class * same_attention - equal(numbers)
        sadc = (1.0 - same_class) * same_attention
        dasc = same_class * (1.0 - same_attention)
        dadc = (1.0 - same_class) * (1.0 - same_attention)
        products = ops.matmul(anchors, ops.transpose(anchors))
        # Products of vectors of length 1 lie in [-1, 1]: no exponential of them overflows.
        growth = ops.exp(products)
        costs = 0.0
        for positives, negatives in (
            (sasc, sadc + dasc + dadc),
            (sadc, dadc),
            (dasc, dadc),
        ):
            against = ops.sum(negatives * growth, axis=1, keepdims=True)
            costs += ops.sum(positives * ops.log1p(against / growth), axis=1)
        return ops.mean(ops.reshape(costs, (-1, attentions)), axis=1)


@keras.saving.register_keras_serializable(package="cin_keras")
class PartRankingLoss(keras.losses.Loss):
    """Parts on which a teacher errs less should have higher scores: `Σ max(0, margin − s_i + s_j)`.

    The sum, of an image, is over all pairs of parts `i`, `j` with a teacher's loss that is lower on
    `i` than on `j`. Yang et al., "Learning to Navigate for Fine-grained Classification", ECCV 2018
    (arXiv:1809.00287), equation 2.

    Args:
        margin: Float > 0, by which a score should be higher. Defaults to 1.0, the paper's.
        reduction: As for every Keras loss. Defaults to `"sum_over_batch_size"`, the mean over
            images.
        name: Str. Defaults to `"part_ranking_loss"`.
        dtype: As for `ContrastiveLoss`. Defaults to `None`.

    Call arguments:
        y_true: `(batch, parts)`, the teacher's losses, to which no gradient flows.
        y_pred: `(batch, parts)`, the scores.
        sample_weight: Optional, `(batch,)`.

    Raises:
        ValueError: If `margin` is not positive or the shapes are others.

    Example:

    >>> teacher_losses, scores = np.array([[0.1, 2.0]]), np.array([[0.5, 1.0]])
    >>> float(cin_keras.losses.PartRankingLoss()(teacher_losses, scores))
    1.5
    """

    def __init__(
        self, margin=1.0, reduction="sum_over_batch_size", name="part_ranking_loss", dtype=None
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.margin = check_number("margin", margin, above=0)

    def call(self, y_true, y_pred):
        parts_differ = tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:])
        if len(y_pred.shape) != 2 or parts_differ or not agree(y_true.shape[:1], y_pred.shape[:1]):
            raise ValueError(
                "`y_true` and `y_pred` must hold a loss and a score for every part, shape (batch, "
                f"parts). Received: y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        y_true = ops.stop_gradient(y_true)
        i_is_better = y_true[:, :, None] < y_true[:, None, :]
        costs = ops.relu(self.margin - y_pred[:, :, None] + y_pred[:, None, :])
        return ops.sum(ops.where(i_is_better, costs, ops.zeros_like(costs)), axis=(1, 2))

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
        dtype: As for `ContrastiveLoss`, but never half precision, which would round class numbers:
            it is float32 then. Defaults to `None`.

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
        super().__init__(reduction=reduction, name=name, dtype=_whole(dtype))
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


def class_numbers(labels, num_classes):
    """Labels of either form, class numbers or one-hot, as class numbers, `(batch,)`, int32."""
    if is_sparse(labels, num_classes):
        return ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.cast(ops.argmax(labels, axis=-1), "int32")


def _whole(dtype):
    """The dtype of a loss, or float32 for one that cannot hold class numbers."""
    computed = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
    return "float32" if computed in ("float16", "bfloat16") else dtype


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
