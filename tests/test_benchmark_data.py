"""The benchmark of the data pipelines, on sizes too small to say anything about speed."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.data.small_sets import encode

pytestmark = pytest.mark.one_backend

RECIPE = pathlib.Path(__file__).parent.parent / "recipes" / "benchmark_data.py"
SMALL_INDEX = ["--images", "600", "--classes", "30", "--pairs-per-batch", "4", "--rounds", "2"]
SAMPLERS = ["equal classes", "long tail", "long tail, by class"]
FEEDING = [
    "bare loop: decode and resize",
    "image_dataset",
    "pair_dataset",
    "pair_dataset, cache in memory",
    "pair_dataset, cache on disk",
]


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(RECIPE.parent)
    specification = importlib.util.spec_from_file_location("benchmark_data", RECIPE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(*arguments, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": str(RECIPE.parent.parent),
        "KERAS_BACKEND": keras.backend.backend(),
    }
    done = subprocess.run(
        [sys.executable, str(RECIPE), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_one_command_measures_sampler_and_feeding(tmp_path):
    small = ["--files", "19", "--width", "40", "--height", "30", "--image-size", "16"]
    code, output = run(*SMALL_INDEX, *small, "--threads", "1", folder=tmp_path)
    assert code == 0, output[-3000:]
    folder = tmp_path / "runs" / "benchmark_data"
    assert [path.name for path in folder.iterdir()] == ["benchmark_data.json"]
    results = json.loads((folder / "benchmark_data.json").read_text())
    assert list(results["sampler"]) == [x for n in SAMPLERS for x in (n, f"{n}, 4 a batch")]
    assert list(results["feeding"]) == FEEDING
    for table in ("sampler", "feeding"):
        for name, columns in results[table].items():
            assert f"| {name} |" in output
            for column, numbers in columns.items():
                low, high = numbers["quartiles"]
                assert 0 < low <= numbers["median"] <= high, (name, column)
                assert numbers["rounds"] == 2
    bare = results["feeding"]["bare loop: decode and resize"]
    assert bare["ratio to the bare loop"] == {"median": 1, "quartiles": [1, 1], "rounds": 2}
    # The text of a path, what Python adds to it, and its place in the list.
    assert 60 < results["bytes_a_path"] < 200
    assert results["settings"]["threads"] == 1
    assert results["backend"] == keras.backend.backend()


def test_own_photographs_are_read(tmp_path, recipe, monkeypatch):
    for i in range(8):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"{i}.jpg").write_bytes(encode(np.full((9, 12, 3), i), "JPEG"))
    arguments = ["--data-dir", str(tmp_path), "--pairs-per-batch", "4", "--files", "8"]
    monkeypatch.setattr(sys, "argv", ["benchmark_data.py", *arguments])
    samples = recipe.photographs(recipe.parse_arguments(), None)
    assert [pathlib.Path(path).name for path in samples.paths] == [f"{i}.jpg" for i in range(8)]
    assert samples.read(0).size == (12, 9)


@pytest.mark.parametrize("long_tail", [False, True])
def test_every_image_has_a_class_and_every_class_images(recipe, monkeypatch, long_tail):
    monkeypatch.setattr(sys, "argv", ["x", "--images", "5003", "--classes", "50"])
    labels = recipe.make_labels(recipe.parse_arguments(), long_tail)
    sizes = np.sort(np.bincount(labels, minlength=50))
    assert sizes.sum() == 5003
    assert sizes[0] >= 1
    assert sizes[-1] / sizes[0] > 20 if long_tail else sizes[-1] - sizes[0] <= 2


def test_an_interruption_keeps_the_rounds_that_were_finished(recipe, capsys):
    figures = {"a": {"speed": []}, "b": {"speed": []}}

    def one_round(number):
        figures["a"]["speed"].append(number)
        if number == 2:
            raise KeyboardInterrupt
        figures["b"]["speed"].append(10 * number)

    recipe.run_rounds(one_round, 5)
    assert "Interrupted" in capsys.readouterr().out
    summary = recipe.summarize(figures)
    assert summary["a"]["speed"] == {"median": 0.5, "quartiles": [0.25, 0.75], "rounds": 2}
    assert summary["b"]["speed"]["median"] == 5
    with pytest.raises(SystemExit, match="nothing to report"):
        recipe.summarize({"a": {"speed": []}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: invalid positive value: '0'"),
        (["--images", "5", "--classes", "2"], "error: One batch of 10 pairs needs 20 images"),
        ([*SMALL_INDEX, "--data-dir", "."], "A batch takes 8 photographs.*with 0 files"),
        ([*SMALL_INDEX, "--output", "file/below"], "error: .*(Not a directory|File exists)"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, recipe, monkeypatch, capsys, arguments, message):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark_data.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        recipe.main()
    assert stopped.value.code not in (0, None)
    assert re.search(message, f"{stopped.value.code} {capsys.readouterr().err}")
