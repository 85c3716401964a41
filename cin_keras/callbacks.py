"""Training callbacks: the best model so far, always whole, and Ctrl-C between batches."""

import os
import pathlib
import signal

import keras
import numpy as np


class KeepBest(keras.callbacks.Callback):
    """Saves the model whenever the monitored number is the best so far.

    The file is written under another name and moved into place, so that an interruption at any
    moment leaves the best model before it, whole.

    Args:
        filepath: Path ending in `.keras`; its folder must exist.
        monitor: Str, a key of the logs of an epoch, the larger the better. Defaults to
            `"val_accuracy"`.

    Attributes:
        best: Float, the best number so far, or `None`.
        best_epoch: Int from 0, its epoch, or `None`.

    Raises:
        ValueError: If `filepath` does not end in `.keras`; at the end of the first epoch, if the
            logs have no such key.

    Example:

    ```python
    model.fit(pairs, validation_data=images, callbacks=[KeepBest("model.keras")])
    ```
    """

    def __init__(self, filepath, monitor="val_accuracy"):
        super().__init__()
        self.filepath = pathlib.Path(filepath)
        if self.filepath.suffix != ".keras":
            raise ValueError(
                f"`filepath` must end in '.keras'. Received: filepath={str(filepath)!r}"
            )
        self.monitor = monitor
        self.best = None
        self.best_epoch = None

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"KeepBest found no {self.monitor!r} in the logs; pass `validation_data` to fit, "
                f"or another `monitor`. Received: {sorted(logs or {})}"
            )
        value = float(logs[self.monitor])
        if np.isnan(value) or self.best is not None and value <= self.best:
            return
        partial = self.filepath.with_name(f"{self.filepath.stem}.partial.keras")
        try:
            self.model.save(partial)
            os.replace(partial, self.filepath)
        finally:
            partial.unlink(missing_ok=True)
        self.best, self.best_epoch = value, epoch


class InterruptBetweenBatches(keras.callbacks.Callback):
    """Turns Ctrl-C into a `KeyboardInterrupt` at the end of the running batch.

    An interrupt that arrives anywhere may hit code that loses it or a file half written; this one
    is noted and raised from a callback. A second Ctrl-C is raised at once. For the main thread,
    as a context manager around `fit`; where SIGINT is ignored, it stays so.

    Example:

    ```python
    with InterruptBetweenBatches() as interrupt:
        model.fit(pairs, callbacks=[interrupt])
    ```
    """

    # It reads no logs: with this, Keras need not wait for the numbers of every batch.
    async_safe = True

    def __enter__(self):
        self.pressed = False
        self.before = signal.getsignal(signal.SIGINT)
        if self.before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception):
        signal.signal(signal.SIGINT, self.before)

    def _note(self, number, frame):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def _raise_if_pressed(self, *args, **kwargs):
        if self.pressed:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = on_epoch_end = _raise_if_pressed
