import numpy as np
import pytest

from cin_keras.evaluation import evaluate_predictions, softmax

pytestmark = pytest.mark.one_backend

NAMES = [f"class {k}" for k in range(7)]


def test_accuracies_agree_with_the_loop():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 6, 50), rng.normal(size=(50, 7))
    results = evaluate_predictions(labels, scores, NAMES)
    first = five = 0
    right = {k: [] for k in range(7)}
    for label, row in zip(labels, scores, strict=True):
        ranked = sorted(range(7), key=lambda k: -row[k])
        first += ranked[0] == label
        five += label in ranked[:5]
        right[label].append(ranked[0] == label)
    assert results["accuracy"] == pytest.approx(first / 50)
    assert results["top_5_accuracy"] == pytest.approx(five / 50)
    assert results["images"] == 50
    for k, entry in enumerate(results["per_class"]):
        expected = np.mean(right[k]) if right[k] else None
        assert entry["name"] == NAMES[k] and entry["images"] == len(right[k])
        assert entry["accuracy"] == pytest.approx(expected)
    assert results["per_class"][6]["accuracy"] is None


def test_two_classes_have_a_top_five_too():
    assert evaluate_predictions([0, 1], np.zeros((2, 2)), ["a", "b"])["top_5_accuracy"] == 1.0


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"labels.shape=\(3,\).*\(2, 7\)"):
        evaluate_predictions([0, 1, 2], np.zeros((2, 7)), NAMES)
    with pytest.raises(ValueError, match="1 of 2 predictions are not finite"):
        evaluate_predictions([0, 1], np.array([[1.0, np.nan], [0, 0]]), ["a", "b"])


def test_softmax():
    scores = np.array([[1000.0, 1000.0, -1000.0], [0.0, np.log(2), np.log(5)]])
    np.testing.assert_allclose(softmax(scores), [[0.5, 0.5, 0], [1 / 8, 2 / 8, 5 / 8]])
