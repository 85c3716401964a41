"""Loading a saved CIN or NTS: never runs code from the file, and says what is wrong with another file."""

import itertools
import json
import pathlib
import warnings
import zipfile

import keras

from cin_keras.checks import first_line
from cin_keras.files import NOT_WHOLE

CLASS_NAMES = ("cin_keras>CIN", "cin_keras>NTS")
HUB = "hf://"
CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")
# Beyond these a file is refused before anything of it is unpacked: 8 MiB describe a network of
# thousands of layers, and Keras does not compress.
MAX_CONFIG = 8 * 2**20  # bytes of the description
MAX_PARTS = 100_000  # lists and objects in it; EfficientNetB7 has 15,000
MAX_RATIO = 20  # of all that is in the archive to the archive itself
# What layers and models call the numbers of their units.
SIZES = ("num_classes", "embedding_dim", "projection_dim", "units", "filters", "input_dim")


def load_model(filepath, custom_objects=None, compile=True):
    """Loads a CIN or NTS that `model.save` or `KeepBest` has written.

    It is `keras.saving.load_model` in its safe mode, which refuses files that hold code, and
    before it checks that say in one sentence what is wrong with a file.

    Args:
        filepath: Path of a `.keras` file, or `"hf://NAMESPACE/NAME"` for a model on the Hugging
            Face Hub, where `model.save("hf://NAMESPACE/NAME")` has put it; it needs
            `pip install ".[hub]"` and is checked like a file.
        custom_objects: Dict from names to the classes and functions that a backbone of your own
            needs, if they are not registered. Defaults to `None`.
        compile: Bool, whether to compile the model as it was, with the optimizer's state, or
            else as a new one is. Defaults to `True`.

    Returns:
        `CIN` or `NTS`, as was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: For a hub without its package.
        ConnectionError: If the hub has no such model, or cannot be reached.
        ValueError: If the file is damaged, holds something else or holds code (a lambda); if it
            unfolds to more than 20 times its size, or has a description of more than 8 MiB or
            100,000 parts, or of a network that has more units than its weights have bytes.

    Example:

    ```python
    model = cin_keras.load_model("runs/cars/model.keras")
    model.predict(images)
    ```
    """
    if str(filepath).startswith(HUB):
        path = _download(str(filepath))
        text = _read_config_of_folder(path, str(filepath))
    else:
        path = pathlib.Path(filepath)
        text = _read_config(path)
    _check_config(path, str(filepath), text)
    try:
        with warnings.catch_warnings():
            # Of a model that was not trained, nothing is lost.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer .* has 2 variables")
            if not compile:
                # It is the file's optimizer that is not asked for.
                warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return keras.saving.load_model(
                path, custom_objects=custom_objects, compile=compile, safe_mode=True
            )
    except Exception as error:
        # Keras puts the cause at the end of what it says of the class.
        cause = str(error).rpartition("Exception encountered: ")[2].strip()
        said = first_line(cause or type(error).__name__)
        raise ValueError(f"{str(filepath)!r} cannot be loaded: {said}") from error


def _download(address):
    """The folder of a model that is on the Hugging Face Hub, as Keras lays it there."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f'To load {address!r}, huggingface_hub must be installed: pip install huggingface_hub.'
        ) from error
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(address.removeprefix(HUB)))
    except Exception as error:  # the library raises many kinds, and of requests
        raise ConnectionError(
            f"{address!r} cannot be had from the Hugging Face Hub: {first_line(error)}"
        ) from error


def _read_config_of_folder(path, address):
    """What a downloaded folder says of its model, as JSON."""
    config, weights = path / CONFIG, [path / name for name in WEIGHTS]
    if not config.is_file() or not any(file.is_file() for file in weights):
        raise ValueError(f"{address!r} holds no Keras model: {CONFIG} or its weights are missing.")
    if config.stat().st_size > MAX_CONFIG:
        raise ValueError(
            f"{address!r} is not loaded: its {CONFIG} has {config.stat().st_size:,} bytes, and the "
            f"most that are read are {MAX_CONFIG:,}."
        )
    return config.read_bytes()


def _read_config(path):
    """What the file says of its model, as JSON; ValueError if it is no whole `.keras` file."""
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
        is_text = not any(byte < 9 for byte in begin)
        kind = "text, a web page perhaps" if is_text else "no model"
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
            _check_sizes(name, file)
            if file.testzip() is not None:
                raise zipfile.BadZipFile
            return file.read(CONFIG)
    except (*NOT_WHOLE, OSError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name!r} is damaged: copy or download the model again.") from error


def _check_sizes(name, file):
    """ValueError for an archive that unfolds to what nobody would save."""
    for member in file.infolist():
        if member.filename in (CONFIG, METADATA) and member.file_size > MAX_CONFIG:
            raise ValueError(
                f"{name!r} is not loaded: its {member.filename} has {member.file_size:,} bytes, "
                f"and the most that are read are {MAX_CONFIG:,}."
            )
    unfolded, packed = (
        sum(getattr(member, size) for member in file.infolist())
        for size in ("file_size", "compress_size")
    )
    if unfolded > MAX_RATIO * packed + MAX_CONFIG:
        raise ValueError(
            f"{name!r} is not loaded: its {packed:,} bytes unfold to {unfolded:,}, and the most "
            f"that is unpacked is {MAX_RATIO} times as much."
        )


def _check_config(path, name, text):
    """ValueError unless the description is that of a CIN or NTS without code.

    Args:
        path: `pathlib.Path` of the file, or of the folder that was downloaded.
        name: Str, as the caller gave it.
        text: Bytes, the description as JSON.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name!r} is damaged: its description cannot be read.") from error
    registered = config.get("registered_name") if isinstance(config, dict) else None
    if registered not in CLASS_NAMES:
        found = config.get("class_name") if isinstance(config, dict) else None
        raise ValueError(
            f"{name!r} holds a model of the class {found}, neither a CIN nor an NTS: use "
            "keras.saving.load_model for it."
        )
    parts = list(itertools.islice(_parts(config), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        raise ValueError(
            f"{name!r} is not loaded: its description has more than {MAX_PARTS:,} parts, the most "
            "that are read."
        )
    objects = [part for part in parts if isinstance(part, dict)]
    # A lambda, which Keras would refuse only in its safe mode. The second is how a Lambda layer
    # was written of old.
    if any(
        part.get("class_name") == "__lambda__" or part.get("function_type") == "lambda"
        for part in objects
    ):
        raise ValueError(
            f"{name!r} holds Python code (a lambda) and is not loaded, because loading it would "
            "run that code. Give the backbone a registered function or layer instead."
        )
    # Every unit has a weight of its own: more would only fill the memory.
    files = [path / name for name in WEIGHTS] if path.is_dir() else [path]
    bytes_of_weights = sum(file.stat().st_size for file in files if file.is_file())
    most = max(bytes_of_weights, 2**20) * MAX_RATIO
    for part in objects:
        for size in SIZES:
            if isinstance(part.get(size), int) and part[size] > most:
                raise ValueError(
                    f"{name!r} is not loaded: it describes a network of {size}={part[size]:,}, for "
                    "which it has no weights."
                )


def _parts(config):
    """Yields the lists and dicts in a description, itself included."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (dict, list)):
            yield part
            waiting.extend(part.values() if isinstance(part, dict) else part)
