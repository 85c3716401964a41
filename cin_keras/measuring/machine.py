"""What a measurement was made on: backend, device and versions."""

import pathlib
import platform

import keras

from cin_keras.threads import available_cores
from cin_keras.versions import versions


def describe_machine():
    """Backend, device and versions, for the record.

    Returns:
        Dict: `backend` and `device`, str, and `versions`, a dict of str.

    Example:

    >>> describe_machine()["backend"] == keras.backend.backend()
    True
    """
    return {
        "backend": keras.backend.backend(),
        "device": accelerator() or f"{available_cores()} CPU cores, {processor()}",
        "versions": versions(),
    }


def accelerator():
    """Str, the name of the accelerator that Keras' backend computes on, or `None`."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind if jax.default_backend() != "cpu" else None
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0])["device_name"] if devices else None


def processor():
    """Str, the name of the CPU."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
