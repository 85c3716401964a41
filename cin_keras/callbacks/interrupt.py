"""Ctrl-C between batches, and how far a run has come."""

import signal

import keras


class InterruptBetweenBatches(keras.callbacks.Callback):
    """Turns Ctrl-C while `fit` runs into a `KeyboardInterrupt` at the end of the running batch.

    An interrupt that arrives anywhere may hit code that loses it or a file half written; this one
    is noted and raised from a callback. A second Ctrl-C is raised at once. For the main thread, as a
    context manager around `fit`, at whose end, or at that of the block, Ctrl-C is given back; where
    SIGINT is ignored, it stays so.

    Attributes:
        begun: Bool, whether `fit` has begun.
        trained: Bool, whether it has come to its end.
        pressed: Bool, whether Ctrl-C was pressed while it ran.

    Example:

    ```python
    with InterruptBetweenBatches() as interrupt:
        model.fit(pairs, callbacks=[interrupt])
    ```
    """

    # It reads no logs: with this, Keras need not wait for the numbers of every batch.
    async_safe = True

    def __init__(self):
        super().__init__()
        self.begun = self.trained = self.pressed = False
        self._before = None  # who listened before, while this one does

    def on_train_begin(self, logs=None):
        self.stop_listening()  # to a `fit` that was broken off
        self.begun, self.trained, self.pressed = True, False, False
        self._before = signal.getsignal(signal.SIGINT) or signal.SIG_DFL  # None: not Python's
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)

    def on_train_end(self, logs=None):
        self.trained = True
        self.stop_listening()
        self._raise_if_pressed()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop_listening()

    def stop_listening(self):
        """Gives Ctrl-C back, also where `fit` did not come to its end."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number, frame):
        # (One that gave Ctrl-C back before this one did has set it up again.)
        if self.pressed or self._before is None:
            raise KeyboardInterrupt
        self.pressed = True

    def _raise_if_pressed(self, *args, **kwargs):
        if self.pressed:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = on_epoch_end = _raise_if_pressed
