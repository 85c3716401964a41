import types

import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import symmetric_softmax
from cin_keras.layers.symmetric_softmax import common_logits, mix_symmetric

pytestmark = pytest.mark.every_backend

COLUMNS = 2
ELSEWHERE = -7.0


def expected(x, values):
    """One row of one image after the other, in float64."""
    mixed = np.zeros(values.shape)
    for image in range(len(x)):
        for i in range(x.shape[2]):
            logits = -np.array([x[image, :, i] @ x[image, :, j] for j in range(x.shape[2])])
            weights = np.exp(logits - logits.max())
            mixed[image, i] = weights @ values[image] / weights.sum()
    return mixed


def random_images(channels, length=1.0):
    rng = np.random.default_rng(channels)
    x = length * rng.normal(size=(3, 4, channels))
    return [a.astype("float32") for a in (x, rng.normal(size=(3, channels, COLUMNS)))]


def mix(x, values):
    """As an array; `ELSEWHERE` where it is asked for in another way."""
    x, values = (ops.convert_to_tensor(a) for a in (x, values))
    common = common_logits(x)
    found = mix_symmetric(x, common, values, lambda: ops.full_like(values, ELSEWHERE))
    return ops.convert_to_numpy(found)


# Fewer than there are strips, as many, and more, the last strip of which is smaller.
@pytest.mark.parametrize("channels", [1, 3, 8, 16, 37])
def test_is_what_a_loop_over_the_rows_finds(channels):
    images = random_images(channels)
    np.testing.assert_allclose(mix(*images), expected(*images), rtol=1e-5, atol=1e-6)


def test_channels_may_come_in_any_order():
    x, values = random_images(37)
    order = np.random.default_rng(0).permutation(37)
    found = mix(x[:, :, order], values[:, order])
    np.testing.assert_allclose(found, mix(x, values)[:, order], rtol=1e-5, atol=1e-6)


@pytest.fixture
def exponentials(monkeypatch):
    """Those that are computed, as arrays."""
    computed = []

    def exp(x):
        found = ops.exp(x)
        computed.append(ops.convert_to_numpy(found))
        return found

    functions = types.SimpleNamespace(**{**vars(ops), "exp": exp})
    monkeypatch.setattr(symmetric_softmax, "ops", functions)
    return computed


def test_half_of_the_exponentials_is_computed(exponentials):
    mix(*random_images(64))
    found = (x for x in exponentials if x.shape[1] > 1)
    assert sum(x.size for x in found) == 3 * 64 * 64 * (1 / 2 + 1 / 16)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others take them for zero")
def test_none_is_denormal(exponentials):
    x, values = random_images(37, length=6.0)
    x = abs(x)
    x[:, :, 0] = 0.0  # a silent channel, as there are in every network
    np.testing.assert_allclose(mix(x, values), expected(x, values), rtol=1e-4, atol=1e-5)
    logits = -np.einsum("bpi,bpj->bij", x, x)
    assert ((logits < -88) & (logits > -103)).any(), "there would be denormal numbers"
    assert min(x.min() for x in exponentials) > 1e-37


def test_what_the_channels_of_an_image_have_in_common_is_taken_away():
    """Logits of -300, as of a network whose channels respond everywhere."""
    x, values = random_images(37)
    x[1:] += 8.0
    assert -np.einsum("bpi,bpj->bij", x, x)[1].max() < -200
    np.testing.assert_allclose(mix(x, values), expected(x, values), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("image", [0, 2])
@pytest.mark.parametrize("length", [12.0, np.nan])
def test_numbers_beyond_the_range_are_asked_for_in_another_way(image, length):
    x, values = random_images(37)
    x[image] *= length
    assert (mix(x, values) == ELSEWHERE).all()


def test_sums_that_are_too_small_are_asked_for_in_another_way():
    x = np.full((2, 1, 5), 1.0, "float32")
    values = np.ones((2, 5, COLUMNS), "float32")
    np.testing.assert_allclose(mix(x, values), values, rtol=1e-6)
    x[1] = 100.0
    assert (mix(x, values) == ELSEWHERE).all()


def test_sums_that_are_too_large_are_asked_for_in_another_way():
    x = np.tile(np.array([1.0, -1.0], "float32") * 50**0.5, (2, 1, 3))
    values = np.random.default_rng(0).normal(size=(2, 6, COLUMNS)).astype("float32")
    np.testing.assert_allclose(mix(x, values), expected(x, values), rtol=1e-5)
    x[1] *= (65 / 50) ** 0.5  # e^65, which float32 has, but not for long
    assert (mix(x, values) == ELSEWHERE).all()


def test_channels_that_differ_too_much_are_asked_for_in_another_way():
    """Their columns would be multiplied by nothing that float32 can tell from zero."""
    x = np.full((1, 2, 202), 2.0, "float32")
    x[0, :, 200], x[0, :, 201] = (0.0, 77.0), (30.0, 0.55)
    values = np.random.default_rng(0).normal(size=(1, 202, COLUMNS)).astype("float32")
    assert (mix(x, values) == ELSEWHERE).all()


def test_strong_and_weak_channels_of_which_all_respond_everywhere():
    """As in a network of random weights: the `f` are 26 decades apart, and no product is lost."""
    rng = np.random.default_rng(0)
    strengths = np.linspace(0.7, 1.44, 37, dtype="float32")
    x = np.tile(strengths, (1, 196, 1)) + 0.1 * rng.normal(size=(1, 196, 37)).astype("float32")
    values = rng.normal(size=(1, 37, COLUMNS)).astype("float32")
    assert np.ptp(ops.convert_to_numpy(common_logits(ops.convert_to_tensor(x)))) > 26 * np.log(10)
    np.testing.assert_allclose(mix(x, values), expected(x, values), rtol=1e-3, atol=1e-4)


def test_sums_that_are_too_small_beside_the_largest_f():
    """On PyTorch, the smallest exponentials times that `f` would be as large as such a sum."""
    strengths = np.linspace(0.7, 1.52, 37, dtype="float32")
    x = np.tile(strengths, (1, 196, 1))
    values = np.random.default_rng(0).normal(size=(1, 37, COLUMNS)).astype("float32")
    assert (mix(x, values) == ELSEWHERE).all()
