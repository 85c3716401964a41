"""Ctrl-C between batches."""

import signal

import keras


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
