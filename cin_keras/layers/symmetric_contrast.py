"""Both interactions of a pair of images from the halves of two symmetric `E`, and their gradient.

With `E` and `f` as in `symmetric_softmax`, the same `a` for both images, and `d` one divided by the sums
`E f`, the weights are `W_ij = d_i E_ij f_j`. The `f_j` go to the rows of what `W` and `|W_A - η W_B|` are
multiplied by. So, of the rest, a strip of `E_A` and one of `E_B` give what is right of the diagonal and
what is below it.

The matrices are as large as the channels squared. What TensorFlow does to one of them on a CPU takes the
time to read and to write it, and for the gradient of a pair it would write some forty. Here the
gradient is written by hand, and strip after strip, so that all but `E` and its gradient stays in the cache.

Wherever a strip of a gradient is meant, it is one of `D + Dᵀ`, for `D` the gradient of the whole
matrix: of that, one half is enough. So these gradients cannot be differentiated again.
"""

from keras import ops

from cin_keras.layers.symmetric_softmax import (
    ProductByStrips,
    are_in_range,
    exponentials,
    strips,
    with_sums,
)

OF_FIRST_ORDER = (
    "In a tf.function on a CPU, the gradient of contrastive channel interaction is of first order "
    "only. Run it eagerly to differentiate it again."
)


def interact_symmetric(x_a, x_b, common, values_a, values_b, compare, otherwise):
    """`W_AB values_A`, `W_BA values_B`, `W_A values_A` and `W_B values_B`, on TensorFlow.

    Args:
        x_a, x_b: Floats of shape `(pairs, positions, channels)`.
        common: The mean of what `common_logits` makes of both.
        values_a, values_b: float32 of shape `(pairs, channels, columns)`.
        compare: Function from `W_A values_A` and `W_B values_B` to `η` and `γ`, `(pairs, 1, 1)`.
        otherwise: As for `mix_symmetric`: a function without arguments that returns the same.

    Returns:
        Four float32 tensors of the shape of `values_a`.
    """
    values_a, values_b = with_sums(values_a, common), with_sums(values_b, common)
    (e_a, product_a), (e_b, product_b) = (
        _product(x, common, values) for x, values in ((x_a, values_a), (x_b, values_b))
    )
    sums_a, sums_b = product_a[:, :, -1:], product_b[:, :, -1:]

    def interacted():
        # The gradient of a quotient would have the square of a sum, which float32 may not have.
        scales_a, scales_b = ops.exp(-ops.log(sums_a)), ops.exp(-ops.log(sums_b))
        mixed_a, mixed_b = product_a[:, :, :-1] * scales_a, product_b[:, :, :-1] * scales_b
        eta, gamma = compare(mixed_a, mixed_b)
        apart_a = _product_of_difference(e_a, e_b, scales_a, eta * scales_b, values_a[:, :, :-1])
        apart_b = _product_of_difference(e_b, e_a, scales_b, gamma * scales_a, values_b[:, :, :-1])
        return apart_a, apart_b, mixed_a, mixed_b

    in_range = are_in_range(sums_a, sums_b, values_a[:, :, -1:])
    return ops.cond(in_range, interacted, otherwise)


def _product(x, common, values):
    """The strips of `E`, a tuple, and `E values`."""
    import tensorflow as tf

    @tf.custom_gradient
    def product(x, values):
        found, e = ProductByStrips(values), []
        for strip in exponentials(x, common):
            found.add(strip, strip)
            e.append(strip)

        def by_strips(of_product, *of_e):
            of_x = ProductByStrips(_transposed(x))
            of_values = ProductByStrips(of_product)
            rows = ops.concatenate([of_product, values], axis=-1)
            columns = _transposed(ops.concatenate([values, of_product], axis=-1))
            for here, strip, of_strip in zip(strips(x.shape[-1]), e, of_e):
                of_strip = of_strip + ops.matmul(rows[:, here], columns[:, :, here.start :])
                of_logits = of_strip * strip
                of_x.add(of_logits, of_logits)
                of_values.add(strip, strip)
            return -_transposed(of_x.result()), of_values.result()

        def gradients(*of_found):
            # Where the product is not used, nothing times infinity would be no number.
            in_range = are_in_range(found.result()[:, :, -1:])
            nothing = ops.zeros_like(x), ops.zeros_like(values)
            return _final(ops.cond(in_range, lambda: by_strips(*of_found), lambda: nothing))

        return (found.result(), *e), gradients

    found, *e = product(ops.cast(x, "float32"), values)
    return tuple(e), found


def _product_of_difference(own, other, scales, other_scales, values):
    """`|D E - D' E'| values`, of diagonal `D` and `D'`.

    Args:
        own, other: Tuples of the strips of `E` and `E'`.
        scales, other_scales: The diagonals, `(pairs, channels, 1)`.
        values: `(pairs, channels, columns)`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def product(scales, other_scales, values, *e):
        steps = list(zip(strips(values.shape[1]), e[: len(own)], e[len(own) :]))

        def difference(here, strip, other):
            """What is right of the diagonal and, transposed, what is below it."""
            pairs = zip(_scaled(scales, here, strip, strip), _scaled(other_scales, here, other, other))
            return [of_own - of_other for of_own, of_other in pairs]

        found = ProductByStrips(values)
        for step in steps:
            found.add(*map(ops.abs, difference(*step)))
        found = found.result()

        def gradients(of_found):
            of_values = ProductByStrips(of_found)
            # Over a row of the gradient of `D E - D' E'` times `E'`.
            sums = ProductByStrips(ops.ones_like(scales))
            of_own, of_other, before = [], [], []
            for here, strip, other in steps:
                there = slice(here.start, None)
                with tf.control_dependencies(before):
                    right, below = difference(here, strip, other)
                    of_values.add(ops.abs(below), ops.abs(right))
                    of_right = ops.matmul(of_found[:, here], _transposed(values[:, there]))
                    of_below = ops.matmul(values[:, here], _transposed(of_found[:, there]))
                    of_right, of_below = ops.sign(right) * of_right, ops.sign(below) * of_below
                    sums.add(of_right * other, of_below * other)
                    of_own.append(ops.add(*_scaled(scales, here, of_right, of_below)))
                    of_other.append(ops.add(*_scaled(-other_scales, here, of_right, of_below)))
                    before = [of_own[-1], of_other[-1], of_values.below, sums.below]
            sums = sums.result()
            with_own = ops.sum(of_found * found, axis=-1, keepdims=True) + other_scales * sums
            return _final((with_own / scales, -sums, of_values.result(), *of_own, *of_other))

        return found, gradients

    # The gradient of a branch of a graph finds only what is of the branch.
    return product(*map(tf.identity, (scales, other_scales, values, *own, *other)))


def _scaled(scales, here, right, below):
    """Strips right of the diagonal and, transposed, below it, with their rows times `scales`."""
    return scales[:, here] * right, _transposed(scales)[:, :, here.start :] * below


def _final(gradients):
    """The same, which cannot be differentiated again."""
    import tensorflow as tf

    return [tf.raw_ops.PreventGradient(input=x, message=OF_FIRST_ORDER) for x in gradients]


def _transposed(x):
    return ops.transpose(x, (0, 2, 1))
