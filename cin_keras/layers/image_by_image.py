"""Keeps the `c × c` matrices of a batch small enough for PyTorch's memory on a CPU."""

import keras
from keras import ops


def image_by_image(function, *batch):
    """`function(*batch)`, on PyTorch's CPU for one image after the other.

    There, a tensor of more than 32 MB comes fresh from the operating system every time, which
    costs as much as computing it; the matrices of a single image are below that and memory is
    used again. Everywhere else, and while PyTorch exports or compiles, the batch stays whole.

    Args:
        function: From tensors `(batch, ...)` to a tuple of tensors `(batch, ...)`; what it makes
            of an image must not depend on the others.
        *batch: Tensors `(batch, ...)`.

    Returns:
        What `function` returns.
    """
    if not _on_a_torch_cpu(batch[0]) or len(batch[0]) < 2:
        return function(*batch)
    images = [function(*(x[i : i + 1] for x in batch)) for i in range(len(batch[0]))]
    return tuple(ops.concatenate(outputs, axis=0) for outputs in zip(*images))


def _on_a_torch_cpu(x):
    if keras.backend.backend() != "torch":
        return False
    import torch

    compiling = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not compiling and x.device.type == "cpu"
