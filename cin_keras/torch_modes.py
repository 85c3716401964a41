"""Whether PyTorch keeps what a backward pass needs, whatever mode a caller is in."""

import contextlib

import keras


def without_gradients():
    """A context in which PyTorch keeps nothing for a backward pass; the others never do."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


@contextlib.contextmanager
def with_gradients():
    """A context in which PyTorch can differentiate, and makes weights that can be changed.

    Within a caller's `torch.no_grad()` or `torch.inference_mode()`, too.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield
