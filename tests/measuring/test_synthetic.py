import numpy as np
import pytest
from PIL import Image

from cin_keras.measuring.synthetic import random_labels, random_photographs


@pytest.mark.parametrize("long_tail", [False, True])
def test_every_image_has_a_class_and_every_class_images(long_tail):
    labels = random_labels(5003, 50, long_tail)
    sizes = np.sort(np.bincount(labels, minlength=50))
    assert sizes.sum() == 5003 and sizes[0] >= 1
    assert sizes[-1] / sizes[0] > 20 if long_tail else sizes[-1] - sizes[0] <= 2
    assert (labels == random_labels(5003, 50, long_tail)).all()
    assert (labels != random_labels(5003, 50, long_tail, seed=1)).any()
    assert len(random_labels(20, 50)) == 20


def test_photographs_differ(tmp_path):
    paths = random_photographs(tmp_path, 3, width=40, height=30)
    assert [path.name for path in paths] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert {Image.open(path).size for path in paths} == {(40, 30)}
    assert len({path.read_bytes() for path in paths}) == 3
