"""The version of this package, and what else a result depends on beside its settings."""

import contextlib
import importlib.metadata
import platform

__version__ = "0.1.0"


def versions():
    """Dict of str, the versions of this package, Python, Keras and its backend, and the rest.

    Example:

    >>> versions()["cin_keras"] == cin_keras.__version__
    True
    """
    import keras  # `cin-keras --version` answers without

    backend = keras.backend.backend()
    packages = ("keras", "tensorflow", "numpy", backend)
    found = {"cin_keras": __version__, "backend": backend}
    found["python"] = platform.python_version()
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
