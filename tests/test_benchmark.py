"""The benchmark recipe, on networks too small to say anything about speed."""

import json
import re

import keras
import pytest
from PIL import Image

from cin_keras.measuring import memory, serving, systems
from tests import processes
from tests.models.networks import shorten_mobilenet
from tests.recipe_runs import load_recipe, written

TINY = ["--backbone", "mobilenet", "--feature-layer", "conv_pw_1_relu", "--image-size", "32"]
TINY += ["--pairs-per-batch", "1", "--rounds", "2"]
MODELS = ["backbone", "contrast", "CIN, long form", "CIN", "CIN, blocks of rows"]
# The steps that are timed run traced in tests/measuring/test_benchmarks.py.
UNTRACED = pytest.mark.filterwarnings("ignore:Even though:UserWarning")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shorten_mobilenet(monkeypatch, 1)
    return load_recipe("benchmark")


@UNTRACED
def test_one_command_measures_everything(recipe, tmp_path, monkeypatch, capsys, untraced):
    commands = []

    def measure_memory(command, names, pair_counts):
        commands.append(command)
        return {name: {pairs: 100.0 for pairs in pair_counts} for name in names}

    monkeypatch.setattr(recipe, "measure_memory", measure_memory)
    monkeypatch.setattr(serving, "exported_megabytes", lambda model: model.count_params() / 1e6)
    arguments = [*TINY, "--classes", "7", "--memory-pairs", "2", "--phi-kernel-size", "1"]
    recipe.main(arguments)
    output = capsys.readouterr().out
    folder = tmp_path / "runs" / "benchmark"
    results = json.loads((folder / "benchmark.json").read_text())
    assert results["backend"] == "tensorflow" and list(results["models"]) == MODELS
    for name, result in results["models"].items():
        assert f"| {name} |" in output
        for task, images in (("inference", 2), ("training", 2)):
            numbers = result[task]
            assert numbers["rounds"] == images == 2
            low, high = numbers["quartiles"]
            assert 0 < low <= numbers["milliseconds_per_image"] <= high
            speed = 1000 / numbers["milliseconds_per_image"]
            assert numbers["images_per_second"] == pytest.approx(speed)
        assert result["exported_megabytes"] == result["parameters_in_training"] / 1e6
        if name not in ("backbone", "contrast"):
            difference = result["difference_from_the_long_form"]
            assert difference["outputs"] < 1e-4 and difference["loss"] < 1e-4
        assert results["memory"][name] == {"2": 100.0}
        assert f"| {name} | 100 |" in output
    backbone, shipped = results["models"]["backbone"], results["models"]["CIN"]
    assert backbone["inference"]["ratio"] == backbone["training"]["ratio"] == 1
    assert shipped["parameters"] - backbone["parameters"] == 64**2 + 64, "φ"
    assert shipped["parameters_in_training"] > shipped["parameters"]
    assert min(Image.open(folder / "benchmark.png").size) > 300
    assert [command[2:] for command in commands] == [arguments]


def test_the_process_that_measures_memory_is_this_recipe(recipe, monkeypatch):
    def run(command, capture_output, text):
        return processes.run(*command[1:])

    monkeypatch.setattr(memory.subprocess, "run", run)
    command = [recipe.sys.executable, recipe.__file__, *TINY]
    peaks = memory.measure_memory(command, ["backbone"], [1])
    assert peaks["backbone"][1] > 100


def test_serving_alone(recipe, tmp_path, monkeypatch, capsys):
    """What is measured is tested in tests/measuring/test_serving.py."""

    def measure_serving(model, rounds, seed):
        assert model.name and (rounds, seed) == (2, 5)
        form = {"milliseconds": [3.0, 1.0], "megabytes": 12.3, "difference": 0.0}
        return {serving.KERAS: form, serving.BYTES: {**form, "milliseconds": [1.0, 1.0]}}

    monkeypatch.setattr(serving, "measure_serving", measure_serving)
    recipe.main([*TINY, "--serving", "--seed", "5"])
    folder = tmp_path / "runs" / "benchmark"
    results = json.loads((folder / "serving.json").read_text())
    assert list(results["forms"]) == ["Keras, predict", "SavedModel, JPEG"]
    assert "one image" in results["title"] and results["settings"]["seed"] == 5
    assert results["versions"]["keras"]
    assert "| SavedModel, JPEG | 1 (1–1) | 0.50 | 12 MB |" in capsys.readouterr().out
    assert written(folder) == {"serving.json"}


@UNTRACED
def test_the_table_of_systems(recipe, tmp_path, monkeypatch, capsys, untraced):
    plain = {"backbone": "mobilenet", "feature_layer": "conv_pw_1_relu"}
    plain |= {"interaction": None, "contrast": None}
    mamc = plain | {"interaction": "osme", "contrast": "mamc"}
    few = {"ResNet-50": (plain, 12.5), "+ MAMC": (mamc, 14.8), "NTS": (plain, 23.6)}
    assert list(systems.SYSTEMS) == [
        "ResNet-50", "ResNet-101", "VGG-19", "+ SE", "+ non-local", "+ CGNL", "+ MAMC", "+ SCI",
        "CIN", "NTS",
    ]  # fmt: skip
    assert all(systems.SYSTEMS[name][1] == few[name][1] for name in few)
    monkeypatch.setattr(systems, "SYSTEMS", few)
    recipe.main([*TINY, "--systems", "--train"])
    folder, output = tmp_path / "runs" / "benchmark", capsys.readouterr().out
    results = json.loads((folder / "systems.json").read_text())
    assert list(results["systems"]) == list(few) and "batches of 1 and of 8" in results["title"]
    tasks = {task: own["rounds"] for task, own in results["systems"]["NTS"].items()}
    assert tasks == {"batch of 1": 2, "batch of 8": 2, "training": 2}
    assert results["systems"]["ResNet-50"]["training"]["ratio"] == 1
    assert re.search(r"\| NTS \| .* \| 23.6 \| 1.89 \|", output)
    assert written(folder) == {"systems.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "resnet51"], "error: .*Unknown backbone.*resnet51"),
        (["--peers", "--systems"], "--serving, --systems and --peers are measured one at a time"),
        (["--serving", "--train"], "--train is for --systems"),
        (["--serving", "--memory-pairs"], "--memory-pairs is for the forms of CIN in training"),
        (["--rounds", "0"], "--rounds: invalid positive int value: '0'"),
        ([*TINY, "--output", "file/below"], "error: .*(Not a directory|File exists)"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        recipe.main(arguments)
    assert re.search(message, f"{end.value.code} {capsys.readouterr().err}")


@pytest.mark.every_backend
def test_peers_are_timed_on_pytorch(recipe, tmp_path, capsys):
    arguments = [*TINY, "--classes", "7", "--peers"]
    if keras.backend.backend() != "torch":
        with pytest.raises(SystemExit, match="error: The peers are written in PyTorch: use KERAS_"):
            recipe.main(arguments)
        return
    recipe.main(arguments)
    folder, output = tmp_path / "runs" / "benchmark", capsys.readouterr().out
    peers = json.loads((folder / "peers.json").read_text())["peers"]
    assert list(peers) == ["backbone", "CIN", "CIN, plain PyTorch", "NTS"]
    for name, own in peers.items():
        assert f"| {name} |" in output
        assert {task: numbers["rounds"] for task, numbers in own.items()} == {
            "inference": 2,
            "training": 2,
        }
    assert peers["backbone"]["training"]["ratio"] == 1
