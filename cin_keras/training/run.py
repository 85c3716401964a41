"""One training run: samples in, a folder with the best model and what it can do out."""

import pathlib
import shutil
import time

import keras

import cin_keras
from cin_keras.callbacks import (
    InterruptBetweenBatches,
    KeepBest,
    SaveHistory,
    SaveTrainingState,
    StopOnNonFinite,
)
from cin_keras.data import (
    ReportSkipped,
    SetEpoch,
    find_duplicates,
    image_dataset,
    pair_dataset,
)
from cin_keras.distribution import Devices
from cin_keras.evaluation import figures, softmax
from cin_keras.evaluation.results import write_results
from cin_keras.files import check_writable, move_aside
from cin_keras.models import TRAINING_RATES
from cin_keras.models.small_backbone import small_backbone
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD
from cin_keras.training.failures import (
    accidents_in_one_sentence,
    mistakes_in_one_sentence,
    stop,
)
from cin_keras.training.options import command_line
from cin_keras.versions import versions

PLAIN = {"interaction": None, "contrast": None}
RESULTS = (
    "state.zip",
    "model.keras",
    "saved_model",
    "history.csv",
    "metrics.json",
    "report.html",
    "*.png",
)


class Run:
    """A run of `fit` on three sets of samples, with its pipelines, folder and results.

    Args:
        args: What `settle` returned: the settings.
        train: `Samples`. Of all three, `args.limit` images are used, if it is set.
        validation: `Samples`, which choose the best epoch.
        test: `Samples`, looked at once, at the end.
        devices: `cin_keras.distribution.Devices`, inside whose `distribute()` all of the run takes
            place; the chief alone writes. `args.pairs_per_batch` is what all devices see in one
            step. Defaults to `None`, one device.

    Raises:
        OSError: If `args.output` cannot be written.
        ValueError: For settings out of range, or a batch that the devices cannot share.

    Attributes:
        folder: `pathlib.Path`, where everything is written.
        train_data: `tf.data.Dataset` of pairs, or of single images with `args.plain`.
        validation_data: `tf.data.Dataset` of single images.
        metrics: Dict, after `evaluate`.

    Example:

    ```python
    run = Run(args, train, validation, test)
    model = run.fit(run.build_model())
    run.evaluate(model)
    run.export(model)
    print(run.summary())
    ```
    """

    def __init__(self, args, train, validation, test, devices=None):
        self.started = time.time()
        self.args = args
        if args.distribute and devices is None:
            raise ValueError("--distribute needs a run inside `with devices_of(args)`.")
        self.devices = devices or Devices(["one"])
        self.train, self.validation, self.test = (
            part.limit(args.limit, seed=args.seed) if args.limit else part
            for part in (train, validation, test)
        )
        self.folder = pathlib.Path(args.output)
        if args.deterministic:
            make_deterministic()
        keras.utils.set_random_seed(args.seed)
        if self.devices.is_chief:
            check_writable(self.folder)
        for name in ("train", "validation", "test"):
            print(f"{name:>10}: {getattr(self, name)}")
        self._report_duplicates()
        pairs_per_batch = self.devices.local_batch(args.pairs_per_batch)
        common = {"on_error": args.on_error, "shard": self.devices.shard}
        if args.plain:
            train_data = image_dataset(
                self.train,
                args.image_size,
                2 * pairs_per_batch,
                shuffle=True,
                augment="crop",
                seed=args.seed,
                **common,
            )
        else:
            train_data = pair_dataset(
                self.train,
                args.image_size,
                pairs_per_batch,
                seed=args.seed,
                split_batches=True,
                **common,
            )
        self.train_data = self.devices.training_data(train_data)
        self.validation_data = self.devices.evaluation_data(
            image_dataset(self.validation, args.image_size, 2 * pairs_per_batch, **common)
        )

    def _report_duplicates(self):
        """Says which test images are in training, too: what they show proves nothing."""
        self.duplicates = {}
        for name in ("train", "validation"):
            try:
                found = find_duplicates(getattr(self, name), self.test)
            except ValueError as error:
                if self.args.on_error == "raise":
                    raise
                print(f"{name} and test not compared for duplicates: {error}")
                self.duplicates[name] = None
            else:
                self.duplicates[name] = [index for _, index in found.pairs]
                if found:
                    print(f"{name} and test share images: {found}")

    def build_model(self):
        """A compiled `CIN` as the settings say, which knows its classes and settings.

        Raises:
            ValueError, OSError: As `CIN`.
        """
        args, size = self.args, self.args.image_size
        policy = f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"
        small = args.backbone == "small"
        model = cin_keras.CIN(
            self.train.num_classes,
            backbone=small_backbone(size, dtype=policy) if small else args.backbone,
            weights=None if args.weights == "none" else args.weights,
            input_shape=(size, size, 3),
            feature_layer=args.feature_layer,
            alpha=args.alpha,
            dtype=policy,
            class_names=list(self.train.class_names),
            settings={**self._settings(), "versions": versions()},
            **(PLAIN if args.plain else {}),
        )
        rate = learning_rate_schedule(args.learning_rate, args.epochs, len(self.train_data))
        if small:
            optimizer = LayerwiseAdamW(rate, rates=TRAINING_RATES)
        else:
            optimizer = LayerwiseSGD(rate, rates=TRAINING_RATES, momentum=0.9)
        loss = cin_keras.losses.SoftmaxCrossentropy()
        model.compile(optimizer, loss=loss, weighted_metrics=["accuracy"])
        return model

    def fit(self, model):
        """Trains, or goes on training, with everything kept after every epoch.

        Ctrl-C ends the process with a sentence on what there is and how to go on, and so does
        what stops a run (a full disk, a damaged photograph, a loss that is not finite).

        Args:
            model: What `build_model` returned.

        Returns:
            The model of the best epoch on the validation images.
        """
        keep_best, saving, first_epoch = None, [], 0
        if self.devices.is_chief:
            with mistakes_in_one_sentence():
                state, keep_best, self.history, first_epoch = self._saving_callbacks(model)
            saving = [state, keep_best, self.history]  # the state before what it keeps
        try:
            with InterruptBetweenBatches() as interrupt, accidents_in_one_sentence():
                model.fit(
                    self.train_data,
                    validation_data=self.validation_data,
                    epochs=self.args.epochs,
                    initial_epoch=self.devices.broadcast(first_epoch),
                    verbose="auto" if self.devices.is_chief else 0,
                    shuffle=False,  # the data set shuffles; Keras warns otherwise
                    callbacks=[
                        SetEpoch(self.train_data),
                        StopOnNonFinite(self.train_data),
                        *saving,
                        ReportSkipped(self.train_data, self.validation_data),
                        interrupt,
                    ],
                )
        except (KeyboardInterrupt, RuntimeError) as error:
            # A process that has stopped a step before this one lets it wait in vain: an error.
            parted = self.devices.processes > 1 and interrupt.pressed
            if isinstance(error, RuntimeError) and not parted:
                raise
            if keep_best is None:
                stop("")
            if keep_best.best is None:
                stop("\nInterrupted before the first epoch ended: there is no model to keep.", 1)
            stop(
                f"\nInterrupted. The best model so far, of epoch {keep_best.best_epoch + 1} with "
                f"{keep_best.best:.1%} on validation images, is {keep_best.filepath}. "
                "The same command with --resume goes on."
            )
        if keep_best is not None:
            with accidents_in_one_sentence():
                model = cin_keras.load_model(keep_best.filepath)
        self.devices.broadcast_weights(model)
        return model

    def _saving_callbacks(self, model):
        """What writes to the folder while training, and the epoch to begin with.

        That is 0, and an earlier run is moved aside, unless `--resume` finds one to go on with.
        """
        keep_best = KeepBest(self.folder / "model.keras")
        history = SaveHistory(self.folder / "history.csv")
        state = SaveTrainingState(self.folder / "state.zip", self._settings(), [keep_best, history])
        if self.args.resume and state.filepath.exists():
            first_epoch = state.restore(model)
            print(f"Going on after epoch {first_epoch} of {self.args.epochs}.")
            return state, keep_best, history, first_epoch
        if self.args.resume:
            print(f"No run to go on with in {self.folder}: starting one.")
        move_aside(self.folder, RESULTS)
        return state, keep_best, history, 0

    def _settings(self):
        """Dict of the options that decide what is trained, not where it is written."""
        others = ("resume", "output", "command", "distribute")
        return {key: value for key, value in vars(self.args).items() if key not in others}

    def evaluate(self, model):
        """Looks at the test images, once, and writes `metrics.json`, figures and `report.html`.

        Args:
            model: A trained `CIN`.

        Returns:
            Dict, what `metrics.json` holds; `None` in other processes than the chief.
        """
        args, folder = self.args, self.folder
        data = image_dataset(
            self.test,
            args.image_size,
            2 * self.devices.local_batch(args.pairs_per_batch),
            on_error=args.on_error,
            shard=self.devices.shard,
        )
        try:
            with accidents_in_one_sentence():
                scores = self.devices.predict(model, data, verbose="auto")
                if not self.devices.is_chief:
                    return None
                data.skipped.report()
                about = {
                    "skipped": paths_with_reasons(data.skipped),
                    "skipped_in_training": {
                        **paths_with_reasons(self.train_data.skipped),
                        **paths_with_reasons(self.validation_data.skipped),
                    },
                    "duplicates": {
                        name: None if found is None else sum(i not in data.skipped for i in found)
                        for name, found in self.duplicates.items()
                    },
                    "data": args.data_dir or "drawn cars",
                    "command": command_line(args),
                    "settings": {k: v for k, v in vars(args).items() if k != "command"},
                    "seconds": round(time.time() - self.started),
                    "versions": versions(),
                }
                figures.learning_curves(self.history.history, folder / "learning_curves.png")
                self.metrics = write_results(
                    folder,
                    model,
                    data.skipped.remaining(),
                    softmax(scores),
                    about,
                    train=self.train,
                    validation=self.validation,
                    history=self.history.history,
                )
        except KeyboardInterrupt:
            stop(f"\nInterrupted. The best model is {folder / 'model.keras'}.")
        return self.metrics

    def export(self, model):
        """Writes the SavedModel, where the backend can: a folder that is whole or not there."""
        if keras.backend.backend() == "torch":  # so there is one process
            return
        partial = self.folder / "saved_model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with accidents_in_one_sentence():
                model.export(partial, verbose=False)
                # A run that is resumed after its end has one already.
                shutil.rmtree(self.folder / "saved_model", ignore_errors=True)
                partial.rename(self.folder / "saved_model")
        except KeyboardInterrupt:
            stop(f"\nInterrupted. The best model is {self.folder / 'model.keras'}.")

    def summary(self):
        """Str, what the terminal shows in the end; empty in other processes than the chief."""
        if not self.devices.is_chief:
            return ""
        served = "tf.saved_model.load(...).serve_uint8(images), needs TensorFlow alone"
        if keras.backend.backend() == "torch":
            served = "not on PyTorch: load model.keras with KERAS_BACKEND=tensorflow and export()"
        return (
            f"\n{self.metrics['accuracy']:.1%} of {self.metrics['images']} test images right "
            f"({self.metrics['top_5_accuracy']:.1%} within five), "
            f"{self.metrics['seconds']} s since this command began.\n"
            f"{self.folder}/\n"
            f"  report.html            all of it on a page, for any browser\n"
            f"  model.keras            cin_keras.load_model\n"
            f"  saved_model/           {served}\n"
            f"  metrics.json           accuracy in all and per class, settings, versions\n"
            f"  history.csv            every epoch\n"
            f"  state.zip              for --resume\n"
            f"  learning_curves.png, confusion_matrix.png, worst_mistakes.png"
        )


def make_deterministic():
    """Lets TensorFlow give the same bits for the same numbers, in this process.

    Raises:
        ValueError: On another backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"--deterministic is for the TensorFlow backend. Received: KERAS_BACKEND={backend}"
        )
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def learning_rate_schedule(highest, epochs, steps_per_epoch):
    """Half an epoch of linear rise from zero, then half a cosine down to zero.

    Args:
        highest: Float > 0.
        epochs: Int ≥ 1, of the whole run.
        steps_per_epoch: Int ≥ 1.

    Returns:
        A Keras learning rate schedule.

    Example:

    >>> schedule = learning_rate_schedule(0.1, epochs=10, steps_per_epoch=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 25, 50, 1000)]
    [0.0, 0.05, 0.1, 0.0]
    """
    warmup = steps_per_epoch // 2
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(epochs * steps_per_epoch - warmup, 1),
        warmup_target=highest,
        warmup_steps=warmup,
    )


def paths_with_reasons(skipped):
    """Dict of the images that a pipeline left out, path → why."""
    return {skipped.samples.paths[i]: reason for i, reason in skipped.reasons.items()}
