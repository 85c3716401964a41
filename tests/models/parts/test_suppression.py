import numpy as np
import pytest
from keras import ops

from cin_keras.models.parts.anchors import part_anchors
from cin_keras.models.parts.suppression import PartChoice, choose_parts
from tests import reference

pytestmark = pytest.mark.every_backend
ANCHORS = part_anchors((32, 32), (4, 4))


def chosen(scores, boxes=ANCHORS, parts=6, overlap=0.25):
    return ops.convert_to_numpy(choose_parts(scores, boxes, parts, overlap)).tolist()


@pytest.mark.parametrize("overlap", [0.25, 0.6, 1.0])
def test_agrees_with_the_greedy_loop(overlap):
    scores = np.random.default_rng(0).normal(size=(4, len(ANCHORS))).astype("float32")
    expected = [reference.choose_parts(row, ANCHORS, 6, overlap) for row in scores]
    assert chosen(scores, overlap=overlap) == expected


def test_of_equal_scores_the_first_comes_first():
    scores = np.zeros((4, len(ANCHORS)), "float32")  # as many images as above, for JAX
    scores[1:, 40:] = 1
    expected = [reference.choose_parts(row, ANCHORS, 6, 0.25) for row in scores]
    assert chosen(scores) == expected
    assert expected[0][0] == 0 and expected[1][0] == 40


def test_where_all_overlap_the_best_go_on_each_once():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 5], [0, 0, 5, 4], [9, 9, 12, 12]], "float32")
    assert chosen([[1.0, 3.0, 2.0, -5.0]], boxes, 3) == [[1, 3, 2]]
    assert chosen([[-1e9, -1e9, -1e9, -1e9]], boxes, 4) == [[0, 3, 1, 2]]


def test_boxes_and_scores_of_the_chosen():
    scores = np.random.default_rng(1).normal(size=(4, len(ANCHORS))).astype("float32")
    boxes, own = map(ops.convert_to_numpy, PartChoice(ANCHORS, 6, 0.25)(scores))
    for row, numbers in enumerate(chosen(scores)):
        np.testing.assert_array_equal(boxes[row], ANCHORS[numbers])
        np.testing.assert_array_equal(own[row], scores[row, numbers])
