"""The best model so far, always whole."""

import pathlib

import keras
import numpy as np

from cin_keras.checks import check_bool, short
from cin_keras.files import remove_partial, whole_file
from cin_keras.metrics import better_way


class KeepBest(keras.callbacks.Callback):
    """Saves the model whenever the monitored number is the best so far.

    The file is written under another name and moved into place, so that an interruption at any
    moment leaves the best model before it, whole. A model whose loss or validation loss is not
    finite is never the best.

    Args:
        filepath: Path ending in `.keras`; its folder must exist.
        monitor: Str, a key of the logs of an epoch: a loss (`"val_loss"`) is the better the
            smaller, any other number the larger. Defaults to `"val_accuracy"`.
        averaged: Bool, whether `keras.callbacks.SwapEMAWeights(swap_on_epoch=True)` comes before:
            what is saved is the average then, also where a run goes on. Defaults to `False`.

    Attributes:
        best: Float, the best number so far, or `None`.
        best_epoch: Int from 0, its epoch, or `None`.

    Raises:
        ValueError: If `filepath` does not end in `.keras`; at the end of an epoch, if the logs
            have no such key.
        OSError: If the file cannot be written (a full disk, say), in one sentence.

    Example:

    ```python
    model.fit(pairs, validation_data=images, callbacks=[KeepBest("model.keras")])
    ```
    """

    def __init__(self, filepath, monitor="val_accuracy", averaged=False):
        super().__init__()
        self.filepath = pathlib.Path(filepath)
        if self.filepath.suffix != ".keras":
            raise ValueError(
                f"`filepath` must end in '.keras'. Received: filepath={str(filepath)!r}"
            )
        if not isinstance(monitor, str):
            raise ValueError(
                f"`monitor` must be a key of the logs, a str. Received: monitor={short(monitor)}"
            )
        self.monitor = monitor
        self.averaged = check_bool("averaged", averaged)
        self.best = None
        self.best_epoch = None

    def on_epoch_end(self, epoch, logs=None):
        state = self.get_state(epoch, logs)
        if state["best"] != self.best:
            self._save(self.model)
            self.best, self.best_epoch = state["best"], state["best_epoch"]

    def get_state(self, epoch=None, logs=None):
        """For `SaveTrainingState`: `best` and `best_epoch`, once `epoch` with `logs` has ended."""
        if epoch is not None:
            if self.monitor not in (logs or {}):
                raise ValueError(
                    f"KeepBest found no {self.monitor!r} in the logs; pass `validation_data` to "
                    "fit, with validation_freq=1, or another `monitor`. "
                    f"Received: {sorted(logs or {})}"
                )
            value = float(logs[self.monitor])
            # With weights that are not numbers, accuracy still is one.
            losses = [logs.get(name, 0.0) for name in ("loss", "val_loss")]
            good = np.isfinite(losses).all() and not np.isnan(value)
            sign = -1 if better_way(self.monitor) == "min" else 1
            if good and (self.best is None or sign * value > sign * self.best):
                return {"best": value, "best_epoch": epoch}
        return {"best": self.best, "best_epoch": self.best_epoch}

    def set_state(self, state, epoch, model):
        """For `SaveTrainingState`: goes on after `epoch` (int or `None`), which `model` has seen.

        Raises:
            FileNotFoundError: If the best model was saved and is no longer there.
        """
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        remove_partial(self.filepath)
        if self.best_epoch is None:
            return
        if self.best_epoch == epoch:
            # The state is written first: the run may have ended before the model was.
            if not self.averaged:
                self._save(model)
                return
            weights = model.get_weights()
            model.optimizer.finalize_variable_values(model.trainable_weights)
            self._save(model)
            model.set_weights(weights)
        elif not self.filepath.exists():
            raise FileNotFoundError(
                f"The best model, of epoch {self.best_epoch + 1}, is not at "
                f"{str(self.filepath)!r}: put it back, or start anew."
            )

    def _save(self, model):
        with whole_file(self.filepath) as partial:
            model.save(partial)
