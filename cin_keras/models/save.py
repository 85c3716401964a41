"""What can be saved of a model, and loaded again: refused when saving, not when loading."""

import json
import pathlib
import tempfile
import warnings
import zipfile

import h5py
import keras

from cin_keras.keras_internals import all_layers
from cin_keras.models.load import MAX_CONFIG

LEGACY = (".h5", ".hdf5")
QUANTIZATIONS = ("int8",)


def check_saveable(model, filepath):
    """ValueError for a name or a model that could be written but not be loaded.

    Args:
        model: `CIN` or `NTS`.
        filepath: Path that `model.save` was given.

    Example:

    ```python
    check_saveable(model, "model.h5")  # ValueError: ... save it as '.keras' ...
    ```
    """
    if pathlib.Path(filepath).suffix.lower() in LEGACY:
        refuse_hdf5(f"filepath={str(filepath)!r}")
    for name in ("class_names", "hierarchy", "settings"):  # lists and dicts may have been changed
        setattr(model, name, getattr(model, name))
    for layer in all_layers(model):
        is_lambda_layer = isinstance(layer, keras.layers.Lambda)
        if is_lambda_layer and getattr(layer.function, "__name__", None) == "<lambda>":
            warnings.warn(
                f"The layer {layer.name!r} holds Python code, a lambda, which "
                "cin_keras.load_model does not run: use a layer of Keras or a class of your own "
                "that is registered, such as keras.layers.Rescaling.",
                stacklevel=3,
            )
    size = len(json.dumps(keras.saving.serialize_keras_object(model)))
    if size > MAX_CONFIG:
        raise ValueError(
            f"The description of a model must not have more than {MAX_CONFIG:,} bytes, or it would "
            "not be loaded again: shorten `class_names`, `settings` or the backbone. "
            f"Received: {size:,} bytes"
        )


def refuse_hdf5(received):
    """ValueError for a whole model that is to be written as HDF5.

    Args:
        received: Str, what was asked for.
    """
    raise ValueError(
        "A model is not saved as HDF5, which would leave out what only training runs, such as ψ "
        "and the embedding: save it as '.keras', or its weights alone by model.save_weights('model.weights.h5'). "
        f"Received: {received}"
    )


def check_weights_file(model, filepath):
    """ValueError for a file of old that has no place for ψ and the embedding of this model.

    Args:
        model: `CIN` or `NTS`.
        filepath: Path that `model.load_weights` was given.
    """
    path = pathlib.Path(filepath)
    is_legacy = path.suffix.lower() in LEGACY and not path.name.endswith(".weights.h5")
    if is_legacy and model.training_layers:
        raise ValueError(
            "HDF5 files of whole models hold nothing that only training runs: give a '.keras' or a "
            f"'.weights.h5' file. Received: filepath={str(filepath)!r}"
        )


def warn_of_unused_weights(model, filepath):
    """Warns of what a file of weights holds for layers that this model does not have.

    Keras takes what it has a place for, and says nothing of the rest.

    Args:
        model: `CIN` or `NTS`.
        filepath: Path that `model.load_weights` was given.
    """
    path = pathlib.Path(filepath)
    if not path.name.endswith((".weights.h5", ".keras")) or not path.is_file():
        return
    stored = _weights_in(path)
    if len(stored) <= len(model.weights):
        return
    with tempfile.TemporaryDirectory() as folder:
        own = pathlib.Path(folder) / "own.weights.h5"
        model.save_weights(own)
        unused = stored - _weights_in(own)
    layers = sorted({name.split("/")[1] for name in unused})
    if layers:
        warnings.warn(
            f"{str(path)!r} is of another head: its {', '.join(layers)} found no place in this "
            f"model (interaction={model.interaction_name!r}, contrast={model.contrast_name!r}) and "
            "were left out.",
            stacklevel=3,
        )


def _weights_in(path):
    """Set of the names of the layers' weights in an HDF5 file, or that of a `.keras` archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
            return _weights_in_hdf5(file)
    return _weights_in_hdf5(path)


def _weights_in_hdf5(file):
    found = set()

    def add(name, part):
        if name.startswith("layers/") and isinstance(part, h5py.Dataset):
            found.add(name)

    with h5py.File(file) as whole:
        whole.visititems(add)
    return found


def quantized_layers(model):
    """The layers made by `CIN` or `NTS` that `model.quantize` has changed, a dict from names to modes.

    The layers of a supplied backbone say so in their own configuration.

    Args:
        model: `CIN` or `NTS`.

    Raises:
        ValueError: For a mode that a file does not bring back.
    """
    modes = {name: layer.quantization_mode for name, layer in _own_layers(model).items()}
    modes = {name: mode for name, mode in modes.items() if mode is not None}
    unknown = sorted({mode for mode in modes.values() if mode not in QUANTIZATIONS})
    if unknown:
        raise ValueError(
            f"A model that was quantized can be saved after model.quantize({QUANTIZATIONS[0]!r}) "
            f"alone; quantize one that was not yet. Received: {', '.join(map(repr, unknown))}"
        )
    return modes


def quantize_layers(model, modes):
    """Changes a new model as `model.quantize` has changed another; `modes` as returned above."""
    layers = _own_layers(model)
    for name, mode in modes.items():
        layers[name].quantize(mode)


def _own_layers(model):
    """The layers that the model has made, a dict from names, with the part they belong to."""
    layers = {layer.name: layer for layer in model.layers}
    for nested in model.nested_backbones:
        layers |= {f"{nested.name}/{layer.name}": layer for layer in nested.layers}
    if model.contrast is not None:
        layers["psi"] = model.contrast.psi
    return layers
