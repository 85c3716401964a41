import numpy as np
import pytest

from cin_keras.measuring import ridge

NAMES = ("mean", "deviation", "interaction")


def planted(images, informed, seed):
    """Features of three classes, of which only `informed` tell anything."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    features = {name: rng.normal(size=(images, 6)) for name in NAMES}
    features[informed][:, :3] += 4 * np.eye(3)[labels]
    return features, labels


@pytest.mark.parametrize("informed", NAMES[1:])
def test_what_the_first_features_do_not_know_is_found(informed):
    train, labels = planted(300, informed, seed=0)
    test, test_labels = planted(200, informed, seed=1)
    pairs = {name: (train[name], test[name]) for name in NAMES}
    rows = ridge.added_knowledge(pairs, (labels, test_labels), classes=3, seed=0)
    table = {row["features"]: row for row in rows}
    assert list(table) == list(NAMES)
    for name, row in table.items():
        if name == informed:
            assert row["accuracy"] > 0.95 and row["alone"] > 0.95
            assert row["gain"] > 0.5 and 0 < row["standard_error"] < 0.05
        else:
            assert row["alone"] < 0.5 and abs(row["gain"]) < 4 * row["standard_error"] + 1e-9
        assert row["gain"] == pytest.approx(row["accuracy"] - table["mean"]["accuracy"])
        assert row["varies"] == ridge.varying_share(test[name])
    assert table["mean"]["alone"] == table["mean"]["accuracy"]


def test_ridge_regression_solves_its_equations():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(20, 4)), rng.normal(size=(5, 4))
    labels = rng.integers(0, 3, 20)
    found = ridge.ridge_scores(train, labels, test, 3)
    covariance = train.T @ train / 20
    for share, scores in zip(ridge.RIDGES, found, strict=True):
        penalty = share * np.trace(covariance) / 4 * np.eye(4)
        for k in range(3):
            target = (labels == k) - 1 / 3
            weights = np.linalg.solve(covariance + penalty, train.T @ target / 20)
            np.testing.assert_allclose(scores[:, k], test @ weights, rtol=1e-5, atol=1e-8)


def test_no_half_chooses_its_own_ridge():
    first = np.random.default_rng(3).permutation(40) % 2 == 0
    # The first of two ridges is right on the first half, the second on the other: chosen on the
    # other half, either is wrong everywhere.
    scores = np.stack([np.stack([first, ~first], axis=1), np.stack([~first, first], axis=1)])
    assert not ridge.is_right(scores, np.zeros(40, int), seed=3).any()


def test_features_are_brought_to_one_scale_by_the_training_images():
    rng = np.random.default_rng(0)
    raw = rng.normal(5, 3, size=(50, 3))
    raw[:, 2] = 7
    train, test = ridge.standardize(raw, raw[:10] + 1)
    np.testing.assert_allclose(train[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train[:, :2].std(axis=0), 1)
    np.testing.assert_allclose(test[:, :2] - train[:10, :2], [1 / raw[:, :2].std(axis=0)] * 10)
    assert not train[:, 2].any() and not test[:, 2].any(), "what never varies says nothing"


def test_random_features_are_made_of_the_others_and_of_the_seed():
    features = np.random.default_rng(0).normal(size=(30, 5))
    found = ridge.random_features(features, seed=1)
    matrix = np.random.default_rng(1).standard_normal((5, 5))
    np.testing.assert_allclose(found, np.maximum(features @ matrix / 5**0.5, 0))


def test_the_share_that_varies():
    rng = np.random.default_rng(0)
    assert ridge.varying_share(np.tile([3.0, 4.0], (9, 1))) == 0
    assert ridge.varying_share(np.zeros((9, 2))) == 0
    values = rng.normal(size=(1000, 4)) + [1.0, 0, 0, 0]  # of length² 5, 4 around the mean
    assert ridge.varying_share(values) == pytest.approx(4 / 5, abs=0.02)
