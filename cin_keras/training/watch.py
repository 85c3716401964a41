"""How far a run has come, and Ctrl-C while it trains."""

from cin_keras.callbacks import InterruptBetweenBatches


class Watch(InterruptBetweenBatches):
    """Knows whether `fit` has begun and ended, and listens for Ctrl-C in between.

    Attributes:
        begun: Bool, whether `fit` has begun.
        trained: Bool, whether it has come to its end.
        pressed: Bool, whether Ctrl-C was pressed while it ran.

    Example:

    ```python
    watch = Watch()
    try:
        model.fit(pairs, callbacks=[watch])
    finally:
        watch.stop_listening()
    ```
    """

    def __init__(self):
        super().__init__()
        self.begun = self.trained = self.pressed = self._listening = False

    def on_train_begin(self, logs=None):
        self.begun = self._listening = True
        self.__enter__()

    def on_train_end(self, logs=None):
        self.trained = True
        self.stop_listening()

    def stop_listening(self):
        """Gives Ctrl-C back, also where `fit` did not come to its end."""
        if self._listening:
            self._listening = False
            self.__exit__()
