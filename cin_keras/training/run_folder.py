"""The folder of a training run: what is written there, and how a run goes on."""

import importlib.util
import json
import os
import pathlib
import time

import filelock
import keras

from cin_keras.callbacks import (
    InterruptBetweenBatches,
    KeepBest,
    SaveHistory,
    SaveTrainingState,
    StopOnNonFinite,
)
from cin_keras.data import ReportSkipped, SetEpoch, find_duplicates, image_dataset
from cin_keras.data.samples import fingerprint
from cin_keras.data.skipping import lengths_may_be_unknown
from cin_keras.distribution import Devices
from cin_keras.evaluation import accuracy_in_words, calibrated, figures, fit_temperature
from cin_keras.evaluation.calibration import as_logits
from cin_keras.evaluation.card import is_card, write_card
from cin_keras.evaluation.results import write_results
from cin_keras.files import check_writable, move_aside, remove_partial, whole_file, whole_folder
from cin_keras.models import Whitening, load_model
from cin_keras.text import plural, warn
from cin_keras.training.command import command_line, decisive
from cin_keras.training.photographs import (
    SamePhotographs,
    check_readable,
    what_is_trained,
    with_content,
)
from cin_keras.versions import versions

EXPLANATIONS = (  # of recipes/explain.py
    "class_contrast.png",
    "channel.png",
    "ranking.png",
    "pair_contrast.png",
    "parts.png",
    "scores.png",
    "scores.json",
    "scores.md",
)
RESULTS = (
    "state.zip",
    "split.json",
    "model.keras",
    "saved_model",
    "history.csv",
    "metrics.json",
    "report.html",
    "learning_curves.png",
    "confusion_matrix.png",
    "worst_mistakes.png",
    "tensorboard",
    *EXPLANATIONS,
)

# Settings that may have another value on every host.
PLACES = ("data_dir", "weights", "split_file", "class_names", "download")
WHITENED = 10_000  # training images are enough to know the directions of most variance


