"""`W V` of the paper's `W = softmax_rows(-X Xᵀ)` with half of its products and exponentials.

`W` is not symmetric, but `E = exp(-X Xᵀ)` is, and `W V = (E V) / (E 1)`: the sums of the rows of `E`
are one more column of the product. So a block of `E` right of the diagonal is also, transposed, the
one below it; instead of the block, whose transpose is slow to read, the few columns of `V` are
transposed.

Symbols: `X` and `W` as in `self_channel_interaction`, `V` any few columns, one row a channel.
"""

import keras
from keras import ops

from cin_keras.layers.numerics import float32_matmul

# Of rows of E with such sums, what float32 or the smallest logit takes away or adds is not seen.
LEAST_SUM, LARGEST_SUM = 1e-20, 1e20
SMALLEST_LOGIT = -70.0
BLOCKS = 8


def mix_symmetric(rows, x, values, otherwise):
    """`softmax_rows(logits) values` where `logits = rowsᵀ x` are symmetric.

    Args:
        rows: Floats of shape `(batch, positions, channels)`, `x` times a number.
        x: Of that shape and dtype.
        values: float32 of shape `(batch, channels, columns)`.
        otherwise: Function without arguments that returns the same another way. It is asked where
            a row's exponentials are too small or too large for float32, as the row's largest logit
            is not taken away before (it is not that of the column, which shares them).

    Returns:
        float32 of the shape of `values`.
    """
    channels = x.shape[-1]
    size = -(-channels // BLOCKS)
    values = ops.concatenate([values, ops.ones_like(values[:, :, :1])], axis=-1)
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


def _exp(logits):
    """Without the denormal numbers that `softmax_rows` tells of."""
    if keras.backend.backend() == "torch":
        logits = ops.maximum(logits, SMALLEST_LOGIT)
    return ops.exp(logits)


def _transposed(x):
    return ops.transpose(x, (0, 2, 1))
