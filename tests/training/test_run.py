import html
import json

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.distribution import Devices
from cin_keras.files import move_aside
from cin_keras.training import Run, recipe_parser, settle
from cin_keras.training.run import RESULTS, learning_rate_schedule
from tests.data.small_sets import write_files

SETTINGS = {"backbone": "small", "image_size": 32, "epochs": 1, "pairs_per_batch": 2}


def arguments(tmp_path, *options):
    parser = recipe_parser("python x.py", "cars", SETTINGS, "a folder", str(tmp_path / "run"))
    return settle(parser.parse_args(options), SETTINGS)


def drawings(count=12):
    return [
        drawn_cars(name, images_per_class=2, image_size=48).limit(count)
        for name in ("train", "test", "test")
    ]


def test_bad_photographs_can_be_skipped(tmp_path, capfd):
    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(8)]
    write_files(tmp_path / "pets", *names)
    samples = cin_keras.data.image_folder(tmp_path / "pets")
    bad = tmp_path / "pets" / "cat" / "3.png"
    bad.write_bytes(b"")
    args = arguments(tmp_path, "--on-error", "skip", "--data-dir", "pets", "--plain")
    run = Run(args, samples, samples, samples)
    model = run.fit(run.build_model())
    metrics = run.evaluate(model)
    assert metrics["images"] == 15 and list(metrics["skipped"]) == [str(bad)]
    assert "the file is empty" in metrics["skipped"][str(bad)]
    out, err = capfd.readouterr()
    assert str(bad) in err and "train and test share images" in out
    run.export(model)
    assert (run.folder / "saved_model").is_dir() == (keras.backend.backend() != "torch")
    assert not list(run.folder.glob("*partial*"))
    assert "15 test images right" in run.summary()
    saved = json.loads((run.folder / "metrics.json").read_text())
    assert saved["settings"]["on_error"] == "skip" and saved["data"] == "pets"
    assert saved["duplicates"] == {"train": 15, "validation": 15}
    assert list(saved["skipped_in_training"]) == [str(bad)]
    assert "python x.py --data-dir pets" in saved["command"]
    page = (run.folder / "report.html").read_text("utf-8")
    assert "of 15 test images right" in page and saved["command"] in html.unescape(page)
    assert "1 image of train and validation could not be read" in page
    assert "Best on the validation images" in page and "report.html" in run.summary()


@pytest.mark.one_backend
def test_settings_reach_the_model(tmp_path):
    options = ["--alpha", "0.5", "--mixed-precision", "bfloat16", "--image-size", "48"]
    model = Run(arguments(tmp_path, *options), *drawings()).build_model()
    assert model.alpha == 0.5 and model.input_shape == (None, 48, 48, 3)
    assert model.class_names == list(drawings()[0].class_names) and model.image_size == (48, 48)
    assert model.settings["alpha"] == 0.5 and "output" not in model.settings
    assert model.settings["versions"]["keras"] == keras.__version__
    assert model.interaction.compute_dtype == "bfloat16"
    assert model.backbone.layers[-1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    assert isinstance(model.optimizer, cin_keras.optimizers.LayerwiseAdamW)


@pytest.mark.one_backend
def test_limit_counts_for_all_parts(tmp_path):
    run = Run(arguments(tmp_path, "--limit", "5", "--plain"), *drawings())
    assert [len(part) for part in (run.train, run.validation, run.test)] == [5, 5, 5]


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="possible on TensorFlow")
def test_determinism_is_tensorflows(tmp_path):
    with pytest.raises(ValueError, match="--deterministic is for the TensorFlow backend. Received"):
        Run(arguments(tmp_path, "--deterministic"), *drawings())


@pytest.mark.one_backend
def test_the_learning_rate_rises_and_falls():
    schedule = learning_rate_schedule(0.4, epochs=3, steps_per_epoch=10)
    rates = [float(schedule(step)) for step in range(31)]
    expected = [0.4 * step / 5 for step in range(5)]
    expected += [0.2 * (1 + np.cos(np.pi * step / 25)) for step in range(26)]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


@pytest.mark.one_backend
def test_an_earlier_run_is_moved_aside(tmp_path, capsys):
    move_aside(tmp_path, RESULTS)
    assert not list(tmp_path.iterdir())
    names = ["metrics.json", "report.html", "a.png", "saved_model/graph.pb", "notes.txt"]
    write_files(tmp_path, *names, content=b"")
    move_aside(tmp_path, RESULTS)
    (kept,) = tmp_path.glob("earlier-*")
    moved = ["a.png", "metrics.json", "report.html", "saved_model"]
    assert sorted(p.name for p in kept.iterdir()) == moved
    assert sorted(p.name for p in tmp_path.iterdir()) == [kept.name, "notes.txt"]
    assert f"moved to {kept}" in capsys.readouterr().out


@pytest.mark.one_backend
@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_of_several_processes_each_reads_its_part_and_the_chief_writes(tmp_path, options):
    devices = Devices(["a", "b"], rank=1, processes=2)
    args = arguments(tmp_path, "--distribute", *options)
    run = Run(args, *drawings(), devices)
    assert run.train_data.batches.shard == (1, 2) == run.validation_data.batches.shard
    # Two pairs in a step of both.
    assert run.train_data.batches.batch_size == 2 and len(run.train_data) == 3
    assert not run.folder.exists()


@pytest.mark.one_backend
def test_distributing_needs_devices(tmp_path):
    with pytest.raises(ValueError, match="--distribute needs a run inside `with devices_of"):
        Run(arguments(tmp_path, "--distribute"), *drawings())
    with pytest.raises(ValueError, match="divide by the number of devices, 3.*Received: 2"):
        Run(arguments(tmp_path, "--distribute"), *drawings(), Devices(["a", "b", "c"]))
