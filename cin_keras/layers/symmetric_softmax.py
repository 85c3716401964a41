"""`W V` of the paper's `W = softmax_rows(-X Xᵀ)` with half of its products and exponentials.

`W` is not symmetric, but `E = exp(-X Xᵀ)` is, and `W V = (E V) / (E 1)`: the sums of the rows of `E`
are one more column of the product. So a block of `E` right of the diagonal is also, transposed, the
one below it; instead of the block, whose transpose is slow to read, the few columns of `V` are
transposed.

A softmax takes the largest logit of each row away first. Here a map `r` that all channels have in
common is taken away from each instead, which leaves `E` symmetric: of

    x_i · x_j = (x_i - r) · (x_j - r) + r · (x_j - r) + r · x_i

the last term is the same in all of a row, and the one before it goes to the rows of `V`.

Symbols: `X` and `W` as in `self_channel_interaction`, `V` any few columns, one row a channel.
"""

import keras
from keras import ops

from cin_keras.layers.numerics import float32_matmul

BLOCKS = 8
# Of rows of E with such sums, what float32 or the smallest logit takes away or adds is not seen.
LEAST_SUM, LARGEST_SUM = 1e-25, 1e30
SMALLEST_LOGIT = -80.0
# How much of what channels have in common is taken away: with all of it, what they differ by would
# make as many logits positive as negative.
SHARE = 0.8


def mix_symmetric(rows, x, values, otherwise):
    """`softmax_rows(logits) values` where `logits = rowsᵀ x` are symmetric.

    Args:
        rows: Floats of shape `(batch, positions, channels)`, `x` times a number.
        x: Of that shape and dtype.
        values: float32 of shape `(batch, channels, columns)`.
        otherwise: Function without arguments that returns the same another way. It is asked where
            the exponentials of a row of any image are too small or too large for float32.

    Returns:
        float32 of the shape of `values`.
    """
    rows, x, factors = _without_common_map(ops.cast(rows, "float32"), ops.cast(x, "float32"))
    values = ops.concatenate([values, ops.ones_like(values[:, :, :1])], axis=-1) * factors
    channels = x.shape[-1]
    size = -(-channels // BLOCKS)
    products, from_left = [], ops.zeros_like(_transposed(values))
    for start in range(0, channels, size):
        here = slice(start, start + size)
        exponentials = _exp(float32_matmul(_transposed(rows[:, :, here]), x[:, :, start:]))
        from_diagonal = ops.matmul(exponentials, values[:, start:])
        products.append(from_diagonal + _transposed(from_left[:, :, :size]))
        from_left = from_left + ops.matmul(_transposed(values[:, here]), exponentials)
        from_left = from_left[:, :, size:]
    products = ops.concatenate(products, axis=1)
    sums = products[:, :, -1:]
    in_range = ops.all(ops.logical_and(sums > LEAST_SUM, sums < LARGEST_SUM))
    return ops.cond(in_range, lambda: products[:, :, :-1] / sums, otherwise)


def _without_common_map(rows, x):
    """Both without a common map, and by what the rows of `V` are to be multiplied for it.

    The map is the mean of the channels, as much of it as the channel has that has the least of it:
    nothing where a channel is silent, as in most networks.
    """
    mean = ops.mean(x, axis=-1, keepdims=True)
    has = ops.matmul(_transposed(x), mean)
    length = ops.maximum(ops.sum(ops.square(mean), axis=1, keepdims=True), 1e-12)
    share = SHARE * ops.min(has, axis=1, keepdims=True) / length
    common = share * ops.mean(rows, axis=-1, keepdims=True)
    x = x - share * mean
    of_columns = ops.matmul(_transposed(x), common)
    return rows - common, x, _exp(of_columns - ops.max(of_columns, axis=1, keepdims=True))


def _exp(logits):
    """Without the denormal numbers that `softmax_rows` tells of."""
    if keras.backend.backend() == "torch":
        logits = ops.maximum(logits, SMALLEST_LOGIT)
    return ops.exp(logits)


def _transposed(x):
    return ops.transpose(x, (0, 2, 1))
