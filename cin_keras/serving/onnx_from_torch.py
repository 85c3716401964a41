"""ONNX from PyTorch, for batches and, where the network leaves it open, images of any size.

Keras' own way follows one image of 1×1 pixel through the network and keeps what it computes from
that size: most networks do not take such an image, and of others the padding is then wrong for
every other size, without a word. Here the image has a usual size, padding is computed in the file,
and what was followed is compared with the network at other sizes before it is written.
"""

import warnings

import keras
import numpy as np

from cin_keras.keras_internals import all_layers, padding_in_graph
from cin_keras.serving.formats import IN_TENSORFLOW, reason

USUAL_SIZE = (224, 224)
# Pixels that are added to an open height and width: to odd numbers and, for networks that take
# nothing else, to multiples of 32.
ADDED = ((33, 17), (32, 64))


def write_onnx(network, filepath, images, data_format, image_size=None, opset_version=None):
    """Writes a network of one input and one output.

    Args:
        network: Functional Keras model, on the PyTorch backend.
        filepath: Str or path of the file.
        images: What it takes, with `shape`, `dtype` and `name`, such as a `keras.InputSpec`; what
            is `None` in the shape stays open.
        data_format: `"channels_last"` or `"channels_first"`.
        image_size: `(height, width)` that the network is known to take, where these are open.
            Defaults to `None`, 224×224.
        opset_version: Int, the version of ONNX' operators. Defaults to `None`, PyTorch's choice.

    Raises:
        RuntimeError: If PyTorch cannot write the network, or not for images of any size; the
            sentence says what to do.

    Example:

    ```python
    images = keras.InputSpec(shape=(None, None, None, 3), dtype="float32", name="images")
    write_onnx(network, "model.onnx", images, "channels_last")
    ```
    """
    import torch

    rows = 1 if data_format == "channels_last" else 2
    sides = slice(rows, rows + 2)
    names = {0: "batch", rows: "height", rows + 1: "width"}
    open_axes = {axis: name for axis, name in names.items() if images.shape[axis] is None}
    any_size = None in images.shape[sides]
    size = image_size or USUAL_SIZE
    rng = np.random.default_rng(0)

    def batch(count, added=(0, 0)):
        given = {0: count, rows: size[0] + added[0], rows + 1: size[1] + added[1]}
        shape = [given[axis] if n is None else n for axis, n in enumerate(images.shape)]
        # Darker towards one corner: noise that is the same all over hides which part was seen.
        pixels = rng.uniform(0, 255, shape)
        for side in (rows, rows + 1):
            others = tuple(axis for axis in range(4) if axis != side)
            pixels *= np.expand_dims(np.linspace(0, 1, shape[side]), others)
        return keras.ops.convert_to_tensor(pixels, images.dtype or "float32")

    with warnings.catch_warnings(), torch.no_grad():
        # Of numbers that PyTorch does not follow, which the comparison finds where they matter.
        warnings.simplefilter("ignore")
        network.eval()
        example = batch(2)
        try:
            network(example)
        except Exception as error:  # each layer raises its own kind
            raise RuntimeError(
                "To write ONNX, PyTorch follows images through the network, which does not take "
                f"them at {_pixels(example, sides)}: {reason(error)}. Set `model.image_size` to a "
                "size that it takes, and export again."
            ) from error
        try:
            with padding_in_graph():
                followed = torch.jit.trace(network, (example,), check_trace=False)
        except Exception as error:  # PyTorch raises many kinds
            raise _cannot_be_written(error) from error
        for added in ADDED if any_size else ADDED[:1]:
            for count in (1, 3):
                other = batch(count, added)
                if not _agree(network, followed, other):
                    raise RuntimeError(
                        "Something in the network computes with the size of its images, or their "
                        f"number, in Python, so an ONNX file made at {_pixels(example, sides)} "
                        f"would be wrong at {_pixels(other, sides)}, batches of {count}. Export "
                        "for one size alone, input_signature=[keras.InputSpec(shape="
                        f"{(None, *example.shape[1:])}, name='images')], or: {IN_TENSORFLOW}"
                    )
        name = images.name or "images"
        try:
            torch.onnx.export(
                followed,
                (example,),
                str(filepath),
                input_names=[name],
                output_names=["outputs"],
                dynamic_axes={
                    name: open_axes,
                    "outputs": {axis: "batch" for axis in open_axes if axis == 0},
                },
                opset_version=opset_version,
                verbose=False,
                # The newer exporter allows one padding only where it depends on the image's size.
                dynamo=False,
            )
        except Exception as error:  # PyTorch raises many kinds
            raise _cannot_be_written(error) from error


def _agree(network, followed, images):
    """Whether what was followed does to these images what the network does, if it takes them."""
    try:
        expected = network(images)
    except Exception:  # of any kind: a size that the network does not take proves nothing
        return True
    try:
        found = followed(images)
    except RuntimeError:
        return False
    found, expected = (keras.ops.convert_to_numpy(x).astype("float32") for x in (found, expected))
    half = any(layer.compute_dtype in ("float16", "bfloat16") for layer in all_layers(network))
    largest = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    tolerance = (3e-2 if half else 1e-4) * largest
    return found.shape == expected.shape and np.allclose(
        found, expected, rtol=0, atol=tolerance, equal_nan=True
    )


def _cannot_be_written(error):
    return RuntimeError(
        f"PyTorch cannot write this network as ONNX: {reason(error)}. {IN_TENSORFLOW}"
    )


def _pixels(images, sides):
    return "×".join(str(n) for n in tuple(images.shape)[sides]) + " pixels"
