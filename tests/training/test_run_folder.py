import dataclasses
import errno
import html
import importlib.util
import json

import filelock
import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.data import Samples, drawn_cars, image_dataset, pair_dataset
from cin_keras.distribution import Devices
from cin_keras.evaluation import calibrated, expected_calibration_error, fit_temperature
from cin_keras.files import move_aside
from cin_keras.metrics import accuracy
from cin_keras.models import Whitening
from cin_keras.training import RunFolder
from cin_keras.training.run_folder import RESULTS
from tests.data.small_sets import write_files
from tests.models.networks import tiny_backbone, uncompiled

SETTINGS = {"epochs": 1, "seed": 0, "data_dir": "pets", "command": "python x.py", "output": "run"}


def drawings(count=12):
    return [
        drawn_cars(name, images_per_class=2, image_size=48).limit(count)
        for name in ("train", "test", "test")
    ]


def pipelines(train, validation, test, **reading):
    """Of pairs to train on, and of single images to validate and to test on."""
    pairs = pair_dataset(train, 32, 2, **reading)
    return pairs, *(image_dataset(part, 32, 4, **reading) for part in (validation, test))


def build(num_classes=12, **kwargs):
    """Of one convolution, and not traced."""
    backbone, kwargs = tiny_backbone(size=32), {"interaction": None, "contrast": None, **kwargs}
    return uncompiled(cin_keras.CIN(num_classes, backbone, input_shape=(32, 32, 3), **kwargs))


def fit(run, model, pairs, validation_data, epochs=1):
    model.fit(
        pairs,
        validation_data=validation_data,
        epochs=epochs,
        initial_epoch=run.first_epoch(model),
        callbacks=run.callbacks(pairs, validation_data),
        verbose=0,
        shuffle=False,
    )
    return run.best_model(model)


def test_from_bad_photographs_to_all_files(tmp_path, capfd, recwarn, undrawn, decoder_once):
    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(8)]
    write_files(tmp_path / "pets", *names)
    samples = cin_keras.data.image_folder(tmp_path / "pets")
    bad = tmp_path / "pets" / "cat" / "3.png"
    bad.write_bytes(b"")
    run = RunFolder(tmp_path / "run", {**SETTINGS, "on_error": "skip"})
    parts = run.check_samples(samples, samples, samples)
    pairs, validation_data, test_data = pipelines(*parts, on_error="skip")
    model = fit(run, build(2, settings=run.settings), pairs, validation_data)
    told = [w for w in recwarn if str(w.message).startswith("Left out")]
    assert len(told) == 2, "of training and of validation, and not again of whitening"
    # Fitted on the validation images that could be read, and in the file.
    labels = validation_data.skipped.remaining().labels
    scores = model.predict(validation_data, verbose=0)
    assert len(labels) == len(scores) == 15
    expected = fit_temperature(labels, scores)
    loaded = cin_keras.load_model(run.path / "model.keras", compile=False)
    assert model.temperature == loaded.temperature == pytest.approx(expected, rel=1e-3) != 1
    # Fitted on the training images that could be read, and in the file.
    seen = keras.Model(model.input, model.classifier.input)
    assert not [w for w in recwarn if "ran out of data" in str(w.message)]
    embeddings = seen.predict(image_dataset(parts[0], 32, on_error="skip"), verbose=0)
    expected = Whitening.fit(embeddings)(embeddings)
    whitened = loaded.whitening(embeddings)
    np.testing.assert_allclose(whitened @ whitened.T, expected @ expected.T, rtol=0.02, atol=0.02)
    assert len(embeddings) == 15 and whitened.std() > 0.1
    metrics = run.evaluate(model, test_data)
    on_torch = keras.backend.backend() == "torch"
    assert ("saved_model/" in run.summary()) == on_torch, "which says why there is none"
    run.export(model)
    assert (run.path / "saved_model").is_dir() == (not on_torch) and "saved_model/" in run.summary()
    assert metrics["images"] == 15 and list(metrics["skipped"]) == [str(bad)]
    assert "the file is empty" in metrics["skipped"][str(bad)]
    out, err = capfd.readouterr()
    assert str(bad) in err and "train and test share images" in out
    assert not list(run.path.glob("*partial*"))
    assert "report.html" in run.summary() and "15 test images right, " in run.summary()
    assert out.splitlines()[-1] == run.summary().splitlines()[-1]
    assert "15 test images right, " in out, "within five says nothing of two classes"
    saved = json.loads((run.path / "metrics.json").read_text())
    probabilities = calibrated(scores, model.temperature)
    ece = expected_calibration_error(labels, probabilities)  # the test's are the same images
    assert saved["calibration"]["ece"] == pytest.approx(ece, abs=1e-4)
    assert saved["calibration"]["temperature"] == model.temperature
    assert saved["settings"]["on_error"] == "skip" and saved["data"] == "pets"
    card = (run.path / "README.md").read_text("utf-8")
    assert "15 images" in card and f"{saved['accuracy']:.1%}" in card
    assert "README.md" in run.summary()
    (run.path / "README.md").write_text("somebody's own")
    assert "README.md" not in run.summary()
    assert saved["duplicates"] == {"train": 15, "validation": 15}
    assert list(saved["skipped_in_training"]) == [str(bad)]
    assert "python x.py --epochs 1 --seed 0 --data-dir pets" in saved["command"]
    page = (run.path / "report.html").read_text("utf-8")
    assert "of 15 test images right" in page and saved["command"] in html.unescape(page)
    assert "1 image of train and validation could not be read" in page
    assert "Best on the validation images" in page
    assert model.settings["epochs"] == 1 and "output" not in model.settings
    assert model.settings["versions"]["keras"] == keras.__version__


