import numpy as np
import pytest
from keras import ops

from cin_keras.metrics import accuracy
from tests.models.networks import pair_batch, tiny_cin

pytestmark = pytest.mark.every_backend


def test_both_kinds_of_labels_agree_with_the_loop():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 20), rng.normal(size=(20, 4)).astype("float32")
    expected = [float(max(range(4), key=lambda k: row[k]) == y) for row, y in zip(scores, labels)]
    for given in (labels, labels[:, None], np.eye(4)[labels]):
        assert ops.convert_to_numpy(accuracy(given, scores)).tolist() == expected


def test_the_kind_of_labels_may_change(untraced):
    images, labels = pair_batch()
    model = tiny_cin()
    one_hot = np.eye(3)[labels[0]]
    history = model.fit(
        images, labels, batch_size=4, validation_data=(images[0], one_hot), verbose=0
    ).history
    results = model.evaluate(images[0], labels[0], verbose=0, return_dict=True)
    assert results["accuracy"] == history["val_accuracy"][0]
