import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import symmetric_softmax
from cin_keras.layers.symmetric_contrast import interact_symmetric
from cin_keras.layers.symmetric_softmax import common_logits

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the others compute whole matrices"
)

COLUMNS = 2
STRIPS = 3  # of more, a graph takes long to make
ELSEWHERE = -7.0


@pytest.fixture(autouse=True)
def few_strips(monkeypatch):
    monkeypatch.setattr(symmetric_softmax, "STRIPS", STRIPS)


def random_pairs(channels, length=1.0):
    """`x_a, x_b, values_a, values_b` of three pairs, in float64."""
    rng = np.random.default_rng(channels)
    x = length * rng.normal(size=(2, 3, 4, channels))
    return [*x, *rng.normal(size=(2, 3, channels, COLUMNS))]


def compare(mixed_a, mixed_b):
    """`η` and `γ`, of which one is negative now and then."""

    def psi(first, second):
        return 0.3 + 0.2 * ops.sum(first[:, :, :1] - 0.5 * second[:, :, 1:], axis=1, keepdims=True)

    return psi(mixed_a, mixed_b), psi(mixed_b, mixed_a)


def as_the_paper_writes_it(x_a, x_b, values_a, values_b, compare=compare):
    x_a, x_b = (ops.cast(x, values_a.dtype) for x in (x_a, x_b))
    w_a, w_b = (ops.softmax(-ops.matmul(ops.transpose(x, (0, 2, 1)), x)) for x in (x_a, x_b))
    mixed = ops.matmul(w_a, values_a), ops.matmul(w_b, values_b)
    eta, gamma = compare(*mixed)
    apart_a = ops.matmul(ops.abs(w_a - eta * w_b), values_a)
    return apart_a, ops.matmul(ops.abs(w_b - gamma * w_a), values_b), *mixed


def by_halves(x_a, x_b, values_a, values_b, compare=compare):
    common = (common_logits(x_a) + common_logits(x_b)) / 2

    def otherwise():
        whole = as_the_paper_writes_it(x_a, x_b, values_a, values_b, compare)
        return tuple(ELSEWHERE * x for x in whole)

    return interact_symmetric(x_a, x_b, common, values_a, values_b, compare, otherwise)


