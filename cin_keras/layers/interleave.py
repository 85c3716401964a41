"""Several batches as one, and back, with what belongs together side by side.

`a_0, b_0, a_1, b_1, …` instead of `a_0, a_1, …, b_0, b_1, …`: an engine that shards the batch
never parts a pair.
"""

from keras import ops


def interleave(tensors):
    """Tensors of one shape `(batch, ...)` as one, `(batch * len(tensors), ...)`."""
    stacked = ops.stack(tensors, axis=1)
    return ops.reshape(stacked, (-1, *ops.shape(stacked)[2:]))


def separate(x, count=2):
    """The inverse: `(batch * count, ...)` as a tuple of `count` tensors `(batch, ...)`."""
    return tuple(ops.unstack(ops.reshape(x, (-1, count, *ops.shape(x)[1:])), count, axis=1))
