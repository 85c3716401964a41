"""How a `CIN` is trained that nobody has compiled: the strong recipe, as far as it fits any `fit`.

Weight decay and label smoothing are those of the strongest plain networks in public; in short runs of
our own they gave nothing (`assets/ablation/README.md`). The learning rate falls by half a cosine over
the epochs of each `fit`. Clipping stands in for a warm-up, which needs to know the number of steps.
"""

import contextlib
import math

import keras
from keras import ops

from cin_keras.callbacks.training_state import SaveTrainingState
from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.metrics import accuracy
from cin_keras.optimizers import LayerwiseSGD

# Factors on the learning rate, for LayerwiseSGD. φ and ψ see thousands of nearly equal inputs: at
# the classifier's rate φ overshoots, and η = ψ(...) runs away until Z' is the same for all images.
# The Navigator of NTS, which begins anew, loses its ReLUs for good in the first steps: all parts then
# score alike.
TRAINING_RATES = {"phi": 0.05, "psi": 0.01, "navigator": 0.01}
LEARNING_RATE = 0.01
# Decoupled, as Keras has it: PyTorch's 5e-4 with a momentum of 0.9.
WEIGHT_DECAY = 5e-3
LABEL_SMOOTHING = 0.1
NAME = "cin_default"  # by which a saved model's optimizer is known


def default_compilation(logits):
    """Arguments of `compile` for a new `CIN`.

    Args:
        logits: Bool, whether it gives logits, or else probabilities.

    Returns:
        Dict.

    Example:

    >>> default_compilation(logits=True)["loss"].label_smoothing
    0.1
    """
    return {
        "optimizer": LayerwiseSGD(
            LEARNING_RATE,
            rates=TRAINING_RATES,
            momentum=0.9,
            weight_decay=WEIGHT_DECAY,
            clipnorm=1.0,
            name=NAME,
        ),
        "loss": SoftmaxCrossentropy(from_logits=logits, label_smoothing=LABEL_SMOOTHING),
        "weighted_metrics": [accuracy],
    }


@contextlib.contextmanager
def default_schedule(model, given):
    """A context for a `fit` in which the rate of the default optimizer, if it is that, falls.

    A `LearningRateScheduler` among the callbacks has it for itself.

    Args:
        model: `CIN`.
        given: Dict of the method's arguments, in which `callbacks` gets one more.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    callbacks = given.get("callbacks")
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    others = keras.tree.flatten((callbacks.callbacks if is_list else callbacks) or [])
    if (
        getattr(optimizer, "name", None) != NAME
        or isinstance(optimizer.get_config()["learning_rate"], dict)
        or any(isinstance(c, keras.callbacks.LearningRateScheduler) for c in others)
    ):
        yield
        return
    cosine = HalfCosine(optimizer)
    changed = [cosine]
    for callback in others:
        # A state that is written as an epoch begins holds the rate that it begins with.
        is_state = isinstance(callback, SaveTrainingState)
        changed += [cosine.pause, callback, cosine.go_on] if is_state else [callback]
    if is_list:
        cosine.set_params({"epochs": given.get("epochs", 1)})
        callbacks.callbacks[:] = changed
    else:
        given["callbacks"] = changed
    try:
        yield
    finally:
        cosine.end()
        if is_list:
            callbacks.callbacks[:] = others


class HalfCosine(keras.callbacks.Callback):
    """Lets the learning rate fall by half a cosine, epoch by epoch, from what it is to nearly zero.

    Between epochs the optimizer has the rate it began with, which is what a saved state holds, and
    other callbacks may change it.

    Args:
        optimizer: `keras.optimizers.Optimizer` whose learning rate is a number.

    Attributes:
        pause: Callback after which, as an epoch begins, the rate is not lowered yet.
        go_on: Callback after which it is lowered again.

    Example:

    >>> optimizer = keras.optimizers.SGD(0.5)
    >>> cosine = HalfCosine(optimizer)
    >>> cosine.set_params({"epochs": 2})
    >>> cosine.on_epoch_begin(1)
    >>> float(optimizer.learning_rate)
    0.25
    """

    def __init__(self, optimizer):
        super().__init__()
        self.optimizer, self._rate, self._set, self._at_first = optimizer, None, None, None
        self.pause = keras.callbacks.LambdaCallback(on_epoch_begin=self._pause)
        self.go_on = keras.callbacks.LambdaCallback(on_epoch_begin=self._go_on)

    def on_train_begin(self, logs=None):
        self._at_first = self._current()

    def on_epoch_begin(self, epoch, logs=None):
        self._rate = self._current()
        done = min(epoch / self.params["epochs"], 1.0)
        factor = (1 + math.cos(math.pi * done)) / 2
        # What `BackupAndRestore` has saved within the epoch that this `fit` begins with has fallen.
        if (
            self._set is None
            and self._at_first
            and math.isclose(self._rate, self._at_first * factor, rel_tol=1e-6)
        ):
            self._rate = self._at_first
        self.optimizer.learning_rate = self._rate * factor
        self._set = self._current()

    def _pause(self, epoch, logs=None):
        self._paused = self._current() == self._set
        if self._paused:
            self.optimizer.learning_rate = self._rate

    def _go_on(self, epoch, logs=None):
        if self._paused:
            self.optimizer.learning_rate = self._set

    def _current(self):
        # Not float(...) alone: on several devices of TensorFlow it is a variable of each.
        return float(ops.convert_to_numpy(self.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        self.end()

    def end(self):
        """Gives the optimizer the rate back that it had, unless somebody has set another."""
        if self._rate is not None and self._current() == self._set:
            self.optimizer.learning_rate = self._rate
        self._rate = None
