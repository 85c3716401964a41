"""Both interactions of a pair of images from the halves of two symmetric `E`, and their gradient.

With `E` and `f` as in `symmetric_softmax`, the same `a` for both images, and `s` the sums `E f`, the weights
are `W_ij = E_ij f_j / s_i`, and

    |W_A - η W_B|_ij = |E_A - R_A E_B|_ij f_j / s_A,i,  R_A = η diag(s_A / s_B)

and likewise `|W_B - γ W_A|` with `R_B = γ diag(s_B / s_A)`.

The `f_j` go to the rows of what is multiplied, and what comes of it is divided by the `s_i`. So a strip
of `E_A` and one of `E_B` give what is right of the diagonal of both matrices and what is below it.

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
    transposed,
    with_sums,
)

# 1e36; beyond 1e38 float32 has no number, and η is not yet in it. (Near it, in a ResNet-50 of random
# weights at 448 pixels, the gradient is as near to that in float64 as that of whole matrices is.)
LARGEST_LOG_RATIO = 83.0
# Of weights that add up to 1, what float32 does not see.
LEAST_FACTOR = 1e-8

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
        logs_a, logs_b = ops.log(sums_a), ops.log(sums_b)
        scales_a, scales_b = ops.exp(-logs_a), ops.exp(-logs_b)
        mixed_a, mixed_b = product_a[:, :, :-1] * scales_a, product_b[:, :, :-1] * scales_b
        eta, gamma = map(_not_zero, compare(mixed_a, mixed_b))
        apart_a, apart_b = _contrast(
            *(e_a, e_b, eta, gamma),
            *(logs_a - logs_b, logs_b - logs_a),
            *(values_a[:, :, :-1], values_b[:, :, :-1]),
        )
        return apart_a * scales_a, apart_b * scales_b, mixed_a, mixed_b

    f = values_a[:, :, -1:]
    in_range = are_in_range(sums_a, sums_b, f), _have_ratios(sums_a, sums_b, f)
    return ops.cond(ops.logical_and(*in_range), interacted, otherwise)


def _have_ratios(sums_a, sums_b, f):
    """Whether float32 has `R`, and `s_i / f_j`, the most that `R E'` can be, both without η."""
    logs_a, logs_b = ops.log(sums_a), ops.log(sums_b)
    largest = ops.max(ops.maximum(logs_a, logs_b), axis=1) - ops.min(ops.log(f), axis=1)
    have = ops.all(ops.abs(logs_a - logs_b) < LARGEST_LOG_RATIO)
    return ops.logical_and(have, ops.all(largest < LARGEST_LOG_RATIO))


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
            of_x = ProductByStrips(transposed(x))
            of_values = ProductByStrips(of_product)
            rows = ops.concatenate([of_product, values], axis=-1)
            columns = transposed(ops.concatenate([values, of_product], axis=-1))
            for here, strip, of_strip in zip(strips(x.shape[-1]), e, of_e):
                with _after(of_x, of_values):
                    of_strip = of_strip + ops.matmul(rows[:, here], columns[:, :, here.start :])
                    of_logits = of_strip * strip
                    of_x.add(of_logits, of_logits)
                    of_values.add(strip, strip)
            return -transposed(of_x.result()), of_values.result()

        def gradients(*of_found):
            # Where the product is not used, nothing times infinity would be no number.
            in_range = are_in_range(found.result()[:, :, -1:])
            nothing = ops.zeros_like(x), ops.zeros_like(values)
            return _final(ops.cond(in_range, lambda: by_strips(*of_found), lambda: nothing))

        return (found.result(), *e), gradients

    found, *e = product(ops.cast(x, "float32"), values)
    return tuple(e), found


def _not_zero(factor):
    """η or γ, but never zero, as the gradient divides by it; near zero a negative number.

    With that, `W_A - η W_B` is positive as it is with zero, and the gradient that of zero.
    """
    missing = ops.where(ops.abs(factor) < LEAST_FACTOR, -LEAST_FACTOR - factor, 0.0)
    return factor + ops.stop_gradient(missing)


def _contrast(e_a, e_b, eta, gamma, log_ratios_a, log_ratios_b, values_a, values_b):
    """`|E_A - R_A E_B| values_A` and `|E_B - R_B E_A| values_B`.

    Args:
        e_a, e_b: Tuples of the strips of `E`.
        eta, gamma: `(pairs, 1, 1)`, not zero.
        log_ratios_a, log_ratios_b: Those of `R_A / η` and `R_B / γ`, `(pairs, channels, 1)`.
        values_a, values_b: `(pairs, channels, columns)`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def products(eta, gamma, log_ratios_a, log_ratios_b, values_a, values_b, *e):
        ratios_a, ratios_b = eta * ops.exp(log_ratios_a), gamma * ops.exp(log_ratios_b)
        steps = list(zip(strips(values_a.shape[1]), e[: len(e_a)], e[len(e_a) :]))
        found_a, found_b = ProductByStrips(values_a), ProductByStrips(values_b)
        for here, strip_a, strip_b in steps:
            with _after(found_a, found_b):
                found_a.add(*(ops.abs(strip_a - x) for x in _scaled(ratios_a, here, strip_b, strip_b)))
                found_b.add(*(ops.abs(strip_b - x) for x in _scaled(ratios_b, here, strip_a, strip_a)))

        def gradients(of_a, of_b):
            a = _GradientOfContrast(ratios_a, values_a, of_a)
            b = _GradientOfContrast(ratios_b, values_b, of_b)
            of_e_a, of_e_b = [], []
            for here, strip_a, strip_b in steps:
                with _after(a.of_values, a.of_log_ratios, b.of_values, b.of_log_ratios):
                    own_a, other_b = a.of_strips(here, strip_a, strip_b)
                    own_b, other_a = b.of_strips(here, strip_b, strip_a)
                    of_e_a.append(tf.add_n([*own_a, *other_a]))
                    of_e_b.append(tf.add_n([*own_b, *other_b]))
            of_logs = a.of_log_ratios.result(), b.of_log_ratios.result()
            of_factors = (ops.sum(x, axis=1, keepdims=True) for x in of_logs)
            of_eta, of_gamma = map(ops.divide, of_factors, (eta, gamma))
            thin = of_eta, of_gamma, *of_logs, a.of_values.result(), b.of_values.result()
            return _final((*thin, *of_e_a, *of_e_b))

        return (found_a.result(), found_b.result()), gradients

    # The gradient of a branch of a graph finds only what is of the branch.
    given = eta, gamma, log_ratios_a, log_ratios_b, values_a, values_b, *e_a, *e_b
    return products(*map(tf.identity, given))


