import json
import pathlib
import runpy

import cin_keras
from cin_keras.cli import main
from cin_keras.cli.parser import TRAIN_SETTINGS
from cin_keras.training import RunFolder
from tests.cli.conftest import COLOURS, write_photograph


def test_a_folder_from_photographs_to_a_model_that_knows_them(
    tmp_path, monkeypatch, capsys, undrawn, untraced
):
    """What comes after `fit`, the recipes' tests see; here the model evaluates itself."""
    monkeypatch.chdir(tmp_path)
    called = []
    for name in ("evaluate", "export"):
        monkeypatch.setattr(RunFolder, name, lambda self, *args, name=name: called.append(name))
    for name, colour in COLOURS.items():
        for i in range(6):
            write_photograph(tmp_path / "colours" / name / f"{i}.png", (*colour[:2], 3 * i))
    small = ["--backbone", "small", "--image-size", "32", "--pairs-per-batch", "4"]
    command = ["train", "colours", *small, "--epochs", "1", "--seed", "3"]
    assert main(command) == 0
    assert called == ["export", "evaluate"]
    model = cin_keras.load_model("runs/colours/model.keras")
    assert model.class_names == sorted(COLOURS) and model.image_size == (32, 32)
    assert model.settings["data_dir"] == "colours" and model.settings["seed"] == 3
    assert model.settings["versions"]["cin_keras"] == cin_keras.__version__
    assert main(["evaluate", "runs/colours/model.keras", "colours"]) == 0
    assert "the test part by runs/colours/split.json" in capsys.readouterr().out
    metrics = json.loads(pathlib.Path("evaluation", "colours", "metrics.json").read_text("utf-8"))
    assert metrics["images"] == 2 and metrics["settings"]["seed"] == 3


def test_mistakes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "nowhere"]) == 2
    assert "error: No data set. Received: FOLDER='nowhere'" in capsys.readouterr().err
    assert main(["train", "x", "--backbone", "small", "--weights", "imagenet"]) == 2
    assert "no ImageNet weights for --backbone small" in capsys.readouterr().err


def test_it_has_the_settings_of_the_recipe():
    recipe = pathlib.Path(__file__).parents[2] / "recipes" / "folder.py"
    assert runpy.run_path(str(recipe))["SETTINGS"] == TRAIN_SETTINGS
