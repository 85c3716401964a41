import numpy as np
import pytest

from cin_keras.gallery import nearest as module
from cin_keras.gallery.calibration import auroc, choose_threshold, false_alarms_at_recall


@pytest.mark.parametrize("rows, queries", [(7, 3), (1000, 1000)])
def test_blocks_change_nothing(monkeypatch, rows, queries):
    monkeypatch.setattr(module, "ROWS", rows)
    monkeypatch.setattr(module, "QUERIES", queries)
    rng = np.random.default_rng(0)
    # Whole numbers, among which many are equal.
    vectors = rng.integers(-1, 2, (50, 4)).astype("float32")
    asked = rng.integers(-1, 2, (8, 4)).astype("float32")
    labels = rng.integers(0, 6, 50)
    labels[labels == 3] = 2
    products = asked @ vectors.T
    for k in (1, 5, 50):
        similarities, indices = module.nearest(asked, vectors, k)
        expected = -np.sort(-products, axis=1)[:, :k]
        np.testing.assert_array_equal(similarities, expected)
        np.testing.assert_array_equal(np.take_along_axis(products, indices, axis=1), expected)
        assert all(len(set(row)) == k for row in indices.tolist())
    best = module.nearest_of_each_class(asked, vectors, labels, 6)
    for label in range(6):
        own = products[:, labels == label]
        expected = own.max(axis=1) if own.size else np.full(8, -np.inf)
        np.testing.assert_array_equal(best[:, label], expected)


def test_no_query_and_ties_in_order():
    vectors = np.ones((4, 2), "float32")
    assert module.nearest(np.empty((0, 2), "float32"), vectors, 2)[1].shape == (0, 2)
    assert module.nearest(vectors[:1], vectors, 4)[1].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("rate", [0, 0.1, 0.25, 0.5, 1])
def test_no_more_than_the_rate_reaches_the_threshold(rate):
    rng = np.random.default_rng(0)
    for unknown in (rng.normal(size=40), np.repeat(rng.normal(size=4), 10)):
        unknown = unknown.astype("float32")
        threshold = choose_threshold(np.clip(unknown, -1, 1), rate)
        assert np.mean(np.clip(unknown, -1, 1) >= threshold) <= rate
    # As many as are allowed, where all differ.
    distinct = np.linspace(-1, 1, 40)
    assert np.sum(distinct.astype("float32") >= choose_threshold(distinct, rate)) == int(40 * rate)


def test_auroc_and_recall_are_those_of_loops():
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 9, 30) + 2, rng.integers(0, 9, 20)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in known for b in unknown]
    assert auroc(known, unknown) == pytest.approx(np.mean(wins))
    for recall in (0.5, 0.95, 1.0):
        best = min(
            np.mean(unknown >= t) for t in range(-1, 12) if np.mean(known >= t) >= recall - 1e-9
        )
        assert false_alarms_at_recall(known, unknown, recall) == pytest.approx(best)
