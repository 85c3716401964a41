"""The softmax over the rows of the logits."""

import keras
from keras import ops

# exp(-40) is 4e-18: nothing beside the row's largest weight in float32, where 1 + 6e-8 is 1.
SMALLEST_LOGIT = -40.0


def softmax_rows(logits):
    """Softmax over the last axis.

    With features of any contrast most weights of a row are tiny, and so are the gradients made of
    them. PyTorch computes with denormal numbers on CPUs, a hundred times slower than with others
    (TensorFlow and XLA take them for zero): there, no logit is taken for less than the row's
    largest - 40.

    Args:
        logits: float32 of shape `(..., channels)`.

    Returns:
        Tensor of the same shape; rows sum to 1.
    """
    if keras.backend.backend() == "torch" and logits.device.type == "cpu":
        largest = ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
        logits = ops.maximum(logits, largest + SMALLEST_LOGIT)
    return ops.softmax(logits, axis=-1)
