"""Stops at the first loss that is not finite, and says where it came from."""

import bisect
import threading

import keras
import numpy as np

from cin_keras.data.pipeline import Batches
from cin_keras.distribution.devices import current_replicas


class NonFiniteLoss(ArithmeticError):
    """Ends a run whose loss, validation loss or weights are no longer finite.

    Args:
        message: Str, what was found where.
        epoch: Int from 0.
        step: Int from 0, the batch within the epoch, or `None`. Defaults to `None`.
        paths: List of str, the images of that batch, as far as known. Defaults to none.
    """

    def __init__(self, message, epoch, step=None, paths=()):
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.paths = list(paths)


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends `fit` with a `NonFiniteLoss` that names the step and its images.

    The step is the first whose loss is NaN or infinite. Either its images did that or the update
    of the weights one step before. No validation and no end of the epoch come after it, so that
    `KeepBest` and `SaveTrainingState` keep what they have. Training does not wait for the numbers
    of a batch, so a few more steps may run before it stops; where there are several processes, it
    does wait (create the callback inside `distribute()`). A validation loss that is not finite
    ends the run as well, at the end of the epoch: put this callback before those that save.

    Args:
        dataset: What `pair_dataset` or `image_dataset` returned and `fit` is given, or `None`:
            then the images are not named, nor where `steps_per_epoch` is no whole pass. Defaults
            to `None`.

    Raises:
        TypeError: If the data set is another (one derived from it has lost what is needed).

    Example:

    ```python
    pairs = cin_keras.data.pair_dataset(samples)
    try:
        model.fit(pairs, callbacks=[StopOnNonFinite(pairs)])
    except cin_keras.callbacks.NonFiniteLoss as error:
        print(error)
    ```
    """

    def __init__(self, dataset=None):
        super().__init__()
        self.batches = getattr(dataset, "batches", None)
        if dataset is not None and not isinstance(self.batches, Batches):
            raise TypeError(
                "StopOnNonFinite needs the data set as pair_dataset or image_dataset returned it. "
                f"Received: dataset={dataset!r}"
            )
        self.replicas = current_replicas()
        # If so, Keras may call `on_train_batch_end` in other threads, several at a time.
        self.async_safe = not self.replicas.lockstep
        self._changed = threading.Condition()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._begun = []  # the first step of every call of the training function
        self._ended = {}  # which call → whether the loss was finite

    def on_train_batch_begin(self, batch, logs=None):
        self._begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        finite = loss is None or bool(np.isfinite(loss))
        call = bisect.bisect_right(self._begun, batch) - 1
        with self._changed:
            self._ended[call] = finite
            self._changed.notify_all()
            if finite:
                return
            # The loss is the mean of the epoch so far: the first that is not finite is the one.
            # An earlier call is missing for good if another callback failed in it.
            self._changed.wait_for(
                lambda: len(self._ended.keys() & range(call)) == call, timeout=10
            )
            if all(self._ended.get(earlier, True) for earlier in range(call)):
                raise self._error(loss, self._begun[call], batch)

    def on_epoch_end(self, epoch, logs=None):
        loss = (logs or {}).get("val_loss", 0.0)
        if not np.isfinite(loss):
            raise NonFiniteLoss(
                f"The validation loss of epoch {epoch + 1} is not finite ({loss}), although the "
                "training loss was: try a lower learning rate.",
                epoch,
            )

    def _error(self, loss, first, last):
        steps = f"step {first + 1}" if first == last else f"steps {first + 1} to {last + 1}"
        message = (
            f"The loss is not finite ({loss}) in epoch {self._epoch + 1}, {steps}: try a lower "
            "learning rate, or look at the images."
        )
        paths = []
        if self.batches is not None:
            # The pass that is running, whose number is the epoch of fit only with SetEpoch.
            running = self.batches.epochs.epoch - 1
            for step in range(first, last + 1) if self._epochs_are_passes() else ():
                paths += self.batches.paths(running, step)
            # All processes see the same loss and stop at the same step.
            paths = self.replicas.gather(paths)
            lines = "".join(f"\n  {path!r}" for path in dict.fromkeys(paths))
            message += f" The images of {steps}:{lines}" if paths else ""
        return NonFiniteLoss(message, self._epoch, first, paths)

    def _epochs_are_passes(self):
        """Whether the steps of an epoch are those of a pass, on several devices without a rest."""
        steps = (self.params or {}).get("steps")
        full, rest = divmod(len(self.batches.epochs), self.batches.batch_size)
        cut = self.replicas.pads and steps == full  # see `Devices.training_data`
        return steps is None or steps == full + (rest > 0) or cut
