import base64
import dataclasses
import io
import os

import numpy as np
from PIL import Image

from cin_keras import explain
from cin_keras.data.cropping import crop
from cin_keras.evaluation.confusions import ConfusedPair
from cin_keras.evaluation.report.photographs import data_uri, photographs_of
from tests.evaluation.report.pages import material

SIZE = (32, 32)


def confused(inputs):
    """The pair of the most wrong test photograph, and its index, by a loop."""
    worst = None
    for index, (label, row) in enumerate(zip(inputs["test"].labels, inputs["probabilities"])):
        lead = row.max() - row[label]
        if worst is None or lead > worst[0]:
            worst = (lead, index, int(label), int(row.argmax()))
    return worst[1], ConfusedPair(worst[2], worst[3], 1, 0)


def photographs(inputs, pairs, model=None, train=None):
    test, probabilities = inputs["test"], inputs["probabilities"]
    predicted = probabilities.argmax(axis=1)
    return photographs_of(pairs, model, SIZE, test, predicted, probabilities, train)


def test_the_worst_mistake_beside_the_class_it_was_taken_for(model):
    inputs = material()
    index, pair = confused(inputs)
    [(left, right)] = photographs(inputs, [pair], model, inputs["train"])
    test, train = inputs["test"], inputs["train"]
    first = train.labels.tolist().index(pair.taken_for)
    assert (left.index, left.name) == (index, os.path.basename(test.paths[index]))
    assert (right.index, right.name) == (first, os.path.basename(train.paths[first]))
    images = [test.read(index), train.read(first)]
    for shown, image in zip((left, right), images):
        np.testing.assert_array_equal(shown.image, crop(image, 320, 320))
    maps = explain.class_contrast_map(
        model,
        np.stack([crop(image, *SIZE) for image in images]),
        np.array([pair.taken_for] * 2),
        np.array([pair.true] * 2),
    )
    for shown, map in zip((left, right), maps):
        most = max(abs(value) for value in map.ravel())
        grey = shown.image @ np.array([0.299, 0.587, 0.114])  # the luma of ITU-R BT.601
        expected = explain.overlay(np.stack([grey] * 3, axis=2), map, limits=(-most, most))
        np.testing.assert_allclose(shown.contrast, expected, atol=1)


def test_without_training_photographs_the_surest_test_photograph_stands_for_a_class():
    inputs = material()
    _, pair = confused(inputs)
    [(_, right)] = photographs(inputs, [pair])
    column = inputs["probabilities"][:, pair.taken_for]
    members = [i for i, label in enumerate(inputs["test"].labels) if label == pair.taken_for]
    assert right.index == max(members, key=lambda i: column[i]) and right.contrast is None


def test_files_that_cannot_be_read_give_way(model):
    inputs = material()
    _, pair = confused(inputs)
    train = inputs["train"]
    members = np.flatnonzero(train.labels == pair.taken_for)
    encoded = list(train.encoded)
    encoded[members[0]] = b"no image"
    [(_, right)] = photographs(inputs, [pair], model, dataclasses.replace(train, encoded=encoded))
    assert right.index == members[1]
    encoded = [b""] * len(train)
    [(left, right)] = photographs(
        inputs, [pair], model, dataclasses.replace(train, encoded=encoded)
    )
    assert right is None and left.contrast.shape == (320, 320, 3)
    broken = {**inputs, "test": dataclasses.replace(inputs["test"], encoded=[b""] * 60)}
    assert photographs(broken, [pair], model) == [(None, None)]


def test_a_data_uri_holds_the_image():
    image = np.full((20, 30, 3), (200, 40, 90), "uint8")
    head, _, body = data_uri(image).partition(",")
    assert head == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))), int)
    assert decoded.shape == (20, 30, 3) and np.abs(decoded - image).max() < 6
