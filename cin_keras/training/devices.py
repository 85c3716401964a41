"""Which devices a run is for."""

import contextlib
import os

from cin_keras.distribution import Devices, distribute
from cin_keras.training.failures import mistakes_in_one_sentence


@contextlib.contextmanager
def on_devices(several=False):
    """One device, or `cin_keras.distribution.distribute()`, where of several processes one speaks.

    Args:
        several: Bool, `True` for all local accelerators, or all processes, as `distribute()` finds
            them. Defaults to `False`, one device.

    Returns:
        Context manager of `cin_keras.distribution.Devices`. Of several processes only the chief
        prints.

    Raises:
        SystemExit: Where `distribute()` has a mistake to tell of, with its sentence.

    Example:

    >>> with on_devices() as devices:
    ...     devices.count
    1
    """
    with contextlib.ExitStack() as stack:
        with mistakes_in_one_sentence():
            devices = stack.enter_context(distribute()) if several else Devices(["one"])
        if not devices.is_chief:
            silent = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        if several:
            print(devices)
        yield devices
