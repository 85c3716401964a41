import numpy as np
import pytest

from cin_keras.evaluation.confusions import (
    confusion_counts,
    most_confused_pairs,
    order_of_mistakes,
    worst_classes,
)
from tests.evaluation.figures.drawings import labels_and_predictions


def test_confusion_counts_against_a_loop():
    true, predicted = labels_and_predictions(7, 200)
    expected = np.zeros((9, 9), int)
    for t, p in zip(true, predicted, strict=True):
        expected[t, p] += 1
    counts = confusion_counts(true.astype("int32"), predicted.tolist(), 9)
    assert (counts == expected).all()


def test_confusion_counts_of_narrow_integers_do_not_overflow():
    counts = confusion_counts(np.array([195], "uint8"), np.array([194], "uint8"), 196)
    assert np.argwhere(counts).tolist() == [[195, 194]]


@pytest.fixture(params=[0, 1])
def counts(request):
    """Numbers of images by true and predicted class, some classes without an image."""
    counts = np.random.default_rng(request.param).integers(0, 6, (9, 9))
    counts[4] = 0
    counts[7] = [0, 0, 0, 0, 0, 0, 0, 3, 0]
    return counts


def test_pairs_count_both_directions(counts):
    expected = []
    for a in range(9):
        for b in range(a + 1, 9):
            if counts[a, b] + counts[b, a]:
                expected.append((counts[a, b] + counts[b, a], a, b))
    expected.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    found = most_confused_pairs(counts, 100)
    assert [(p.count + p.reverse, *sorted(p[:2])) for p in found] == expected
    for pair in found:
        assert pair.count == counts[pair.true, pair.taken_for] >= pair.reverse
        assert pair.reverse == counts[pair.taken_for, pair.true]
    assert most_confused_pairs(counts, 3) == found[:3]


def test_worst_classes_come_by_accuracy(counts):
    expected = []
    for label in range(9):
        images, right = int(counts[label].sum()), int(counts[label, label])
        if right < images:
            others = [(-counts[label, other], other) for other in range(9) if other != label]
            times, taken_for = min(others)
            expected.append((right / images, -images, label, right, taken_for, -times))
    expected.sort()
    found = worst_classes(counts, 100)
    assert [
        (c.right / c.images, -c.images, c.label, c.right, c.taken_for, c.times) for c in found
    ] == expected
    assert {4, 7}.isdisjoint(c.label for c in found)
    assert worst_classes(counts, 2) == found[:2]


def test_nothing_is_confused_where_all_is_right():
    assert most_confused_pairs(np.diag([3, 0, 2]), 5) == []
    assert worst_classes(np.diag([3, 0, 2]), 5) == []


def test_order_of_mistakes_against_a_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 60)
    probabilities = rng.dirichlet(np.ones(5), 60)
    predicted = probabilities.argmax(axis=1)
    leads = {
        i: probabilities[i, predicted[i]] - probabilities[i, labels[i]]
        for i in range(60)
        if predicted[i] != labels[i]
    }
    expected = sorted(leads, key=leads.get, reverse=True)
    assert order_of_mistakes(labels, predicted, probabilities).tolist() == expected
