"""The `c × c` matrices of a batch without holding all at once: blocks of rows, or single images."""

import keras
from keras import ops

# A matrix of 4 MB, the smallest of which the loop was measured to save time.
FEWEST_CHANNELS = 1024


def in_row_blocks(function, rows, whole, block_rows):
    """`function` of all rows, computed for one block of rows after the other.

    Nothing that `function` makes on the way outlives its block: the backward pass computes it
    anew.

    Args:
        function: `(*blocks, *whole)` → tuple of tensors `(batch, block, columns)`, the rows that
            belong to the blocks.
        rows: Tensors `(batch, positions, channels)`, whose channels are dealt out in blocks
            `(batch, positions, block)`.
        whole: Tensors that every call gets as they are.
        block_rows: Int, the most rows in a block; blocks are equal, the last filled up with zeros.

    Returns:
        Tuple of tensors `(batch, channels, columns)`.
    """
    channels = rows[0].shape[-1]
    blocks = -(-channels // block_rows)
    size = -(-channels // blocks)
    # On TensorFlow, what is differentiated must come as an argument, not from the enclosing scope.
    recomputed = keras.remat(function)
    outputs = _one_by_one(
        lambda blocks: recomputed(*blocks, *whole),
        tuple(_split(x, blocks, size) for x in rows),
    )
    return tuple(_join(output, channels) for output in outputs)


def _split(x, blocks, size):
    """`(batch, positions, channels)` as `(blocks, batch, positions, size)`."""
    positions, channels = ops.shape(x)[1], x.shape[-1]
    x = ops.pad(x, [[0, 0], [0, 0], [0, blocks * size - channels]])
    return ops.transpose(ops.reshape(x, (-1, positions, blocks, size)), (2, 0, 1, 3))


def _join(x, channels):
    """`(blocks, batch, size, columns)` as `(batch, channels, columns)`."""
    blocks, _, size, columns = ops.shape(x)
    x = ops.reshape(ops.transpose(x, (1, 0, 2, 3)), (-1, blocks * size, columns))
    return x[:, :channels]


def _one_by_one(function, items):
    """`keras.ops.map`, of which TensorFlow computes one item at a time, too."""
    if keras.backend.backend() != "tensorflow":
        return ops.map(function, items)
    import tensorflow as tf

    # Keras lets TensorFlow compute ten at once, whose matrices would all be there. What the function
    # returns is found in a graph of its own, as not all of it would be left out of this one.
    of_one = tuple(tf.TensorSpec(x.shape[1:], x.dtype) for x in items)
    found = tf.function(function, autograph=False).get_concrete_function(of_one).structured_outputs
    signature = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), found)
    return tf.map_fn(function, items, parallel_iterations=1, fn_output_signature=signature)


def image_by_image(function, *batch, in_a_loop=False):
    """`function(*batch)`, on a CPU for one image after the other where that saves time.

    There, a tensor of more than 32 MB comes fresh from the operating system every time, which
    costs as much as computing it; the matrices of a single image are below that and memory is
    used again. So it is with PyTorch, unless it exports or compiles, and with `in_a_loop` in a graph
    of TensorFlow where `loops_over_images`. Everywhere else the batch stays whole.

    Args:
        function: From tensors `(batch, ...)` to a tuple of tensors `(batch, ...)`; what it makes
            of an image must not depend on the others.
        *batch: Tensors `(batch, ...)`, the first `(batch, positions, channels)`.
        in_a_loop: Bool, whether TensorFlow may loop in its graph, too: in training and `predict`,
            as what is written for other machines has no loops. Defaults to `False`.

    Returns:
        What `function` returns.
    """
    if in_a_loop and loops_over_images(batch):

        def of_one(images):
            return tuple(y[0] for y in function(*(x[None] for x in images)))

        return _one_by_one(of_one, batch)
    if keras.backend.backend() != "torch" or not _on_a_cpu(batch[0]) or len(batch[0]) < 2:
        return function(*batch)
    images = [function(*(x[i : i + 1] for x in batch)) for i in range(len(batch[0]))]
    return tuple(ops.concatenate(outputs, axis=0) for outputs in zip(*images))


def large_on_a_cpu(x):
    """Whether the matrices of features `(batch, positions, channels)` are large and a CPU's."""
    return x.shape[-1] >= FEWEST_CHANNELS and _on_a_cpu(x)


def loops_over_images(batch):
    """Whether large matrices are made in a loop where one may be.

    So they are where TensorFlow traces a graph of some images, whose sizes are known, on a CPU.
    """
    if keras.backend.backend() != "tensorflow" or batch[0].shape[0] in (0, 1):
        return False
    import tensorflow as tf

    traced = not tf.executing_eagerly() and not any(None in x.shape[1:] for x in batch)
    return traced and large_on_a_cpu(batch[0])


def _on_a_cpu(x):
    """Whether `x` is, or while TensorFlow or JAX trace a graph will be, on a CPU.

    Not while PyTorch exports or compiles.
    """
    if keras.backend.backend() == "torch":
        import torch

        compiling = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return not compiling and x.device.type == "cpu"
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "cpu"
    import tensorflow as tf

    return all(found.device_type == "CPU" for found in tf.config.list_logical_devices())
