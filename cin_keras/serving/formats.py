"""ONNX and LiteRT: what each backend needs to write them, and the model's card inside them."""

import contextlib
import gc
import importlib.util
import pathlib
import re
import zipfile

import keras

from cin_keras.keras_internals import all_layers
from cin_keras.layers import SelfChannelInteraction
from cin_keras.serving.model_card import card

# The packages that Keras converts with.
CONVERTERS = {
    ("onnx", "tensorflow"): ["tf2onnx", "onnx"],
    ("onnx", "torch"): ["onnxscript", "onnx"],
    ("litert", "tensorflow"): [],
}
FORMAT_NAMES = {"onnx": "ONNX", "litert": "LiteRT"}
ENDINGS = {"onnx": ".onnx", "litert": ".tflite"}
IN_TENSORFLOW = (
    "Save the model here, model.save('model.keras'), load it with KERAS_BACKEND=tensorflow, "
    "cin_keras.load_model('model.keras'), and export it there."
)


def check_ending(filepath, format):
    """ValueError if a name says another format than the one to be written, or LiteRT's says none.

    Example:

    >>> check_ending("model.onnx", "onnx")
    """
    ending = pathlib.Path(filepath).suffix.lower()
    named = next((name for name, known in ENDINGS.items() if known == ending), format)
    if format in (*ENDINGS, "tf_saved_model") and named != format:
        raise ValueError(
            f"A name that ends in {ending} is for format={named!r}: give that, or another name. "
            f"Received: format={format!r}, filepath={str(filepath)!r}"
        )
    if format == "litert" and ending != ENDINGS[format]:
        raise ValueError(
            f"The name of a {FORMAT_NAMES[format]} file must end in {ENDINGS[format]}: give it that "
            f"ending. Received: filepath={str(filepath)!r}"
        )


def check_format(format):
    """Checks that this backend can write ONNX or LiteRT.

    Raises:
        RuntimeError: If it cannot; the sentence says which backend can.
        ImportError: If a package is missing; the sentence says which.
    """
    name, backend = FORMAT_NAMES[format], keras.backend.backend()
    if (format, backend) not in CONVERTERS:
        raise RuntimeError(f"{name} cannot be written on the {backend} backend. {IN_TENSORFLOW}")
    missing = [m for m in CONVERTERS[format, backend] if importlib.util.find_spec(m) is None]
    if missing:
        raise ImportError(
            f"To write {name} on the {backend} backend, {' and '.join(missing)} must be "
            f"installed: pip install {' '.join(missing)}, or in the folder of cin_keras "
            'pip install ".[export]".'
        )


def reason(error):
    """What a library says of its failure, in one line.

    Args:
        error: Exception. Keras puts the name of a layer before the reason, and pages after it.

    Returns:
        Str of at most 300 characters, without a full stop.

    Example:

    >>> reason(ValueError("Exception when calling A.call().\\n\\nToo small.\\n\\nArguments received: b"))
    'Exception when calling A.call(). Too small'
    """
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).split("\n\nArguments received")[0]
    text = " ".join(text.split())[:300].rstrip(". ")
    return text or type(error).__name__


@contextlib.contextmanager
def as_runtimes_compute(network):
    """Lets layers compute in float32 where they keep it, and interactions whole, inside the block.

    No runtime has ONNX' convolution, or LiteRT's, in bfloat16. LiteRT has no loops over blocks of
    rows, which save memory in training alone.

    Args:
        network: Keras model.
    """
    with contextlib.ExitStack() as stack:

        def change(layer, name, value):
            stack.callback(setattr, layer, name, getattr(layer, name))
            setattr(layer, name, value)

        for layer in all_layers(network):
            if (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32"):
                change(layer, "dtype_policy", "float32")
            if isinstance(layer, SelfChannelInteraction):
                change(layer, "block_rows", None)
        yield


@contextlib.contextmanager
def frequent_collections():
    """Lets Python look for unreachable objects often, and among new ones only, inside the block.

    tf2onnx copies its graph, weights included, before each of its optimizations, and its copies
    refer to themselves: for a ResNet-50 they would fill 18 GB before Python noticed.
    """
    thresholds, freezes = gc.get_threshold(), gc.get_freeze_count() == 0
    if freezes:
        gc.collect()
        gc.freeze()
    gc.set_threshold(700, 2, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        if freezes:
            gc.unfreeze()


def write_onnx_metadata(filepath, model):
    """Puts the model's card into the `metadata_props` of an ONNX file, under `model_card`.

    It also takes out inputs that nothing reads: from constants such as the mean that ResNet-50
    subtracts, tf2onnx leaves one behind, which onnxruntime would want to be fed.
    """
    import onnx

    network = onnx.load(str(filepath))
    read = {name for node in network.graph.node for name in node.input}
    for unread in [value for value in network.graph.input if value.name not in read]:
        network.graph.input.remove(unread)
    onnx.helper.set_model_props(network, {"model_card": card(model)})
    onnx.save(network, str(filepath))


def write_litert_metadata(filepath, model):
    """Appends the model's card to a LiteRT file, as LiteRT's own metadata do.

    The file is then a ZIP archive as well, of one member, `model_card.json`; interpreters read
    the network from the start and do not see it.
    """
    with zipfile.ZipFile(filepath, "a") as file:
        file.writestr("model_card.json", card(model))
