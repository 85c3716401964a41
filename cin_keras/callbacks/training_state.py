"""The whole state of a training run in one file, to continue it after an interruption."""

import io
import json
import pathlib
import random
import zipfile

import keras
import numpy as np

from cin_keras.callbacks.stop_on_non_finite import NonFiniteLoss
from cin_keras.checks import check_list
from cin_keras.files import NOT_WHOLE, remove_partial, whole_file
from cin_keras.keras_internals import global_seed_generator

FORMAT = "cin_keras training state 1"
DESCRIPTION = "state.json"


class SaveTrainingState(keras.callbacks.Callback):
    """Writes at the end of every epoch all that the rest of the training depends on.

    That is: the model's variables (with the seeds of dropout and its like), the optimizer's
    (momentum, number of steps and with it the learning rate of a schedule, loss scale, averages,
    accumulated gradients), the number of the epoch, the random numbers of Python, NumPy, Keras
    and PyTorch, and the state of other callbacks. The one file is written under another name and
    moved into place, so that a run may end at any moment. A resumed run repeats the interrupted
    epoch. On a machine that computes the same numbers each time (on TensorFlow's CPU with
    `tf.config.experimental.enable_op_determinism()`) it ends with the same weights, bit for bit,
    as one that was never interrupted, if the order of the data depends on the epoch alone, as
    with `SetEpoch` without `steps_per_epoch`. Not in the file: the random numbers of `tf.random`
    and of arrays that `fit` shuffles itself, and other callbacks that remember something
    (`EarlyStopping`).

    Args:
        filepath: Path of the file, `"state.zip"` say; its folder must exist. A run that is
            not resumed replaces the file when its first epoch begins.
        settings: Dict that JSON can hold, or `None`: with what a run can only be resumed if it is
            the same. Defaults to `None`.
        callbacks: Callbacks of the same `fit` whose state belongs to the run, such as `KeepBest`
            and `SaveHistory`: objects with `get_state(epoch, logs)`, which returns what JSON can
            hold, as it is once the epoch has ended (without arguments: as it is), and
            `set_state(state, epoch, model)`, `epoch` being the last that is in the state, or
            `None`. In `fit` they stand after this one, so that no file of theirs is ahead of the
            state. Defaults to none.

    Raises:
        TypeError: If the settings hold what JSON cannot, or a callback lacks the two methods.
        OSError: While training, if the file cannot be written (a full disk, say), in one
            sentence; the file of before stays whole.
        NonFiniteLoss: While training, if weights are not finite; the file of before stays.

    Example:

    ```python
    keep_best, history = KeepBest("model.keras"), SaveHistory("history.csv")
    state = SaveTrainingState("state.zip", {"seed": 0}, [keep_best, history])
    initial_epoch = state.restore(model) if resume else 0
    model.fit(
        pairs,
        validation_data=images,
        epochs=20,
        initial_epoch=initial_epoch,
        callbacks=[cin_keras.data.SetEpoch(pairs), state, keep_best, history],
    )
    ```
    """

    def __init__(self, filepath, settings=None, callbacks=()):
        super().__init__()
        self.filepath = pathlib.Path(filepath)
        try:
            self.settings = json.loads(json.dumps(settings or {}))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"`settings` must be a dict that JSON can hold ({error}). "
                f"Received: settings={settings!r}"
            ) from error
        self.callbacks = list(check_list("callbacks", callbacks))
        for callback in self.callbacks:
            if not (hasattr(callback, "get_state") and hasattr(callback, "set_state")):
                raise TypeError(
                    "`callbacks` must have the methods get_state and set_state, as KeepBest and "
                    f"SaveHistory do. Received: {type(callback).__name__}"
                )
        self._restored = None  # the epoch before which the file's state is, until one begins
        self._random = None  # random numbers to go on with

    def on_train_begin(self, logs=None):
        self._first_epoch = True

    def on_epoch_begin(self, epoch, logs=None):
        if self._random is not None:
            # Not before: as `fit` begins, Keras draws some on PyTorch.
            _set_random_state(self._random)
            self._random = None
        # With this file a run that ends within its first epoch is resumed like any other.
        if self._first_epoch and self._restored != epoch and self.model.built:
            self._write(epoch, [callback.get_state() for callback in self.callbacks])
        self._first_epoch, self._restored = False, None

    def on_epoch_end(self, epoch, logs=None):
        self._write(epoch + 1, [callback.get_state(epoch, logs) for callback in self.callbacks])

    def restore(self, model):
        """Puts the state in the file into the model and the callbacks.

        The random numbers follow when the first epoch of `fit` begins.

        Args:
            model: The model, built and compiled, and with the same layers frozen, as in the run.
                Where a `tf.distribute` strategy is used, call this in its scope.

        Returns:
            Int from 0, for `fit(initial_epoch=...)`.

        Raises:
            FileNotFoundError: If there is no file, or one that a callback needs is gone.
            ValueError: If the file is damaged or no training state, or of a run with other
                settings, callbacks, variables or another backend.

        After an error, of a callback, too, model and callbacks are as they were (not files that
        another callback has written by then).
        """
        remove_partial(self.filepath)
        description, arrays = self._read()
        self._check(description, model)
        next_epoch = description["next_epoch"]
        variables = _variables(model)
        # Copies: on PyTorch, an array may share the variable's memory.
        before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        remembered = [dict(vars(callback)) for callback in self.callbacks]
        try:
            for variable, array in zip(variables, arrays):
                variable.assign(array)
            for callback, entry in zip(self.callbacks, description["callbacks"]):
                callback.set_state(entry["state"], next_epoch - 1 if next_epoch else None, model)
        except BaseException:
            for variable, array in zip(variables, before):
                variable.assign(array)
            for callback, attributes in zip(self.callbacks, remembered):
                vars(callback).clear()
                vars(callback).update(attributes)
            raise
        self._random = description["random"]
        self._restored = next_epoch
        return next_epoch

    # === Writing ===

    def _write(self, next_epoch, states):
        variables = _variables(self.model)
        description = {
            "format": FORMAT,
            "backend": keras.backend.backend(),
            "next_epoch": int(next_epoch),
            "settings": self.settings,
            "callbacks": [
                {"class": type(callback).__name__, "state": state}
                for callback, state in zip(self.callbacks, states)
            ],
            "random": _random_state(),
            "variables": [],
        }
        in_model = len(self.model.variables)
        with (
            whole_file(self.filepath) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file,
        ):
            for i, variable in enumerate(variables):
                array = np.asarray(keras.ops.convert_to_numpy(variable))
                if i < in_model:
                    self._check_finite(array, variable, next_epoch)
                description["variables"].append(_describe(variable))
                with file.open(_member(i), "w", force_zip64=True) as member:
                    # As bytes: NumPy's format has no bfloat16.
                    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                    np.lib.format.write_array(member, raw, allow_pickle=False)
            file.writestr(DESCRIPTION, json.dumps(description))

    def _check_finite(self, array, variable, next_epoch):
        if not np.issubdtype(array.dtype, np.integer) and not np.isfinite(array).all():
            raise NonFiniteLoss(
                f"The weights are not finite after epoch {next_epoch} ({variable.path}); "
                f"{str(self.filepath)!r} keeps the state before it. Try a lower learning rate.",
                max(next_epoch - 1, 0),
            )

    # === Reading ===

    def _read(self):
        """The description, and the arrays of the variables in their order."""
        path = str(self.filepath)
        if not self.filepath.exists():
            raise FileNotFoundError(
                f"There is no training state at {path!r}: start the run without resuming it."
            )
        try:
            with zipfile.ZipFile(self.filepath) as file:
                if DESCRIPTION not in file.namelist():
                    raise ValueError
                description = json.loads(file.read(DESCRIPTION))
                if not isinstance(description, dict) or description.get("format") != FORMAT:
                    raise ValueError
                arrays = [
                    _array(file.read(_member(i)), **entry)
                    for i, entry in enumerate(description["variables"])
                ]
        except (*NOT_WHOLE, KeyError, OSError) as error:
            raise ValueError(
                f"The training state {path!r} is damaged, or no training state: start the run "
                "without resuming it."
            ) from error
        except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"{path!r} is no training state that this version of cin_keras can read: start "
                "the run without resuming it."
            ) from error
        return description, arrays

    def _check(self, description, model):
        path = str(self.filepath)
        backend = keras.backend.backend()
        if description["backend"] != backend:
            raise ValueError(
                f"The run of {path!r} was on the {description['backend']} backend: resume it "
                f"there. Received: {backend}"
            )
        before = description["settings"]
        names = [
            name
            for name in dict.fromkeys([*before, *self.settings])
            if _text(before, name) != _text(self.settings, name)
        ]
        if names:
            differing = ", ".join(
                f"{name}={_text(self.settings, name)} (was {_text(before, name)})" for name in names
            )
            raise ValueError(
                f"A run is resumed with the settings it began with: {path!r} has others. "
                f"Received: {differing}"
            )
        classes = [type(callback).__name__ for callback in self.callbacks]
        saved = [entry["class"] for entry in description["callbacks"]]
        if classes != saved:
            raise ValueError(
                f"{path!r} holds the state of the callbacks {saved}. Received: {classes}"
            )
        if not model.built or getattr(model, "optimizer", None) is None:
            raise ValueError(
                "`model` must be built and compiled before a state is restored. "
                f"Received: {model.name!r}, built={model.built}"
            )
        found = [_describe(variable) for variable in _variables(model)]
        if found != description["variables"]:
            which = next(
                (
                    f"{a} where the file has {b}"
                    for a, b in zip(found, description["variables"])
                    if a != b
                ),
                f"{len(found)} variables where the file has {len(description['variables'])}",
            )
            raise ValueError(
                f"{path!r} is the state of another model or optimizer. Received: {which}"
            )


