"""The recipe as a whole; what it computes is tested in tests/measuring/test_explanations.py."""

import functools
import json
import pathlib

import pytest
from PIL import Image

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.training import RunFolder
from tests.data.small_sets import write_cub_200_2011
from tests.models.networks import tiny_backbone
from tests.recipe_runs import draw_nothing, load_recipe, written

# To draw them all takes longer than to explain them.
FEW = functools.partial(drawn_cars, images_per_class=2)
FIGURES = ("class_contrast", "channel", "ranking", "pair_contrast", "scores")


def load(patch):
    recipe = load_recipe("explain")
    patch.setattr(cin_keras.data, "drawn_cars", FEW)
    patch.setattr(recipe, "STEPS", 2)
    return recipe


@pytest.fixture
def recipe(monkeypatch):
    return load(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run without a model, which trains one."""
    folder = tmp_path_factory.mktemp("explain")
    tiny = ["--image-size", "32", "--pairs-per-batch", "4", "--epochs", "1", "--limit", "12"]
    with pytest.MonkeyPatch.context() as patch:
        for part in ("export", "evaluate", "summary"):  # tested with the page that trains
            patch.setattr(RunFolder, part, lambda *args: None)
        draw_nothing(patch)  # which the next test looks at
        load(patch).main([*tiny, "--feature-layer", "block_3", "--output", str(folder)])
    return folder


def test_trains_where_no_model_is_given(trained):
    found = json.loads((trained / "scores.json").read_text())
    assert found["images"] == 12 and found["settings"]["epochs"] == 1
    assert found["versions"]["cin_keras"] == cin_keras.__version__
    model = cin_keras.load_model(trained / "model.keras")
    assert model.settings["feature_layer"] == "block_3" and len(model.class_names) == 12
    assert {"history.csv", "state.zip", *(f"{name}.png" for name in FIGURES)} <= written(trained)


def test_explains_and_scores_a_model_that_is_there(recipe, trained, tmp_path, capsys):
    model = str(trained / "model.keras")
    recipe.main(["--model", model, "--limit", "4", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["images"] == 4 and found["settings"]["model"] == model
    assert set(found["methods"]) == {
        "class contrast", "Grad-CAM", "Grad-CAM of the difference", "pair contrast (CCI)",
        "random order",
    }  # fmt: skip
    assert 0 < found["chance"]["image"]["mean"] < found["chance"]["box"]["mean"] < 0.9
    table = (tmp_path / "scores.md").read_text()
    assert table in capsys.readouterr().out and "peak on a differing part" in table
    for name in FIGURES:
        assert min(Image.open(tmp_path / f"{name}.png").size) > 200
    assert written(tmp_path) == {"scores.json", "scores.md", *(f"{name}.png" for name in FIGURES)}


def test_an_earlier_explanation_is_moved_aside(recipe, trained, tmp_path, undrawn):
    (tmp_path / "parts.png").write_bytes(b"of another model")
    recipe.main(["--model", str(trained / "model.keras"), "--limit", "4", "--output", str(tmp_path)])
    assert [path.name for path in tmp_path.glob("earlier-*/*")] == ["parts.png"]
    assert not (tmp_path / "parts.png").exists()


def save_tiny(path, num_classes, **kwargs):
    model = cin_keras.CIN(num_classes, tiny_backbone(size=32), input_shape=(32, 32, 3), **kwargs)
    model.save(path)
    return str(path)


def birds(root, in_train=(1, 1, 1, 1, 1, 1, 0, 0)):
    return write_cub_200_2011(root, (1, 1, 2, 2, 3, 3, 1, 2), in_train)


def test_explains_birds(recipe, tmp_path, undrawn):
    model = save_tiny(tmp_path / "model.keras", 3, interaction="phi", contrast=None)
    arguments = ["--data-dir", str(birds(tmp_path / "birds")), "--model", model]
    recipe.main([*arguments, "--output", str(tmp_path / "explained")])
    table = (tmp_path / "explained" / "scores.md").read_text()
    assert "peak on an annotated part" in table and "anywhere in the bird's box" in table
    assert written(tmp_path / "explained") == {
        "scores.json", "scores.md", "scores.png", "class_contrast.png",
    }, "this model has no W and no CCI to draw"  # fmt: skip


def test_bad_photographs_are_left_out_where_that_is_asked_for(recipe, tmp_path, undrawn, capsys):
    model = save_tiny(tmp_path / "model.keras", 3, interaction="phi", contrast=None)
    folder = birds(tmp_path / "birds", (1, 1, 1, 1, 1, 1, 0, 0))
    arguments = ["--data-dir", str(folder), "--model", model, "--output", str(tmp_path / "out")]
    bad = recipe.explanations.samples_with_parts(folder, 32, 0)[2].paths[0]
    pathlib.Path(bad).write_bytes(b"")
    with pytest.raises(SystemExit, match="error: Cannot decode"):
        recipe.main(arguments)
    recipe.main([*arguments, "--on-error", "skip"])
    assert f"Left out, as it cannot be decoded: {bad!r}" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["images"] == 1


def test_the_parts_of_an_nts(recipe, tmp_path, capsys):
    model = cin_keras.NTS(
        12, tiny_backbone(size=32), input_shape=(32, 32, 3), parts=2, concatenated=1
    )
    model.save(tmp_path / "nts.keras")
    output = tmp_path / "explained"
    recipe.main(["--model", str(tmp_path / "nts.keras"), "--limit", "3", "--output", str(output)])
    table = (output / "scores.md").read_text()
    assert table in capsys.readouterr().out and "its middle on a differing part" in table
    assert min(Image.open(output / "parts.png").size) > 200
    assert written(output) == {"scores.md", "parts.png"}


def test_a_model_of_any_size_is_shown_images_of_its_own(recipe, tmp_path, monkeypatch):
    model = cin_keras.CIN(12, tiny_backbone(size=None), None, (None, None, 3), image_size=48)
    model.save(tmp_path / "model.keras")
    asked = []

    def enough(data_dir, size, seed):
        asked.append(size)
        raise ValueError("enough")

    monkeypatch.setattr(recipe.explanations, "samples_with_parts", enough)
    with pytest.raises(SystemExit, match="enough"):
        recipe.main(["--model", str(tmp_path / "model.keras"), "--output", str(tmp_path / "out")])
    assert asked == [48]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "3"], "leave --epochs out"),
        (["--head", "cin"], "leave --head out"),
        (["--data-dir", "BIRDS"], "12 classes apart, but the images have 3"),
        (["--data-dir", "NO PARTS"], "where the birds' parts are"),
        (["--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, tmp_path, arguments, words):
    if arguments[-1] in ("BIRDS", "NO PARTS"):
        folder = birds(tmp_path / "birds")
        if arguments[-1] == "NO PARTS":
            for file in (folder / "parts").iterdir():
                file.unlink()
            (folder / "parts").rmdir()
        arguments = ["--data-dir", str(folder)]
    model = save_tiny(tmp_path / "model.keras", 12)
    with pytest.raises(SystemExit, match=f"error: .*{words}"):
        recipe.main(["--model", model, "--output", str(tmp_path), *arguments])


def test_a_model_of_as_many_other_classes_is_refused(recipe, tmp_path):
    model = save_tiny(tmp_path / "m.keras", 12, class_names=[f"gull {i}" for i in range(12)])
    words = "error: .*begins with 'gull 0', drawn cars with 'car 01"
    with pytest.raises(SystemExit, match=words):
        recipe.main(["--model", model, "--output", str(tmp_path)])


@pytest.mark.parametrize("model", [True, False])
def test_a_class_without_a_training_image_is_named_before_training(recipe, tmp_path, model):
    folder = birds(tmp_path / "birds", in_train=(1, 1, 1, 1, 0, 0, 0, 0))
    arguments = (
        ["--model", save_tiny(tmp_path / "model.keras", 3)] if model else ["--image-size", "32"]
    )
    with pytest.raises(SystemExit, match="error: There is no training image of"):
        recipe.main(["--data-dir", str(folder), "--output", str(tmp_path / "run"), *arguments])
    assert not written(tmp_path / "run")


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "KERAS_DISTRIBUTION_PROCESS_ID"])
def test_of_several_processes_the_first_explains(recipe, tmp_path, monkeypatch, name):
    monkeypatch.setattr(recipe.cars, "main", lambda *args: None)
    monkeypatch.setenv(name, "1")
    assert recipe.main(["--distribute", "--output", str(tmp_path / "out")]) is None
    monkeypatch.setenv(name, "0")
    with pytest.raises(FileNotFoundError, match="model.keras"):
        recipe.main(["--distribute", "--output", str(tmp_path / "out")])
