import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.data import differing_parts, drawn_cars
from cin_keras.models.small_backbone import small_backbone
from tests.data.small_sets import write_cub_200_2011

# Its parts are tested on every backend; as a whole it takes long.
pytestmark = pytest.mark.one_backend
RECIPE = pathlib.Path(__file__).parent.parent / "recipes" / "explain.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("explain_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = cin_keras.CIN(
        12, small_backbone(32), input_shape=(32, 32, 3), feature_layer="block_3", embedding_dim=4
    )
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return str(path)


def run(recipe, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["explain.py", *arguments])
    recipe.main()


def test_explains_and_scores_a_model_of_drawn_cars(
    recipe, model_file, tmp_path, monkeypatch, capsys
):
    # An oracle in place of one method: its peaks lie on parts, so every one must count as a hit.
    def with_oracle(model, pictures, references, seed):
        maps, classes, others = honest(model, pictures, references, seed)
        start = seed[1]
        for i, (map, a, b) in enumerate(zip(maps[recipe.GRAD_CAM], classes, others)):
            name = differing_parts(a, b)[0]
            left, top, right, bottom = np.array(test.parts[start + i][name]) / 48
            # Centre crop of 7/8, on a map of 8×8.
            x, y = (8 * (((c + d) / 2 - 1 / 16) * 8 / 7) for c, d in ((left, right), (top, bottom)))
            map[:] = 0
            map[int(np.clip(y, 0, 7)), int(np.clip(x, 0, 7))] = 1
        return maps, classes, others

    test = drawn_cars("test", image_size=48).limit(6)
    honest = recipe.explanations
    monkeypatch.setattr(recipe, "explanations", with_oracle)
    monkeypatch.setattr(recipe, "STEPS", 2)
    run(recipe, monkeypatch, "--model", model_file, "--limit", "6", "--output", str(tmp_path))
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["images"] == 6 and found["settings"]["model"] == model_file
    peaks = {name: kinds["peak"]["mean"] for name, kinds in found["methods"].items()
             if "peak" in kinds}  # fmt: skip
    assert set(peaks) == {recipe.CONTRAST, recipe.GRAD_CAM, recipe.DIFFERENCE, recipe.PAIR}
    # Cells are coarser than the smallest parts.
    assert peaks[recipe.GRAD_CAM] > 0.6 and peaks[recipe.GRAD_CAM] > peaks[recipe.CONTRAST]
    assert found["best_possible_peak"]["mean"] >= max(peaks.values())
    assert 0 < found["chance"]["image"]["mean"] < found["chance"]["box"]["mean"] < 0.9
    for kinds in found["methods"].values():
        assert 0 < kinds["deletion"]["mean"] < 1 and 0 < kinds["insertion"]["mean"] < 1
    difference = found["class_contrast_minus"][recipe.GRAD_CAM]["peak"]["mean"]
    assert difference == pytest.approx(peaks[recipe.CONTRAST] - peaks[recipe.GRAD_CAM])
    table = (tmp_path / "scores.md").read_text()
    assert table in capsys.readouterr().out and "random order" in table
    for name in ("class_contrast", "channel", "ranking", "pair_contrast", "scores"):
        assert min(Image.open(tmp_path / f"{name}.png").size) > 200


def test_what_counts_as_a_hit_on_a_bird(recipe, tmp_path):
    samples = cin_keras.data.cub_200_2011(write_cub_200_2011(tmp_path), "test")
    targets = recipe.Targets(samples, drawn=False)
    # Image 2: 32×24 pixels, beak at (5, 5.5), larger side of the box 12: a radius of 1.2.
    for distance, hit in ((0, True), (1.1, True), (1.3, False)):
        share = [(5 + distance - 2) / 28, (5.5 - 1.5) / 21]
        assert targets.hits(0, np.array([share]), 0, 1).tolist() == [hit]
    assert targets.in_box(0, np.array([[0.01, 0.5], [0.99, 0.5]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "3"], "leave --epochs out"),
        (["--data-dir", "BIRDS"], "12 classes apart, but the images have 3"),
        (["--data-dir", "NO PARTS"], "where the birds' parts are"),
        (["--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, model_file, tmp_path, monkeypatch, arguments, words):
    if arguments[-1] in ("BIRDS", "NO PARTS"):
        folder = write_cub_200_2011(tmp_path / "birds", (1, 1, 2, 2, 3, 3), (1, 1, 1, 1, 0, 0))
        if arguments[-1] == "NO PARTS":
            for file in (folder / "parts").iterdir():
                file.unlink()
            (folder / "parts").rmdir()
        arguments = ["--data-dir", str(folder)]
    with pytest.raises(SystemExit, match=f"error: .*{words}"):
        run(recipe, monkeypatch, "--model", model_file, "--output", str(tmp_path), *arguments)
