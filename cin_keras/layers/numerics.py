"""Steps that need all of float32, or care at zero: products, softmax, roots, the unit length."""

import keras
from keras import ops

# exp(-40) is 4e-18: nothing beside the row's largest weight in float32, where 1 + 6e-8 is 1.
SMALLEST_LOGIT = -40.0


def float32_matmul(a, b):
    """`a @ b` in float32, without the shortened mantissa (TF32) of tensor cores.

    The logits of an interaction are sums of hundreds of products of any magnitude and go into an
    exponential: ten bits of mantissa are too few from logits of about 100. JAX and PyTorch are
    told here (PyTorch for the forward pass); TensorFlow has only the process-wide switch
    `tf.config.experimental.enable_tensor_float_32_execution(False)`, which is the user's.

    A product of two bfloat16 (or float16) numbers is exact in float32, so tensors of half precision
    give the same numbers as their float32 copies. JAX multiplies them as they are, which takes a GPU
    half the time or less; the other two have no such product with a gradient.

    Args:
        a: float32, bfloat16 or float16 of shape `(..., n, k)`.
        b: Of the dtype of `a` and shape `(..., k, m)`.

    Returns:
        float32 of shape `(..., n, m)`.
    """
    if keras.backend.backend() == "jax":
        import jax

        if a.dtype != "float32":
            return jax.numpy.matmul(a, b, preferred_element_type="float32")
        with jax.default_matmul_precision("highest"):
            return ops.matmul(a, b)
    a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    if keras.backend.backend() == "torch":
        import torch

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            return ops.matmul(a, b)
        finally:
            torch.set_float32_matmul_precision(before)
    return ops.matmul(a, b)


def thin_matmul(a, b):
    """`a @ b`, where one of them has many columns and rows and the other few.

    Such a product is a matter of memory, and TensorFlow's kernels for CPUs read the transpose of a
    large matrix three times as slowly as the matrix. Its own gradient of the thin one asks for that;
    here the thin ones are transposed, which costs nothing.

    Args:
        a: Floats of shape `(..., n, k)`.
        b: Of the dtype and the leading axes of `a`, of shape `(..., k, m)`.

    Returns:
        Tensor of shape `(..., n, m)`.
    """
    rows, columns = a.shape[-2], b.shape[-1]
    if keras.backend.backend() != "tensorflow" or columns is None:
        return ops.matmul(a, b)
    import tensorflow as tf

    b_is_thin = rows is not None and rows > columns  # unknown is the size of a batch

    @tf.custom_gradient
    def product(a, b):
        def gradients(upstream):
            if b_is_thin:
                of_a = tf.matmul(upstream, b, transpose_b=True)
                return of_a, tf.linalg.matrix_transpose(tf.matmul(upstream, a, transpose_a=True))
            of_b = tf.matmul(a, upstream, transpose_a=True)
            return tf.linalg.matrix_transpose(tf.matmul(b, upstream, transpose_b=True)), of_b

        return tf.matmul(a, b), gradients

    # In a branch of a graph, the gradient finds only what is of the branch.
    return product(tf.identity(a), tf.identity(b))


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
        # Not ops.max, which takes no batch of no image.
        largest = logits.detach().amax(dim=-1, keepdim=True)
        logits = ops.maximum(logits, largest + SMALLEST_LOGIT)
    return ops.softmax(logits, axis=-1)


def root(x, differs):
    """`√x` where `differs`, and zero elsewhere, with a gradient that is zero there, not infinite.

    Args:
        x: Floats of any shape.
        differs: Bools of that shape, where `x` is taken for more than zero.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    # The root has no finite gradient at zero, and where() alone would pass its NaN on.
    return ops.where(differs, ops.sqrt(ops.where(differs, x, 1.0)), 0.0)


def unit_length(x):
    """Vectors along the last axis divided by their lengths; a zero vector stays one.

    Not `ops.normalize`: its gradient is NaN for a zero vector on JAX and PyTorch.

    Args:
        x: Floats of shape `(..., features)`.

    Returns:
        Tensor of the same shape and dtype.

    Example:

    >>> vectors = unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], "float32"))
    >>> np.round(keras.ops.convert_to_numpy(vectors), 6).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = ops.convert_to_tensor(x)
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared, 1e-12))
