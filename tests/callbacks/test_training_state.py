import os
import random
import shutil
import zipfile

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.callbacks import KeepBest, NonFiniteLoss, SaveHistory, SaveTrainingState
from cin_keras.data import SetEpoch, drawn_cars, pair_dataset
from tests.callbacks.no_room import no_room_beyond
from tests.models.networks import normalized_backbone, tiny_cin, uncompiled

pytestmark = pytest.mark.every_backend
BACKEND = keras.backend.backend()
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=(24, 1)).astype("float32")


def network(optimizer="sgd", seed=0):
    """Dropout and batch normalisation: state beside the weights."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, use_bias=False, name="narrow"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, loss="mse")
    return model


def everything(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b, strict=True)


class InterruptAt(keras.callbacks.Callback):
    """What Ctrl-C does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def fit(model, callbacks=(), epochs=4, **kwargs):
    model.fit(
        X,
        Y,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def schedule():
    return keras.optimizers.schedules.CosineDecay(0.1, decay_steps=12)


# === A run that was interrupted ends as one that was not ===

OPTIMIZERS = {
    "schedule": lambda: cin_keras.optimizers.LayerwiseSGD(
        schedule(), {"narrow": 0.5}, momentum=0.9
    ),
    "AdamW, average": lambda: cin_keras.optimizers.LayerwiseAdamW(
        schedule(), use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5
    ),
    "accumulation": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1, momentum=0.9), initial_scale=8.0, dynamic_growth_steps=2
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_kinds_of_optimizers_go_on(tmp_path, name):
    expected = network(OPTIMIZERS[name]())
    fit(expected)

    model = network(OPTIMIZERS[name]())
    with pytest.raises(KeyboardInterrupt):
        fit(model, [SaveTrainingState(tmp_path / "state.zip"), InterruptAt(2, 1)])
    resumed = network(OPTIMIZERS[name](), seed=5)
    state = SaveTrainingState(tmp_path / "state.zip")
    initial_epoch = state.restore(resumed)
    assert initial_epoch == 2
    fit(resumed, [state], initial_epoch=initial_epoch)
    assert_same(everything(resumed), everything(expected))


def test_a_cin_on_pairs_goes_on(tmp_path):
    samples = drawn_cars(images_per_class=2, image_size=32)

    def train(folder, interrupt=None, resume=False):
        keras.utils.set_random_seed(3)
        pairs = pair_dataset(samples, 8, pairs_per_batch=4)
        images = cin_keras.data.image_dataset(samples, 8, batch_size=24)
        model = tiny_cin(samples.num_classes, normalized_backbone(), dropout=0.5, randomize=False)
        uncompiled(model)  # other models go on compiled, above
        keep_best, history = KeepBest(folder / "model.keras"), SaveHistory(folder / "history.csv")
        state = SaveTrainingState(folder / "state.zip", {"seed": 3}, [keep_best, history])
        model.fit(
            pairs,
            validation_data=images,
            epochs=2,
            initial_epoch=state.restore(model) if resume else 0,
            shuffle=False,
            verbose=0,
            callbacks=[
                SetEpoch(pairs),
                state,
                keep_best,
                history,
                *([InterruptAt(*interrupt)] if interrupt else []),
            ],
        )
        return model, keep_best, history

    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    expected, best, rows = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", interrupt=(1, 2))
    model, keep_best, history = train(tmp_path / "resumed", resume=True)
    assert_same(everything(model), everything(expected))
    assert (keep_best.best, keep_best.best_epoch) == (best.best, best.best_epoch)
    assert history.rows == rows.rows and len(rows.rows) == 2
    saved = [cin_keras.load_model(tmp_path / name / "model.keras") for name in ("whole", "resumed")]
    assert_same(saved[1].get_weights(), saved[0].get_weights())


def test_a_kill_between_any_two_files_changes_nothing(tmp_path, monkeypatch):
    """The folder as it is whenever a file is about to be moved into place, resumed from there."""
    moments = []
    replace = os.replace

    def copy_before(source, target):
        moments.append(tmp_path / f"{len(moments)} before {target.name}")
        shutil.copytree(target.parent, moments[-1])
        replace(source, target)

    class Rising(keras.callbacks.Callback):
        """Every epoch is the best so far."""

        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = 0.1 * epoch

    def train(folder, resume):
        model = network(seed=int(resume))
        model.run_eagerly = True  # many short runs: nothing to compile
        keep_best = KeepBest(folder / "model.keras", monitor="score")
        history = SaveHistory(folder / "history.csv")
        state = SaveTrainingState(folder / "state.zip", callbacks=[keep_best, history])
        initial_epoch = state.restore(model) if resume else 0
        callbacks = [Rising(), state, keep_best, history]
        fit(model, callbacks, epochs=2, initial_epoch=initial_epoch)
        kept = keras.saving.load_model(folder / "model.keras")
        return everything(model), kept.get_weights(), (folder / "history.csv").read_text()

    (tmp_path / "whole").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", copy_before)
        *expected, table = train(tmp_path / "whole", resume=False)
    names = [folder.name.split()[-1] for folder in moments]
    assert names == ["state.zip", *2 * ["state.zip", "model.keras", "history.csv"]]
    # Before the first there is nothing to resume.
    for folder in moments[1:]:
        assert list(folder.glob(names[moments.index(folder)].replace(".", ".*.partial.")))
        *found, found_table = train(folder, resume=True)
        for a, b in zip(found, expected):
            assert_same(a, b)
        assert found_table == table
        assert not [path for path in folder.iterdir() if "partial" in path.name]


def test_a_run_that_is_at_its_end_stays_as_it_is(tmp_path):
    model = network()
    fit(model, [SaveTrainingState(tmp_path / "state.zip")])
    resumed = network(seed=5)
    state = SaveTrainingState(tmp_path / "state.zip")
    fit(resumed, [state], initial_epoch=state.restore(resumed))
    assert_same(everything(resumed), everything(model))


def test_random_numbers_outside_of_the_model_go_on(tmp_path):
    model = network()

    def draw():
        return random.random(), np.random.rand(), np.asarray(keras.random.normal((2,))).tolist()

    draw()
    state = SaveTrainingState(tmp_path / "state.zip")
    state.set_model(model)
    state.on_epoch_end(0)
    expected = draw()
    assert draw() != expected
    keras.utils.set_random_seed(9)
    assert state.restore(model) == 1
    draw()
    state.on_train_begin()
    state.on_epoch_begin(1)
    assert draw() == expected


def test_half_precision_is_kept(tmp_path):
    def half():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
        model.compile("sgd", loss="mse")
        return model

    model = half()
    state = SaveTrainingState(tmp_path / "state.zip")
    state.set_model(model)
    state.on_epoch_end(0)
    resumed = half()
    state.restore(resumed)
    for a, b in zip(model.variables, resumed.variables):
        assert keras.backend.standardize_dtype(b.dtype) == "bfloat16"
        a, b = (keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")) for v in (a, b))
        np.testing.assert_array_equal(a, b)
        assert a.shape == (2,) or a.any()


# === The file ===


def test_the_state_at_the_start_is_not_written_over_a_restored_one(tmp_path):
    model = network()
    state = SaveTrainingState(tmp_path / "state.zip")
    fit(model, [state], epochs=1)
    before = os.stat(tmp_path / "state.zip").st_mtime_ns
    state = SaveTrainingState(tmp_path / "state.zip")
    initial_epoch = state.restore(model)
    with pytest.raises(KeyboardInterrupt):
        fit(model, [state, InterruptAt(1, 0)], initial_epoch=initial_epoch)
    assert os.stat(tmp_path / "state.zip").st_mtime_ns == before


def test_a_second_fit_writes_its_start_too(tmp_path):
    model = network()
    state = SaveTrainingState(tmp_path / "state.zip")
    fit(model, [state], epochs=1)
    model.layers[0].kernel.assign(np.ones((3, 4)))
    with pytest.raises(KeyboardInterrupt):
        fit(model, [state, InterruptAt(1, 0)], initial_epoch=1)
    resumed = network()
    assert SaveTrainingState(tmp_path / "state.zip").restore(resumed) == 1
    np.testing.assert_array_equal(resumed.get_weights()[0], 1)


def test_a_full_disk_leaves_the_state_and_the_model_of_before(tmp_path):
    model = network()
    keep_best = KeepBest(tmp_path / "model.keras", monitor="score")
    state = SaveTrainingState(tmp_path / "state.zip", callbacks=[keep_best])
    for callback in (state, keep_best):
        callback.set_model(model)
        callback.on_epoch_end(0, {"score": 0.5})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"state.zip", "model.keras"}
    for callback in (state, keep_best):
        with no_room_beyond(2000), pytest.raises(OSError) as caught:
            callback.on_epoch_end(1, {"score": 0.7})
        assert "cannot be written (File too large); the file of before" in str(caught.value)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (keep_best.best, keep_best.best_epoch) == (0.5, 0)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = network()
    state = SaveTrainingState(tmp_path / "state.zip")
    state.set_model(model)
    state.on_epoch_end(0)
    before = (tmp_path / "state.zip").read_bytes()
    model.layers[0].kernel.assign(np.full((3, 4), np.inf))
    with pytest.raises(NonFiniteLoss, match="not finite after epoch 2 .*kernel.*state.zip"):
        state.on_epoch_end(1)
    assert (tmp_path / "state.zip").read_bytes() == before


def test_other_settings_are_named(tmp_path):
    model = network()
    state = SaveTrainingState(
        tmp_path / "state.zip", {"seed": 1, "rate": 0.1, "size": (8, 8), "old": None}
    )
    state.set_model(model)
    state.on_epoch_end(0)
    same = {"size": [8, 8], "rate": 0.1, "seed": 1, "old": None}
    SaveTrainingState(tmp_path / "state.zip", same).restore(model)
    weights = everything(network(seed=4))
    other = network(seed=4)
    with pytest.raises(ValueError) as caught:
        settings = {"seed": 2, "rate": 0.1, "size": [8, 8], "new": "a"}
        SaveTrainingState(tmp_path / "state.zip", settings).restore(other)
    expected = 'seed=2 (was 1), old=not set (was null), new="a" (was not set)'
    assert str(caught.value).endswith(f"Received: {expected}")
    assert_same(everything(other), weights)


def test_another_model_optimizer_callback_or_backend_is_refused(tmp_path):
    path = tmp_path / "state.zip"
    state = SaveTrainingState(path, callbacks=[SaveHistory(tmp_path / "history.csv")])
    state.set_model(network())
    state.on_epoch_end(0)
    with pytest.raises(ValueError, match=r"callbacks \['SaveHistory'\]. Received: \[\]"):
        SaveTrainingState(path).restore(network())

    state = SaveTrainingState(path)
    state.set_model(network())
    state.on_epoch_end(0)
    wider = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    wider.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"another model or optimizer. Received:.*\[3, 5\].*4\]"):
        state.restore(wider)
    with pytest.raises(ValueError, match="another model or optimizer. Received: .*variables"):
        state.restore(network("adam"))
    unbuilt = keras.Sequential([keras.layers.Dense(5)])
    unbuilt.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="must be built and compiled.*built=False"):
        state.restore(unbuilt)

    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    text = content["state.json"].decode().replace(f'"{BACKEND}"', '"numpy"', 1)
    with zipfile.ZipFile(path, "w") as file:
        for name, part in {**content, "state.json": text}.items():
            file.writestr(name, part)
    with pytest.raises(ValueError, match=f"on the numpy backend.*Received: {BACKEND}"):
        state.restore(network())


