import keras
import pytest

from cin_keras.torch_modes import with_gradients, without_gradients

pytestmark = pytest.mark.every_backend


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the modes are PyTorch's")
def test_what_a_caller_has_set_is_overruled_and_put_back():
    import torch

    weight = torch.nn.Parameter(torch.ones(2))
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            before = torch.is_grad_enabled()
            with with_gradients():
                made = 2 * weight
            with without_gradients():
                kept = 2 * weight
            assert torch.is_grad_enabled() == before
        assert made.requires_grad and not made.is_inference()
        assert not kept.requires_grad


def test_pytorch_keeps_nothing_for_a_backward_pass():
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    with without_gradients():
        inside = layer(keras.ops.ones((1, 2)))
    outside = layer(keras.ops.ones((1, 2)))
    keeps = [getattr(x, "requires_grad", None) for x in (inside, outside)]
    assert keeps == ([False, True] if keras.backend.backend() == "torch" else [None, None])
