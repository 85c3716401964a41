"""A matrix product in full float32."""

import keras
from keras import ops


def float32_matmul(a, b):
    """`a @ b` of float32 tensors without the shortened mantissa (TF32) of tensor cores.

    The logits of an interaction are sums of hundreds of products of any magnitude and go into an
    exponential: ten bits of mantissa are too few from logits of about 100. JAX and PyTorch are
    told here (PyTorch for the forward pass); TensorFlow has only the process-wide switch
    `tf.config.experimental.enable_tensor_float_32_execution(False)`, which is the user's.

    Args:
        a: float32 of shape `(..., n, k)`.
        b: float32 of shape `(..., k, m)`.

    Returns:
        float32 of shape `(..., n, m)`.
    """
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            return ops.matmul(a, b)
    if keras.backend.backend() == "torch":
        import torch

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            return ops.matmul(a, b)
        finally:
            torch.set_float32_matmul_precision(before)
    return ops.matmul(a, b)
