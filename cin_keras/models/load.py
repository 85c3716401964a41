"""Loading a saved CIN: never runs code from the file, and says what is wrong with another file."""

import json
import pathlib
import warnings
import zipfile

import keras

CLASS_NAME = "cin_keras>CIN"
CONFIG = "config.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")


def load_model(filepath, custom_objects=None, compile=True):
    """Loads a CIN that `model.save` or `KeepBest` has written.

    It is `keras.saving.load_model` in its safe mode, which refuses files that hold code, and
    before it checks that say in one sentence what is wrong with a file.

    Args:
        filepath: Path of a `.keras` file.
        custom_objects: Dict from names to the classes and functions that a backbone of your own
            needs, if they are not registered. Defaults to `None`.
        compile: Bool, whether to compile the model as it was, with the optimizer's state, or
            else as a new CIN is. Defaults to `True`.

    Returns:
        `CIN`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds something else or holds code (a lambda).

    Example:

    ```python
    model = cin_keras.load_model("runs/cars/model.keras")
    model.predict(images)
    ```
    """
    path = pathlib.Path(filepath)
    _check_config(path, _read_config(path))
    try:
        with warnings.catch_warnings():
            if not compile:
                # It is the file's optimizer that is not asked for.
                warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return keras.saving.load_model(
                path, custom_objects=custom_objects, compile=compile, safe_mode=True
            )
    except Exception as error:
        # Keras puts the cause at the end of what it says of the class.
        cause = str(error).rpartition("Exception encountered: ")[2].strip()
        first_line = (cause.splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{str(path)!r} cannot be loaded: {first_line}") from error


def _read_config(path):
    """What the file says of its model, a dict; ValueError if it is no whole `.keras` file."""
    name = str(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {name!r}.")
    if path.is_dir():
        raise ValueError(
            f"{name!r} is a folder: give the '.keras' file that model.save has written."
        )
    with open(path, "rb") as file:
        begin = file.read(256)
    if not begin:
        raise ValueError(f"{name!r} is empty: copy or download the model again.")
    if begin.startswith(b"\x89HDF"):
        raise ValueError(
            f"{name!r} is an HDF5 file, weights without a model perhaps: make the model, then "
            "model.load_weights, or give a '.keras' file."
        )
    if begin.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ValueError(f"{name!r} is cut off: copy or download the model again.")
    if not begin.startswith(b"PK"):
        kind = "text, a web page perhaps" if _is_text(begin) else "no model"
        raise ValueError(
            f"{name!r} is {kind}: give a '.keras' file, or copy or download the model again."
        )
    if path.suffix != ".keras":
        raise ValueError(f"The name of a model must end in '.keras': rename {name!r}.")
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            if CONFIG not in names or not any(weights in names for weights in WEIGHTS):
                raise ValueError(
                    f"{name!r} is an archive that holds no Keras model: give the file that "
                    "model.save has written."
                )
            if file.testzip() is not None:
                raise zipfile.BadZipFile
            text = file.read(CONFIG)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name!r} is damaged: copy or download the model again.") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name!r} is damaged: its description cannot be read.") from error


def _check_config(path, config):
    """ValueError unless the description is that of a CIN without code."""
    name = str(path)
    registered = config.get("registered_name") if isinstance(config, dict) else None
    if registered != CLASS_NAME:
        found = config.get("class_name") if isinstance(config, dict) else None
        raise ValueError(
            f"{name!r} holds a model of the class {found}, not a CIN: use "
            "keras.saving.load_model for it."
        )
    if _holds_code(config):
        raise ValueError(
            f"{name!r} holds Python code (a lambda) and is not loaded, because loading it would "
            "run that code. Give the backbone a registered function or layer instead."
        )


def _holds_code(config):
    """Whether a lambda is anywhere in it, which Keras would refuse only in its safe mode."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            # The second is how a Lambda layer was written of old.
            if part.get("class_name") == "__lambda__" or part.get("function_type") == "lambda":
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _is_text(begin):
    return not any(byte < 9 for byte in begin)
