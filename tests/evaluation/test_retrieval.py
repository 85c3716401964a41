import numpy as np
import pytest

from cin_keras.evaluation import recall_at_1


@pytest.mark.parametrize("block", [1, 4, 100])
def test_recall_is_that_of_a_loop_over_all_pairs(block):
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(30, 5)), rng.integers(0, 4, 30)
    right = 0
    for i in range(30):
        best, nearest = -2, None
        for j in range(30):
            a, b = embeddings[i], embeddings[j]
            cosine = a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)
            if j != i and cosine > best:
                best, nearest = cosine, j
        right += labels[nearest] == labels[i]
    lengths = rng.uniform(1, 9, (30, 1))
    assert recall_at_1(lengths * embeddings, labels, block=block) == right / 30
    assert 0 < right < 30
    for size in (1e-300, 1e-20, 1e25, 1e300):
        assert recall_at_1(size * embeddings, labels, block=block) == right / 30


@pytest.mark.parametrize(
    ("embeddings", "labels", "words"),
    [
        (np.zeros((2, 3)), [0], "embeddings.shape=.2, 3., 1 labels"),
        (np.zeros((1, 3)), [0], "of two images or more"),
        (np.zeros(2), [0, 1], "shape=.2,."),
        (np.full((2, 3), np.nan), [0, 1], "must be finite"),
        (np.ones((2, 3)), ["a", "b"], "`labels` must be one integer a sample"),
    ],
)
def test_mistakes_are_named(embeddings, labels, words):
    with pytest.raises(ValueError, match=words):
        recall_at_1(embeddings, labels)


@pytest.mark.parametrize("block", [0, -1, 2.5])
def test_a_block_has_rows(block):
    with pytest.raises(ValueError, match=f"`block` must be an int of at least 1.*{block}"):
        recall_at_1(np.eye(3), [0, 1, 1], block=block)
