import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers.numerics import softmax_rows

pytestmark = pytest.mark.every_backend


@pytest.mark.parametrize("magnitude", [0.0, 1.0, 30.0, 1000.0])
def test_it_agrees_with_the_loop(magnitude):
    logits = (magnitude * np.random.default_rng(0).normal(size=(2, 7, 9))).astype("float32")
    weights = ops.convert_to_numpy(softmax_rows(ops.convert_to_tensor(logits)))
    for image in range(2):
        for row in range(7):
            powers = [
                np.exp(float(x) - float(logits[image, row].max())) for x in logits[image, row]
            ]
            np.testing.assert_allclose(
                weights[image, row], np.array(powers) / sum(powers), rtol=1e-4, atol=1e-15
            )


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others take them for zero")
def test_neither_weights_nor_gradients_are_denormal():
    import torch

    logits = torch.linspace(-200, 0, 1000).reshape(1, 1, -1).requires_grad_()
    weights = softmax_rows(logits)
    (gradient,) = torch.autograd.grad((1e-3 * weights * torch.arange(1000.0)).sum(), logits)
    for numbers in (weights, gradient):
        magnitudes = numbers.detach().abs()
        assert magnitudes[magnitudes > 0].min() > 1e-37
    assert torch.softmax(logits, -1).min() < 1e-37, "there would be denormal numbers"