def _variables(model):
    """The variables of the model and of its optimizer, which is built if it is not yet."""
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return [*model.variables, *optimizer.variables]


def _describe(variable):
    return {
        "shape": list(variable.shape),
        "dtype": str(keras.backend.standardize_dtype(variable.dtype)),
    }


def _member(i):
    return f"variables/{i}.npy"


def _array(content, shape, dtype):
    raw = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return raw.view(np.dtype(dtype)).reshape(shape)  # bfloat16, too, once Keras is imported


def _text(settings, name):
    """A setting as text: NaN is then equal to itself."""
    return json.dumps(settings[name], sort_keys=True) if name in settings else "not set"


# === Random numbers that are no variables of the model ===


def _random_state():
    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state()
    state = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, keys.tolist(), *rest],
    }
    generator = global_seed_generator(make=False)
    if generator is not None:
        state["keras"] = np.asarray(keras.ops.convert_to_numpy(generator.state)).tolist()
    if keras.backend.backend() == "torch":
        import torch

        # Dropout without a seed draws from these.
        state["torch"] = [torch.get_rng_state().tolist()]
        if torch.cuda.is_available():
            state["torch"] += [numbers.tolist() for numbers in torch.cuda.get_rng_state_all()]
    return state


def _set_random_state(state):
    if "keras" in state:
        generator = global_seed_generator(make=True)
        generator.state.assign(np.asarray(state["keras"], str(generator.state.dtype)))
    if "torch" in state:
        import torch

        cpu, *cuda = (torch.tensor(numbers, dtype=torch.uint8) for numbers in state["torch"])
        torch.set_rng_state(cpu)
        if cuda and torch.cuda.device_count() == len(cuda):
            torch.cuda.set_rng_state_all(cuda)
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