def test_mistakes_are_drawn_under_the_limit_of_the_photographs(tmp_path, monkeypatch, undrawn):
    run, limit = RunFolder(tmp_path, SETTINGS), 200_000_000
    parts = [dataclasses.replace(part, max_pixels=limit) for part in drawings()]
    pairs, validation_data, test_data = pipelines(*run.check_samples(*parts))
    run.callbacks(pairs, validation_data)
    run._history.rows = [{"epoch": 0, "loss": 1.0}]
    asked, read = [], Samples.read

    def read_and_note(self, index, max_pixels=None, **size):
        asked.append(max_pixels or self.max_pixels)
        return read(self, index, max_pixels, **size)

    monkeypatch.setattr(Samples, "read", read_and_note)
    metrics = run.evaluate(build(), test_data)
    assert metrics["accuracy"] < 1 and set(asked) == {limit}


def test_limit_counts_for_all_parts(tmp_path):
    parts = RunFolder(tmp_path, {**SETTINGS, "limit": 5}).check_samples(*drawings())
    assert [len(part) for part in parts] == [5, 5, 5]


def test_a_run_goes_on_and_another_is_moved_aside(tmp_path, capsys):
    for resume, epochs, first in ((False, 2, 0), (True, 2, 2), (False, 1, 0)):
        run = RunFolder(tmp_path, {"seed": 0}, resume=resume)
        pairs, validation_data, _ = pipelines(*run.check_samples(*drawings()))
        model = build()
        (tmp_path / "state.0a1b2c.partial.zip").touch()  # of a run that was killed
        epoch = run.first_epoch(model)
        assert epoch == first and not list(tmp_path.glob("*.partial.*"))
        assert len(list(tmp_path.glob("earlier-*"))) == (epochs == 1)
        if not resume:
            fit(run, model, pairs, validation_data, epochs)
            assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + epochs
    assert "Going on after epoch 2" in capsys.readouterr().out
    with pytest.raises(ValueError, match="settings it began with.*seed=1 [(]was 0[)]"):
        RunFolder(tmp_path, {"seed": 1, "output": "there"}, resume=True).first_epoch(build())


