import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.data import drawn_cars
from cin_keras.data.images import crop
from tests import reference
from tests.models.networks import tiny_cin
from tests.recipe_runs import run_here

RECIPE = pathlib.Path(__file__).parent.parent / "recipes" / "probe.py"
TINY = ["--backbone", "small", "--image-size", "32", "--limit", "60"]


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("probe_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def planted(recipe, images, informed, seed):
    """Features of three classes, of which only `informed` tell anything."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    names = (recipe.MEAN, recipe.DEVIATION, *recipe.INTERACTIONS)
    features = {name: rng.normal(size=(images, 6)) for name in names}
    features[informed][:, :3] += 4 * np.eye(3)[labels]
    return features, labels


@pytest.mark.parametrize("informed", ["SCI", "standard deviation"])
def test_what_the_mean_does_not_know_is_found(recipe, informed):
    train, labels = planted(recipe, 300, informed, seed=0)
    test, test_labels = planted(recipe, 200, informed, seed=1)
    table = {r["features"]: r for r in recipe.probe(train, labels, test, test_labels, 3, seed=0)}
    assert list(table) == ["spatial mean", "standard deviation", "random features", *recipe.INTERACTIONS]  # fmt: skip
    for name, row in table.items():
        if name == informed:
            assert row["accuracy"] > 0.95 and row["alone"] > 0.95
            assert row["gain"] > 0.5 and 0 < row["standard_error"] < 0.05
        else:
            assert row["alone"] < 0.5 and abs(row["gain"]) < 4 * row["standard_error"] + 1e-9
        difference = row["accuracy"] - table["spatial mean"]["accuracy"]
        assert row["gain"] == pytest.approx(difference)


def test_ridge_regression_solves_its_equations(recipe):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(20, 4)), rng.normal(size=(5, 4))
    labels = rng.integers(0, 3, 20)
    found = recipe.ridge_scores(train, labels, test, 3)
    covariance = train.T @ train / 20
    for ridge, scores in zip(recipe.RIDGES, found, strict=True):
        penalty = ridge * np.trace(covariance) / 4 * np.eye(4)
        for k in range(3):
            target = (labels == k) - 1 / 3
            weights = np.linalg.solve(covariance + penalty, train.T @ target / 20)
            np.testing.assert_allclose(scores[:, k], test @ weights, rtol=1e-5, atol=1e-8)


def test_no_half_chooses_its_own_ridge(recipe, monkeypatch):
    test_labels = np.zeros(40, int)
    first = np.random.default_rng(3).permutation(40) % 2 == 0
    # The first of two ridges is right on the first half, the second on the other: chosen on the
    # other half, either is wrong everywhere.
    scores = np.stack([np.stack([first, ~first], axis=1), np.stack([~first, first], axis=1)])
    monkeypatch.setattr(recipe, "ridge_scores", lambda *args: scores)
    assert not recipe.is_right(None, None, None, test_labels, 2, seed=3).any()


@pytest.mark.every_backend
def test_features_against_the_loops(recipe):
    model = tiny_cin(12, size=16)
    samples = drawn_cars("test", image_size=32).limit(5)
    args = type("Args", (), {"image_size": 16, "batch_size": 2})
    found = recipe.describe(model, samples, args)
    for i in range(5):
        image = crop(samples.read(i), 16, 16)
        features = keras.ops.convert_to_numpy(model.backbone(np.float32(image)[None]))[0]
        x = features.reshape(-1, features.shape[-1]).T
        expected = {"spatial mean": x.mean(axis=1), "standard deviation": x.std(axis=1)}
        for name, own in recipe.INTERACTIONS.items():
            weights = reference.interaction_weights(features, **own)
            expected[name] = reference.mix(weights, features).mean(axis=(0, 1))
        kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.interaction.phi.weights)
        z = reference.self_channel_interaction(features, kernel, bias)
        expected["Y"] = expected["SCI"]
        expected["φ"] = z.mean(axis=(0, 1)) - x.mean(axis=1)
        assert set(found) == set(expected)
        for name, values in expected.items():
            reference.assert_close(found[name][i], values)


def test_what_is_the_same_for_every_image_does_not_vary(recipe):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(50, 4))
    phi = recipe.learned({"φ": np.tile([3.0, 0, 4, 0], (50, 1)), "spatial mean": mean})
    assert phi["varies"] == pytest.approx(0, abs=1e-12) and phi["mean_varies"] > 0.9
    lengths = [5 / sum(value**2 for value in row) ** 0.5 for row in mean]
    assert phi["relative_length"] == pytest.approx(np.median(lengths))


@pytest.mark.every_backend
def test_eta_of_pairs_of_one_and_of_two_classes(recipe):
    model = tiny_cin(12)
    labels = np.array([0, 0, 1, 1, 2, 2])
    y = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.contrast.psi.weights)

    def eta(a, b):
        return (np.concatenate([y[a], y[b]]) @ kernel + bias)[0]

    found = recipe.contrasts(model, y, labels, seed=0)
    same = [eta(a, a + 1 if a % 2 == 0 else a - 1) for a in range(6)]
    np.testing.assert_allclose(found["one class"], np.percentile(same, (25, 50, 75)), rtol=1e-5)
    others = [eta(a, b) for a in range(6) for b in range(6) if labels[a] != labels[b]]
    assert min(others) <= found["two classes"][0] <= found["two classes"][2] <= max(others)
    # An image without a second of its class is in no pair of one class.
    assert recipe.contrasts(model, y[:3], labels[:3], seed=0)["one class"] == pytest.approx(
        np.percentile(same[:2], (25, 50, 75)), rel=1e-5
    )


def test_from_drawings_to_a_table(recipe, tmp_path):
    code, output = run_here(RECIPE, *TINY, folder=tmp_path)
    assert code == 0, output[-3000:]
    folder = tmp_path / "runs" / "probe"
    found = json.loads((folder / "probe.json").read_text())
    assert len(found["table"]) == 9 and found["phi"] is None
    assert found["settings"]["weights"] == "none"
    assert (folder / "probe.md").read_text() in output
    for row in found["table"]:
        assert f"{row['features']} | {row['accuracy']:.1%} |" in output

    model = cin_keras.CIN(4, recipe.small_backbone(32), input_shape=(32, 32, 3))
    model.save(tmp_path / "model.keras")
    code, output = run_here(RECIPE, "--model", "model.keras", "--limit", "60", folder=tmp_path)
    assert code == 0, output[-3000:]
    assert "φ adds 0.00 times" in output, "φ starts at zero"
    assert "0.00 0.00 0.00 of one class, 0.00 0.00 0.00 of two classes" in output, "and ψ"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "model.keras", "--image-size", "64"], "leave that out"),
        (["--model", "model.keras"], "no file 'model.keras'"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--backbone", "small", "--weights", "imagenet"], "no ImageNet weights"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, arguments, words):
    code, output = run_here(RECIPE, *arguments, folder=tmp_path)
    assert code == 1 and words in output and output.count("error: ") == 1
    assert "Traceback" not in output
