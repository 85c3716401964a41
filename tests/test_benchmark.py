"""The benchmark recipe, in minutes on networks too small to say anything about speed."""

import importlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest
from PIL import Image

from tests.models.networks import tiny_cin
from tests.recipe_runs import run_here

RECIPE = pathlib.Path(__file__).parent.parent / "recipes" / "benchmark.py"
TINY = ["--backbone", "mobilenet", "--feature-layer", "conv_pw_4_relu", "--image-size", "32"]
TINY += ["--pairs-per-batch", "1", "--rounds", "2"]


def load_recipe(name="benchmark"):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE.parent)
        return importlib.import_module(name)


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


def test_one_command_measures_everything(tmp_path):
    memory = ["--memory-pairs", "2"] if keras.backend.backend() == "tensorflow" else []
    code, output = run(*TINY, "--classes", "7", *memory, folder=tmp_path)
    assert code == 0, output[-3000:]
    folder = tmp_path / "runs" / "benchmark"
    results = json.loads((folder / "benchmark.json").read_text())
    assert results["backend"] == keras.backend.backend()
    assert list(results["models"]) == ["backbone", "CIN, long form", "CIN", "CIN, blocks of rows"]
    for name, result in results["models"].items():
        assert f"| {name} |" in output
        for task, images in (("inference", 2), ("training", 2)):
            numbers = result[task]
            assert numbers["rounds"] == images == 2
            low, high = numbers["quartiles"]
            assert 0 < low <= numbers["milliseconds_per_image"] <= high
            speed = 1000 / numbers["milliseconds_per_image"]
            assert numbers["images_per_second"] == pytest.approx(speed)
        # Stored in float32, every weight once, beside the graph.
        weights = 4e-6 * result["parameters"]
        assert weights < result["exported_megabytes"] < weights + 2
        if name != "backbone":
            assert result["difference_from_the_long_form"]["outputs"] < 1e-4
            assert result["difference_from_the_long_form"]["loss"] < 1e-4
        if memory:
            assert results["memory"][name]["2"] > 100
    backbone, shipped = results["models"]["backbone"], results["models"]["CIN"]
    assert backbone["inference"]["ratio"] == backbone["training"]["ratio"] == 1
    assert shipped["parameters"] - backbone["parameters"] == 9 * 256**2 + 256, "φ"
    assert min(Image.open(folder / "benchmark.png").size) > 300


@pytest.mark.every_backend
def test_what_serving_takes():
    recipe = load_recipe("serving")
    model = tiny_cin(size=16)
    results = recipe.measure_serving(model, rounds=2, seed=0)
    backend = keras.backend.backend()
    expected = [recipe.KERAS]
    expected += [recipe.TENSORS, recipe.BYTES] if backend != "torch" else []
    converter = {"tensorflow": "tf2onnx", "torch": "onnxscript", "jax": "none"}[backend]
    if all(map(importlib.util.find_spec, ("onnxruntime", converter))):
        expected.append(recipe.ONNX)
    expected += [recipe.LITERT] if backend == "tensorflow" else []
    assert list(results) == expected
    table = recipe.serving_table(results).splitlines()
    assert len(table) == 2 + len(expected)
    for name, result in results.items():
        assert len(result["milliseconds"]) == 2 and min(result["milliseconds"]) > 0
        assert 0 < result["megabytes"] < 2
        assert result["difference"] is None or result["difference"] < 1e-4
        assert any(row.startswith(f"| {name} |") for row in table)
    assert results[recipe.KERAS]["difference"] == 0


def test_the_summary_is_of_medians():
    summary = load_recipe().summarize([0.2, 0.4, 0.9], [0.2, 0.2, 0.3], images=4)
    assert summary["milliseconds_per_image"] == pytest.approx(100)
    assert summary["quartiles"] == pytest.approx([75, 162.5])
    assert summary["images_per_second"] == pytest.approx(10)
    assert summary["ratio"] == pytest.approx(2)
    assert summary["ratio_quartiles"] == pytest.approx([1.5, 2.5])
    assert summary["rounds"] == 3


def test_a_model_that_fails_is_a_gap_in_the_memory_table(monkeypatch, capsys):
    recipe = load_recipe()
    monkeypatch.setattr(sys, "argv", ["-c", "import sys; sys.exit('no memory left')"])
    peaks = recipe.measure_memory(["CIN"], [3])
    assert peaks == {"CIN": {3: None}}
    assert "CIN with 3 pairs failed (1): no memory left" in capsys.readouterr().out
    assert "| CIN | – |" in recipe.as_memory_table(peaks)


def test_an_interruption_keeps_the_memory_measured_so_far(monkeypatch, capsys):
    recipe = load_recipe()

    def measure_peak(name, pairs):
        if pairs == 2:
            raise KeyboardInterrupt
        return 100.0

    monkeypatch.setattr(recipe, "measure_peak", measure_peak)
    assert recipe.measure_memory(["CIN"], [1, 2, 4]) == {"CIN": {1: 100.0, 2: None, 4: None}}
    assert "gaps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "resnet51"], "Unknown backbone.*resnet51"),
        (["--rounds", "0"], "--rounds: invalid positive value: '0'"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, message):
    code, output = run_here(RECIPE, *arguments, folder=tmp_path)
    assert code != 0
    assert re.search(message, output), output[-500:]