class RunFolder:
    """The folder of one training run, which survives whatever ends it: parts for a script's `fit`.

    Args:
        path: Str or path of the folder. Nothing is written before `check_samples`, and what an
            earlier run has left there is moved to a folder in it by `first_epoch`.
        settings: Dict of what JSON can hold, all that the run was asked to do.
        resume: Bool, whether to go on with an earlier run in the folder. Defaults to `False`.
        devices: `cin_keras.distribution.Devices` of the `distribute()` around; the chief alone
            writes. Defaults to `None`, one device.

    Attributes:
        path: `pathlib.Path`.
        devices: `Devices`.
        settings: Dict, for `CIN(settings=...)`: what decides what is trained, and all versions.
        metrics: Dict, what `metrics.json` holds, after `evaluate`; `None` before.
        keep_best: `KeepBest`, which knows of the best epoch so far.
        watch: `InterruptBetweenBatches`, which knows whether training has begun and ended.
    """

    def __init__(self, path, settings, resume=False, devices=None):
        self.started = time.time()
        self.path = pathlib.Path(path)
        self.asked = dict(settings)
        self.resume = resume
        self.devices = devices or Devices(["one"])
        self.settings = {**decisive(settings), "versions": versions()}
        self.metrics = None
        averages = bool(self.asked.get("ema"))
        self.keep_best = KeepBest(self.path / "model.keras", averaged=averages)
        self._history = SaveHistory(self.path / "history.csv")
        self._photographs = SamePhotographs()
        self._state = SaveTrainingState(
            self.path / "state.zip",
            decisive(settings),
            [self._photographs, self.keep_best, self._history],
        )
        self.when_begun = None  # called once an earlier run has been moved aside
        self._lock = filelock.FileLock(self.path / ".lock")
        self.watch = InterruptBetweenBatches()

    def check_samples(self, train, validation, test):
        """Looks at the photographs while there is time: before `fit`, not after.

        Says how many there are, and which test images are in training, too: they prove nothing.
        Images to validate and to test on are decoded, so that a bad one is found now.

        Args:
            train: `Samples`.
            validation: `Samples`, which choose the best epoch.
            test: `Samples`, looked at once, in the end.

        Returns:
            The three `Samples` that are to be used: of each as many as `limit` in the settings
            says, and all if it is `None` or not there.

        Raises:
            OSError: If the folder cannot be written.
            ValueError: If another run is writing there; if an image cannot be read, or if none can
                where the settings have `on_error="skip"`; if the folder is where the photographs
                are; if of several processes one has other settings or photographs; if a log for
                TensorBoard is asked for and that is not installed.
        """
        self._check_place(train, validation, test)
        if self.asked.get("tensorboard") and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("`tensorboard` needs a package: pip install tensorboard.")
        if self.devices.is_chief:
            check_writable(self.path)
            self._lock_folder()
        limit, on_error = self.asked.get("limit"), self.asked.get("on_error", "raise")
        parts = {"train": train, "validation": validation, "test": test}
        if limit is not None:
            if limit < 2:
                raise ValueError(
                    f"`limit` must leave images of two classes to train on. Received: limit={limit}"
                )
            seed = self.asked.get("seed", 0)
            parts = {name: part.limit(limit, seed=seed) for name, part in parts.items()}
        for name, part in parts.items():
            print(f"{name:>10}: {part}")
        self._check_alike(parts)
        self._parts = parts
        if self.devices.is_chief:
            for name in ("validation", "test"):
                check_readable(name, parts[name], on_error)
        self._duplicates = {
            name: _tested_again(name, parts[name], parts["test"], on_error)
            for name in ("train", "validation")
        }
        if self.devices.is_chief:
            trained = what_is_trained(self.asked, parts["train"], parts["validation"])
            self._state.settings = json.loads(json.dumps(trained))
            self._photographs.samples = parts["train"]
        return tuple(parts.values())

    def _check_alike(self, parts):
        """Raises ValueError, in every process, unless all of them train the same on the same."""
        if self.devices.processes == 1:
            return
        asked = decisive(self.asked).items()
        own = {f"`{name}`": value for name, value in asked if name not in PLACES}
        for name, part in parts.items():
            own[f"{name} photographs"] = f"{len(part)} called {fingerprint(part)}"
        first, *others = self.devices.replicas.exchange(own)
        for rank, theirs in enumerate(others, 1):
            for name in {**first, **theirs}:
                if theirs.get(name) != first.get(name):
                    raise ValueError(
                        "Every process of a run must have the same settings and photographs. "
                        f"Received: {name} of {first.get(name)!r} in process 0, of "
                        f"{theirs.get(name)!r} in process {rank}"
                    )

    def _lock_folder(self):
        """Keeps other runs out of the folder until `release`, or until this process ends."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ValueError(
                "`output` must be a folder of this run alone, and another run is writing to it: "
                f"wait for its end, or give another. Received: {str(self.path)!r}"
            ) from None
        except (NotImplementedError, OSError):  # of NFS, say
            warn(f"The disk of {str(self.path)!r} knows no locks: let no other run write to that folder.")

    def release(self):
        """Lets other runs into the folder again."""
        self._lock.release()

    def _check_place(self, *parts):
        """Raises ValueError if results would lie among the photographs."""
        place = os.path.realpath(self.path)
        data = os.path.realpath(self.asked.get("data_dir") or os.devnull)
        # A table may list photographs that lie anywhere.
        if not os.path.isfile(data) and place != data and not place.startswith(data + os.sep):
            return
        for samples in parts:
            for path in samples.paths if samples.encoded is None else ():
                if os.path.realpath(path).startswith(place + os.sep):
                    raise ValueError(
                        "`output` must be a folder that holds no photographs. Received: "
                        f"{str(self.path)!r}, where {path!r} is"
                    )

    def first_epoch(self, model):
        """The epoch to begin with, for `fit(initial_epoch=...)`.

        That is 0, and an earlier run is moved aside, unless there is one to go on with: then its
        state is put into the model.

        Args:
            model: The model, built and compiled as in that run.

        Returns:
            Int.

        Raises:
            ValueError: If the earlier run cannot be gone on with, having other settings, say.
        """
        epoch = 0
        if self.devices.is_chief:
            if self.resumes:
                epoch = self._state.restore(model)
                if epoch:
                    print(f"Going on after epoch {epoch} of {self.asked.get('epochs', 'more')}.")
                else:
                    print("The earlier run finished no epoch: going on from its beginning.")
            else:
                if self.resume:
                    print(f"No run to go on with in {self.path}: starting one.")
                own = ["README.md"] if is_card(self.path / "README.md") else []
                move_aside(self.path, [*RESULTS, *own])
                for name in RESULTS:  # of a run that was killed while it wrote
                    remove_partial(self.path / name)
            if self.when_begun is not None:
                self.when_begun()
        return self.devices.broadcast(epoch)

    @property
    def resumes(self):
        """Bool, whether there is an earlier run to go on with, and that is asked for."""
        return self.resume and self._state.filepath.exists()

    def callbacks(self, train_data, validation_data):
        """The callbacks for `fit`, which write after every epoch all that there is to keep.

        Args:
            train_data: What `pair_dataset` or `image_dataset` returned.
            validation_data: What `image_dataset` returned.

        Returns:
            List of Keras callbacks.
        """
        self._skipped = (train_data.skipped, validation_data.skipped)
        self._validation_data = validation_data
        chief, watching = self.devices.is_chief, []
        if chief and self.asked.get("tensorboard"):
            folder = str(self.path / "tensorboard")
            watching = [keras.callbacks.TensorBoard(folder, write_graph=False)]
        # The state before what it keeps, and before averages take the weights' place.
        averages = self.keep_best.averaged
        return [
            SetEpoch(train_data),
            StopOnNonFinite(train_data),
            *([self._state] if chief else []),
            *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averages else []),
            *([self.keep_best, self._history] if chief else []),
            *watching,
            ReportSkipped(train_data, validation_data),
            self.watch,
        ]

    def best_model(self, model):
        """The model of the best epoch on the validation images, which also set its temperature.

        Training images set the whitening of its embeddings (`cin_keras.models.Whitening`).

        Args:
            model: The model that was trained.

        Returns:
            `CIN`; in other processes than the chief `model` itself, with the weights of the best.
        """
        if self.devices.is_chief:
            model = load_model(self.keep_best.filepath)
        self.devices.replicas.broadcast_variables(model.variables)
        self._calibrate(model)
        self._whiten(model)
        if self.devices.is_chief:
            with whole_file(self.keep_best.filepath) as partial:
                model.save(partial)
        return model

    def _calibrate(self, model):
        """Fits the temperature."""
        scores = self.devices.predict(model, self._validation_data)
        labels = self._validation_data.skipped.remaining().labels
        are_logits = model.classifier_activation is None
        model.temperature = fit_temperature(labels, scores if are_logits else as_logits(scores))

    def _whiten(self, model):
        """Fits the whitening, to training images as they are without augmentation."""
        seed = self.asked.get("seed", 0)
        train = self._parts["train"].limit(WHITENED, seed=seed)
        images = image_dataset(
            train,
            tuple(self._validation_data.element_spec[0].shape[1:3]),
            2 * self.devices.local_batch(self.asked.get("pairs_per_batch", 16)),
            on_error=self.asked.get("on_error", "raise"),
            shard=self.devices.shard,
        )
        images.skipped.silence()  # training has told of them
        if self.devices.is_chief:
            print(f"Embedding {plural(len(train), 'training image')}, to whiten embeddings by.")
        network = keras.Model(model.input, model.dropout.output)
        with lengths_may_be_unknown(images):
            embeddings = self.devices.predict(network, images, verbose="auto")
        try:
            model.whitening = Whitening.fit(embeddings)
        except ValueError as error:  # of a network that is broken, or has learned nothing
            print(f"No whitening: {error}")

    def export(self, model):
        """Writes the SavedModel, where the backend can: a folder that is whole or not there."""
        if keras.backend.backend() == "torch" or not self.devices.is_chief:
            return
        model = self.devices.own_copy(model)
        remove_partial(self.path / "saved_model")
        with whole_folder(self.path / "saved_model") as partial:
            model.export(partial, verbose=False)

    def evaluate(self, model, test_data):
        """Looks at the test images, once, and writes `metrics.json`, figures, `report.html` and a model card, `README.md`.

        Prints in the end what there is.

        Args:
            model: A trained `CIN`.
            test_data: What `image_dataset` returned, of the test images of `check_samples`.

        Returns:
            Dict, what `metrics.json` holds; `None` in other processes than the chief.
        """
        scores = self.devices.predict(model, test_data, verbose="auto")
        if not self.devices.is_chief:
            return None
        skipped, history = test_data.skipped, self._history.history
        skipped.report()
        in_training, in_validation = self._skipped
        about = {
            "skipped": paths_with_reasons(skipped),
            "skipped_in_training": {
                **paths_with_reasons(in_training),
                **paths_with_reasons(in_validation),
            },
            "duplicates": {
                name: None if found is None else sum(i not in skipped for i in found)
                for name, found in self._duplicates.items()
            },
            "data": self.asked.get("data_dir") or "drawn cars",
            "command": command_line(self.asked),
            "settings": {k: v for k, v in self.asked.items() if k != "command"},
            "seconds": round(time.time() - self.started),
            "versions": versions(),
        }
        figures.learning_curves(history, self.path / "learning_curves.png")
        self.metrics = write_results(
            self.path,
            self.devices.own_copy(model),
            skipped.remaining(),
            calibrated(scores, model.temperature, model.classifier_activation is None),
            about,
            train=self._parts["train"],
            validation=self._parts["validation"],
            history=history,
            max_pixels=skipped.samples.max_pixels,
        )
        try:
            write_card(self.path / "README.md", model, self.metrics)
        except ValueError as error:  # somebody's own is there
            print(f"No model card: {error}")
        print(self.summary())
        return self.metrics

    def summary(self):
        """Str, what the terminal shows in the end; empty in other processes than the chief."""
        if not self.devices.is_chief:
            return ""
        served = ""
        if keras.backend.backend() == "torch":
            served = "not on PyTorch: load model.keras with KERAS_BACKEND=tensorflow and export()"
        elif (self.path / "saved_model").exists():
            served = "tf.saved_model.load(...).serve_uint8(images), needs TensorFlow alone"
        exported = served and f"  saved_model/           {served}\n"
        card = "  README.md              its model card, for a hub of models\n"
        if not is_card(self.path / "README.md"):
            card = ""
        split = "  split.json             which photograph was for what\n"
        if not (self.path / "split.json").exists():
            split = ""
        return (
            f"\n{accuracy_in_words(self.metrics, 'test images')}, "
            f"{self.metrics['seconds']} s since this command began.\n"
            f"{self.path}/\n"
            f"  report.html            all of it on a page, for any browser\n"
            f"  model.keras            cin_keras.load_model\n"
            f"{card}{exported}"
            f"  metrics.json           accuracy in all and per class, settings, versions\n"
            f"  history.csv            every epoch\n"
            f"  state.zip              for --resume\n"
            f"{split}"
            f"  learning_curves.png, confusion_matrix.png, worst_mistakes.png"
        )


def paths_with_reasons(skipped):
    """Dict of the images that a pipeline left out, path → why."""
    return {skipped.samples.paths[i]: reason for i, reason in skipped.reasons.items()}


def _tested_again(name, samples, test, on_error):
    """The indices of test images that are in another part, too, or `None` if nobody knows."""
    tested = range(len(test))
    if on_error == "skip":  # an empty file is no image, but the others can be compared
        tested, whole = with_content(test), with_content(samples)
        if not tested or not whole:
            return None
        samples, test = samples.subset(whole), test.subset(tested)
    try:
        found = find_duplicates(samples, test)
    except ValueError as error:
        if on_error == "raise":
            raise
        print(f"{name} and test not compared for duplicates: {error}")
        return None
    if found:
        print(f"{name} and test share images: {found}")
    return [tested[index] for _, index in found.pairs]
