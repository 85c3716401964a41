import numpy as np

from cin_keras.data import drawn_cars, image_dataset, pair_dataset
from cin_keras.measuring.frozen_part import FrozenPart
from cin_keras.measuring.readers import Photographs, make_reader
from cin_keras.measuring.rows import build_row
from cin_keras.models.small_backbone import small_backbone

SAMPLES = drawn_cars("test", images_per_class=1, image_size=32)


def first_of(data):
    images, labels = next(iter(data))
    return [np.array(part) for part in (*images, *labels)]


def test_photographs_are_read_as_the_pipelines_read_them():
    reader = Photographs(lambda *which: which, image_size=32, pairs_per_batch=3)
    assert reader.model("plain", 5) == ("plain", 5)
    for found, expected in zip(
        first_of(reader.pairs(SAMPLES, seed=4)), first_of(pair_dataset(SAMPLES, 32, 3, seed=4))
    ):
        np.testing.assert_array_equal(found, expected)
    images, _ = next(iter(reader.images(SAMPLES)))
    np.testing.assert_array_equal(images, next(iter(image_dataset(SAMPLES, 32, 6)))[0])


def test_crops_make_the_difference(tmp_path):
    def build(row, num_classes):
        return build_row(row, num_classes, backbone=small_backbone(32), input_shape=(32, 32, 3))

    assert isinstance(make_reader(build, SAMPLES, 32, 3), Photographs)
    folder = tmp_path / "maps" / "small"
    reader = make_reader(build, SAMPLES, 32, 3, crops=2, frozen_to="block_2", folder=folder)
    assert isinstance(reader, FrozenPart) and folder.is_dir()
    assert reader.model("plain", 4).num_classes == 4
