import csv
import functools
import json
import os
import pathlib
import re
import runpy
import signal
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.training import RunFolder
from tests import processes, recipe_runs
from tests.data.small_sets import (
    write_cub_200_2011,
    write_fgvc_aircraft,
    write_files,
    write_stanford_cars,
)

RECIPES = pathlib.Path(__file__).parent.parent / "recipes"
SMALL = ["--image-size", "32", "--pairs-per-batch", "2"]
TINY = ["--image-size", "32", "--limit", "48", "--pairs-per-batch", "4"]


def photographs(folder):
    """The command line for 24 photographs, which are there sooner than the drawings."""
    cars = write_stanford_cars(folder / "data" / "stanford_cars", train=(1, 2, 3) * 8)
    return ["--data-dir", str(cars), "--backbone", "small", *SMALL]


def start(*arguments, folder):
    backend = keras.backend.backend()
    environment = {**os.environ, "KERAS_BACKEND": backend, "STANFORD_CARS_DIR": ""}
    return processes.Started(RECIPES / "cars.py", *arguments, cwd=folder, env=environment)


def run(*arguments, folder):
    process = start(*arguments, folder=folder)
    output = "".join(process.communicate())
    return process.returncode, output


def cars(*arguments, folder):
    """The recipe in this process, which saves starting another."""
    return recipe_runs.run_here(RECIPES / "cars.py", *arguments, folder=folder)


def test_the_cars_recipe_from_drawings_to_a_served_model(tmp_path, monkeypatch):
    # The 48 that are asked for: to draw them all takes longer than to train on them.
    few = functools.partial(drawn_cars, images_per_class=4)
    monkeypatch.setattr(cin_keras.data, "drawn_cars", few)
    code, output = cars(*TINY, "--epochs", "2", folder=tmp_path)
    assert code == 0, output[-3000:]
    assert "No Stanford Cars in data/stanford_cars" in output and "drawn cars" in output
    folder = tmp_path / "runs" / "cars"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 48 and len(metrics["per_class"]) == 12
    assert metrics["settings"]["epochs"] == 2 and metrics["data"] == "drawn cars"
    assert metrics["versions"]["backend"] == keras.backend.backend()
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and "contrastive_loss" in rows[0] and "val_accuracy" in rows[0]
    for name in ("learning_curves", "confusion_matrix", "worst_mistakes"):
        assert min(Image.open(folder / f"{name}.png").size) > 200
    test = cin_keras.data.drawn_cars("test", image_size=48).limit(48)
    model = keras.saving.load_model(folder / "model.keras")
    logits = model.predict(cin_keras.data.image_dataset(test, 32), verbose=0)
    assert np.mean(logits.argmax(axis=1) == test.labels) == pytest.approx(metrics["accuracy"])
    assert (folder / "saved_model").is_dir() == (keras.backend.backend() != "torch")
    page = (folder / "report.html").read_text("utf-8")
    assert "of 48 test images right" in page and "There are no contrast maps" not in page
    for name in ("report.html", "model.keras", "saved_model/", "metrics.json", "history.csv"):
        assert name in output.split("test images right")[1]


def test_an_interruption_keeps_the_best_model(tmp_path):
    arguments = [*photographs(tmp_path), "--mixup", "--classes-per-batch", "2"]
    process = start(*arguments, "--epochs", "1000", folder=tmp_path)
    model_file = tmp_path / "runs" / "cars" / "model.keras"
    deadline = time.time() + 300
    while not model_file.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        output = "".join(process.communicate(timeout=120))
    finally:
        process.kill()
    assert process.returncode == 130, output[-3000:]
    assert "Interrupted. The best model so far" in output
    assert isinstance(cin_keras.load_model(model_file), cin_keras.CIN)
    code, output = cars(*arguments, "--epochs", "2", "--resume", folder=tmp_path)
    assert code == 1 and "epochs" in output and "Traceback" not in output, output[-3000:]


