"""The recipe as a whole; what it computes is tested in tests/measuring."""

import functools
import json

import numpy as np
import pytest

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.measuring import splits
from tests.models.networks import tiny_backbone
from tests.recipe_runs import load_recipe

TINY = ["--backbone", "small", "--feature-layer", "block_2", "--image-size", "32", "--limit", "48"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # To draw them all takes longer than to probe them.
    few = functools.partial(drawn_cars, images_per_class=5)
    monkeypatch.setattr(splits, "drawn_cars", few)
    return load_recipe("probe")


def test_controls_stand_beside_the_interactions(recipe):
    rng = np.random.default_rng(0)
    names = ("spatial mean", "standard deviation", *recipe.INTERACTIONS)
    train, test = ({name: rng.normal(size=(40, 5)) for name in names} for _ in range(2))
    labels = [rng.integers(0, 3, 40) for _ in range(2)]
    rows = [r["features"] for r in recipe.probe(train, test, labels, classes=3, seed=0)]
    assert rows == ["spatial mean", "standard deviation", "random features", *recipe.INTERACTIONS]


def test_from_drawings_to_a_table(recipe, tmp_path, capsys):
    recipe.main(TINY)
    output = capsys.readouterr().out
    folder = tmp_path / "runs" / "probe"
    found = json.loads((folder / "probe.json").read_text())
    assert len(found["table"]) == 9 and found["phi"] is None
    assert found["settings"]["weights"] == "none" and found["settings"]["backbone"] == "small"
    assert (folder / "probe.md").read_text() in output
    for row in found["table"]:
        assert f"{row['features']} | {row['accuracy']:.1%} |" in output
    gains = [row for row in found["table"] if row["gain"]]
    assert f"| {100 * gains[0]['gain']:+.1f} ± {100 * gains[0]['standard_error']:.1f} |" in output


def test_a_trained_model_tells_of_its_phi_and_psi(recipe, tmp_path, capsys):
    model = cin_keras.CIN(4, tiny_backbone(size=32), input_shape=(32, 32, 3))
    model.save(tmp_path / "model.keras")
    recipe.main(["--model", "model.keras", "--limit", "24"])
    output = capsys.readouterr().out
    assert "φ adds 0.00 times" in output, "φ starts at zero"
    assert "0.00 0.00 0.00 of one class, 0.00 0.00 0.00 of two classes" in output, "and ψ"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "model.keras", "--image-size", "64"], "leave --image-size out"),
        (["--model", "model.keras"], "no file 'model.keras'"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--backbone", "small", "--weights", "imagenet"], "no ImageNet weights"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, arguments, words):
    with pytest.raises(SystemExit, match=f"^error: .*{words}"):
        recipe.main(arguments)
