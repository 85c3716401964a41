"""Which devices a run is for."""

import contextlib
import os

from cin_keras.distribution import Devices, distribute
from cin_keras.training.failures import mistakes_in_one_sentence


@contextlib.contextmanager
def devices_of(args):
    """All local accelerators, or all processes of `torchrun`, with `--distribute`; else one device.

    Of several processes only the chief prints.

    Args:
        args: What `settle` returned.

    Returns:
        Context manager of `cin_keras.distribution.Devices`.

    Example:

    ```python
    with devices_of(args) as devices:
        run = Run(args, train, validation, test, devices)
    ```
    """
    with contextlib.ExitStack() as stack:
        with mistakes_in_one_sentence():
            devices = stack.enter_context(distribute()) if args.distribute else Devices(["one"])
        if not devices.is_chief:
            silent = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        if args.distribute:
            print(devices)
        yield devices
