import numpy as np
import pytest

from cin_keras.evaluation import (
    accuracy_in_words,
    evaluate_predictions,
    wilson_interval,
)
from cin_keras.evaluation.accuracy import accuracy_of_levels

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
    with pytest.raises(ValueError, match=r"\(3, 7\).*shape=\(2, 7\)"):
        evaluate_predictions([0, 1, 2], np.zeros((2, 7)), NAMES)
    with pytest.raises(ValueError, match=r"`labels` must lie in 0\.\.1.*2 at index 1"):
        evaluate_predictions([0, 2], np.zeros((2, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="1 of 2 predictions are not finite"):
        evaluate_predictions([0, 1], np.array([[1.0, np.nan], [0, 0]]), ["a", "b"])


@pytest.mark.parametrize(
    "right, images", [(0, 1), (1, 1), (7, 12), (0, 40), (40, 40), (1329, 1635)]
)
def test_the_interval_ends_where_the_score_test_does(right, images):
    """At either end p, the result lies 1.96 standard deviations of p from p (Wilson, 1927)."""
    low, high = wilson_interval(right, images)
    assert 0 <= low <= right / images <= high <= 1
    for end, certain in ((low, right == 0), (high, right == images)):
        if certain:
            assert end == right / images
        else:
            deviations = (right / images - end) / np.sqrt(end * (1 - end) / images)
            assert abs(deviations) == pytest.approx(1.959963984540054)


def test_certainty_is_never_claimed():
    assert wilson_interval(0, 0) == (0, 1)
    low, high = wilson_interval(10, 10)
    assert high == 1 and low == pytest.approx(1 - wilson_interval(0, 10)[1]) and low < 0.75
    assert wilson_interval(0, 10)[0] == 0


@pytest.mark.parametrize("right, images", [(-1, 3), (4, 3), (1, 0)])
def test_impossible_numbers_are_refused(right, images):
    with pytest.raises(ValueError, match=f"Received: right={right}, images={images}"):
        wilson_interval(right, images)


def test_accuracy_of_levels_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 6, 50), rng.dirichlet(np.ones(6), 50)
    groups = ["b", "a", "b", "c", "a", "a"]
    right = 0
    for label, row in zip(labels, probabilities):
        sums = {name: 0 for name in groups}
        for p, group in zip(row, groups):
            sums[group] += p
        right += max(sums, key=sums.get) == groups[label]
    found = accuracy_of_levels(labels, probabilities, {"kind": groups})
    assert found == {"kind": {"groups": 3, "right": right, "accuracy": right / 50}}
    assert accuracy_of_levels(labels, probabilities, None) == {}
    metrics = {"accuracy": 0.5, "images": 50, "per_class": [], "levels": found}
    assert accuracy_in_words(metrics, "images").endswith(f"right, {right / 50:.1%} of kind")