def test_a_callback_that_cannot_go_on_leaves_all_as_it_was(tmp_path):
    history = SaveHistory(tmp_path / "history.csv")
    keep_best = KeepBest(tmp_path / "model.keras", monitor="score")
    state = SaveTrainingState(tmp_path / "state.zip", callbacks=[history, keep_best])
    state.set_model(network())
    for epoch, score in enumerate([0.5, 0.4]):
        state.on_epoch_end(epoch, {"score": score})
        keep_best.best, keep_best.best_epoch = 0.5, 0
    model = network(seed=4)
    weights = everything(model)
    history = SaveHistory(tmp_path / "history.csv")
    keep_best = KeepBest(tmp_path / "model.keras", monitor="score")
    state = SaveTrainingState(tmp_path / "state.zip", callbacks=[history, keep_best])
    random_numbers = random.getstate()
    with pytest.raises(FileNotFoundError, match="model.keras': put it back, or start anew"):
        state.restore(model)
    assert_same(everything(model), weights)
    assert (keep_best.best, keep_best.best_epoch, history.rows) == (None, None, [])
    state.set_model(model)
    state.on_train_begin()
    state.on_epoch_begin(2)
    assert random.getstate() == random_numbers


def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path):
    path = tmp_path / "state.zip"
    state = SaveTrainingState(path)
    with pytest.raises(FileNotFoundError, match="no training state at .*state.zip.*without"):
        state.restore(network())
    state.set_model(network())
    state.on_epoch_end(0)
    whole = path.read_bytes()
    weights = everything(network(seed=4))
    model = network(seed=4)
    # Bytes of the first array, of the directory at the end, and of the description.
    flips = [200, len(whole) - 30, whole.index(b'"next_epoch"')]
    damaged = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in flips]
    damaged += [b"", b"<html>", whole[: len(whole) // 2], whole[:-5], whole[100:]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="state.zip' .*start the run without") as caught:
            state.restore(model)
        assert "\n" not in str(caught.value)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="model.keras' is no training state"):
        SaveTrainingState(tmp_path / "model.keras").restore(model)
    assert_same(everything(model), weights)


def test_no_code_in_the_file_runs(tmp_path):
    """An array of pickled objects, which NumPy would load if it were allowed to."""

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "state.zip"
    state = SaveTrainingState(path)
    state.set_model(network())
    state.on_epoch_end(0)
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, part in content.items():
            if name == "variables/0.npy":
                with file.open(name, "w") as member:
                    np.save(member, np.array([Payload()], object), allow_pickle=True)
            else:
                file.writestr(name, part)
    with pytest.raises(ValueError, match="state.zip' is no training state"):
        state.restore(network())
    assert not (tmp_path / "attacked").exists()


def test_arguments():
    with pytest.raises(TypeError, match="`settings` must be a dict that JSON.*object"):
        SaveTrainingState("state.zip", {"a": object()})
    with pytest.raises(TypeError, match="get_state and set_state.*Received: EarlyStopping"):
        SaveTrainingState("state.zip", callbacks=[keras.callbacks.EarlyStopping()])
