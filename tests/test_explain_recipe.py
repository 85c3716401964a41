"""The recipe as a whole; what it computes is tested in tests/measuring/test_explanations.py."""

import functools
import json

import pytest
from PIL import Image

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.models.small_backbone import small_backbone
from tests.data.small_sets import write_cub_200_2011
from tests.models.networks import tiny_backbone
from tests.recipe_runs import load_recipe


@pytest.fixture
def recipe(monkeypatch):
    recipe = load_recipe("explain")
    # To draw them all takes longer than to explain them.
    monkeypatch.setattr(recipe, "drawn_cars", functools.partial(drawn_cars, images_per_class=3))
    return recipe


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = cin_keras.CIN(
        12, small_backbone(32), input_shape=(32, 32, 3), feature_layer="block_3", embedding_dim=4
    )
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return str(path)


FIGURES = ("class_contrast", "channel", "ranking", "pair_contrast", "scores")


def test_explains_and_scores_a_model_of_drawn_cars(
    recipe, model_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(recipe, "STEPS", 2)
    recipe.main(["--model", model_file, "--limit", "6", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["images"] == 6 and found["settings"]["model"] == model_file
    assert found["versions"]["cin_keras"] == cin_keras.__version__
    assert set(found["methods"]) == {
        "class contrast", "Grad-CAM", "Grad-CAM of the difference", "pair contrast (CCI)",
        "random order",
    }  # fmt: skip
    assert 0 < found["chance"]["image"]["mean"] < found["chance"]["box"]["mean"] < 0.9
    table = (tmp_path / "scores.md").read_text()
    assert table in capsys.readouterr().out and "peak on a differing part" in table
    for name in FIGURES:
        assert min(Image.open(tmp_path / f"{name}.png").size) > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["scores.json", "scores.md", *(f"{name}.png" for name in FIGURES)]
    )


def test_trains_where_no_model_is_given(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "STEPS", 2)
    tiny = ["--image-size", "32", "--pairs-per-batch", "4", "--epochs", "1", "--limit", "24"]
    recipe.main([*tiny, "--plain", "--feature-layer", "block_3", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["images"] == 24 and "pair contrast (CCI)" not in found["methods"]
    assert {"model.keras", "history.csv", "state.zip", "class_contrast.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert not (tmp_path / "channel.png").exists(), "a plain classifier has no W"
    model = cin_keras.load_model(tmp_path / "model.keras")
    assert model.settings["feature_layer"] == "block_3" and len(model.class_names) == 12


def test_explains_birds(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "STEPS", 2)
    birds = write_cub_200_2011(
        tmp_path / "birds", (1, 1, 2, 2, 3, 3, 1, 2), (1, 1, 1, 1, 1, 1, 0, 0)
    )
    model = cin_keras.CIN(
        3, tiny_backbone(size=32), input_shape=(32, 32, 3), interaction="phi", contrast=None
    )
    model.save(tmp_path / "model.keras")
    arguments = ["--data-dir", str(birds), "--model", str(tmp_path / "model.keras")]
    recipe.main([*arguments, "--output", str(tmp_path / "explained")])
    table = (tmp_path / "explained" / "scores.md").read_text()
    assert "peak on an annotated part" in table and "anywhere in the bird's box" in table
    assert {path.name for path in (tmp_path / "explained").iterdir()} == {
        "scores.json", "scores.md", "scores.png", "class_contrast.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "3"], "leave --epochs out"),
        (["--data-dir", "BIRDS"], "12 classes apart, but the images have 3"),
        (["--data-dir", "NO PARTS"], "where the birds' parts are"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--data-dir", "TOO FEW"], "no training image of"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, model_file, tmp_path, arguments, words):
    if arguments[-1] == "TOO FEW":
        model = cin_keras.CIN(3, tiny_backbone(size=32), input_shape=(32, 32, 3))
        model.save(tmp_path / "model.keras")
        arguments = [
            *arguments[:1],
            str(write_cub_200_2011(tmp_path / "birds", (1, 1, 2, 2, 3, 3), (1, 1, 1, 1, 0, 0))),
        ]
        arguments += ["--model", str(tmp_path / "model.keras")]
    if arguments[-1] in ("BIRDS", "NO PARTS"):
        folder = write_cub_200_2011(tmp_path / "birds", (1, 1, 2, 2, 3, 3), (1, 1, 1, 1, 0, 0))
        if arguments[-1] == "NO PARTS":
            for file in (folder / "parts").iterdir():
                file.unlink()
            (folder / "parts").rmdir()
        arguments = ["--data-dir", str(folder)]
    with pytest.raises(SystemExit, match=f"error: .*{words}"):
        recipe.main(["--model", model_file, "--output", str(tmp_path), *arguments])