def outputs_and_gradients(function, pairs, dtype):
    """Four outputs, then the gradients of a sum of them, in which all weigh differently."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    weights = [tf.constant(rng.normal(size=pairs[2].shape), dtype) for _ in range(4)]

    @tf.function(autograph=False)
    def step(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            found = function(*tensors)
            total = sum(tf.reduce_sum(x * w) for x, w in zip(found, weights))
        return *found, *tape.gradient(total, tensors)

    return [x.numpy() for x in step(*(tf.constant(x, dtype) for x in pairs))]


def both(pairs, change=lambda function: function):
    found = outputs_and_gradients(change(by_halves), pairs, "float32")
    return found, outputs_and_gradients(change(as_the_paper_writes_it), pairs, "float64")


# Fewer than there are strips, as many, and more, the last strip of which is smaller.
@pytest.mark.parametrize("channels", [1, 3, 8, 37])
def test_outputs_and_gradients_are_those_of_whole_matrices(channels):
    for found, expected in zip(*both(random_pairs(channels)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_what_the_channels_have_in_common_changes_nothing():
    """Logits of -100 and less, as of a network whose channels respond everywhere."""
    pairs = random_pairs(37)
    pairs[0][1:] += 5.5
    pairs[1][1:] += 5.0
    logits = -np.einsum("bpi,bpj->bij", pairs[0], pairs[0])
    assert np.exp(logits[1].max(axis=1).astype("float32")).min() == 0
    for found, expected in zip(*both(pairs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * abs(expected).max())


def test_a_pair_of_the_same_image_has_finite_gradients():
    x, _, values, _ = random_pairs(8)
    found, expected = both([x, x, values, values])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("length", [0.3, 1.0, 2.5])
def test_factors_of_zero_have_their_gradient(length):
    """As η and γ are at first with `kernel_initializer="zeros"`, also where `W_A` has hardly anything."""

    def with_kernel(function):
        def psi(first, second, kernel):
            return ops.sum((first - 0.5 * second) * kernel, axis=(1, 2), keepdims=True)

        def given(x_a, x_b, values_a, values_b, kernel):
            return function(
                *(x_a, x_b, values_a, values_b),
                compare=lambda a, b: (psi(a, b, kernel), psi(b, a, kernel)),
            )

        return given

    pairs = random_pairs(8, length)
    for found, expected in zip(*both([*pairs, np.zeros((8, COLUMNS))], with_kernel), strict=True):
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_maps_of_half_precision_are_compared_in_float32():
    def rounded(function):
        return lambda x_a, x_b, *values: function(
            ops.cast(x_a, "bfloat16"), ops.cast(x_b, "bfloat16"), *values
        )

    for found, expected in zip(*both(random_pairs(8), rounded), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.005 * abs(expected).max())


def test_swapped_pairs_swap_what_is_found():
    x_a, x_b, values_a, values_b = random_pairs(8)
    found = outputs_and_gradients(by_halves, [x_a, x_b, values_a, values_b], "float32")[:4]
    swapped = outputs_and_gradients(by_halves, [x_b, x_a, values_b, values_a], "float32")[:4]
    for i, j in enumerate((1, 0, 3, 2)):
        np.testing.assert_allclose(found[i], swapped[j], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize("pair", [0, 2])
def test_numbers_beyond_the_range_are_asked_for_in_another_way(image, pair):
    pairs = random_pairs(37)
    pairs[image][pair] *= 12.0
    for found, expected in zip(*both(pairs), strict=True):
        np.testing.assert_allclose(
            found, ELSEWHERE * expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
        )


def test_a_bright_image_beside_a_dark_one_is_asked_for_in_another_way():
    x_a, x_b, *values = random_pairs(12)
    pairs = [np.tile(10.0 + 0.3 * x_a, (1, 4, 1)), np.tile(0.5 + 0.1 * x_b, (1, 4, 1)), *values]
    for found, expected in zip(*both(pairs), strict=True):
        np.testing.assert_allclose(
            found, ELSEWHERE * expected, rtol=1e-2, atol=1e-2 * abs(expected).max()
        )


def far_apart(alternates):
    """Two images of one position whose sums have a ratio of 1e39."""
    return 21**0.5 * alternates[None], 69**0.5 * np.ones((1, 6))


def mixed_with_one_far_above(alternates):
    """Two images of two positions, whose sums have a ratio of 1e24, and one `s_i / f_j` of 1e40."""
    common = np.array([30.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    others = 10**0.5 * np.array([6.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0])
    return np.stack([common, 45**0.5 * np.append(0.0, alternates)]), np.stack([common, others])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("images", [far_apart, mixed_with_one_far_above])
def test_ratios_beyond_the_range_are_asked_for_in_another_way(images, order):
    """Of sums that are within it, and of one of two pairs."""
    x_a, x_b = (np.stack([0.1 * x, x]) for x in images(np.array([1.0, -1.0] * 3))[::order])
    values = np.random.default_rng(0).normal(size=(2, 2, x_a.shape[2], COLUMNS))
    for found, expected in zip(*both([x_a, x_b, *values]), strict=True):
        np.testing.assert_allclose(
            found, ELSEWHERE * expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
        )


def alternating(rng):
    """Of one position: half of the logits are 55 and more."""
    return 55**0.5 * np.array([1.0, -1.0] * 3) + 0.01 * rng.random(6)


def one_far_above(rng):
    """Of one position: the largest logit of one row is far below those of the others."""
    return np.array([30.0, 3.0, 3.0, 3.0, 3.0, 3.0]) + 0.05 * rng.random(6)


@pytest.mark.parametrize("channels", [alternating, one_far_above])
def test_sums_near_the_ends_of_the_range_have_their_gradients(channels):
    rng = np.random.default_rng(0)
    x_a, x_b = channels(rng)[None, None], channels(rng)[None, None, ::-1]
    for found, expected in zip(*both([x_a, x_b, *rng.normal(size=(2, 1, 6, COLUMNS))]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * abs(expected).max())


@pytest.mark.parametrize("order", [1, -1])
def test_ratios_near_the_end_of_the_range_have_their_gradients(order):
    rng = np.random.default_rng(0)
    x_a, x_b = (x + 0.05 * rng.random((1, 6)) for x in far_apart(np.array([1.0, -1.0] * 3)))
    images = (0.95 * x_a[None], 0.95 * x_b[None])[::order]
    for found, expected in zip(*both([*images, *rng.normal(size=(2, 1, 6, COLUMNS))]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


def test_a_gradient_of_a_gradient_is_refused():
    import tensorflow as tf

    @tf.function(autograph=False)
    def twice(x_a, *others):
        with tf.GradientTape() as outer:
            outer.watch(x_a)
            with tf.GradientTape() as inner:
                inner.watch(x_a)
                total = sum(tf.reduce_sum(x) for x in by_halves(x_a, *others))
            penalty = tf.reduce_sum(tf.square(inner.gradient(total, x_a)))
        return outer.gradient(penalty, x_a)

    with pytest.raises(LookupError, match="of first order"):
        twice(*(tf.constant(x, "float32") for x in random_pairs(8)))
