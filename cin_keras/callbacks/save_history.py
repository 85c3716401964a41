"""The numbers of every epoch, as a table that is always whole."""

import csv
import math
import pathlib

import keras
import numpy as np

from cin_keras.files import remove_partial, whole_file


class SaveHistory(keras.callbacks.Callback):
    """Writes the logs of every epoch to a CSV file: an epoch a row, in the order of training.

    Other than with `keras.callbacks.CSVLogger`, the file is whole at any moment, and in a run
    that is resumed with `SaveTrainingState` it holds every epoch once.

    Args:
        filepath: Path of the CSV file; its folder must exist.

    Attributes:
        rows: List of dicts, one an epoch: `epoch` (int from 0) and the logs.
        history: The same as a dict of lists, as `fit` returns it, of resumed runs from epoch 0, but
            with NaN for what an epoch lacks.

    Raises:
        OSError: If the file cannot be written (a full disk, say), in one sentence.

    Example:

    ```python
    history = SaveHistory("history.csv")
    model.fit(pairs, callbacks=[history])
    cin_keras.evaluation.figures.learning_curves(history.history, "learning_curves.png")
    ```
    """

    def __init__(self, filepath):
        super().__init__()
        self.filepath = pathlib.Path(filepath)
        self.rows = []

    @property
    def history(self):
        names = dict.fromkeys(name for row in self.rows for name in row if name != "epoch")
        return {name: [row.get(name, math.nan) for row in self.rows] for name in names}

    def on_epoch_end(self, epoch, logs=None):
        self.rows = self.get_state(epoch, logs)["rows"]
        self._write()

    def get_state(self, epoch=None, logs=None):
        """For `SaveTrainingState`: the rows, once `epoch` with `logs` has ended."""
        if epoch is None:
            return {"rows": self.rows}
        numbers = {name: np.asarray(value).tolist() for name, value in (logs or {}).items()}
        earlier = [row for row in self.rows if row["epoch"] < epoch]
        return {"rows": [*earlier, {"epoch": int(epoch), **numbers}]}

    def set_state(self, state, epoch, model):
        """For `SaveTrainingState`: goes on after these rows; later ones leave the file."""
        self.rows = state["rows"]
        remove_partial(self.filepath)
        if self.rows or self.filepath.exists():
            self._write()

    def _write(self):
        names = dict.fromkeys(name for row in self.rows for name in row)
        with whole_file(self.filepath) as partial, open(partial, "w", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(self.rows)
