import keras
import pytest

from cin_keras.explain.feature_maps import without_gradients

pytestmark = pytest.mark.every_backend


def test_pytorch_keeps_nothing_for_a_backward_pass():
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    with without_gradients():
        inside = layer(keras.ops.ones((1, 2)))
    outside = layer(keras.ops.ones((1, 2)))
    keeps = [getattr(x, "requires_grad", None) for x in (inside, outside)]
    assert keeps == ([False, True] if keras.backend.backend() == "torch" else [None, None])
