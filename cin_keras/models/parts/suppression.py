"""Non-maximum suppression with as many steps as parts are wanted, of fixed shapes throughout."""

import keras
import numpy as np
from keras import ops


def choose_parts(scores, anchors, parts, overlap):
    """The boxes of the highest scores that overlap each other less than `overlap`.

    The best box is taken, all that overlap it are put aside, and so on. Of equal scores the first
    comes first. Where all are put aside before `parts` are chosen, the best of those go on being
    chosen, each once.

    Args:
        scores: `(batch, boxes)`; no gradient flows to them from here.
        anchors: Array `(boxes, 4)`, top, left, bottom, right; at least `parts` boxes.
        parts: Int ≥ 1.
        overlap: Float in (0, 1], the intersection over union from which a box is put aside.

    Returns:
        int32 tensor `(batch, parts)`, the indices of the boxes, the best first.

    Example:

    >>> boxes = np.array([[0, 0, 2, 2], [0, 1, 2, 3], [2, 2, 4, 4]], "float32")
    >>> keras.ops.convert_to_numpy(choose_parts([[3.0, 2.0, 1.0]], boxes, 2, 0.25)).tolist()
    [[0, 2]]
    """
    scores = ops.stop_gradient(ops.convert_to_tensor(scores))
    anchors = np.asarray(anchors, "float32")
    areas = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    table = ops.convert_to_tensor(np.concatenate([anchors, areas[:, None]], axis=1))
    top, left, bottom, right, areas = (ops.convert_to_tensor(x) for x in (*anchors.T.copy(), areas))
    numbers = ops.convert_to_tensor(np.arange(len(anchors), dtype="int32"))
    free = ops.ones_like(scores, dtype="bool")
    not_chosen = ops.ones_like(scores, dtype="bool")
    chosen = []
    for _ in range(parts):
        exhausted = ops.logical_not(ops.any(free, axis=1, keepdims=True))
        allowed = ops.logical_or(free, ops.logical_and(exhausted, not_chosen))
        left_over = ops.where(allowed, scores, -np.inf)
        best = ops.amax(left_over, axis=1, keepdims=True)
        # Not ops.argmax: of equal numbers PyTorch takes any, and ONNX has no form for TensorFlow's.
        index = ops.amin(ops.where(ops.equal(left_over, best), numbers, len(anchors) - 1), axis=1)
        # Of a table: PyTorch's way of taking from a row has no form in ONNX.
        own = ops.take(table, index, axis=0)[:, None, :]
        height = ops.minimum(bottom, own[..., 2]) - ops.maximum(top, own[..., 0])
        width = ops.minimum(right, own[..., 3]) - ops.maximum(left, own[..., 1])
        shared = ops.maximum(height, 0.0) * ops.maximum(width, 0.0)
        # Without the division, which rounds: shared / (areas + own - shared) < overlap.
        apart = shared < overlap * (areas + own[..., 4] - shared)
        not_chosen = ops.logical_and(not_chosen, ops.not_equal(numbers, index[:, None]))
        free = ops.logical_and(ops.logical_and(free, apart), not_chosen)
        chosen.append(index)
    return ops.stack(chosen, axis=1)


@keras.saving.register_keras_serializable(package="cin_keras")
class PartChoice(keras.layers.Layer):
    """The chosen boxes of every image, and their scores, to which the gradient flows.

    Args:
        anchors: As for `choose_parts`.
        parts: As for `choose_parts`.
        overlap: As for `choose_parts`.
        **kwargs: As for every Keras layer; its dtype is float32.

    Input shape:
        `(batch, boxes)`.

    Output shape:
        `(batch, parts, 4)`, top, left, bottom and right in pixels, and `(batch, parts)`.

    Example:

    >>> boxes, scores = PartChoice([[0, 0, 2, 2], [2, 2, 4, 4]], 2, 0.25)(np.array([[1.0, 3.0]]))
    >>> keras.ops.convert_to_numpy(scores).tolist()
    [[3.0, 1.0]]
    """

    def __init__(self, anchors, parts, overlap, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.anchors = np.asarray(anchors, "float32")
        self.parts = parts
        self.overlap = overlap

    def call(self, scores):
        chosen = choose_parts(scores, self.anchors, self.parts, self.overlap)
        boxes = ops.take(ops.convert_to_tensor(self.anchors), chosen, axis=0)
        return boxes, ops.take_along_axis(scores, chosen, axis=1)

    def get_config(self):
        return {
            **super().get_config(),
            "anchors": self.anchors.tolist(),
            "parts": self.parts,
            "overlap": self.overlap,
        }