def test_a_killed_run_goes_on(tmp_path, monkeypatch, undrawn):
    monkeypatch.setattr(RunFolder, "export", lambda self, model: None)
    folder = tmp_path / "runs" / "cars"
    arguments = [*photographs(tmp_path), "--epochs", "3", "--plain"]
    process = start(*arguments, folder=tmp_path)
    deadline = time.time() + 300
    while not (folder / "model.keras").exists() and process.poll() is None:
        assert time.time() < deadline
        time.sleep(0.1)
    process.kill()
    process.communicate()
    code, output = cars(*arguments, "--resume", folder=tmp_path)
    assert code == 0, output[-3000:]
    assert "Going on after epoch" in output
    with open(folder / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert json.loads((folder / "metrics.json").read_text())["accuracy"] is not None
    assert not list(folder.glob("earlier-*")), "what goes on must not be moved aside"


def run_here(name, *arguments, monkeypatch):
    """A recipe in this process, which saves starting another; its errors are SystemExit."""
    monkeypatch.setattr(sys, "argv", [name, *arguments, "--backbone", "small", "--epochs", "1"])
    runpy.run_path(str(RECIPES / name), run_name="__main__")


def test_birds_aircraft_and_a_folder(tmp_path, monkeypatch, capsys, undrawn, untraced):
    monkeypatch.chdir(tmp_path)
    exported = []  # by the same method as the cars, of which a test looks at what is written
    monkeypatch.setattr(RunFolder, "export", lambda self, model: exported.append(self.path.name))
    small = ["--image-size", "32", "--pairs-per-batch", "4", "--plain"]
    write_cub_200_2011(tmp_path / "birds", classes=(1, 2, 3) * 8, in_train=(1, 1, 1, 0) * 6)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "metrics.json").write_text("first")
    (folder / "notes.txt").write_text("mine")
    # With nothing to go on with, --resume starts anew, and must not write over it either.
    resume = ["--output", "out", "--resume"]
    run_here("birds.py", "--data-dir", "birds", *resume, *small, monkeypatch=monkeypatch)
    assert "No run to go on with in out" in capsys.readouterr().out
    (kept,) = folder.glob("earlier-*/metrics.json")
    assert kept.read_text() == "first" and (folder / "notes.txt").read_text() == "mine"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 6 and metrics["data"] == "birds"
    assert metrics["settings"]["plain"] is True
    assert "contrastive_loss" not in (folder / "history.csv").read_text()

    write_fgvc_aircraft(tmp_path / "aircraft")
    level = ["--data-dir", "aircraft", "--level", "manufacturer", "--limit", "3"]
    run_here("aircraft.py", *level, *small, monkeypatch=monkeypatch)
    metrics = json.loads((tmp_path / "runs" / "aircraft" / "metrics.json").read_text())
    assert {c["name"] for c in metrics["per_class"]} == {"Boeing", "McDonnell Douglas"}

    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)]
    write_files(tmp_path / "pets", *names)
    folder = tmp_path / "runs" / "pets"
    write_files(folder, "metrics.json")
    run_here("folder.py", "pets", "--seed", "1", *small, monkeypatch=monkeypatch)
    split = json.loads((folder / "split.json").read_text())
    assert json.loads((folder / "metrics.json").read_text())["images"] == 4
    assert "pets holds an earlier run" in capsys.readouterr().out and split
    assert exported == ["out", "aircraft", "pets"]


@pytest.mark.parametrize(
    ("recipe", "arguments", "message"),
    [
        ("birds.py", [], "data/CUB_200_2011"),
        ("aircraft.py", [], "data/fgvc-aircraft-2013b"),
        ("folder.py", ["nowhere"], "nowhere"),
    ],
)
def test_missing_photographs_end_in_one_sentence(tmp_path, monkeypatch, recipe, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="^error: ") as end:
        run_here(recipe, *arguments, monkeypatch=monkeypatch)
    assert message in str(end.value)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("stanford_cars", "cars.py"),
        ("cub_200_2011", "birds.py"),
        ("fgvc_aircraft", "aircraft.py"),
    ],
)
def test_download_gets_the_photographs_first(tmp_path, monkeypatch, name, recipe):
    monkeypatch.chdir(tmp_path)
    asked = []

    def pretend(name, data_dir):
        asked.append((name, data_dir))
        return data_dir

    monkeypatch.setattr(cin_keras.data, "download", pretend)
    with pytest.raises(SystemExit):  # nothing came
        run_here(recipe, "--download", "--data-dir", "there", monkeypatch=monkeypatch)
    assert asked == [(name, "there")]
    with pytest.raises(SystemExit, match="No folder|no folder|There is no|No such|lacks"):
        run_here(recipe, "--download", monkeypatch=monkeypatch)
    assert asked[1][1].startswith("data/")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_damaged_photograph_is_named(tmp_path, split):
    arguments = [*photographs(tmp_path), "--epochs", "1"]
    folder = tmp_path / "data" / "stanford_cars" / f"cars_{split}"
    photograph = sorted(folder.iterdir())[0]
    photograph.write_bytes(photograph.read_bytes()[:100])
    # A failure of the training ends the process; the test images are looked at before.
    code, output = (run if split == "train" else cars)(*arguments, folder=tmp_path)
    assert code == 1 and "Traceback" not in output, output[-3000:]
    assert f"error: Cannot decode '{photograph}'" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-dir", "nowhere"], "No folder for Stanford Cars. Received: --data-dir='nowhere'"),
        (["--epochs", "0"], "invalid positive int value: '0'"),
        (["--backbone", "resnet5", *SMALL], "Received: --backbone='resnet5'"),
        (
            ["--backbone", "small", "--weights", "imagenet"],
            "There are no ImageNet weights for --backbone small",
        ),
        (["--limit", "12"], "lower --pairs-per-batch. Received: 12 images"),
        (["--output", "file/folder"], "file/folder"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, message):
    (tmp_path / "file").touch()
    photographs(tmp_path)
    earlier = tmp_path / "runs" / "cars" / "metrics.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("earlier")
    code, output = cars(*arguments, folder=tmp_path)
    assert code != 0 and message in output, output[-2000:]
    assert earlier.read_text() == "earlier", "a mistake must not move an earlier run"


def test_help_says_what_every_option_does(tmp_path):
    code, output = cars("--help", folder=tmp_path)
    assert code == 0
    text = output[output.index("usage:") :]
    assert max(map(len, text.splitlines())) <= 80
    options = dict(re.findall(r"^  (--[a-z-]+)(?: [A-Z]+)?\s+([^\s-].+)", text, re.MULTILINE))
    assert {"--data-dir", "--epochs", "--resume", "--download"} <= options.keys()
    assert text.count("\n  --") == len(options), "each has a few words"
