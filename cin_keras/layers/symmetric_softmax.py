"""`W V` of the paper's `W = softmax_rows(-Xᵀ X)` with half of its products and exponentials.

`W` is not symmetric, but `E = exp(-Xᵀ X)` is, and the sums of the rows of `E`, by which `W` is divided,
are one more column of the product `E V`. So a block of `E` right of the diagonal serves, transposed,
below it, too; instead of the block, whose transpose is slow to read, the few columns of `V` are
transposed. The blocks are strips: some rows, from the diagonal on, which stay in a processor's cache.

A softmax takes the largest logit of each row away first. Here a number `a_i` is added to the row and
to the column of every channel, which leaves `E` symmetric:

    softmax_rows(-Xᵀ X)_ij = E_ij f_j / Σ_j E_ij f_j,  E_ij = exp(-x_i · x_j + a_i + a_j),  f_j = exp(-a_j)

Symbols: `X` the channels' maps as columns, as `SelfChannelInteraction.compared` gives them; `V` any
few columns, one row a channel.
"""

import keras
from keras import ops

from cin_keras.layers.numerics import float32_matmul

STRIPS = 8
# Of rows of E with such sums, what float32 or the smallest logit takes away or adds is not seen.
LEAST_SUM, LARGEST_SUM = 1e-25, 1e25
SMALLEST_LOGIT = -80.0
# How much of what channels have in common is taken away: with all of it, what they differ by would
# make as many logits positive as negative.
SHARE = 0.6
# So `f` stays as far from the small end of float32 as the sums from the large one.
ABOVE = 0.2


def mix_symmetric(x, common, values, otherwise):
    """`softmax_rows(-Xᵀ X) values`.

    Args:
        x: Floats of shape `(batch, positions, channels)`.
        common: As from `common_logits(x)`.
        values: float32 of shape `(batch, channels, columns)`.
        otherwise: Function without arguments that returns the same another way. It is asked where
            the exponentials of a row of any image are too small or too large for float32.

    Returns:
        float32 of the shape of `values`.
    """
    values = with_sums(values, common, ABOVE)
    product = ProductByStrips(values)
    for strip in exponentials(x, common):
        product.add(strip, strip)
    mixed, sums = product.result()[:, :, :-1], product.result()[:, :, -1:]
    f = values[:, :, -1:]
    # What float32 takes away of E, or adds to it, is multiplied by an f.
    least = sums / ops.max(f, axis=1, keepdims=True)
    return ops.cond(are_in_range(sums, least, f), lambda: mixed / sums, otherwise)


def common_logits(x):
    """The `a` of channels whose maps have one in common: near half of `x_i · x_i`, were all alike.

    The common map is the mean of the channels, as much of it as the channel has that has the least
    of it: nothing where a channel is silent, as in most networks.

    Args:
        x: Floats of shape `(batch, positions, channels)`.

    Returns:
        float32 of shape `(batch, 1, channels)`, without a gradient: the product does not depend on
        it.
    """
    x = ops.cast(ops.stop_gradient(x), "float32")
    mean = ops.mean(x, axis=-1, keepdims=True)
    has = ops.matmul(transposed(mean), x)
    length = ops.sum(ops.square(mean), axis=1, keepdims=True)
    least = ops.maximum(ops.min(has, axis=-1, keepdims=True), 0.0)
    share = SHARE * least / ops.maximum(length, 1e-12)
    return share * has - ops.square(share) * length / 2


def with_sums(values, common, above=0.0):
    """`V` and a column of ones, whose product with `E` are the sums, each row `j` times `f_j`.

    Args:
        values: `V`, `(batch, channels, columns)`.
        common: As from `common_logits`.
        above: Float in [0, 1], where between the least and the largest `a` an `f` is 1: all `f`
            may have a factor in common. Defaults to 0.0.
    """
    values = ops.concatenate([values, ops.ones_like(values[:, :, :1])], axis=-1)
    least, largest = (x(common, axis=-1, keepdims=True) for x in (ops.min, ops.max))
    return values * transposed(_exp(least + above * (largest - least) - common))


def are_in_range(*numbers):
    """Whether sums of rows of `E`, and `f`, are far from the ends of float32."""
    numbers = ops.concatenate(numbers, axis=1)
    return ops.all(ops.logical_and(numbers > LEAST_SUM, numbers < LARGEST_SUM))


def exponentials(x, common):
    """The strips of `E` from top to bottom, float32 of shape `(batch, rows, columns)`.

    Args:
        x: Floats of shape `(batch, positions, channels)`.
        common: As from `common_logits`.
    """
    x, ones = ops.cast(x, "float32"), ops.ones_like(common)
    rows = transposed(ops.concatenate([-x, common, ones], axis=1))
    columns = ops.concatenate([x, ones, common], axis=1)
    for strip in strips(x.shape[-1]):
        yield _exp(float32_matmul(rows[:, strip], columns[:, :, strip.start :]))


def strips(channels):
    """The rows of each strip, slices; its columns go from the first of them to the last channel."""
    size = -(-channels // STRIPS)
    return [slice(start, start + size) for start in range(0, channels, size)]


class ProductByStrips:
    """`M V` of a square `M`, of which what is right and what is below of the diagonal comes by strips.

    Args:
        values: `V`, `(batch, channels, columns)`.
    """

    def __init__(self, values):
        self._values = values
        self._rows = []
        self._start = 0
        # Of the rows still to come, what the strips so far have there, transposed.
        self.carried = ops.zeros_like(transposed(values))

    def add(self, right, below):
        """Takes the next strip.

        Args:
            right: Rows of `M` from the diagonal on, `(batch, rows, channels from there)`.
            below: As many columns of `M` from the diagonal on, transposed, of that shape; `right`
                itself of a symmetric `M`. What it has in the block on the diagonal is not used.
        """
        size = right.shape[1]
        here = self._values[:, self._start : self._start + size]
        from_right = ops.matmul(right, self._values[:, self._start :])
        self._rows.append(from_right + transposed(self.carried[:, :, :size]))
        self.carried = (self.carried + ops.matmul(transposed(here), below))[:, :, size:]
        self._start += size

    def result(self):
        """`(batch, channels, columns)`, after the last strip."""
        return ops.concatenate(self._rows, axis=1)


def _exp(logits):
    """Without the denormal numbers that `softmax_rows` tells of."""
    if keras.backend.backend() == "torch":
        logits = ops.maximum(logits, SMALLEST_LOGIT)
    return ops.exp(logits)


def transposed(x):
    """Every matrix of a batch."""
    return ops.transpose(x, (0, 2, 1))