class _GradientOfContrast:
    """The gradient of `|E - R E'| V`, strip by strip.

    Args:
        ratios: The diagonal of `R`, `(pairs, channels, 1)`.
        values: `V`, `(pairs, channels, columns)`.
        of_found: The gradient of the product, of the shape of `values`.
    """

    def __init__(self, ratios, values, of_found):
        self._ratios, self._values, self._of_found = ratios, values, of_found
        self.of_values = ProductByStrips(of_found)
        # Minus the sums of the rows of `R E'` times the gradient of `E - R E'`.
        self.of_log_ratios = ProductByStrips(-ops.ones_like(ratios))

    def of_strips(self, here, own, other):
        """The parts of which the gradients of a strip of `E` and of one of `E'` are the sums."""
        there = slice(here.start, None)
        scaled = _scaled(self._ratios, here, other, other)
        right, below = (own - x for x in scaled)
        self.of_values.add(ops.abs(below), ops.abs(right))
        of_right = ops.matmul(self._of_found[:, here], transposed(self._values[:, there]))
        of_below = ops.matmul(self._values[:, here], transposed(self._of_found[:, there]))
        of_right, of_below = ops.sign(right) * of_right, ops.sign(below) * of_below
        self.of_log_ratios.add(of_right * scaled[0], of_below * scaled[1])
        return (of_right, of_below), _scaled(-self._ratios, here, of_right, of_below)


def _after(*products):
    """A block that waits for what the last strip carries on: all at once would leave the cache."""
    import tensorflow as tf

    return tf.control_dependencies([product.carried for product in products])


def _scaled(scales, here, right, below):
    """Strips right of the diagonal and, transposed, below it, with their rows times `scales`."""
    return scales[:, here] * right, transposed(scales)[:, :, here.start :] * below


def _final(gradients):
    """The same, which cannot be differentiated again."""
    import tensorflow as tf

    return [tf.raw_ops.PreventGradient(input=x, message=OF_FIRST_ORDER) for x in gradients]
