"""Channel Interaction Networks for fine-grained image recognition, in Keras 3."""

import importlib
import pathlib
import sys

from cin_keras.versions import __version__

_PACKAGES = """
callbacks data distribution evaluation explain gallery layers losses metrics models optimizers
""".split()


def _is_command():
    """Whether this process is `cin-keras` or `python -m cin_keras`."""
    if not sys.argv:
        return False
    if sys.argv[0] == "-m":  # so it is while Python looks for the module that it will run
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == __name__
    return pathlib.Path(sys.argv[0]).stem == "cin-keras"


# Keras takes seconds to load. The command reads its arguments first, and answers --help, without.
if not _is_command():
    from cin_keras import callbacks, data, explain, layers, losses, metrics, models, optimizers
    from cin_keras.models import CIN, NTS, load_model


def __getattr__(name):
    if name in ("CIN", "NTS", "load_model"):
        return getattr(importlib.import_module("cin_keras.models"), name)
    if name == "Gallery":
        return importlib.import_module("cin_keras.gallery").Gallery
    if name in _PACKAGES:
        return importlib.import_module(f"cin_keras.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