def test_a_run_goes_on_however_its_settings_were_typed(tmp_path):
    before = {"seed": 0, "backbone": "ResNet-50", "data_dir": "here"}
    pairs, validation_data, _ = pipelines(*RunFolder(tmp_path, before).check_samples(*drawings()))
    run = RunFolder(tmp_path, before)
    run.check_samples(*drawings())
    fit(run, build(), pairs, validation_data)
    typed = {"seed": 0, "backbone": "resnet_50", "data_dir": "there", "tensorboard": True}
    for others in ({}, {"label_smoothing": 0.1}):
        run = RunFolder(tmp_path, {**typed, **others}, resume=True)
        run.check_samples(*drawings())
        if not others:
            assert run.first_epoch(build()) == 1
    with pytest.raises(ValueError, match="Received: label_smoothing=0.1 [(]was not set[)]$"):
        run.first_epoch(build())


class Kernels(keras.callbacks.Callback):
    """The classifier's kernel after every step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.model.jax_state_sync() if keras.backend.backend() == "jax" else None
        self.seen.append(keras.ops.convert_to_numpy(self.model.classifier.kernel).copy())


@pytest.mark.every_backend
def test_there_is_a_saved_model_unless_on_pytorch(tmp_path, monkeypatch):
    model = build()
    monkeypatch.setattr(model, "export", lambda path, **options: path.mkdir())
    RunFolder(tmp_path, {"seed": 0}).export(model)
    assert (tmp_path / "saved_model").is_dir() == (keras.backend.backend() != "torch")


@pytest.mark.every_backend
def test_the_average_is_what_is_kept_and_the_weights_what_goes_on(tmp_path):
    def begin(resume):
        run = RunFolder(tmp_path, {"ema": True}, resume=resume)
        data = pipelines(*run.check_samples(*drawings()))[:2]
        model = build()
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        model.compile(
            optimizer, cin_keras.losses.SoftmaxCrossentropy(), weighted_metrics=[accuracy]
        )
        return run, model, data, run.first_epoch(model)

    run, model, (pairs, validation_data), _ = begin(resume=False)
    kernels = Kernels()
    callbacks = [kernels, *run.callbacks(pairs, validation_data)]
    model.fit(pairs, validation_data=validation_data, callbacks=callbacks, verbose=0)
    average = kernels.seen[0]
    for kernel in kernels.seen[1:]:
        average = 0.5 * average + 0.5 * kernel
    assert abs(average - kernels.seen[-1]).max() > 1e-4
    best = cin_keras.load_model(tmp_path / "model.keras").classifier.kernel
    np.testing.assert_allclose(keras.ops.convert_to_numpy(best), average, atol=1e-5)
    with pytest.raises(ValueError, match="`output` must be a folder of this run alone, and another"):
        begin(resume=True)
    run.release()
    (tmp_path / "model.keras").unlink()
    _, model, _, epoch = begin(resume=True)
    best = cin_keras.load_model(tmp_path / "model.keras").classifier.kernel
    np.testing.assert_allclose(keras.ops.convert_to_numpy(best), average, atol=1e-5)
    kernel = keras.ops.convert_to_numpy(model.classifier.kernel)
    np.testing.assert_allclose(kernel, kernels.seen[-1], atol=1e-6)
    assert epoch == 1


def test_tensorboard_reads_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    run = RunFolder(tmp_path, {"tensorboard": True})
    pairs, validation_data, _ = pipelines(*run.check_samples(*drawings()))
    fit(run, build(), pairs, validation_data)
    assert list((tmp_path / "tensorboard").rglob("events.out*"))


def test_a_log_that_nothing_can_write_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="`tensorboard` needs a package: pip install tensorboard"):
        RunFolder(tmp_path, {"tensorboard": True}).check_samples(*drawings())


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_a_disk_that_knows_no_locks(tmp_path, monkeypatch, error):
    def fail(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    run = RunFolder(tmp_path / "run", SETTINGS)
    with pytest.warns(UserWarning, match="knows no locks: let no other run write to that folder"):
        run.check_samples(*drawings())
    run.release()


def test_a_run_that_finished_no_epoch_goes_on_from_its_beginning(tmp_path, capsys, monkeypatch):
    run = RunFolder(tmp_path, {"seed": 0}, resume=True)
    monkeypatch.setattr(type(run), "resumes", True)
    monkeypatch.setattr(run._state, "restore", lambda model: 0)
    assert run.first_epoch(None) == 0
    out = capsys.readouterr().out
    assert out == "The earlier run finished no epoch: going on from its beginning.\n"


def test_an_earlier_run_is_moved_aside(tmp_path, capsys):
    move_aside(tmp_path, RESULTS)
    assert not list(tmp_path.iterdir())
    names = [
        "metrics.json",
        "report.html",
        "ranking.png",
        "scores.json",
        "saved_model/graph.pb",
        "notes.txt",
        "mine.png",
    ]
    write_files(tmp_path, *names, content=b"")
    move_aside(tmp_path, RESULTS)
    (kept,) = tmp_path.glob("earlier-*")
    moved = ["metrics.json", "ranking.png", "report.html", "saved_model", "scores.json"]
    assert sorted(p.name for p in kept.iterdir()) == moved
    assert sorted(p.name for p in tmp_path.iterdir()) == [kept.name, "mine.png", "notes.txt"]
    assert f"moved to {kept}" in capsys.readouterr().out


def test_the_chief_alone_writes(tmp_path):
    devices = Devices(["a", "b"], rank=1, processes=2)  # whose other process gives the same
    run = RunFolder(tmp_path / "run", SETTINGS, devices=devices)
    train, validation, _ = run.check_samples(*drawings())
    reading = {"shard": devices.shard}
    pairs = pair_dataset(train, 32, 1, split_batches=True, **reading)
    saving = {"SaveTrainingState", "KeepBest", "SaveHistory"}
    callbacks = run.callbacks(pairs, image_dataset(validation, 32, 2, **reading))
    assert not saving & {type(callback).__name__ for callback in callbacks}
    assert not run.path.exists() and run.summary() == ""


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"data_dir": "elsewhere", "output": "there"}, None),
        ({"seed": 2}, "`seed` of 0 in process 0, of 2 in process 1"),
        ({"epochs": 3}, "`epochs` of 1 in process 0, of 3 in process 1"),
        ({"limit": 6}, "train photographs of '12 called .* in process 0, of '6 called"),
    ],
)
def test_processes_must_be_asked_for_the_same(tmp_path, monkeypatch, theirs, message):
    met = []

    def exchange(own):
        met.append(own)
        return met[:2] if len(met) > 1 else [own, own]

    for settings in (SETTINGS, SETTINGS | theirs):
        devices = Devices(["a", "b"], rank=1, processes=2)
        monkeypatch.setattr(devices.replicas, "exchange", exchange)
        run = RunFolder(tmp_path / "run", settings, devices=devices)
        if settings is SETTINGS or message is None:
            run.check_samples(*drawings())
            continue
        with pytest.raises(ValueError, match=message):
            run.check_samples(*drawings())


def test_processes_must_have_the_same_photographs(tmp_path, monkeypatch):
    devices = Devices(["a", "b"], rank=1, processes=2)
    monkeypatch.setattr(
        devices.replicas, "exchange", lambda own: [own, own | {"test photographs": "9 called x"}]
    )
    run = RunFolder(tmp_path / "run", SETTINGS, devices=devices)
    with pytest.raises(ValueError, match="test photographs of '12 called .* of '9 called x' in"):
        run.check_samples(*drawings())
